"""Classifies a folder of pictures with a run's learner, given a folder of labeled ones."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from cactus_tf import datasets, plugins
from cactus_tf.contracts import BuiltByName, Embedder
from cactus_tf.datasets import Pictures, read_all, read_classes
from cactus_tf.errors import InputError
from cactus_tf.inference import heads, pseudo_tasks, rejection, temperature
from cactus_tf.inference.classifier import FewShotClassifier
from cactus_tf.runs import restoring, training_pictures
from cactus_tf.runs.restoring import Restored
from cactus_tf.utils import near_duplicates
from cactus_tf.utils.arrays import check_finite
from cactus_tf.utils.digests import digests, in_both
from cactus_tf.utils.near_duplicates import EMBEDDING_COSINE, THUMBNAIL_COSINE, Compared
from cactus_tf.utils.paths import identity

log = logging.getLogger(__name__)

_HEADS = {"prototype": "class means", "logistic": "logistic regression"}
_NAMED = 5  # skipped files that are named
_CERTAIN = 0.995  # prints as 100%
_LIGHT = 127  # the median pixel of dark ink on paper is above it


class Predictions(NamedTuple):
    """A learner's predictions for pictures.

    Attributes:
      queries: the m pictures, with labels if they are known.
      classes: [way] names, sorted.
      probabilities: [m, way] float64.
      algo: name of the learner.
      support: number of labeled pictures that it learned the classes from.
      source: what they were made from, as JSON values by name: run, support, query, algo and settings.
      refused: [m] whether a picture is of none of the classes; None if that was not asked.
      similarity: [m] the cosine to the nearest class mean, by which pictures are refused; None if that was not asked.
    """

    queries: Pictures
    classes: np.ndarray
    probabilities: np.ndarray
    algo: str
    support: int
    source: Mapping[str, Any] = MappingProxyType({})
    refused: np.ndarray | None = None
    similarity: np.ndarray | None = None

    @property
    def predicted(self) -> np.ndarray:
        """[m] names of the most probable classes."""
        return self.classes[self.probabilities.argmax(axis=1)]

    @property
    def known(self) -> np.ndarray:
        """[m] whether the true class is one of the classes; labels must be known."""
        assert self.queries.labels is not None
        return np.isin(self.queries.labels, self.classes)

    @property
    def correct(self) -> np.ndarray:
        """[m] whether the prediction is the true class or, of a refused picture, none is; labels must be known."""
        named = self.predicted == self.queries.labels
        return named if self.refused is None else np.where(self.refused, ~self.known, named)

    def of_class(self, name: str) -> np.ndarray:
        """[m] whether a picture is predicted as this class, and not refused."""
        chosen = self.predicted == name
        return chosen if self.refused is None else chosen & ~self.refused

    @property
    def certainty(self) -> np.ndarray:
        """[m] probability of the most probable class, 0..1."""
        return self.probabilities.max(axis=1)

    @property
    def classifier(self) -> str:
        """What made them, in words: the learner, or a head on its features."""
        head = _HEADS.get(str(self.source.get("head")))
        return f"{head} on {self.algo}" if head else self.algo

    @property
    def graded(self) -> bool:
        """Whether any prediction is below 100%; with one nearest neighbor none ever is."""
        return bool((self.certainty < _CERTAIN).any())


def predict(
    run: str | Path,
    support: str | Path,
    query: str | Path,
    algo: str | None = None,
    *,
    evaluate: bool = False,
    transductive: bool = False,
    invert: bool = False,
    head: str = "auto",
    reject: float | None = None,
) -> Predictions:
    """Learns classes from a folder of labeled pictures and predicts those of another folder.

    Pictures are decoded, cropped and resized like those of the run's data set; if that data set has no pictures of its
    own, like those of `--dataset=folder`. Pictures with more than 8 bits are read in the range of the run's pictures;
    if those had 8 bits, in the range that the support pictures use.

    Args:
      run: the folder of a run.
      support: folder or zip archive with a subfolder of pictures per class.
      query: folder or zip archive of pictures, in subfolders or not; or one picture.
      algo: learner of the run; needed only if several are meta-trained.
      evaluate: whether the query folder has a subfolder per class, too; with `reject`, also of other classes.
      transductive: as in `FewShotClassifier`.
      invert: swap light and dark.
      head: what turns features into classes, one of `heads.HEADS`.
      reject: share of true members that are called "none of these", 0..1, so that pictures of other classes are, too;
        None: every picture gets a class.

    Raises:
      InputError: nothing to restore (see `FewShotClassifier.from_run`), a run on features, or folders that are missing,
        have no readable picture, have one class only, or query classes that `support` lacks without `reject`; a `head`
        or `reject` without features, or `reject` without the run's training pictures.
    """
    given = {"run": run, "support": support, "query": query}
    restored = restoring.restore(run, algo)
    if restored.features:
        raise InputError(f"{run} learned from features, not from images: choose a run on images")
    heads.check(head, restored.learner, restored.name, transductive)
    _check_reject(reject, restored)
    shape, dataset = restored.image_shape, restored.dataset
    decode = datasets.picture_decoder(dataset, shape, restored.dataset_options)
    decode = functools.partial(_inverted, decode=decode) if invert else decode
    labeled = read_classes("--support", support, decode, shape, restored.pixel_range)
    assert labeled.labels is not None
    classes = np.unique(labeled.labels)
    if len(classes) < 2:
        raise InputError(f"--support {support} has one class, {classes[0]}: add a subfolder of pictures of another")
    queries = (read_classes if evaluate else read_all)("--query", query, decode, shape, labeled.pixel_range)
    _check_classes(queries, classes.tolist(), reject is not None)
    _log_reading(labeled, queries, shape)
    if plugins.info("datasets", dataset).light_on_dark and np.median(labeled.images) > _LIGHT:
        log.warning("these pictures are light, and the run learned light ink on black: --invert swaps light and dark")
    known, asked = (_consumed(restored, pictures) for pictures in (labeled, queries))
    _warn_of_near(restored, (labeled, queries), (known, asked))
    pretrained = restored.embedder_name == "pretrained"
    head = heads.chosen(head, restored.learner, labeled.labels, pretrained, transductive)
    if head != "learner":
        log.info("classify: %s on the features of %s", _HEADS[head], restored.name)
    on_features = heads.on_features(restored.learner, head)
    classifier = FewShotClassifier(restored.learner, transductive=transductive, head=head)
    probabilities = classifier.fit(known, labeled.labels).predict_proba(asked)
    calibrated: dict[str, Any] = {}
    training = _training_features(run, restored) if on_features or reject is not None else None
    if on_features:
        calibrated["temperature"] = _temperature(run, on_features, training, labeled.labels, head == "logistic")
        probabilities = temperature.rescaled(probabilities, calibrated["temperature"])
        log.info("classify: temperature %(temperature)g, from clusters of the run's pictures", calibrated)
    places = {name: identity(place) for name, place in given.items()}
    source = {**places, "algo": restored.name, "transductive": transductive, "invert": invert}
    source |= {**({"head": head} if head != "learner" else {}), **calibrated}
    refused, similarity = None, None
    if reject is not None:
        source["reject"] = reject
        if training is None:
            raise InputError(f"--reject needs the training pictures of {run}, which are gone: rerun its command")
        known, asked = (heads.features(restored.learner, part) for part in (known, asked))
        refused = rejection.refused(known, labeled.labels, asked, training, reject)
        similarity = rejection.similarity(known, labeled.labels, asked)
    number = len(labeled.images)
    return Predictions(queries, classes, probabilities, restored.name, number, source, refused, similarity)


def _check_reject(reject: float | None, restored: Restored) -> None:
    """Refuses a share that is none, and a learner without features."""
    if reject is None:
        return
    if not 0 < reject < 1:
        raise InputError(f"--reject={reject:g}: it is a share of true members, between 0 and 1, such as 0.05")
    if not heads.has_features(restored.learner):
        raise InputError(f"--reject needs a feature vector of each picture, and {restored.name} has none: leave it out")


def _temperature(
    run: str | Path, fit: heads.Fit, training: np.ndarray | None, labels: np.ndarray, sharpen: bool
) -> float:
    """The temperature of a head: fitted on pseudo-tasks, or 1 if the run's pictures are gone."""
    if training is None:
        log.warning("the training pictures of %s are gone, so the probabilities are not calibrated", run)
        return 1.0
    head = functools.partial(heads.probabilities, fit)
    return round(temperature.fitted(head, training, *pseudo_tasks.size(labels), sharpen=sharpen), 3)


def _training_features(run: str | Path, restored: Restored) -> np.ndarray | None:
    """[t, dim] features of a sample of the run's training pictures; None if they are gone."""
    on_images = restored.embedder is None
    rows = restoring.training_images(run) if on_images else training_pictures.training_embeddings(run)
    most = pseudo_tasks.IMAGES if on_images else pseudo_tasks.EMBEDDINGS
    return None if rows is None else heads.features(restored.learner, pseudo_tasks.sample(rows, most))


def _consumed(restored: Restored, pictures: Pictures) -> np.ndarray:
    """What the learner takes for these pictures: the images, or their embeddings."""
    if restored.embedder is None:
        return pictures.images
    return embedded(restored.embedder, restored.embedder_name, pictures)


def embedded(embedder: Embedder, name: str, pictures: Pictures) -> np.ndarray:
    """[n, dim] float32 of pictures, every number finite."""
    names = np.array([file.encode() for file in pictures.files.tolist()])
    named: dict[str, Any] = {"names": names} if plugins.info("embedders", name).takes_names else {}
    embeddings = np.asarray(embedder.transform(pictures.images, **named), np.float32)
    check_finite(embeddings, name)
    return embeddings


def _warn_of_near(
    restored: Restored, pictures: tuple[Pictures, Pictures], consumed: tuple[np.ndarray, np.ndarray]
) -> None:
    """Warns of queries that are near-duplicates of support pictures, without those that are equal.

    Args:
      restored: the learner.
      pictures: labeled ones and queries.
      consumed: what the learner takes for them.
    """
    labeled, queries = pictures
    copies = near_duplicates.thumbnails(queries.images), near_duplicates.thumbnails(labeled.images)
    alike = near_duplicates.nearest(Compared(copies[0], THUMBNAIL_COSINE), copies[1])
    embedder = restored.embedder
    if isinstance(embedder, BuiltByName) and embedder.recipe.context.norm == "centered":
        closest = near_duplicates.nearest(Compared(consumed[1], EMBEDDING_COSINE), consumed[0])
        alike = np.where(alike < 0, closest, alike)
    alike[np.isin(digests(queries.images), digests(labeled.images))] = -1
    near = np.flatnonzero(alike >= 0)
    if len(near):
        log.warning(
            "%s of %s query pictures are near-duplicates of pictures in --support (such as %s and %s): they do not "
            "test new pictures",
            f"{len(near):,}", f"{len(alike):,}", queries.files[near[0]], labeled.files[alike[near[0]]],
        )  # fmt: skip


def _check_classes(queries: Pictures, classes: Sequence[str], reject: bool) -> None:
    """Refuses query labels that no support picture has, unless pictures of none of the classes are to be refused."""
    unknown = set() if queries.labels is None else set(queries.labels.tolist()) - set(classes)
    if not unknown:
        return
    found = f"--query has subfolders that --support lacks, {', '.join(sorted(unknown))}"
    if not reject:
        raise InputError(
            f"{found}: name them like the classes ({', '.join(classes)}), add --reject=0.05 to count them as right if "
            'they are "none of these", or omit --evaluate'
        )
    log.info('%s: their pictures are right if they are "none of these"', found)


def _inverted(content: bytes, decode: Callable[[bytes], np.ndarray]) -> np.ndarray:
    return 255 - decode(content)


def log_pictures(name: str, pictures: Pictures) -> None:
    """Logs what was left out of the pictures of a folder; `name` is what the user calls it."""
    if pictures.hidden:
        log.info("%s: %s", name, pictures.hidden)
    if pictures.passed_over:
        log.warning("%s: %s", name, pictures.passed_over)
    if pictures.skipped:
        some = "; ".join(f"{s.name} {s.reason}" for s in pictures.skipped[:_NAMED])
        more = f"; and {len(pictures.skipped) - _NAMED:,} more" if len(pictures.skipped) > _NAMED else ""
        log.warning("%s: %s skipped: %s%s", name, f"{len(pictures.skipped):,}", some, more)


def _log_reading(labeled: Pictures, queries: Pictures, shape: tuple[int, ...]) -> None:
    """Logs how many pictures were read, which were skipped, and how many queries the learner has seen."""
    known, asked, size = f"{len(labeled.files):,}", f"{len(queries.files):,}", "x".join(map(str, shape))
    log.info("read: %s support pictures, %s to classify, as %s", known, asked, size)
    log_pictures("--support", labeled)
    log_pictures("--query", queries)
    both = in_both(digests(queries.images), digests(labeled.images))
    if both:
        log.warning("%s of %s query pictures are in --support, too: they do not test new pictures", f"{both:,}", asked)
