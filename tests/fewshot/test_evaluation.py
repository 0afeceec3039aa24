import numpy as np
import pytest

from cactus_tf.errors import RunError
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.evaluation import adaptation_accuracies, confidence_interval, evaluate, paired_difference
from cactus_tf.pipeline.evaluation import ask
from cactus_tf.types import Accuracy, AssignedPartitions, Trace
from cactus_tf.utils import progress

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
def test_accuracy_is_the_fraction_of_correct_queries(right):
    result = evaluate(Scripted(right), episodes(), 10)
    np.testing.assert_allclose(result.per_episode, right / 4)
    assert result.mean == right / 4
    assert result.ci95 == 0


def test_the_prediction_for_every_query_is_returned():
    result = evaluate(Scripted(3), episodes(), 10)
    truth = np.repeat(np.arange(3), 4)
    np.testing.assert_array_equal(result.answers, np.tile((truth + np.tile([0, 0, 0, 1], 3)) % 3, (10, 1)))


def test_the_interval_follows_the_papers_formula():
    values = np.array([0.2, 0.4, 0.9])
    assert confidence_interval(values) == pytest.approx(1.96 * np.sqrt(((values - 0.5) ** 2).mean()) / np.sqrt(3))


def accuracies(values):
    return Accuracy(float(np.mean(values)), 0.0, np.array(values))


def test_a_paired_interval_is_that_of_the_differences_episode_by_episode():
    ours, first = [0.9, 0.5, 0.7, 0.6], [0.8, 0.1, 0.8, 0.6]
    differences = [a - b for a, b in zip(ours, first, strict=True)]
    mean = sum(differences) / 4
    sigma = (sum((d - mean) ** 2 for d in differences) / 4) ** 0.5
    found = paired_difference(accuracies(ours), accuracies(first))
    assert found.mean == pytest.approx(0.1)  # the sign says that ours is better
    assert found.ci95 == pytest.approx(1.96 * sigma / 4**0.5)


def test_a_constant_difference_between_two_learners_has_an_interval_of_zero():
    hard = np.linspace(0.1, 0.8, 50)
    found = paired_difference(accuracies(hard + 0.1), accuracies(hard))
    assert found.mean == pytest.approx(0.1)
    assert found.ci95 == pytest.approx(0, abs=1e-12)


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


class Improving:
    """Right on one query more with each of three steps; wrong on all support rows but after the last."""

    consumes, transductive, remedy = "embeddings", False, "lower the inner rate"

    def classify(self, support, support_labels, query, way):
        return self.trace(support, support_labels, query, way).query[-1]

    def trace(self, support, support_labels, query, way, steps=None):
        truth = np.repeat(np.arange(way), len(query) // way)
        steps = []
        for right in range(4):
            guesses = np.where(np.arange(len(query)) < right, truth, (truth + 1) % way)
            steps.append(np.eye(way)[guesses])
        of_support = [np.eye(way)[(support_labels + (step < 3)) % way] for step in range(4)]
        return Trace(np.stack(of_support), np.stack(steps))


def test_accuracy_is_traced_before_adaptation_and_after_each_step():
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    tasks = Episodes(rows, AssignedPartitions([np.repeat(np.arange(5), 8)]), way=2, shot=1, query=4)
    traced = adaptation_accuracies(Improving(), tasks, 7)
    assert [a.mean for a in traced.query] == [0, 1 / 8, 2 / 8, 3 / 8]
    assert [a.mean for a in traced.support] == [0, 0, 0, 1]
    assert traced.query[-1].per_episode.shape == traced.final.per_episode.shape == (7,)
    assert evaluate(Improving(), tasks, 7).mean == 3 / 8


@pytest.mark.parametrize("traced", [0, 3, 100])
def test_the_returned_predictions_are_those_after_the_last_step_of_adaptation(traced):
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    tasks = Episodes(rows, AssignedPartitions([np.repeat(np.arange(5), 8)]), way=2, shot=1, query=4)
    answers = adaptation_accuracies(Improving(), tasks, 7, traced).final.answers
    right = answers == np.repeat([0, 1], 4)
    np.testing.assert_array_equal(right, np.tile(np.arange(8) < 3, (7, 1)))


def test_the_bar_of_an_evaluation_names_the_learner(monkeypatch):
    titles, bar = [], progress.Bar

    def recorded(numbers, title, *more, **named):
        titles.append(title)
        return bar(numbers, title, *more, **named)

    monkeypatch.setattr(progress, "Bar", recorded)
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    tasks = Episodes(rows, AssignedPartitions([np.repeat(np.arange(5), 8)]), way=2, shot=1, query=4)
    ask("maml", Improving(), Improving().classify, tasks, 2)
    ask("nearest_neighbours", object(), Improving().classify, tasks, 2)
    evaluate(Improving(), tasks, 2)
    assert titles == [f"evaluate{name} 2-way 1-shot" for name in (" maml", " nearest_neighbours", "")]


def test_only_the_first_episodes_are_traced():
    class Counting(Improving):
        calls = 0

        def classify(self, *arguments):
            return super().trace(*arguments).query[-1]

        def trace(self, *arguments):
            Counting.calls += 1
            return super().trace(*arguments)

    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    tasks = Episodes(rows, AssignedPartitions([np.repeat(np.arange(5), 8)]), way=2, shot=1, query=4)
    accuracies = adaptation_accuracies(Counting(), tasks, 7, traced=3)
    assert Counting.calls == len(accuracies.query[0].per_episode) == 3
    assert len(accuracies.final.per_episode) == 7


@pytest.mark.parametrize("traced", [0, 100])
def test_a_diverging_adaptation_is_an_error(traced):
    class Diverging(Improving):
        remedy = "lower --x_inner_lr"

        def trace(self, support, support_labels, query, way, steps=None):
            trace = super().trace(support, support_labels, query, way)
            return Trace(trace.support, np.where(np.arange(4)[:, None, None] < 2, trace.query, np.nan))

    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    tasks = Episodes(rows, AssignedPartitions([np.repeat(np.arange(5), 8)]), way=2, shot=1, query=4)
    words = "2-way 1-shot: the logits of episode 0 are not finite after step 2 of adaptation; lower --x_inner_lr"
    with pytest.raises(RunError, match=words):
        adaptation_accuracies(Diverging(), tasks, 7, traced)
