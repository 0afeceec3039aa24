"""On real digits, better training tasks give a better learner."""

import pytest

import cactus_tf as ct
from cactus_tf.contracts import PartitionContext


@pytest.fixture(scope="module")
def accuracies():
    """10-way 1-shot test accuracy of ProtoNets after short trainings that differ in their partitions alone."""
    data = ct.datasets.load("digits")
    pixels = ct.embedders.build("pixels").fit(data.train.images).transform(data.train.images)
    context = PartitionContext(len(data.train), pixels, data.train.partitions, way=10, images_per_cluster=6)
    tests = ct.episodes(data.test.images, data.test.partitions, way=10, shot=1, query=5, seed=1)

    def accuracy(partitioner):
        partitions = ct.partitioners.build(partitioner, clusters=20, partitions=5)(context)
        train = ct.episodes(data.train.images, partitions, way=10, shot=1, query=5)
        learner = ct.learners.build("protonets", image_shape=data.image_shape, way=10, filters=16)
        ct.meta_train(learner, train, steps=150)
        return ct.evaluate(learner, tests, 200).mean

    return {name: accuracy(name) for name in ("labels", "kmeans", "random")}


@pytest.mark.slow
def test_true_labels_teach_more_than_clusters(accuracies):
    assert accuracies["labels"] > accuracies["kmeans"] + 0.03


@pytest.mark.slow
def test_clusters_teach_more_than_random_groups(accuracies):
    assert accuracies["kmeans"] > accuracies["random"] + 0.03
