"""The scikit-learn classifier: what it learns, what it keeps, and what scikit-learn expects of it."""

import contextlib
import datetime
import doctest
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks
from tqdm import tqdm

import cactus_tf as ct
from cactus_tf.errors import InputError
from cactus_tf.inference import classifier as module

NAMES = np.array(["one", "two", "three", "four"])
LEARNERS = ["protonets", "maml", "nearest_neighbours"]
FIRST_RELEASE = Path(__file__).parent / "saved_by_0_1_0"


@pytest.fixture(scope="module")
def digits():
    """[n, 28, 28, 1] images of four digits and their labels, in words."""
    images = ct.datasets.load("digits").test
    labels = images.partitions[0].assignments(len(images))
    chosen = (labels > 0) & (labels <= 4)
    return images.images[chosen], NAMES[labels[chosen] - 1]


@pytest.fixture(scope="module")
def support(digits):
    """Unequal numbers per class: 5, 4, 3 and 2."""
    images, labels = digits
    rows = np.concatenate([np.flatnonzero(labels == name)[: 5 - i] for i, name in enumerate(NAMES)])
    return images[rows], labels[rows]


@pytest.fixture(scope="module", params=LEARNERS)
def classifier(request, digits_run, support):
    return ct.FewShotClassifier.from_run(digits_run, algo=request.param).fit(*support)


@pytest.fixture
def bare():
    """A classifier with ProtoNets that nothing was trained for."""
    return ct.FewShotClassifier(ct.learners.build("protonets", image_shape=(28, 28, 1), filters=4))


# What scikit-learn expects. Its checks have no images, only flat rows [n, dim], which are taken as features.
@parametrize_with_checks([ct.FewShotClassifier()])
def test_scikit_learns_checks_of_classifiers_hold(estimator, check):
    check(estimator)


def test_a_classifier_of_images_is_tagged_so(bare):
    tags = bare.__sklearn_tags__()
    assert tags.input_tags.three_d_array
    assert not tags.input_tags.two_d_array
    assert tags.estimator_type == "classifier"


def test_a_clone_has_the_parameters_and_the_learner_and_is_not_fitted(classifier):
    copied = clone(classifier)
    assert copied.get_params() == classifier.get_params()
    assert copied.learner is classifier.learner
    with pytest.raises(NotFittedError):
        copied.predict(np.zeros((1, 28, 28)))


def test_it_is_cross_validated_in_a_pipeline(digits_run, digits):
    steps = [("halved", FunctionTransformer(lambda x: x[:, ::2, ::2])), ("sort", ct.FewShotClassifier())]
    assert cross_val_score(Pipeline(steps), *digits, cv=2).mean() > 0.8  # chance is 0.25
    learner = ct.FewShotClassifier.from_run(digits_run, algo="protonets")
    assert cross_val_score(learner, *digits, cv=2).mean() > 0.4


def test_parameters_are_set_by_name(bare):
    assert bare.set_params(transductive=True).get_params()["transductive"]


# What it learns


def test_classes_are_the_sorted_labels_and_probabilities_add_up(classifier, digits):
    assert classifier.classes_.tolist() == sorted(NAMES)
    probabilities = classifier.predict_proba(digits[0][:50])
    assert probabilities.shape == (50, 4)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    np.testing.assert_array_equal(classifier.predict(digits[0][:50]), classifier.classes_[probabilities.argmax(1)])


def test_it_sorts_digits_better_than_chance(classifier, digits):
    assert classifier.score(*digits) > 0.4  # chance is 0.25; the learners are hardly trained


@pytest.mark.parametrize("name", [*LEARNERS, "scratch"])
def test_one_query_at_a_time_gets_the_answer_that_it_gets_in_company(name, digits_run, support, digits):
    if name == "scratch":
        found = ct.FewShotClassifier(ct.learners.build(name, image_shape=(28, 28, 1), filters=4, eval_steps=3))
    else:
        found = ct.FewShotClassifier.from_run(digits_run, algo=name)
    found.fit(*support)
    together = found.predict_proba(digits[0][::40])
    alone = np.concatenate([found.predict_proba(image[None]) for image in digits[0][::40]])
    np.testing.assert_allclose(alone, together, rtol=1e-3, atol=1e-5)  # rounding depends on the batch


def test_the_answer_is_that_of_the_learner_s_own_evaluation(digits_run, support, digits):
    """Transductive, MAML's answers are those that its accuracies are measured on."""
    found = ct.FewShotClassifier.from_run(digits_run, algo="maml", transductive=True).fit(*support)
    labels = np.unique(support[1], return_inverse=True)[1]
    logits = np.asarray(found.learner.classify(support[0], labels, digits[0][:40], 4))
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(found.predict_proba(digits[0][:40]), expected, rtol=1e-3, atol=1e-5)
    alone = ct.FewShotClassifier.from_run(digits_run, algo="maml").fit(*support).predict_proba(digits[0][:40])
    assert np.abs(alone - expected).max() > 1e-3


@pytest.mark.parametrize("kind", [int, object, str])
def test_labels_may_be_of_any_type(kind, bare, support):
    labels = np.unique(support[1], return_inverse=True)[1].astype(kind)
    assert bare.fit(support[0], labels).predict(support[0][:3]).dtype == labels.dtype
    assert set(bare.predict(support[0])) <= set(labels)


def test_the_range_of_fit_holds_for_what_comes_later(bare, support):
    bare.fit(support[0] / 255, support[1])
    with pytest.raises(InputError, match=r"those of fit were in 0..1"):
        bare.predict(support[0].astype(float))
    in_bytes = bare.predict_proba(support[0])
    np.testing.assert_array_equal(bare.predict_proba(support[0] / 255), in_bytes)


def test_images_of_another_size_are_brought_to_that_of_the_learner(bare, support):
    large = np.repeat(np.repeat(support[0], 2, 1), 2, 2)
    bare.fit(large, support[1])
    assert bare.support_.shape[1:] == (28, 28, 1)
    assert (bare.predict(np.repeat(large, 3, -1)) == support[1]).mean() > 0.5


@pytest.mark.parametrize("queries", [1, 600])
def test_every_query_moves_the_progress_bar_that_shows_after_a_while(queries, bare, support, monkeypatch):
    moved, bare = [], bare.fit(*support)

    class Bar(tqdm):
        def update(self, n=1):
            moved.append(n)

    monkeypatch.setattr(module.progress, "Bar", lambda **given: Bar(disable=True, **given) if given["delay"] else None)
    bare.predict(np.zeros((queries, 28, 28), np.uint8))
    assert sum(moved) == queries
    assert max(moved) <= 256


# What it keeps


@pytest.mark.parametrize("name", LEARNERS)
def test_what_was_saved_answers_alike_without_the_run(name, digits_run, support, digits, tmp_path):
    found = ct.FewShotClassifier.from_run(digits_run, algo=name).fit(*support)
    found.save(tmp_path)
    loaded = ct.FewShotClassifier.load(tmp_path)
    assert loaded.classes_.tolist() == found.classes_.tolist()
    np.testing.assert_allclose(
        loaded.predict_proba(digits[0][:30]), found.predict_proba(digits[0][:30]), rtol=1e-3, atol=1e-6
    )
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".pkl", ".pickle", ".joblib")]


@pytest.mark.parametrize("name", ["meta_sgd", "protonets"])
def test_a_learner_of_ones_own_is_saved_with_its_weights_before_any_fit(name, support, tmp_path):
    learner = ct.learners.build(name, image_shape=(28, 28, 1), way=4, filters=4)
    for variable in learner.variables:
        variable.assign(variable + 0.01)
    ct.FewShotClassifier(learner).save(tmp_path)
    loaded = ct.FewShotClassifier.load(tmp_path)
    for one, other in zip(loaded.learner.variables, learner.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(NotFittedError):
        loaded.predict(support[0])


def test_flat_rows_are_saved_too(tmp_path):
    rows, labels = np.random.default_rng(0).normal(size=(6, 3)), [1, 1, 2, 2, 3, 3]
    ct.FewShotClassifier().fit(rows, labels).save(tmp_path)
    assert ct.FewShotClassifier.load(tmp_path).predict(rows).tolist() == labels


@pytest.mark.parametrize("settings", [{}, {"backbone": "linear", "start": "pca"}])
def test_a_learner_on_embeddings_is_saved_with_their_length(tmp_path, settings):
    rows, labels = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32), [1, 1, 2, 2, 3, 3]
    learner = ct.learners.build("protonets", on_embeddings=True, embeddings=rows, filters=4, **settings)
    found = ct.FewShotClassifier(learner).fit(rows, labels)
    found.save(tmp_path)
    loaded = ct.FewShotClassifier.load(tmp_path).predict_proba(rows)
    np.testing.assert_allclose(loaded, found.predict_proba(rows), rtol=1e-5)


@pytest.fixture(scope="module")
def on_pixels(support):
    """A classifier by embeddings, the first 5 components of pixels."""
    embedder = ct.embedders.build("pixels", dataset="digits", dims=5).fit(support[0])
    return ct.FewShotClassifier(ct.learners.build("nearest_neighbours"), embedder).fit(*support)


def test_a_loaded_embedder_knows_what_it_was_built_from(on_pixels, tmp_path):
    on_pixels.save(tmp_path)
    loaded = ct.FewShotClassifier.load(tmp_path)
    assert loaded.embedder.get_params() == on_pixels.embedder.get_params()


def test_a_folder_with_only_the_embedder_s_name_is_read(on_pixels, digits, tmp_path):
    on_pixels.save(tmp_path)
    there = json.loads((tmp_path / "classifier.json").read_text())
    for name in ("embedder_context", "embedder_options", "files", "digest"):
        del there[name]
    (tmp_path / "classifier.json").write_text(json.dumps(there))
    loaded = ct.FewShotClassifier.load(tmp_path)
    np.testing.assert_array_equal(loaded.predict(digits[0][:20]), on_pixels.predict(digits[0][:20]))


def test_a_damaged_or_foreign_folder_is_named(bare, tmp_path):
    with pytest.raises(InputError, match="is not a saved classifier"):
        ct.FewShotClassifier.load(tmp_path)
    bare.save(tmp_path)
    (tmp_path / "learner.weights.h5").write_bytes(b"damage")
    with pytest.raises(InputError, match="is incomplete or damaged"):
        ct.FewShotClassifier.load(tmp_path)
    (tmp_path / "classifier.json").write_text('{"format": 99}')
    with pytest.raises(InputError, match="saved by another version"):
        ct.FewShotClassifier.load(tmp_path)


@pytest.mark.parametrize("name", ["protonets", "maml", "pixels"])
def test_a_classifier_of_the_first_release_predicts_the_same(name):
    loaded = ct.FewShotClassifier.load(FIRST_RELEASE / name)
    expected = np.load(FIRST_RELEASE / name / "expected.npy")
    np.testing.assert_allclose(loaded.predict_proba(np.load(FIRST_RELEASE / "queries.npy")), expected, atol=1e-5)


def test_a_learner_that_was_not_built_by_name_is_refused(tmp_path):
    with pytest.raises(InputError, match="only a learner that was built by name can be saved"):
        ct.FewShotClassifier(object()).save(tmp_path)


def test_labels_that_json_lacks_are_refused(bare, support, tmp_path):
    labels = np.array([datetime.date(2020, 1, 1 + i % 2) for i in range(14)], object)
    with pytest.raises(InputError, match="cannot be saved"):
        bare.fit(support[0], labels).save(tmp_path)


# Bad input


def test_images_and_labels_of_different_numbers(bare, support):
    with pytest.raises(InputError, match="14 images have 13 labels"):
        bare.fit(support[0], support[1][1:])


def test_one_class_only(bare, support):
    with pytest.raises(InputError, match="all 5 labels are one class, 'one'"):
        bare.fit(support[0][:5], support[1][:5])


def test_more_classes_than_the_head_has(digits_run, support):
    found = ct.FewShotClassifier.from_run(digits_run, algo="maml")
    with pytest.raises(InputError, match=r"5 classes are more than the 4 outputs of the head.*larger --way.*protonets"):
        found.fit(support[0], [*support[1][1:], "five"])


def test_flat_rows_for_a_learner_of_images(bare):
    with pytest.raises(InputError, match=r"images must be \[n, height, width\]"):
        bare.fit(np.zeros((4, 784)), [0, 0, 1, 1])


def test_errors_are_those_that_scikit_learn_has(bare, support):
    with pytest.raises(NotFittedError):
        bare.predict(support[0])
    with pytest.raises(ValueError, match="NaN"):
        bare.fit(np.full((4, 28, 28), np.nan), [0, 0, 1, 1])


def test_the_example_of_the_documentation_runs():
    assert doctest.testmod(module).failed == 0


def flipped(content, place):
    return bytes([*content[:place], content[place] ^ 1, *content[place + 1 :]])


@pytest.mark.parametrize("name", ["learner.weights.h5", "support.npz", "classifier.json"])
def test_a_changed_byte_of_a_saved_classifier_is_noticed(name, bare, support, tmp_path):
    bare.fit(*support).save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    for place in np.linspace(0, len(whole) - 2, 5).astype(int):
        (tmp_path / name).write_bytes(flipped(whole, place))
        with pytest.raises(InputError, match="damaged"):
            ct.FewShotClassifier.load(tmp_path)


@pytest.mark.parametrize("name", ["learner.weights.h5", "support.npz"])
def test_a_damaged_file_of_a_classifier_without_checksums_is_one_line(name, bare, support, tmp_path):
    bare.fit(*support).save(tmp_path)
    forget_checksums(tmp_path)
    whole = (tmp_path / name).read_bytes()
    for content in (b"", whole[: len(whole) // 2], whole[:100] + b"damage" + whole[106:]):
        (tmp_path / name).write_bytes(content)
        with contextlib.suppress(InputError):  # HDF5 does not notice every change; nothing else may be raised
            ct.FewShotClassifier.load(tmp_path)


@pytest.mark.parametrize(
    "update",
    [
        {"context": []},
        {"context": {"image_shape": [10**12, 28, 1]}},
        {"learner": 3},
        {"learner": "other"},
        {"options": {"legacy_gain": "x"}},
        {"transductive": "yes"},
        {"fitted": {"classes": ["a"], "type": "<U99999999999"}},
        {"fitted": {"classes": 3, "type": "<U1"}},
        {"fitted": {"classes": ["a", "b"], "type": "nothing"}},
        {"embedder": 3},
        {"files": []},
    ],
)
def test_a_description_of_another_type_or_size_is_one_line(update, bare, support, tmp_path):
    bare.fit(*support).save(tmp_path)
    forget_checksums(tmp_path, **update)
    with pytest.raises(InputError, match="is incomplete or damaged") as caught:
        ct.FewShotClassifier.load(tmp_path)
    assert "\n" not in str(caught.value)


def forget_checksums(folder, **update):
    """Writes classifier.json as release 0.1 did, with some values changed."""
    there = json.loads((folder / "classifier.json").read_text())
    del there["digest"], there["files"]
    (folder / "classifier.json").write_text(json.dumps({**there, **update}))
