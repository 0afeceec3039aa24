import numpy as np
import pytest

from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.report.mistakes import classes_of, confusion, hardest
from cactus_tf.types import AssignedPartitions

LABELS = np.repeat(np.arange(4), 6)
NUMBER, WAY, QUERY = 40, 3, 2


def episodes(*labels):
    rows = np.arange(len(LABELS), dtype=np.float32)[:, None]
    return Episodes(rows, AssignedPartitions([*labels]), way=WAY, shot=1, query=QUERY, seed=0)


@pytest.fixture
def predicted():
    return np.random.default_rng(0).integers(0, WAY, (NUMBER, WAY, QUERY))


def test_every_prediction_is_counted_by_true_and_predicted_class(predicted):
    tasks = episodes(LABELS)
    counts, together = np.zeros((4, 4)), np.zeros((4, 4))
    for i in range(NUMBER):
        members = [int(LABELS[int(tasks[i].support[label, 0, 0])]) for label in range(WAY)]
        for label in range(WAY):
            for q in range(QUERY):
                counts[members[label], members[predicted[i, label, q]]] += 1
                for other in members:
                    together[members[label], other] += 1
    found = confusion(tasks, predicted)
    np.testing.assert_array_equal(found.counts, counts)
    np.testing.assert_array_equal(found.together, together)
    np.testing.assert_allclose(found.accuracy, np.diag(counts) / np.diag(together))
    np.testing.assert_allclose(found.rates, counts / together)


def test_a_class_that_no_task_had_has_no_accuracy(predicted):
    rare = np.where(LABELS == 3, 0, LABELS)
    rare[-1] = 3  # one image: too few for any task
    found = confusion(episodes(rare), predicted)
    assert np.isnan(found.accuracy).tolist() == [False, False, False, True]


def test_partitions_without_common_classes_are_not_counted(predicted):
    assert confusion(episodes(LABELS, LABELS[::-1]), predicted) is None


def test_the_class_of_a_label_is_that_of_its_images():
    tasks = episodes(LABELS)
    found = classes_of(tasks, 5)
    for i in range(5):
        np.testing.assert_array_equal(LABELS[tasks.indices(i)[0]], np.repeat(found[i][:, None], 1 + QUERY, axis=1))


def test_the_hardest_tasks_are_those_of_least_accuracy_the_worst_first():
    truth = np.broadcast_to(np.arange(WAY)[:, None], (4, WAY, QUERY)).copy()
    truth[2] = -1  # nothing right
    truth[1, 0] = -1
    truth[3, 0, 0] = -1
    assert hardest(truth, 3).tolist() == [2, 1, 3]
