import functools

import numpy as np
import pytest

from cactus_tf import FewShotClassifier, datasets
from cactus_tf.inference.heads import probabilities, regression
from cactus_tf.inference.prediction import predict
from cactus_tf.inference.prediction_output import calibration_error
from cactus_tf.inference.temperature import fitted, rescaled
from cactus_tf.utils import progress
from tests.inference.test_prediction import pictures  # noqa: F401

logistic = functools.partial(probabilities, regression)


def groups(number, each, noise, seed=0):
    """[number * each, 16] rows around as many directions, and the direction of each."""
    rng = np.random.default_rng(seed)
    kind = np.repeat(np.arange(number), each)
    return rng.normal(size=(number, 16))[kind] + noise * rng.normal(size=(number * each, 16)), kind


def sharper(power):
    return lambda *task: rescaled(logistic(*task), 1 / power)


def test_a_head_that_is_three_times_as_certain_gets_three_times_the_temperature():
    rows = groups(10, 40, 0.8)[0]
    once, thrice = (fitted(sharper(power), rows, 5, 5) for power in (1, 3))
    assert thrice == pytest.approx(3 * once, rel=0.02)


def test_the_pseudo_tasks_of_a_calibration_are_counted():
    seen = []

    def head(*task):
        seen.append(progress.open_bars[-1].line().split(",")[0])
        return sharper(1)(*task)

    fitted(head, groups(6, 30, 1.5)[0], way=5, shot=5)
    assert (seen[0], seen[-1]) == ("calibrate: task 0 of 20 (0%)", "calibrate: task 19 of 20 (95%)")


def test_the_temperature_lowers_the_calibration_error_of_pictures_that_were_not_clustered():
    rows, kind = groups(10, 60, 1.0)
    order = np.arange(len(rows)) - kind * 60  # the place of a row in its group
    training, known, asked = order < 30, (order >= 30) & (order < 35), order >= 35
    head = sharper(0.2)  # far from certain enough
    before = head(rows[known], kind[known], rows[asked])
    after = rescaled(before, fitted(head, rows[training], 10, 5))
    np.testing.assert_allclose(after.sum(axis=1), 1)
    np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))
    errors = [calibration_error(p.max(axis=1), p.argmax(axis=1) == kind[asked]) for p in (before, after)]
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("rows", [np.zeros((0, 4)), np.ones((20, 4)), np.eye(3)])
def test_without_two_clusters_the_probabilities_stay(rows):
    assert fitted(logistic, rows, 2, 1) == 1
    given = np.array([[0.25, 0.75], [1.0, 0.0]])
    np.testing.assert_allclose(rescaled(given, 1.0), given, atol=1e-9)


def test_class_means_are_never_made_more_certain_and_logistic_regression_may_be():
    rows = groups(10, 40, 0.8)[0]
    uncertain, certain = sharper(0.2), sharper(5)
    assert fitted(uncertain, rows, 5, 5) < 0.5
    assert fitted(uncertain, rows, 5, 5, sharpen=False) == pytest.approx(1, abs=1e-4)
    assert fitted(certain, rows, 5, 5, sharpen=False) == pytest.approx(fitted(certain, rows, 5, 5), rel=1e-3)


@pytest.mark.parametrize("head", ["learner", "prototype"])
def test_class_means_are_calibrated_and_keep_the_order_of_classes(digits_run, pictures, head):  # noqa: F811
    found = predict(digits_run, pictures / "support", pictures / "query", "protonets", head=head)
    decode = datasets.picture_decoder("digits", (28, 28, 1))
    examples = datasets.read_classes("--support", pictures / "support", decode, (28, 28, 1))
    classifier = FewShotClassifier.from_run(digits_run, "protonets", head=head).fit(examples.images, examples.labels)
    before = classifier.predict_proba(found.queries.images)
    assert found.source["temperature"] >= 1
    np.testing.assert_allclose(found.probabilities, rescaled(before, found.source["temperature"]), atol=1e-5)
    np.testing.assert_array_equal(found.probabilities.argsort(axis=1), before.argsort(axis=1))


def test_a_head_without_features_has_no_temperature(digits_run, pictures):  # noqa: F811
    for algo in ("maml", "nearest_neighbours"):
        assert "temperature" not in predict(digits_run, pictures / "support", pictures / "query", algo).source
