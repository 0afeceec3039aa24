import numpy as np
import pytest

from cactus_tf import augmentations, learners
from cactus_tf.fewshot.augmenting import EpisodeAugmentation, quarter_turned
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.training import meta_train
from cactus_tf.types import InstancePartition


def tasks(side=16, seed=4):
    images = np.random.default_rng(0).integers(0, 256, (12, side, side, 1), np.uint8)
    return Episodes(images, [InstancePartition(12)], way=4, shot=1, query=2, seed=seed)


def varied(**settings):
    return EpisodeAugmentation(augmentations.build("affine"), **{"seed": 9, **settings})


def test_classes_are_turned_by_quarters_counterclockwise():
    images = np.random.default_rng(0).uniform(size=(4, 2, 5, 5, 3)).astype(np.float32)
    turned = quarter_turned(images, [0, 1, 2, 3]).numpy()
    for quarter, (before, after) in enumerate(zip(images, turned, strict=True)):
        np.testing.assert_array_equal(after, np.rot90(before, quarter, axes=(1, 2)))


def test_the_images_of_a_class_are_turned_alike_and_classes_by_themselves():
    plain, turned = tasks()[3], EpisodeAugmentation(augmentations.build("none"), rotate_classes=True)(tasks()[3])
    quarters = []
    for c in range(4):
        images = np.concatenate([plain.support[c], plain.query[c]]) / np.float32(255)
        now = np.concatenate([turned.support[c], turned.query[c]])
        quarters.append([q for q in range(4) if np.array_equal(now, np.rot90(images, q, axes=(1, 2)))])
    assert all(len(found) == 1 for found in quarters)
    assert len({found[0] for found in quarters}) > 1


@pytest.mark.parametrize(("support", "query"), [(True, False), (False, True)])
def test_support_and_queries_can_be_varied_alone(support, query):
    both, plain, one = varied()(tasks()[2]), tasks()[2], varied(support=support, query=query)(tasks()[2])
    expected = both.support if support else plain.support / np.float32(255)
    np.testing.assert_array_equal(one.support, expected)
    np.testing.assert_array_equal(one.query, both.query if query else plain.query / np.float32(255))


def test_an_episode_is_a_function_of_seed_and_number():
    one, again = varied()(tasks()[2]), varied()(tasks()[2])
    np.testing.assert_array_equal(one.support, again.support)
    other = varied()(tasks()[2]._replace(index=np.int64(3)))
    assert np.abs(np.asarray(one.query) - other.query).max() > 0.1
    assert np.abs(np.asarray(one.query) - varied(seed=8)(tasks()[2]).query).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["protonets", "maml"])
def test_a_training_on_copies_resumes_as_if_it_had_not_stopped(name, tmp_path):
    def train(folder, *lengths):
        learner = learners.build(name, image_shape=(16, 16, 1), way=4, filters=3)
        for steps in lengths:
            meta_train(learner, tasks(), tasks_per_step=2, steps=steps, augment=varied(), folder=tmp_path / folder)
        return [np.array(variable) for variable in learner.variables]

    for one, other in zip(train("whole", 4), train("parts", 2, 4), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_training_without_copies_learns_something_else():
    losses = []
    for augment in (None, varied()):
        learner = learners.build("protonets", image_shape=(16, 16, 1), way=4, filters=3)
        meta_train(learner, tasks(), steps=1, augment=augment, on_step=lambda step, scalars: losses.append(scalars))
    assert losses[0]["loss"] != losses[1]["loss"]
