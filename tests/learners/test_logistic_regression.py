import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from cactus_tf import learners
from cactus_tf.learners._inputs import canonical_order
from cactus_tf.learners._logistic import logistic_logits


@pytest.fixture(autouse=True)
def one_thread():
    """As in evaluation: the fits are too small to share among threads."""
    with threadpool_limits(1):
        yield


def points(seed, n, dim=4):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def literal(support, labels, query, way, c):
    """Logits, each row of mean 0, of the W and b that minimize |W|^2 / 2 + C sum of cross-entropies."""
    dim = support.shape[1]

    def objective(values):
        w, b = values[: way * dim].reshape(way, dim), values[way * dim :]
        loss = sum(-log_softmax(w @ x + b)[y] for x, y in zip(support.astype(float), labels, strict=True))
        return (w**2).sum() / 2 + c * loss

    found = minimize(objective, np.zeros(way * dim + way), method="BFGS", options={"gtol": 1e-6})
    w, b = found.x[: way * dim].reshape(way, dim), found.x[way * dim :]
    return centered(query @ w.T + b)


def centered(logits):
    return logits - logits.mean(axis=1, keepdims=True)  # a softmax does not know the mean


@pytest.mark.parametrize(
    ("way", "n", "dim", "c"),
    [(3, 9, 4, 1.0), (3, 9, 4, 0.1), (2, 8, 4, 1.0), (4, 5, 7, 2.0)],
    ids=["three classes", "another C", "two classes have two columns", "fewer embeddings than dimensions"],
)
def test_the_solver_goes_to_the_minimum_of_the_objective_if_it_is_let(way, n, dim, c):
    support, query, labels = points(0, n, dim), points(1, 6, dim), np.arange(n) % way
    logits = logistic_logits(support, labels, query, way, c=c, passes=100_000, tolerance=1e-8)
    np.testing.assert_allclose(centered(logits), literal(support, labels, query, way, c), atol=1e-4)


def test_it_stops_where_the_authors_stop():
    support, labels, query = 2 + points(2, 40, 8), np.arange(40) % 4, 2 + points(3, 50, 8)
    theirs = LogisticRegression(solver="saga", C=1.0, max_iter=1000, tol=1e-4, random_state=0)
    expected = centered(theirs.fit(support.astype(float), labels).decision_function(query))
    logits = centered(learners.build("logistic_regression").classify(support, labels, query, 4))
    minimum = centered(logistic_logits(support, labels, query, 4, passes=100_000, tolerance=1e-8))
    off = np.abs(logits - expected).max()
    assert off < 0.05  # the order of draws
    assert off < np.abs(logits - minimum).max() / 3


def test_fewer_embeddings_than_dimensions_give_the_same_iterates_in_less_room():
    support, labels, query = 2 + points(2, 15, 60), np.arange(15) % 3, 2 + points(3, 50, 60)
    theirs = LogisticRegression(solver="saga", C=1.0, max_iter=200, tol=0, random_state=0)
    support, labels = canonical_order(support, labels)
    expected = theirs.fit(support.astype(float), labels).decision_function(query)
    logits = logistic_logits(support, labels, query, 3, passes=200, tolerance=0)
    np.testing.assert_allclose(logits, expected, atol=1e-6)


def test_the_order_of_the_support_set_changes_nothing():
    support, labels, order = points(4, 12), np.arange(12) % 3, np.random.default_rng(0).permutation(12)
    learner = learners.build("logistic_regression")
    answers = [learner.classify(support[o], labels[o], points(5, 9), 3) for o in (slice(None), order)]
    np.testing.assert_array_equal(answers[0], answers[1])


def test_a_class_without_support_is_never_chosen():
    labels = np.array([3, 1, 3, 1, 4, 4])
    logits = learners.build("logistic_regression").classify(points(0, 6), labels, points(1, 30), 5)
    assert set(logits.argmax(1)) == {1, 3, 4}
    assert np.isneginf(logits[:, [0, 2]]).all()


def test_a_single_class_is_the_answer_to_everything():
    logits = learners.build("logistic_regression").classify(points(0, 3), np.array([2, 2, 2]), points(1, 5), 4)
    assert (logits.argmax(1) == 2).all()
    assert not np.isnan(logits).any()
