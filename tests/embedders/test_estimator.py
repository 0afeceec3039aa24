"""Embedders as steps of scikit-learn's pipelines."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import LinearSVC

from cactus_tf import embedders
from cactus_tf.errors import InputError

SMALL = {"acai": {"depth": 2, "batch": 8, "steps": 2}, "pixels": {"dims": 5}}


@pytest.fixture(scope="module")
def bars():
    """[40, 16, 16, 1] upright and lying bars in noise, and which they are."""
    images = np.random.default_rng(0).integers(0, 60, (40, 16, 16, 1), np.uint8)
    images[::2, :, 6:10] += 150
    images[1::2, 6:10] += 150
    return images, np.tile(["upright", "lying"], 20)


@pytest.mark.parametrize("name", SMALL)
def test_a_pipeline_of_embedder_and_classifier_learns(name, bars):
    pipeline = Pipeline([("embed", embedders.build(name, **SMALL[name])), ("svc", LinearSVC())])
    assert clone(pipeline).fit(*bars).score(*bars) > 0.9


def test_an_embedder_may_be_the_last_step_of_a_pipeline(bars):
    images, labels = bars
    alone = make_pipeline(embedders.build("pixels", dims=5)).fit(images, labels)
    np.testing.assert_array_equal(alone.transform(images), embedders.build("pixels", dims=5).fit_transform(images))


def test_the_embeddings_of_a_pipeline_are_those_of_fit_and_transform(bars):
    images, labels = bars
    together = embedders.build("pixels", dims=5).fit_transform(images, labels, seed=1)
    np.testing.assert_array_equal(together, embedders.build("pixels", dims=5).fit(images, seed=1).transform(images))


def test_a_clone_has_the_settings_and_is_not_fitted(bars):
    embedder = embedders.build("pixels", dims=5).fit(bars[0])
    copied = clone(embedder)
    shared = {"dataset": None, "steps": None, "norm": None, "center": 1.0}
    assert copied.get_params() == embedder.get_params() == {**shared, "dims": 5, "whiten": False}
    assert (copied.__sklearn_is_fitted__(), embedder.__sklearn_is_fitted__()) == (False, True)


def test_settings_of_an_embedder_are_searched(bars):
    pipeline = Pipeline([("embed", embedders.build("pixels")), ("svc", LinearSVC())])
    search = GridSearchCV(pipeline, {"embed__dims": [1, 3]}, cv=2).fit(*bars)
    assert search.best_estimator_["embed"].transform(bars[0]).shape[1] in (1, 3)


def test_to_set_a_parameter_makes_the_embedder_unfitted(bars):
    embedder = embedders.build("acai", **SMALL["acai"])
    assert embedder.set_params(depth=4, steps=3).get_params()["steps"] == 3
    fitted = embedders.build("pixels").fit(bars[0]).set_params(dims=3)
    with pytest.raises(InputError, match="not fitted yet"):
        fitted.transform(bars[0])


def test_an_embedder_prints_as_its_settings_fitted_or_not(bars):
    embedder = embedders.build("pixels", dims=5)
    assert (
        repr(embedder)
        == repr(embedder.fit(bars[0]))
        == "Pixels(center=1.0, dataset=None, dims=5, norm=None, steps=None)"
    )


def test_an_embedder_that_was_not_built_by_name_has_the_parameters_of_its_constructor():
    def mean(images):
        return images.mean(axis=(1, 2))

    assert clone(embedders.Untrained(mean)).get_params() == {"function": mean}


def test_an_unknown_setting_is_answered_with_those_there_are():
    with pytest.raises(InputError, match="pixels has no setting depth; it has dims, whiten"):
        embedders.build("pixels").set_params(depth=4)
