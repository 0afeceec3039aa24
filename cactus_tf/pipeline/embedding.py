"""Stage 2: images become embeddings, without labels."""

from __future__ import annotations

import contextlib
import functools
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from cactus_tf import embedders, plugins, report
from cactus_tf.config.plan import EmbeddingPlan
from cactus_tf.contracts import Embedder, LearnedEmbedder
from cactus_tf.errors import InputError
from cactus_tf.runs import restoring, tensorboard
from cactus_tf.runs.artifacts import Artifact
from cactus_tf.runs.shards import ROWS, Made, Shards
from cactus_tf.types import ImageSet, Splits
from cactus_tf.utils import files
from cactus_tf.utils.arrays import check_finite
from cactus_tf.utils.distribution import ALONE, Distribution

log = logging.getLogger(__name__)

Embeddings = dict[str, np.ndarray]
"""By split, [n, dim] float32."""


def check_ready(plan: EmbeddingPlan | None, artifacts: Path) -> None:
    """Lets an embedder that is not stored yet fetch and check what it needs, before images are prepared.

    Raises:
      InputError: something is missing or cannot be used.
    """
    if plan is None or plan.embedder == "features":
        return
    info = plugins.info("embedders", plan.embedder)
    if info.ready is not None and not Artifact(artifacts, "embedder", plan.key).files():
        info.ready(plan.options)


def embed(
    plan: EmbeddingPlan | None,
    data: Splits,
    artifacts: Path,
    folder: Path,
    verify: bool = False,
    distribution: Distribution = ALONE,
) -> tuple[Embedder | None, Embeddings]:
    """The fitted embedder, and the embeddings of the splits that are used.

    Args:
      plan: how to embed; None if nothing reads embeddings.
      data: [n, h, w, c] uint8 images, or [n, dim] float32 features.
      artifacts: the folder that runs share.
      folder: of the run, for TensorBoard events.
      verify: whether large files are verified whole; see `Checksums`.
      distribution: the workers. The chief fits the embedder, on all its devices if there are no other workers; all
        embed, a shard of images at a time.

    Returns:
      None and nothing without a plan; None and the features if rows are features.
    """
    if plan is None:
        log.info("embed: not needed")
        return None, {}
    if plan.embedder == "features":
        log.info("embed: not needed, the features are the embeddings; --embedder is ignored")
        return None, {split: data[split].images for split in plan.splits}
    fitted = Artifact(artifacts, "embedder", plan.key, verify)
    arrays = Artifact(artifacts, "embeddings", plan.embeddings_key, verify)
    shards = Shards(arrays.folder)
    with distribution.chief_first(), files.locked(fitted.folder):
        if not fitted.files():
            shards.remove()  # of an embedder that was fitted before
        embedder = fit_or_load(plan, data.train, fitted, folder, distribution.own_devices)
    transforms = {split: _Transform(embedder, data[split], plan.embedder, split) for split in plan.splits}
    if distribution.workers.others:
        missing = [t for split, t in transforms.items() if not arrays.has_files([f"{split}.npy"])]
        made_by = {name: t for t in missing for name in t.shards}
        store = functools.partial(_store, shards, made_by)
        shards.share(list(made_by), store, distribution.workers)
    with distribution.chief_first(), files.locked(fitted.folder):
        embeddings = {split: arrays.cache(split, functools.partial(t.all, shards)) for split, t in transforms.items()}
        if plan.norm_key:
            embedder, embeddings = _normalized(plan, embedder, embeddings, artifacts)
    if distribution.workers.is_chief:  # now no other worker waits for a shard
        with files.locked(fitted.folder):
            shards.remove()
    log.info("embed: %s, %d numbers per image", plan.embedder, embeddings["train"].shape[1])
    return embedder, embeddings


def fit_or_load(
    plan: EmbeddingPlan,
    train: ImageSet,
    artifact: Artifact,
    folder: Path,
    devices: tf.distribute.Strategy = ALONE.strategy,
) -> Embedder:
    """The embedder in the artifact, without normalization; fitted first, on the devices, if there is none."""
    info, several = plugins.info("embedders", plan.embedder), devices.num_replicas_in_sync > 1
    with devices.scope() if several and info.divided else contextlib.nullcontext():
        embedder = embedders.plain(plan.embedder, plan.context, plan.options)
    recorded, partial = artifact.files(), artifact.folder / "partial"
    if recorded and artifact.has_files(recorded):
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed while it removed them
        return embedder.load(artifact.folder / "model")
    callbacks = []
    if several and info.trained and not info.divided:
        log.info("embed: %s is fitted on one device; it cannot be divided", plan.embedder)
    if info.trained:
        events, shown = folder / "events" / "embedder", report.pictured(train.images)
        callbacks = [tensorboard.EmbedderSummaries(events, info.metrics, info.pictures, shown)]
    if info.takes_learner:
        assert isinstance(embedder, LearnedEmbedder)
        restored = restoring.restore(plan.options.run, plan.options.algo)
        embedder.use(restored.learner)
        _warn_of_unfinished(restored, plan.options.run)
        if info.fingerprint is not None and info.fingerprint(plan.options) != plan.key["options"]["dir"]:
            raise InputError(f"--learner_run={plan.options.run} is still being trained: start again when it has ended")
    named = _named(plan.embedder, train)
    embedder.fit(train.images, seed=plan.seed, folder=partial, callbacks=callbacks, **named)
    model = artifact.folder / "model"
    model.mkdir(exist_ok=True)
    embedder.save(model)
    artifact.record_files([p.relative_to(artifact.folder).as_posix() for p in model.rglob("*") if p.is_file()])
    shutil.rmtree(partial, ignore_errors=True)  # its checkpoints are as large as the network
    return embedder


def _warn_of_unfinished(restored: restoring.Restored, run: str) -> None:
    training = restored.plan.training
    if training is not None and training.select == "last" and restored.step < training.steps:
        done, all_steps = f"{restored.step:,}", f"{training.steps:,}"
        log.warning("--learner_run=%s: %s has %s of its %s steps; rerun its command to finish it",
                    run, restored.name, done, all_steps)  # fmt: skip


def _named(embedder: str, images: ImageSet) -> dict[str, np.ndarray]:
    """The argument `names` for an embedder that takes it, of images that are files."""
    takes_names = plugins.info("embedders", embedder).takes_names
    return {"names": images.names} if takes_names and images.names is not None else {}


def _normalized(
    plan: EmbeddingPlan, embedder: Embedder, embeddings: Embeddings, artifacts: Path
) -> tuple[Embedder, Embeddings]:
    """The embedder and its embeddings, normalized; the plain ones stay stored for runs with another norm."""
    arrays = Artifact(artifacts, "embeddings", plan.used_key)
    norm, share = plan.context.norm or "none", plan.context.center
    center = arrays.cache("center", lambda: embedders.center(embeddings["train"], norm, share))
    normalized = {
        split: arrays.cache(split, functools.partial(embedders.normalized_pieces, rows, center))
        for split, rows in embeddings.items()
    }
    return embedders.normalized(embedder, plan.context, np.array(center)), normalized


def _store(shards: Shards, made_by: Mapping[str, _Transform], names: Sequence[str]) -> None:
    for name in names:
        shards.get(name, made_by[name])


class _Transform:
    """Embeds the images of a split, a shard at a time; every number is finite.

    Args:
      embedder: the fitted one.
      images: of the split.
      name: of the embedder.
      split: its name.

    Attributes:
      shards: their names; one if the embedder finds embeddings by the names of files.
    """

    def __init__(self, embedder: Embedder, images: ImageSet, name: str, split: str):
        self._embedder, self._images, self._name = embedder, images, name
        self._named = _named(name, images)
        whole = len(images) <= ROWS or plugins.info("embedders", name).takes_names
        self._rows = max(1, len(images)) if whole else ROWS
        starts = range(0, max(1, len(images)), self._rows)
        self._starts = {f"{split}-{start:010d}-{min(len(images), start + self._rows):010d}": start for start in starts}
        self.shards = list(self._starts)

    def __call__(self, shard: str) -> np.ndarray:
        """[m, dim] float32 of a shard."""
        start = self._starts[shard]
        images = self._images.images[start : start + self._rows]
        embeddings = np.asarray(self._embedder.transform(images, **self._named), np.float32)
        check_finite(embeddings, self._name)
        return embeddings

    def all(self, shards: Shards) -> Made:
        """[n, dim] float32."""
        if len(self.shards) == 1:
            return shards.read_or_make(self.shards[0], lambda: self(self.shards[0]))
        return shards.joined(self.shards, len(self._images), self)
