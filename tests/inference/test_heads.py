import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from cactus_tf import FewShotClassifier, embedders, learners, predict
from cactus_tf.errors import InputError
from cactus_tf.inference.heads import HEADS, check, chosen, probabilities, regression


def task(shot=5, seed=0):
    """Support of three unequal directions in eight dimensions, its labels, and queries with theirs."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(3, 8))
    labels = np.repeat(["a", "b", "c"], shot)
    support = np.repeat(centers, shot, axis=0) + 0.3 * rng.normal(size=(3 * shot, 8))
    truth = np.repeat(["a", "b", "c"], 20)
    query = np.repeat(centers, 20, axis=0) + 0.3 * rng.normal(size=(60, 8))
    return support.astype(np.float32), labels, query.astype(np.float32), truth


def class_probabilities(head, learner, support, labels, query):
    return FewShotClassifier(learner, head=head).fit(support, labels).predict_proba(query)


def on_embeddings(name):
    context = {"image_shape": (8,), "way": 3, "on_embeddings": True, "embeddings": task()[0]}
    return learners.build(name, **context) if name == "protonets" else learners.build(name)


def test_the_command_offers_every_head():
    assert predict._HEADS == HEADS


@pytest.mark.parametrize(
    ("shot", "pretrained", "head"), [(5, True, "logistic"), (4, True, "learner"), (5, False, "learner")]
)
def test_auto_is_logistic_regression_on_pretrained_features_from_five_examples_of_every_class(shot, pretrained, head):
    labels = np.concatenate([task(shot)[1], ["a", "a"]])  # some classes have more
    assert chosen("auto", on_embeddings("protonets"), labels, pretrained) == head


def test_a_learner_without_features_has_its_own_answer_only():
    maml = learners.build("maml", image_shape=(28, 28, 1), way=3)
    assert chosen("auto", maml, task()[1], True) == "learner"
    assert chosen("learner", maml, task()[1], True) == "learner"
    with pytest.raises(InputError, match="head=logistic needs a feature vector of each picture, and maml has none"):
        check("logistic", maml, "maml")


def test_an_unknown_head_is_an_error_with_the_choices():
    with pytest.raises(InputError, match="choose from auto, learner, prototype, logistic"):
        check("linear", on_embeddings("nearest_neighbours"), "nearest_neighbours")


@pytest.mark.parametrize("name", ["protonets", "nearest_neighbours"])
@pytest.mark.parametrize("head", ["prototype", "logistic"])
def test_every_head_finds_the_classes(name, head):
    support, labels, query, truth = task()
    probabilities = class_probabilities(head, on_embeddings(name), support, labels, query)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert np.mean(np.unique(labels)[probabilities.argmax(axis=1)] == truth) > 0.9


def test_logistic_regression_is_scikit_learns_on_the_embeddings():
    support, labels, query, _ = task()
    expected = LogisticRegression(C=10, max_iter=2000).fit(support, labels).predict_proba(query)
    ours = class_probabilities("logistic", on_embeddings("nearest_neighbours"), support, labels, query)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_class_means_of_embeddings_are_compared_by_cosine():
    support, labels, query, _ = task(shot=1)
    ours = class_probabilities("prototype", on_embeddings("nearest_neighbours"), support, labels, query)
    scaled = class_probabilities("prototype", on_embeddings("nearest_neighbours"), 3 * support, labels, query / 2)
    np.testing.assert_allclose(scaled, ours, rtol=1e-5)


def test_another_head_beside_transductive_is_an_error_and_auto_is_not():
    with pytest.raises(InputError, match="leave out transductive or head"):
        check("prototype", on_embeddings("protonets"), "protonets", transductive=True)
    check("auto", on_embeddings("protonets"), "protonets", transductive=True)


def test_logistic_regression_in_the_span_of_few_examples_is_the_same():
    rng = np.random.default_rng(0)
    labels, known = np.repeat(np.arange(4), 3), rng.normal(size=(12, 50))
    asked = rng.normal(size=(20, 50))
    whole = LogisticRegression(C=10.0, max_iter=2000, tol=1e-8).fit(known, labels).predict_proba(asked)
    np.testing.assert_allclose(
        probabilities(regression, known, labels, asked), whole, atol=0.02
    )  # of its stopping rule


def test_the_head_of_a_classifier_is_by_default_the_learner_itself():
    support, labels, query, _ = task()
    classifier = FewShotClassifier(on_embeddings("nearest_neighbours")).fit(support, labels)
    assert classifier.head_ == "learner"
    assert set(np.unique(classifier.predict_proba(query).round(3))) == {0, 1}  # one neighbor votes


def test_two_classes_have_the_probabilities_of_scikit_learn():
    support, labels, query, _ = task()
    support, labels = support[labels != "c"], labels[labels != "c"]
    expected = LogisticRegression(C=10, max_iter=2000).fit(support, labels).predict_proba(query)
    ours = class_probabilities("logistic", on_embeddings("nearest_neighbours"), support, labels, query)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_auto_asks_whether_the_embedder_of_a_classifier_is_pretrained():
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 1), np.uint8)
    embedder, labels = embedders.build("pixels").fit(images), np.arange(10) % 2
    learner = on_embeddings("nearest_neighbours")
    assert FewShotClassifier(learner, embedder, head="auto").fit(images, labels).head_ == "learner"
    embedder.recipe = embedder.recipe._replace(name="pretrained")
    assert FewShotClassifier(learner, embedder, head="auto").fit(images, labels).head_ == "logistic"


@pytest.mark.parametrize("head", ["prototype", "logistic"])
def test_a_saved_classifier_keeps_its_head(tmp_path, head):
    support, labels, query, _ = task()
    classifier = FewShotClassifier(on_embeddings("nearest_neighbours"), head=head).fit(support, labels)
    classifier.save(tmp_path / "saved")
    loaded = FewShotClassifier.load(tmp_path / "saved")
    assert loaded.head == head
    np.testing.assert_array_equal(loaded.predict_proba(query), classifier.predict_proba(query))


def test_a_head_that_a_learner_cannot_have_is_refused_when_it_is_fitted():
    support, labels, _, _ = task()
    maml = learners.build("maml", image_shape=(28, 28, 1), way=3)
    images = np.zeros((15, 28, 28), np.uint8)
    with pytest.raises(InputError, match="head=logistic needs a feature vector of each picture, and maml has none"):
        FewShotClassifier(maml, head="logistic").fit(images, labels)
    with pytest.raises(InputError, match="head is 'svm': choose from auto, learner, prototype, logistic"):
        FewShotClassifier(head="svm").fit(support, labels)


def test_auto_leaves_queries_that_share_statistics_to_the_learner():
    assert chosen("auto", on_embeddings("protonets"), task(5)[1], True, transductive=True) == "learner"
