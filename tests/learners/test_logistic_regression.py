import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax
from threadpoolctl import threadpool_limits

from cactus_tf import learners


@pytest.fixture(autouse=True)
def one_thread():
    """As in evaluation: the fits are too small to share among threads."""
    with threadpool_limits(1):
        yield


def points(seed, n, dim=4):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def literal(support, labels, query, way, c):
    """Logits, each row of mean 0, of the W and b that minimise |W|^2 / 2 + C sum of cross-entropies."""
    dim = support.shape[1]

    def objective(values):
        w, b = values[: way * dim].reshape(way, dim), values[way * dim :]
        loss = sum(-log_softmax(w @ x + b)[y] for x, y in zip(support.astype(float), labels, strict=True))
        return (w**2).sum() / 2 + c * loss

    found = minimize(objective, np.zeros(way * dim + way), method="BFGS", options={"gtol": 1e-6})
    w, b = found.x[: way * dim].reshape(way, dim), found.x[way * dim :]
    return centred(query @ w.T + b)


def centred(logits):
    return logits - logits.mean(axis=1, keepdims=True)  # a softmax does not know the mean


@pytest.mark.parametrize(
    ("way", "n", "dim", "c"),
    [(3, 9, 4, 1.0), (3, 9, 4, 0.1), (2, 8, 4, 1.0), (4, 5, 7, 2.0)],
    ids=["three classes", "another C", "two classes have two columns", "fewer embeddings than dimensions"],
)
def test_the_logits_are_those_of_the_minimum_of_the_objective(way, n, dim, c):
    support, query, labels = points(0, n, dim), points(1, 6, dim), np.arange(n) % way
    logits = learners.build("logistic_regression", c=c).classify(support, labels, query, way)
    np.testing.assert_allclose(
        centred(logits), literal(support, labels, query, way, c), atol=2e-3
    )  # L-BFGS stops at a gradient of 1e-5 of the mean loss


def test_a_class_without_support_is_never_chosen():
    labels = np.array([3, 1, 3, 1, 4, 4])
    logits = learners.build("logistic_regression").classify(points(0, 6), labels, points(1, 30), 5)
    assert set(logits.argmax(1)) == {1, 3, 4}
    assert np.isneginf(logits[:, [0, 2]]).all()


def test_a_single_class_is_the_answer_to_everything():
    logits = learners.build("logistic_regression").classify(points(0, 3), np.array([2, 2, 2]), points(1, 5), 4)
    assert (logits.argmax(1) == 2).all()
    assert not np.isnan(logits).any()
