import numpy as np
import pytest

from cactus_tf.evaluation import confidence_interval, evaluate
from cactus_tf.sampling import Episodes
from cactus_tf.types import AssignedPartitions

LABELS = np.repeat(np.arange(6), 8)


class Scripted:
    """Right on the first `right` queries of every class, wrong on the others; images hold their own class."""

    consumes = "images"

    def __init__(self, right):
        self.right = right

    def classify(self, support, support_labels, query, way):
        labels = {int(image[0]): label for image, label in zip(support, support_labels, strict=True)}
        answers = np.array([labels[int(image[0])] for image in query])
        wrong = np.arange(len(query)) % 4 >= self.right
        return np.eye(way)[(answers + wrong) % way]


def episodes(seed=0):
    return Episodes(LABELS[:, None].astype(np.float32), AssignedPartitions([LABELS]), way=3, shot=2, query=4, seed=seed)


@pytest.mark.parametrize("right", [0, 1, 3, 4])
def test_accuracy_is_the_fraction_of_right_queries(right):
    result = evaluate(Scripted(right), episodes(), 10)
    np.testing.assert_allclose(result.per_episode, right / 4)
    assert result.mean == right / 4
    assert result.ci95 == 0


def test_the_interval_is_the_papers_formula():
    values = np.array([0.2, 0.4, 0.9])
    assert confidence_interval(values) == pytest.approx(1.96 * np.sqrt(((values - 0.5) ** 2).mean()) / np.sqrt(3))


def test_features_are_computed_once_and_give_the_same_answers():
    class Featured(Scripted):
        calls = 0

        def features(self, images):
            Featured.calls += 1
            return images

        def classify_features(self, support, support_labels, query, way):
            return self.classify(support, support_labels, query, way)

    result = evaluate(Featured(3), episodes(), 20)
    assert Featured.calls == 1
    np.testing.assert_array_equal(result.per_episode, evaluate(Scripted(3), episodes(), 20).per_episode)
