"""A scikit-learn classifier around a learner: a few labelled images, and it sorts others."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from cactus_tf import learners
from cactus_tf.contracts import Answer, Embedder, FeatureLearner, Learner, PreparedLearner
from cactus_tf.errors import InputError, RunError
from cactus_tf.inference import conversion
from cactus_tf.types import Array
from cactus_tf.utils import progress

_CHUNK = 256  # queries that are answered at once
_SOON = 1  # seconds without a progress bar


class FewShotClassifier(ClassifierMixin, BaseEstimator):
    """Learns classes from a few labelled images each, with what a learner knows already.

    Images are [n, height, width] or [n, height, width, channels] of any size, grey or colour; also a list of images of
    several sizes. Integers are in 0..255 and booleans black and white. Floats are in 0..1 where none given to `fit` is
    above 1, else in 0..255, and `predict` takes them in the range of `fit`. All are brought to the shape that the
    learner was trained on, as 8-bit pixels. A learner of embeddings without an embedder takes flat rows [n, dim] as
    they are, and of images the pixels.

    `cross_val_score` and `clone` share the learner, which `fit` never changes; with `n_jobs` above 1 they would have to
    copy it to other processes, which TensorFlow's functions do not allow.

    >>> import numpy as np
    >>> from cactus_tf import FewShotClassifier
    >>> images = np.random.default_rng(0).integers(0, 100, (6, 28, 28), np.uint8)
    >>> images[:3] += 100
    >>> FewShotClassifier().fit(images[1:5], ["day", "day", "night", "night"]).predict(images[[0, 5]]).tolist()
    ['day', 'night']

    Args:
      learner: a trained one; None takes the nearest neighbour, by pixels or by flat rows.
      embedder: a fitted one, for a learner that consumes embeddings of images.
      transductive: let the queries of a `predict` share their statistics, where the learner's norm is one of the batch,
        as the accuracies of a run do for MAML and its relatives. Otherwise each query is answered alone: in any company
        it gets the same answer. docs/algorithm.md says what that costs.

    Attributes:
      classes_: [way] the labels, sorted.
    """

    def __init__(self, learner: Learner | None = None, embedder: Embedder | None = None, transductive: bool = False):
        self.learner = learner
        self.embedder = embedder
        self.transductive = transductive

    @classmethod
    def from_run(cls, run: str | Path, algo: str | None = None, transductive: bool = False) -> FewShotClassifier:
        """A classifier with a learner of a run, not fitted yet.

        Args:
          run: the run's folder.
          algo: which of its learners; may stay unsaid where only one is meta-trained.
          transductive: as of the class.

        Raises:
          InputError: see `restoring.restore`.
        """
        from cactus_tf.runs.restoring import restore

        restored = restore(run, algo)
        return cls(restored.learner, restored.embedder, transductive)

    def fit(self, X, y) -> FewShotClassifier:
        """Learns the classes.

        Args:
          X: images, see above; any number per class.
          y: [n] labels of any type that sorts.

        Raises:
          InputError: images and labels differ in number, one class only, more classes than the learner's head has
            outputs, or images that are none.
        """
        self.learner_ = learners.build("nearest_neighbours") if self.learner is None else self.learner
        support, y = self._fitting_rows(X, y)
        if y.dtype.kind != "O":  # of which scikit-learn takes strings only
            check_classification_targets(y)
        classes, labels = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise InputError(
                f"all {len(y)} labels are of one class, {classes.tolist()[0]!r}: give images of two or more"
            )
        return self._learn(support, labels, classes)

    def predict_proba(self, X) -> np.ndarray:
        """[m, way] float64: softmax of the learner's logits, columns as `classes_`. Not calibrated.

        Args:
          X: [m, ...] images, as in `fit`.

        Raises:
          NotFittedError: `fit` was not called.
          InputError: images that are none, or in another range than those of `fit`.
          RunError: the learner's adaptation diverged.
        """
        return softmax(self._logits(X), axis=1)

    def predict(self, X) -> np.ndarray:
        """[m] the most probable label, among equals the first of `classes_`; as `predict_proba`."""
        logits = self._logits(X)
        return self.classes_[logits.argmax(axis=1)]

    def save(self, folder: str | Path) -> None:
        """Writes learner, embedder and, once fitted, the support set; `load` needs nothing else.

        Raises:
          InputError: a learner that `cactus_tf.learners.build` or a run did not make, or that learns from all training
            images; labels that JSON does not have.
        """
        from cactus_tf.inference import saving

        saving.save(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> FewShotClassifier:
        """What `save` wrote.

        Raises:
          InputError: the folder holds no classifier, a damaged one, or one of another version.
        """
        from cactus_tf.inference import saving

        return saving.load(cls, Path(folder))

    def _fitting_rows(self, X, y) -> tuple[np.ndarray, np.ndarray]:
        """The support set, images uint8 or flat rows, and the labels; notes of what kind the images are."""
        self.pixel_scale_, self.image_shape_ = None, None
        self.__dict__.pop("n_features_in_", None)
        if self._takes_flat_rows() and _rank(X) < 3:
            return validate_data(self, X, y, dtype=np.float32)
        y = column_or_1d(y, warn=True)
        self.pixel_scale_ = conversion.pixel_scale(X)
        images = conversion.prepare(X, self.pixel_scale_, self._trained_shape())
        if len(images) != len(y):
            raise InputError(f"{len(images)} images have {len(y)} labels: give one label for each image")
        self.image_shape_ = tuple(images.shape[1:])
        return images, y

    def _learn(self, support: np.ndarray, labels: np.ndarray, classes: np.ndarray) -> FewShotClassifier:
        """From [n, ...] uint8 images or flat rows, and labels 0..way-1."""
        self.support_, self.support_labels_ = support, labels
        self._answer = answerer(self.learner_, self._consumed(support), labels, len(classes), self.transductive)
        self.classes_ = classes
        return self

    def _logits(self, X) -> np.ndarray:
        """[m, way] float64."""
        check_is_fitted(self, "classes_")
        if self.image_shape_ is None:
            query = validate_data(self, X, reset=False, dtype=np.float32)
        else:
            query = self._consumed(conversion.prepare(X, self.pixel_scale_, self.image_shape_))
        alone = isinstance(self.learner_, FeatureLearner | PreparedLearner) and not self.transductive
        size = _CHUNK if alone else len(query)
        logits = self._answers(query, size)
        if np.isnan(logits).any():
            remedy = getattr(self.learner_, "remedy", "train it anew")
            raise RunError(f"the learner's adaptation to these {len(self.support_)} images diverged: {remedy}")
        return logits

    def _answers(self, query: np.ndarray, size: int) -> np.ndarray:
        """[m, way] float64 logits of [m, ...], so many at a time; a terminal sees the progress of longer ones."""
        parts = []
        with progress.bar(total=len(query), desc="predict", unit="image", delay=_SOON) as bar:
            for start in range(0, len(query), size):
                parts.append(np.asarray(self._answer(query[start : start + size]), np.float64))
                bar.update(len(parts[-1]))
        return np.concatenate(parts)

    def _consumed(self, rows: np.ndarray) -> np.ndarray:
        """What the learner takes in place of images."""
        if self.image_shape_ is None or self.learner_.consumes == "images":
            return rows
        return rows.reshape(len(rows), -1) / np.float32(255) if self.embedder is None else self.embedder.transform(rows)

    def _takes_flat_rows(self) -> bool:
        return self.embedder is None and (self.learner is None or self.learner.consumes == "embeddings")

    def _trained_shape(self) -> tuple[int, ...] | None:
        """(height, width, channels) of the images that the learner was built for; None where that is not known.

        Raises:
          InputError: it was built for features.
        """
        recipe = getattr(self.learner_, "recipe", None)
        shape: tuple[int, ...] = recipe.context.image_shape if recipe else ()
        if len(shape) == 1:
            raise InputError(f"the learner takes features of shape [n, {shape[0]}], and these are images")
        return shape or None

    def __sklearn_clone__(self) -> FewShotClassifier:
        return type(self)(**self.get_params(deep=False))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.two_d_array = self._takes_flat_rows()
        return tags


def answerer(learner: Learner, support: np.ndarray, labels: np.ndarray, way: int, transductive: bool = False) -> Answer:
    """What the learner can do with the support set beforehand is done; the function from queries to logits."""
    if isinstance(learner, PreparedLearner):
        return learner.answerer(support, labels, way, transductive)
    if isinstance(learner, FeatureLearner):
        return functools.partial(_by_features, learner, np.asarray(learner.features(support)), labels, way)
    return functools.partial(_classify, learner, support, labels, way)


def _by_features(learner: FeatureLearner, support: Array, labels: Array, way: int, query: Array) -> Array:
    return learner.classify_features(support, labels, learner.features(query), way)


def _classify(learner: Learner, support: Array, labels: Array, way: int, query: Array) -> Array:
    return learner.classify(support, labels, query, way)


def _rank(rows: Any) -> int:
    """Number of axes."""
    try:
        return rows.ndim if hasattr(rows, "ndim") else np.asarray(rows).ndim
    except ValueError:
        return 3  # arrays of several shapes can only be images
