import numpy as np
import pytest

from cactus_tf import learners
from cactus_tf.config import build_plan, flags
from cactus_tf.contracts import MetaLearner
from cactus_tf.errors import InputError
from cactus_tf.fewshot.augmenting import EpisodeAugmentation
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.evaluation import evaluate
from cactus_tf.pipeline.selection import accuracy, held_out
from cactus_tf.types import AssignedPartitions

IMAGES = np.random.default_rng(0).integers(0, 256, (120, 16, 16, 1), np.uint8)
PARTITIONS = AssignedPartitions([np.arange(120) % 15])
TASKS = Episodes(IMAGES, PARTITIONS, way=3, shot=1, query=2)


def plan(*argv):
    settings = flags.parse(["--algo=protonets", "--way=5", "--query=3", "--eval_ways=5", *argv])
    return build_plan.make(settings).learners[0]


@pytest.mark.parametrize("algo", ["protonets", "maml"])
def test_the_accuracy_on_pseudo_tasks_is_that_of_evaluation(algo):
    learner = learners.build(algo, image_shape=(16, 16, 1), way=3, filters=4, seed=1)
    assert isinstance(learner, MetaLearner)
    assert accuracy(learner, TASKS, 7) == pytest.approx(evaluate(learner, TASKS, 7).mean)


def test_varied_tasks_are_the_same_tasks_with_varied_images():
    augmentation = EpisodeAugmentation(lambda images, seed: 1 - images, support=False)
    tasks, plain = TASKS.augmented(augmentation), TASKS[3]
    np.testing.assert_allclose(tasks[3].support, plain.support / np.float32(255))
    np.testing.assert_allclose(tasks[3].query, 1 - plain.query / np.float32(255), atol=1e-6)
    batch = next(iter(tasks.dataset(2, start=1)))
    np.testing.assert_array_equal(batch.query[1], tasks[3].query)


def test_a_learner_is_evaluated_on_varied_tasks_with_their_images():
    tasks = TASKS.augmented(EpisodeAugmentation(lambda images, seed: 0 * images))
    learner = learners.build("protonets", image_shape=(16, 16, 1), way=3, filters=4, seed=1)
    assert evaluate(learner, tasks, 7).mean == pytest.approx(1 / 3)
    with pytest.raises(InputError, match="augmented"):
        tasks.with_rows(IMAGES)


def test_nothing_is_held_out_by_default():
    assert held_out(plan(), IMAGES, PARTITIONS) is None
    held = held_out(plan("--select=pseudo"), IMAGES, PARTITIONS)
    assert held is not None
    assert (held.tasks.way, held.tasks.shot, held.tasks.query) == (5, 1, 3)
