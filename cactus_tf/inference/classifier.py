"""A scikit-learn classifier around a learner: fit it on a few labeled images, and it classifies others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from cactus_tf import learners
from cactus_tf.contracts import (
    AdaptingLearner,
    BuiltByName,
    Embedder,
    FeatureLearner,
    Learner,
    MetaLearner,
    PreparedLearner,
)
from cactus_tf.errors import InputError, RunError
from cactus_tf.inference import conversion, heads, saving
from cactus_tf.utils import progress
from cactus_tf.utils.arrays import check_finite
from cactus_tf.utils.paths import expanded
from cactus_tf.utils.text import first_line

_CHUNK = 256  # queries per call of the learner


class FewShotClassifier(ClassifierMixin, BaseEstimator):
    """Classifies images after seeing a few labeled examples of each class.

    Images are [n, height, width] or [n, height, width, channels] of any size, gray or color, or a list of images of
    several sizes. Integers are in 0..255; those of more than 8 bits in `pixel_range`, where it is given. Booleans are
    black and white. Floats are in 0..1 if none given to `fit` is above 1, else in 0..255; `predict` takes them in the
    range of `fit`. All are converted to 8-bit pixels of the shape that the learner was trained on. A learner of
    embeddings without an embedder takes flat rows [n, dim] unchanged, and images as their pixels.

    `cross_val_score` and `clone` share the learner, which `fit` never changes. Use `n_jobs=1`: TensorFlow's functions
    cannot be copied to other processes.

    >>> import numpy as np
    >>> from cactus_tf import FewShotClassifier
    >>> images = np.random.default_rng(0).integers(0, 100, (6, 28, 28), np.uint8)
    >>> images[:3] += 100
    >>> FewShotClassifier().fit(images[1:5], ["day", "day", "night", "night"]).predict(images[[0, 5]]).tolist()
    ['day', 'night']

    Args:
      learner: a trained learner; None takes the nearest neighbor, by pixels or by flat rows.
      embedder: a fitted embedder, for a learner that consumes embeddings of images.
      transductive: let the queries of one `predict` share batch statistics, if the learner has batch norm, as in the
        evaluation of MAML and its relatives. By default each query is answered alone: its prediction does not depend on
        the others. docs/algorithm.md has the difference in accuracy.
      pixel_range: the values of 16-bit integers that become 0 and 255, such as (0, 4095) for 12-bit pictures.
      head: what turns features into classes, as `cactus-tf-predict --head`: "learner" (the learner itself), "prototype"
        (the nearest class mean), "logistic" (logistic regression), or "auto": logistic for an embedder `pretrained` and
        at least five images of each class, else learner.

    Attributes:
      classes_: [way] the labels, sorted.
      head_: the head that is used.
    """

    def __init__(
        self,
        learner: Learner | None = None,
        embedder: Embedder | None = None,
        transductive: bool = False,
        pixel_range: tuple[float, float] | None = None,
        head: str = "learner",
    ):
        self.learner = learner
        self.embedder = embedder
        self.transductive = transductive
        self.pixel_range = pixel_range
        self.head = head

    @classmethod
    def from_run(
        cls, run: str | Path, algo: str | None = None, transductive: bool = False, head: str = "learner"
    ) -> FewShotClassifier:
        """A classifier with a learner of a run and the range of its pictures, not fitted yet.

        Args:
          run: the run's folder.
          algo: which of its learners; needed only if several are meta-trained.
          transductive, head: as in the constructor.

        Raises:
          InputError: not a run, a run of another version, an unknown or untrained learner, or a missing embedder.
        """
        from cactus_tf.runs.restoring import restore

        restored = restore(run, algo)
        return cls(restored.learner, restored.embedder, transductive, restored.pixel_range, head)

    def fit(self, X: Any, y: ArrayLike) -> FewShotClassifier:
        """Learns the classes.

        Args:
          X: images, see the class; any number per class.
          y: [n] labels of any type that sorts.

        Raises:
          InputError: images and labels differ in number, there is only one class or more than the learner's head has
            outputs, X is not an array of images, or a `head` that needs features for a learner without them.
        """
        self.learner_ = learners.build("nearest_neighbours") if self.learner is None else self.learner
        support, y = self._fitting_rows(X, y)
        if y.dtype.kind != "O":  # scikit-learn accepts no objects but strings
            check_classification_targets(y)
        classes, labels = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise InputError(f"all {len(y)} labels are one class, {classes.tolist()[0]!r}: give images of two or more")
        return self._learn(support, labels, classes)

    def predict_proba(self, X: Any) -> np.ndarray:
        """[m, way] float64: softmax of the learner's logits, columns as `classes_`. Not calibrated.

        Args:
          X: [m, ...] images, as in `fit`.

        Raises:
          NotFittedError: `fit` was not called.
          InputError: X is not an array of images, or is in another range than the images of `fit`.
          RunError: the learner's adaptation diverged.
        """
        return softmax(self._logits(X), axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """[m] the most probable label, the first of `classes_` if several are equal; as `predict_proba`."""
        logits = self._logits(X)
        return self.classes_[logits.argmax(axis=1)]

    def save(self, folder: str | Path) -> None:
        """Writes learner, embedder and, once fitted, the support set; `load` needs nothing else.

        An embedder of your own is saved by its `save`; `load` then needs one of its class, or the plug-in that it is.

        Raises:
          InputError: a learner that was not built by name, an embedder that was not and has no `save` and `load`, a
            learner that learns from all training images, or labels that JSON cannot hold.
        """
        learner = learners.build("nearest_neighbours") if self.learner is None else self.learner
        state = saving.State(learner, self.embedder, self.transductive, self._fitted(), self.pixel_range, self.head)
        saving.save(state, expanded(folder))

    @classmethod
    def load(cls, folder: str | Path, embedder: Embedder | type[Embedder] | None = None) -> FewShotClassifier:
        """Reads what `save` wrote, and adapts to the support set again.

        Args:
          folder: of `save`.
          embedder: for a classifier with an embedder that was not built by name: an unfitted one of the same class,
            whose `load` is called, or the class, if it takes no arguments.

        Raises:
          InputError: the folder has no classifier, a damaged one, one of another version, or one with an embedder or
            plug-in that was not given.
        """
        state = saving.load(expanded(folder), embedder)
        classifier = cls(state.learner, state.embedder, state.transductive, state.pixel_range, state.head)
        try:
            return classifier if state.fitted is None else classifier._refit(state.learner, state.fitted)
        except (InputError, RunError):
            raise
        except Exception as error:  # TensorFlow and NumPy raise errors of many kinds where parts do not fit
            raise InputError(f"{folder} has parts that do not fit ({first_line(error)}): save it again") from error

    def _fitted(self) -> saving.Fitted | None:
        """What `fit` learned; None before it."""
        if "classes_" not in vars(self):
            return None
        return saving.Fitted(self.support_, self.support_labels_, self.classes_, self.image_shape_, self.pixel_scale_)

    def _refit(self, learner: Learner, fitted: saving.Fitted) -> FewShotClassifier:
        self.learner_, self.image_shape_, self.pixel_scale_ = learner, fitted.image_shape, fitted.pixel_scale
        if fitted.image_shape is None:
            self.n_features_in_ = fitted.support.shape[1]
        return self._learn(fitted.support, fitted.labels, fitted.classes)

    def _fitting_rows(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """The support set, uint8 images or flat rows, and the labels; sets `image_shape_` and `pixel_scale_`."""
        self.pixel_scale_, self.image_shape_ = None, None
        self.__dict__.pop("n_features_in_", None)
        if self._takes_flat_rows() and _rank(X) < 3:
            return validate_data(self, X, y, dtype=np.float32)
        y = column_or_1d(y, warn=True)
        self.pixel_scale_ = conversion.pixel_scale(X)
        images = conversion.prepare(X, self.pixel_scale_, self._trained_shape(), self.pixel_range)
        if len(images) != len(y):
            raise InputError(f"{len(images)} images have {len(y)} labels: give one label for each image")
        self.image_shape_ = tuple(images.shape[1:])
        return images, y

    def _learn(self, support: np.ndarray, labels: np.ndarray, classes: np.ndarray) -> FewShotClassifier:
        """From [n, ...] uint8 images or flat rows, and labels 0..way-1."""
        self.support_, self.support_labels_ = support, labels
        learner, name = self.learner_, _name(self.learner_)
        heads.check(self.head, learner, name, self.transductive)
        self.head_ = heads.chosen(self.head, learner, labels, _name(self.embedder) == "pretrained", self.transductive)
        known = self._consumed(support)
        self._answer = heads.answerer(learner, known, labels, len(classes), self.transductive, self.head_)
        self.classes_ = classes
        return self

    def _logits(self, X: Any) -> np.ndarray:
        """[m, way] float64."""
        check_is_fitted(self, "classes_")
        if self.image_shape_ is None:
            query = validate_data(self, X, reset=False, dtype=np.float32)
        else:
            query = self._consumed(conversion.prepare(X, self.pixel_scale_, self.image_shape_, self.pixel_range))
        by_image = self.head_ != "learner" or isinstance(self.learner_, FeatureLearner | PreparedLearner)
        alone = by_image and not self.transductive
        logits = self._in_chunks(query, _CHUNK if alone else len(query))
        if np.isnan(logits).any():
            remedy = self.learner_.remedy if isinstance(self.learner_, AdaptingLearner | MetaLearner) else ""
            raise RunError(
                f"the learner's adaptation to these {len(self.support_)} images diverged: {remedy or 'retrain it'}"
            )
        return logits

    def _in_chunks(self, query: np.ndarray, size: int) -> np.ndarray:
        """[m, way] float64 logits of [m, ...], `size` queries at a time, with a progress bar if it takes a while."""
        parts = []
        with progress.Bar(desc="predict", total=len(query), unit="image", delay=progress.DELAY) as bar:
            for start in range(0, len(query), size):
                parts.append(np.asarray(self._answer(query[start : start + size]), np.float64))
                bar.update(len(parts[-1]))
        return np.concatenate(parts)

    def _consumed(self, rows: np.ndarray) -> np.ndarray:
        """What the learner takes for these images."""
        if self.image_shape_ is None or self.learner_.consumes == "images":
            return rows
        if self.embedder is None:
            return rows.reshape(len(rows), -1) / np.float32(255)
        embeddings = self.embedder.transform(rows)
        check_finite(embeddings, _name(self.embedder))
        return embeddings

    def _takes_flat_rows(self) -> bool:
        return self.embedder is None and (self.learner is None or self.learner.consumes == "embeddings")

    def _trained_shape(self) -> tuple[int, ...] | None:
        """(height, width, channels) of the images that the learner was built for; None if unknown."""
        recipe = self.learner_.recipe if isinstance(self.learner_, BuiltByName) else None
        shape: tuple[int, ...] = recipe.context.image_shape if recipe else ()
        if len(shape) == 1:
            raise InputError(f"the learner takes features of shape [n, {shape[0]}], not images")
        return shape or None

    def __sklearn_clone__(self) -> FewShotClassifier:
        return type(self)(**self.get_params(deep=False))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.two_d_array = self._takes_flat_rows()
        return tags


def _name(member: Any) -> str:
    """The name of a learner or embedder; that of its type if it was not built by name."""
    return member.recipe.name if isinstance(member, BuiltByName) else type(member).__name__


def _rank(rows: Any) -> int:
    """Number of axes."""
    try:
        return rows.ndim if isinstance(rows, np.ndarray) else np.asarray(rows).ndim
    except ValueError:
        return 3  # arrays of several shapes can only be images
