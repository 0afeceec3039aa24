import dataclasses

import pytest

from cactus_tf.config import plan
from cactus_tf.config import schema as c
from cactus_tf.errors import InputError

DEFAULTS = {"protonets": c.TrainingSettings(filters=64, query=15)}


def resolve(usual=DEFAULTS, **said):
    return plan.resolve(c.Said(**said), {}, usual)


def test_what_is_said_wins_over_the_data_set_and_the_data_set_over_the_learner():
    said = c.TrainingSettings(query=7)
    own = c.TrainingSettings(filters=64, query=15, way=3)
    training = resolve({"protonets": own}, data=c.DataSettings("omniglot"), training=said).learners["protonets"]
    assert (training.query, training.way, training.filters) == (7, 20, 64)


def test_omniglot_takes_the_papers_settings():
    config = resolve(data=c.DataSettings("omniglot"))
    training = config.learners["protonets"]
    assert (config.partition.partitioner, config.partition.clusters, config.partition.partitions) == (
        "kmeans",
        500,
        100,
    )
    assert (training.way, training.shot, training.query, training.steps) == (20, 1, 15, 30_000)
    assert (training.filters, training.outer_lr) == (64, 1e-3)
    assert (config.evaluation.eval_ways, config.evaluation.eval_shots) == ((5, 20), (1, 5))
    assert (config.evaluation.eval_query, config.evaluation.eval_episodes) == (5, 1000)


@pytest.mark.parametrize("dataset", [*plan.DEFAULTS, "a set nobody published on"])
def test_every_data_set_resolves_with_nothing_else_said(dataset):
    config = plan.sized(resolve(data=c.DataSettings(dataset)), images=900, classes=3)
    optional = {"data_dir", "embedder_steps", "workdir", "backbone", "norm", "on_embeddings", "tasks_per_step"}
    for part in (config.embedding, config.partition, config.evaluation, config.learners["protonets"]):
        missing = {f.name for f in dataclasses.fields(part) if getattr(part, f.name) is None}
        assert missing <= optional


@pytest.mark.parametrize(
    ("images", "classes", "clusters", "ways"), [(900, 3, 22, (3,)), (60, 0, 5, (2,)), (10**6, 40, 500, (5,))]
)
def test_a_data_set_of_unknown_size_gets_clusters_and_ways_by_what_is_there(images, classes, clusters, ways):
    config = plan.sized(resolve(data=c.DataSettings("folder")), images, classes)
    assert (config.partition.clusters, config.evaluation.eval_ways) == (clusters, ways)


def test_what_is_said_or_published_does_not_depend_on_the_size_of_the_data():
    for config in (resolve(data=c.DataSettings("omniglot")), resolve(partition=c.PartitionSettings(clusters=30))):
        assert plan.sized(config, 100, 2) == config


@pytest.mark.parametrize(
    ("training", "words"),
    [
        (c.TrainingSettings(way=1), "--way=1: it must be at least 2"),
        (c.TrainingSettings(outer_lr=-1.0), "--outer_lr=-1.0: it must be at least 0"),
        (c.TrainingSettings(outer_lr=float("nan")), "--outer_lr=nan: it must be at least 0 and finite"),
    ],
)
def test_numbers_outside_their_range_are_refused(training, words):
    with pytest.raises(InputError, match=words):
        resolve(training=training)


def test_more_way_than_clusters_is_refused():
    with pytest.raises(InputError, match="--way=12 is more than --clusters=10"):
        resolve(training=c.TrainingSettings(way=12), partition=c.PartitionSettings(clusters=10))


def test_a_network_that_is_not_trained_takes_what_is_said_of_networks_and_no_more():
    own = c.TrainingSettings(backbone="conv4", filters=32, norm="batch", on_embeddings=False)
    said = c.Said(training=c.TrainingSettings(filters=7, norm="layer", way=9, steps=3))
    config = plan.resolve(said, {}, {}, usual_networks={"scratch": own})
    assert config.networks["scratch"] == c.TrainingSettings(
        backbone="conv4", filters=7, norm="layer", on_embeddings=False
    )
    with pytest.raises(InputError, match="--on_embeddings: conv4 takes images"):
        said = c.Said(training=c.TrainingSettings(backbone="conv4", on_embeddings=True))
        plan.resolve(said, {}, {}, usual_networks={"scratch": own})


def test_the_usual_length_of_an_embedder_is_one_for_all_or_that_of_the_data_set():
    assert plan.usual_steps(7, "mnist") == 7
    assert [plan.usual_steps({"mnist": 3}, name) for name in ("mnist", "omniglot", None)] == [3, None, None]
