import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from cactus_tf import learners
from cactus_tf.errors import InputError


def points(seed, n):
    return np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)


def test_the_nearest_support_embedding_gives_its_label():
    support, query, labels = points(0, 6), points(1, 20), np.array([2, 0, 1, 1, 0, 2])
    answer = learners.build("nearest_neighbours").classify(support, labels, query, 3).argmax(1)
    expected = [labels[min(range(6), key=lambda i: ((q - support[i]) ** 2).sum())] for q in query]
    np.testing.assert_array_equal(answer, expected)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 7])
def test_several_neighbors_vote_as_in_scikit_learn_ties_included(k):
    support, query, labels = points(0, 12), points(1, 200), np.arange(12) % 4
    answer = learners.build("nearest_neighbours", k=k).classify(support, labels, query, 4)
    np.testing.assert_array_equal(answer.argmax(1), KNeighborsClassifier(k).fit(support, labels).predict(query))


def test_logits_are_logarithms_of_the_fractions_of_votes():
    support, labels = np.float32([[0], [1], [2], [9]]), np.array([0, 1, 1, 2])
    logits = learners.build("nearest_neighbours", k=3).classify(support, labels, np.float32([[1]]), 3)
    np.testing.assert_allclose(logits, [np.log([1 / 3, 2 / 3, 1e-6])], rtol=1e-6)


def test_a_class_without_support_is_never_chosen():
    labels = np.array([3, 1, 3, 1])
    logits = learners.build("nearest_neighbours", k=2).classify(points(0, 4), labels, points(1, 50), 5)
    assert set(logits.argmax(1)) <= {1, 3}
    assert np.isfinite(logits).all()


def test_all_support_embeddings_may_vote():
    logits = learners.build("nearest_neighbours", k=4).classify(points(0, 4), np.array([0, 1, 1, 2]), points(1, 9), 3)
    assert (logits.argmax(1) == 1).all()


def test_more_neighbors_than_support_embeddings_are_an_error_with_the_remedy():
    with pytest.raises(InputError, match=r"k is 5 and the support set has 4 .* lower --nearest_neighbours_k"):
        learners.build("nearest_neighbours", k=5).classify(points(0, 4), np.arange(4), points(1, 2), 4)
