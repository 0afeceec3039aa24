"""The straight line: prepare, embed, partition, train, evaluate, report. The place where the families meet."""

from __future__ import annotations

import functools
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from cactus_tf import datasets, partitioners, plugins, report
from cactus_tf.config import keys
from cactus_tf.config import schema as settings
from cactus_tf.config.plan import sized
from cactus_tf.config.schema import Config
from cactus_tf.contracts import DataContext, Embedder, EmbedderContext, PartitionContext
from cactus_tf.errors import InputError
from cactus_tf.preflight import check_mixture, check_sizes, classes, rehearse
from cactus_tf.report import board, figures, inspection
from cactus_tf.runs import artifacts, results, tensorboard
from cactus_tf.runs import folder as run_folder
from cactus_tf.runs.evaluation import evaluation_set, judge
from cactus_tf.runs.restoring import keep_inputs
from cactus_tf.runs.training import first_tasks, train
from cactus_tf.types import ImageSet, MixedPartitions, Partitions, Splits
from cactus_tf.utils import files, seeds

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")


def run(config: Config) -> list[dict[str, Any]]:
    """Goes through the stages up to `config.run.stage`; what earlier runs left is used.

    Returns:
      The rows of results.json, [] where the run stops before evaluation.
    """
    choose_threads(config)
    first_run = not _root(config).exists()
    folder = make_workdir(config)
    with files.locked(folder):
        run_folder.claim(folder, identity(config), results.provenance(config))
        log.info("%s", results.describe(config, folder))
        return stages(config, folder, first_run)


def stages(config: Config, folder: Path, first_run: bool) -> list[dict[str, Any]]:
    """The stages of `run`, in a workdir that is locked; a first run, one without artifacts, is told where they go."""
    clock = results.Clock(config.run.stage, folder / "seconds.json")
    with clock.stage("prepare"):
        data = prepare(config)
        if first_run:
            log.info("%s", results.places(config, data, folder))
        if config.run.stage == "prepare":
            show(config, data, folder)
        config = sized_and_checked(config, data)
    if clock.over:
        return []
    with clock.stage("embed"):
        embedder, embeddings = embed(config, data, folder)
        keep_inputs(config, data, bool(embeddings), folder)
    if clock.over:
        return []
    with clock.stage("partition"):
        partitions = partition(config, data, embeddings)
    if clock.over:
        return []
    with clock.stage("train"):
        tasks = first_tasks(config, data, partitions)
        board.before_training(config, data, embeddings.get("train"), partitions, tasks, folder / "events")
        learners = train(config, data, embedder, embeddings, partitions, folder)
    if clock.over:
        return []
    with clock.stage("evaluate"):
        rows = judge(config, data, embeddings, learners, folder, clock)
    results.write(config, rows, clock, folder)
    if not clock.over:
        with clock.stage("report"):
            write_report(report.Run(config, folder, data, rows, partitions, tasks, embedder))
    log.info("%s", results.closing_words(rows, folder))
    return rows


def sized_and_checked(config: Config, data: Splits) -> Config:
    """The settings with what only the data can tell.

    Raises:
      InputError: the data do not allow what was asked for.
    """
    config = sized(config, len(data.train), classes(config, evaluation_set(config, data)))
    check_sizes(config, data)
    check_mixture(config, data.train)
    rehearse(config, data)
    return config


def write_report(run: report.Run) -> None:
    """What was found, for TensorBoard and as a page."""
    board.after_evaluation(run.config, run.data, run.rows, run.folder / "events")
    report.write(run)


def choose_threads(config: Config) -> None:
    """Gives TensorFlow the threads that the learners ask for, unless it runs already or the user has chosen.

    Learners of many small kernels (`INTRA_OP_THREADS` = 1) run tasks side by side, a thread each; more threads inside a
    kernel would double their time. docs/benchmarks.md has the measurements.
    """
    wanted = [getattr(plugins.load("learners", name), "INTRA_OP_THREADS", None) for name in config.run.algo]
    chosen = min((n for n in wanted if n is not None), default=None)
    if chosen is None or "TF_NUM_INTRAOP_THREADS" in os.environ:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(chosen)
    except RuntimeError:
        log.debug("TensorFlow has started, its threads stay as they are")


def prepare(config: Config) -> Splits:
    """Images of the three splits, as memory maps."""
    store = artifacts.Artifact(_root(config), "data", keys.data(config))
    context = DataContext(
        store.cache,
        store.folder,
        image_size=config.data.image_size,
        eval_dir=config.data.eval_dir,
        options=config.options.get(config.data.dataset),
        report=functools.partial(files.write_json, store.folder / "prepared.json"),
        mixed=config.partition.supervised_fraction > 0,
    )
    with files.locked(store.folder):
        data = datasets.load(config.data.dataset, config.data.data_dir, context)
    sizes = ", ".join(f"{name} {len(getattr(data, name)):,}" for name in SPLITS)
    log.info("prepare: %s, %s images of %s", config.data.dataset, sizes, "x".join(map(str, data.image_shape)))
    say_left_out_files(store.folder / "prepared.json")
    return data


def say_left_out_files(path: Path) -> None:
    """Counts what was left out when the data were prepared, now or before, and says where it is listed."""
    found = files.read_json(path) if path.exists() else {}
    missing = found.get("missing", {}).get("number", 0) if isinstance(found.get("missing"), dict) else 0
    counts = [f"{n:,} {what}" for n, what in ((len(found.get("skipped", [])), "left out"), (missing, "missing")) if n]
    if counts:
        log.warning("prepare: files or folders %s; %s lists them", ", ".join(counts), path)


def show(config: Config, data: Splits, folder: Path) -> None:
    """Prints what is in the data and draws some of it."""
    log.info("%s", inspection.describe(data))
    if not keys.has_features(config):
        figures.write_contact_sheet(data, folder)
        log.info("a look at them: %s", folder / "contact_sheet.png")


def embed(config: Config, data: Splits, folder: Path) -> tuple[Embedder | None, dict[str, np.ndarray]]:
    """The fitted embedder, and embeddings by split, of those that are used; nothing where nobody needs them."""
    if not keys.needs_embeddings(config):
        log.info("embed: not needed")
        return None, {}
    splits = list(dict.fromkeys(["train", config.evaluation.eval_split]))
    if keys.has_features(config):
        log.info("embed: not needed, the features are the embeddings; --embedder is not used")
        return None, {split: getattr(data, split).images for split in splits}
    name = config.embedding.embedder
    store = artifacts.Artifact(_root(config), "embedder", keys.embedder(config))
    kept = artifacts.Artifact(_root(config), "embeddings", keys.embeddings(config))
    with files.locked(store.folder):
        embedder = fit_or_load(config, data, store, folder)
        embeddings = {
            split: kept.cache(split, functools.partial(embed_images, embedder, getattr(data, split), name))
            for split in splits
        }
    log.info("embed: %s, %d numbers per image", name, embeddings["train"].shape[1])
    return embedder, embeddings


def fit_or_load(config: Config, data: Splits, store: artifacts.Artifact, folder: Path) -> Embedder:
    """The embedder that the artifact holds, fitted first where it holds none."""
    name = config.embedding.embedder
    module = plugins.load("embedders", name)
    context = EmbedderContext(dataset=config.data.dataset, steps=config.embedding.embedder_steps)
    embedder = module.build(context, config.options.get(name))
    if store.files() and store.has_files(store.files()):
        return embedder.load(store.folder / "model")
    images, callbacks = data.train.images, []
    if hasattr(module, "METRICS"):
        some = report.pictured(images)
        pictures = getattr(module, "PICTURES", {})
        events = folder / "events" / "embedder"
        callbacks = [tensorboard.EmbedderSummaries(events, module.METRICS, pictures, some)]
    seed = seeds.derive(config.run.seed, "embedder")
    embedder.fit(images, seed=seed, folder=store.folder / "partial", callbacks=callbacks)
    (store.folder / "model").mkdir(exist_ok=True)
    embedder.save(store.folder / "model")
    store.record_files([str(p.relative_to(store.folder)) for p in (store.folder / "model").iterdir()])
    return embedder


def embed_images(embedder: Embedder, images: ImageSet, name: str) -> np.ndarray:
    """[n, dim] float32, every number finite.

    Raises:
      InputError: the embedder gave NaN or infinity.
    """
    embeddings = np.asarray(embedder.transform(images.images), np.float32)
    bad = np.count_nonzero(~np.isfinite(embeddings).all(axis=1))
    if bad:
        raise InputError(f"{name} gave NaN or infinite embeddings for {bad} of {len(embeddings)} images; train it anew")
    return embeddings


def partition(config: Config, data: Splits, embeddings: dict[str, np.ndarray]) -> Partitions:
    """The partitions of the training images that tasks are made from; none where nobody learns from tasks."""
    if not config.learners:
        log.info("partition: not needed")
        return []
    part = config.partition
    options = config.options.get(part.partitioner)
    partitioner = partitioners.make(part.partitioner, part.clusters, part.partitions, options)
    store = artifacts.Artifact(_root(config), "partitions", keys.partitions(config))
    context = PartitionContext(
        images=len(data.train),
        embeddings=embeddings.get("train"),
        labels=data.train.partitions,
        names=data.train.names,
        way=keys.largest_way(config),
        images_per_cluster=min((t.shot + t.query for t in config.learners.values()), default=1),
        seed=seeds.derive(config.run.seed, "partitions"),
        cache=store.cache,
    )
    with files.locked(store.folder):
        partitions = partitioner(context)
    first = partitions[0].sizes
    log.info("partition: %s, %d x %d clusters", part.partitioner, len(partitions), len(first))
    return mix(config, data, partitions)


def mix(config: Config, data: Splits, partitions: Partitions) -> Partitions:
    """The partitions, and true ones beside them where `supervised_fraction` asks for it."""
    fraction = config.partition.supervised_fraction
    if not fraction:
        return partitions
    true = data.train.supervised or data.train.partitions
    assert true
    log.warning("partition: a task has true labels with probability %g", fraction)
    return MixedPartitions(partitions, true, fraction)


def identity(config: Config) -> dict[str, Any]:
    """What a workdir belongs to: the settings that change the numbers, and what the user's files hold that are read."""
    files, others = keys.training_data(config).get("files"), keys.fingerprints(config)
    return {**settings.identity(config), **({"files": files} if files else {}), **({"read": others} if others else {})}


def make_workdir(config: Config) -> Path:
    """The workdir, made if need be."""
    files.make_folder(_root(config), "--artifacts_dir")
    names = (config.data.dataset, keys.embedder_name(config), keys.partitioner_name(config), "+".join(config.run.algo))
    default = Path("runs") / f"{'-'.join(names)}-{artifacts.key(identity(config))[:6]}"
    return files.make_folder(Path(config.run.workdir or default), "--workdir")


def _root(config: Config) -> Path:
    return Path(config.run.artifacts_dir)
