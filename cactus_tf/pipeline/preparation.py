"""Stage 1: image files become memory-mapped arrays."""

from __future__ import annotations

import dataclasses
import functools
import logging
from pathlib import Path

from cactus_tf import datasets
from cactus_tf.config.plan import DataPlan
from cactus_tf.contracts import DataContext, ignore, no_cache
from cactus_tf.pipeline import overlap
from cactus_tf.pipeline.sharing import SharedDecoding
from cactus_tf.report import inspection, sheets
from cactus_tf.runs.artifacts import Artifact
from cactus_tf.runs.inputs import PREPARED
from cactus_tf.runs.shards import Shards
from cactus_tf.types import Splits
from cactus_tf.utils import files
from cactus_tf.utils.distribution import ALONE, Distribution

log = logging.getLogger(__name__)


def prepare(plan: DataPlan, artifacts: Path, verify: bool = False, distribution: Distribution = ALONE) -> Splits:
    """Images of the three splits, as memory maps.

    Args:
      plan: what to prepare.
      artifacts: the folder that runs share.
      verify: whether large files are verified whole; see `Checksums`.
      distribution: the workers, which decode files together. The chief does everything else.
    """
    artifact = Artifact(artifacts, "data", plan.key, verify)
    context = DataContext(
        artifact.cache,
        artifact.folder,
        image_size=plan.image_size,
        eval_dir=plan.eval_dir,
        options=plan.options,
        report=functools.partial(files.write_json, artifact.folder / PREPARED),
        mixed=plan.mixed,
    )
    shards = Shards(artifact.folder)
    shared = SharedDecoding(shards, distribution)
    helping = dataclasses.replace(context, cache=no_cache, folder=None, report=ignore, share=shared)
    if not distribution.workers.is_chief:
        shared.help(lambda: datasets.load(plan.dataset, plan.data_dir, helping))
    elif distribution.workers.others:
        context = dataclasses.replace(context, share=shared)
    with distribution.chief_first():
        data = _load(plan, artifact, context)
        if distribution.workers.is_chief:
            shared.end()
    if distribution.workers.is_chief:  # now no other worker waits for a shard
        with files.locked(artifact.folder):
            shards.remove()
    return data


def _load(plan: DataPlan, artifact: Artifact, context: DataContext) -> Splits:
    """The images, with warnings of what is wrong with them."""
    report = artifact.folder / PREPARED
    with files.locked(artifact.folder):
        earlier = report.exists()
        data = datasets.load(plan.dataset, plan.data_dir, context)
    sizes = f"train {len(data.train):,}, val {len(data.val):,}, test {len(data.test):,}"
    log.info("prepare: %s, %s images of %s", plan.dataset, sizes, "x".join(map(str, data.image_shape)))
    _warn_of_skipped_files(report)
    if earlier:
        _warn_of_known_images(report, data)
    with files.locked(artifact.folder):
        overlap.warn_of_alike(plan, data, artifact)
    return data


def show(plan: DataPlan, data: Splits, folder: Path) -> None:
    """Prints what is in the data and draws a contact sheet."""
    log.info("%s", inspection.describe(data))
    if not plan.features:
        sheets.write_contact_sheet(data, folder)
        log.info("contact sheet: %s", folder / "contact_sheet.png")


def _warn_of_skipped_files(path: Path) -> None:
    """Counts the files that this or an earlier preparation skipped."""
    report = files.read_json_if_whole(path, dict, {})
    skipped, missing = report.get("skipped"), report.get("missing")
    numbers = [(len(skipped) if isinstance(skipped, list) else 0, "skipped")]
    numbers += [(missing.get("number", 0) if isinstance(missing, dict) else 0, "missing")]
    counts = [f"{n:,} {what}" for n, what in numbers if type(n) is int and n > 0]
    if counts:
        log.warning("prepare: files or folders %s; see %s", ", ".join(counts), path)


def _warn_of_known_images(path: Path, data: Splits) -> None:
    """Repeats the warning of an earlier preparation about images of val and test that are in train."""
    for split, number in files.read_json_if_whole(path, dict, {}).get("in_train", {}).items():
        log.warning("prepare: %s of %s %s images are in train, too", f"{number:,}", f"{len(data[split]):,}", split)
