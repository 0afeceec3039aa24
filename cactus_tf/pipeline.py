"""The straight line: prepare, embed, partition, train, evaluate, report. The only place where families meet."""

from __future__ import annotations

import functools
import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from cactus_tf import board, datasets, inspection, keys, plugins, report, results, seeds, summaries, workdir
from cactus_tf import config as settings
from cactus_tf.config import Config
from cactus_tf.contracts import (
    DataContext,
    Embedder,
    EmbedderContext,
    Learner,
    LearnerContext,
    MetaLearner,
    PartitionContext,
)
from cactus_tf.errors import InputError
from cactus_tf.evaluation import Classify, accuracy
from cactus_tf.judging import (
    evaluation_episodes,
    evaluation_set,
    evaluation_tasks,
    judge,
    small_classes,
    validation,
)
from cactus_tf.learners import make
from cactus_tf.report import figures
from cactus_tf.sampling import Episodes
from cactus_tf.training import meta_train
from cactus_tf.types import ImageSet, MixedPartitions, Partitions, Splits

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
INPUTS = "inputs.json"


def run(config: Config) -> list[dict[str, Any]]:
    """Goes through the stages up to `config.run.stage`; what earlier runs left is used.

    Returns:
      The rows of results.json, [] where the run stops before evaluation.
    """
    choose_threads(config)
    first_run = not _root(config).exists()
    folder = make_workdir(config)
    with workdir.locked(folder):
        workdir.claim(folder, identity(config), results.provenance(config))
        log.info("%s", results.describe(config, folder))
        clock = results.Clock(config.run.stage, folder / "seconds.json")
        with clock.stage("prepare"):
            data = prepare(config)
            if first_run:
                log.info("%s", results.places(config, data, folder))
            if config.run.stage == "prepare":
                show(config, data, folder)
            config = settings.sized(config, len(data.train), classes(config, evaluation_set(config, data)))
            check_sizes(config, data)
            check_mixture(config, data.train)
            rehearse(config, data)
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
            tasks, events = first_tasks(config, data, partitions), folder / "events"
            board.before_training(config, data, embeddings.get("train"), partitions, tasks, events)
            learners = train(config, data, embedder, embeddings, partitions, folder)
        if clock.over:
            return []
        with clock.stage("evaluate"):
            rows = judge(config, data, embeddings, learners, folder) if evaluation_set(config, data).partitions else []
        results.write(config, rows, clock, folder)
        if not clock.over:
            with clock.stage("report"):
                board.after_evaluation(config, data, rows, events)
                report.write(report.Run(config, folder, data, rows, partitions, tasks, embedder))
        log.info("%s", results.closing_words(rows, folder))
    return rows


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
    store = workdir.Artifact(_root(config), "data", keys.data(config))
    context = DataContext(
        store.memo,
        store.folder,
        image_size=config.data.image_size,
        eval_dir=config.data.eval_dir,
        options=config.options.get(config.data.dataset),
        found=functools.partial(workdir.write_json, store.folder / "prepared.json"),
        mixed=config.partition.supervised_fraction > 0,
    )
    with workdir.locked(store.folder):
        data = datasets.load(config.data.dataset, config.data.data_dir, context)
    sizes = ", ".join(f"{name} {len(getattr(data, name)):,}" for name in SPLITS)
    log.info("prepare: %s, %s images of %s", config.data.dataset, sizes, "x".join(map(str, data.image_shape)))
    say_left_out_files(store.folder / "prepared.json")
    return data


def say_left_out_files(path: Path) -> None:
    """Counts what was left out when the data were prepared, now or before, and says where it is listed."""
    found = workdir.read_json(path) if path.exists() else {}
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


def classes(config: Config, images: ImageSet) -> int:
    """Number of classes of the first partition by labels with images for every task; 0 where there are no labels."""
    if not images.partitions:
        return 0
    needed = max(config.evaluation.eval_shots) + config.evaluation.eval_query
    return int(np.count_nonzero(images.partitions[0].sizes >= needed))


def check_sizes(config: Config, data: Splits) -> None:
    """Holds clusters and training episodes to the number of training images.

    Raises:
      InputError: more of them than there are images, or a learner that wants images where rows are features.
    """
    images = len(data.train)
    networks = {**config.networks, **config.learners}
    if keys.has_features(config) and not all(network.on_embeddings for network in networks.values()):
        raise InputError(
            f"the rows of {config.data.dataset} are features, not images, and {', '.join(networks)} would take images: "
            "say --on_embeddings"
        )
    for name, training in config.learners.items():
        needed = training.way * (training.shot + training.query)
        if needed > images:
            raise InputError(
                f"--way, --shot, --query: an episode of {name} takes {needed} images, and there are {images}: lower "
                "one, or add images"
            )
    divided = config.learners and config.partition.partitioner not in ("labels", "cluster_files", "hyperplanes")
    if (divided or any(map(keys.uses_clusters, config.run.algo))) and config.partition.clusters > images:
        raise InputError(f"--clusters={config.partition.clusters} is more than the {images} training images: lower it")


def check_mixture(config: Config, train: ImageSet) -> None:
    """Sees to it that there are true partitions, and others, where tasks are to be made from both.

    Raises:
      InputError: the training images have no labels, or all tasks are made from them anyway.
    """
    fraction = config.partition.supervised_fraction
    if not fraction or not config.learners or train.supervised:
        return
    if not train.partitions:
        raise InputError(f"--supervised_fraction={fraction}: the training images have no labels: leave it out")
    if config.partition.partitioner == "labels":
        raise InputError(
            f"--supervised_fraction={fraction}: with --partitioner=labels every task has true labels: leave one out"
        )


def rehearse(config: Config, data: Splits) -> None:
    """Builds every learner that needs no embeddings, makes every kind of evaluation episode once, and lets learners
    that are not trained answer it.

    Raises:
      InputError: the labels do not allow it, or a learner does not.
    """
    networks = {**config.learners, **config.networks}
    on_images = [name for name in config.run.algo if name not in networks or not networks[name].on_embeddings]
    built = {name: build_learner(config, name, data.image_shape) for name in on_images}
    judged, split = evaluation_set(config, data), config.evaluation.eval_split
    if judged.partitions is None:
        log.warning("the %s split has no labels, so no accuracy will be measured; %s", split, results.JUDGED_WITH)
        return
    # Those with networks would take seconds, and those with clusters of embeddings have none yet.
    untrained = [built[n] for n in on_images if n not in networks and not keys.uses_clusters(n)]
    for way, shot in evaluation_tasks(config):
        small = small_classes(judged, shot + config.evaluation.eval_query)
        try:
            episodes = evaluation_episodes(config, split, judged.images, judged.partitions, way, shot)
        except InputError as error:
            raise InputError(f"{error}{'; too small: ' if small else ''}{small}") from error
        if small:
            log.warning("%s split: not in tasks of %d shots, for want of images: %s", split, shot, small)
        for learner in untrained:
            accuracy(rehearsal(learner), episodes, 1)


def rehearsal(learner: Learner) -> Classify:
    """The learner's `classify` on images, with pixels in place of embeddings where it wants those."""
    if learner.consumes == "images":
        return learner.classify
    return lambda support, labels, query, way: learner.classify(
        support.reshape(len(support), -1), labels, query.reshape(len(query), -1), way
    )


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
    store = workdir.Artifact(_root(config), "embedder", keys.embedder(config))
    kept = workdir.Artifact(_root(config), "embeddings", keys.embeddings(config))
    with workdir.locked(store.folder):
        embedder = fit_or_load(config, data, store, folder)
        embeddings = {
            split: kept.memo(split, functools.partial(embed_images, embedder, getattr(data, split), name))
            for split in splits
        }
    log.info("embed: %s, %d numbers per image", name, embeddings["train"].shape[1])
    return embedder, embeddings


def keep_inputs(config: Config, data: Splits, embeddings: bool, folder: Path) -> None:
    """Writes WORKDIR/inputs.json: what a learner of this run takes, for those that use it without the data."""
    parts = {"data": keys.data, **({"embedder": keys.embedder, "embeddings": keys.embeddings} if embeddings else {})}
    told = {
        "image_shape": list(data.image_shape),
        "artifacts_dir": str(_root(config).resolve()),
        **{part: f"{part}-{workdir.key(settings_of(config))}" for part, settings_of in parts.items()},
        "clusters": config.partition.clusters,
        "eval_ways": list(config.evaluation.eval_ways),
    }
    workdir.write_json(folder / INPUTS, told)


def fit_or_load(config: Config, data: Splits, store: workdir.Artifact, folder: Path) -> Embedder:
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
        callbacks = [summaries.EmbedderSummaries(events, module.METRICS, pictures, some)]
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
    build = plugins.load("partitioners", part.partitioner).build
    partitioner = build(part.clusters, part.partitions, config.options.get(part.partitioner))
    store = workdir.Artifact(_root(config), "partitions", keys.partitions(config))
    context = PartitionContext(
        images=len(data.train),
        embeddings=embeddings.get("train"),
        labels=data.train.partitions,
        names=data.train.names,
        way=keys.largest_way(config),
        images_per_cluster=min((t.shot + t.query for t in config.learners.values()), default=1),
        seed=seeds.derive(config.run.seed, "partitions"),
        memo=store.memo,
    )
    with workdir.locked(store.folder):
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


def train(
    config: Config,
    data: Splits,
    embedder: Embedder | None,
    embeddings: dict[str, np.ndarray],
    partitions: Partitions,
    folder: Path,
) -> dict[str, Learner]:
    """Every learner by name; those that learn from tasks are meta-trained."""
    learners = {}
    for name in config.run.algo:
        training = config.learners.get(name)
        learner = build_learner(config, name, data.image_shape, embedder, embeddings.get("train"), data.train.images)
        if training is not None:
            rows = embeddings["train"] if learner.consumes == "embeddings" else data.train.images
            train_one(config, name, learner, rows, partitions, data, folder)
        elif hasattr(learner, "prepare"):
            learner.prepare()
        learners[name] = learner
    return learners


def build_learner(
    config: Config,
    name: str,
    image_shape: tuple[int, ...],
    embedder: Embedder | None = None,
    embeddings: np.ndarray | None = None,
    images: np.ndarray | None = None,
) -> Learner:
    """One learner, untrained."""
    training = config.learners.get(name) or config.networks.get(name) or settings.TrainingSettings()
    context = LearnerContext(
        image_shape=image_shape,
        way=training.way or max(config.evaluation.eval_ways),
        seed=seeds.derive(config.run.seed, "weights"),
        backbone=training.backbone,
        filters=training.filters,
        norm=training.norm,
        on_embeddings=bool(training.on_embeddings),
        embeddings=embeddings,
        embedder=embedder,
        images=images,
        clusters=config.partition.clusters,
    )
    return make(name, context, config.options.get(name))


def train_one(
    config: Config,
    name: str,
    learner: Learner,
    rows: np.ndarray,
    partitions: Partitions,
    data: Splits,
    folder: Path,
) -> None:
    """Meta-trains one learner in WORKDIR/NAME, going on from what is there."""
    training = config.learners[name]
    assert isinstance(learner, MetaLearner)
    episodes = training_episodes(config, name, rows, partitions)
    scalars = summaries.Events(folder / "events" / name)
    tracer = summaries.StepTracer(folder / "events" / name, config.run.tensorboard_graph, config.run.profile_steps)

    def on_step(step: int, values: dict[str, float]) -> None:
        scalars.on_step(step, values)
        tracer.on_step(step)

    started = time.monotonic()
    try:
        made = meta_train(
            learner,
            episodes,
            tasks_per_step=training.tasks_per_step,
            steps=training.steps,
            outer_lr=training.outer_lr,
            folder=workdir.make_folder(folder / name, "--workdir"),
            on_step=on_step,
            on_checkpoint=validation(config, name, learner, data, scalars),
        )
    finally:
        tracer.close()
        scalars.close()
    seconds = time.monotonic() - started
    log.info("train: %s, %d steps (%d now, in %.0f s)", name, training.steps, made, seconds)


def training_episodes(config: Config, name: str, rows: np.ndarray, partitions: Partitions) -> Episodes:
    """The tasks that a learner is trained on.

    Raises:
      InputError: the partitions do not allow them.
    """
    training = config.learners[name]
    seed = seeds.derive(config.run.seed, "training episodes")
    try:
        return Episodes(rows, partitions, way=training.way, shot=training.shot, query=training.query, seed=seed)
    except InputError as error:
        raise InputError(f"--way, --shot, --query, --clusters: {error}") from error


def first_tasks(config: Config, data: Splits, partitions: Partitions) -> Episodes | None:
    """The training tasks of the first learner that has any, to look at; None where there are no images to see."""
    if not config.learners or keys.has_features(config):
        return None
    return training_episodes(config, next(iter(config.learners)), data.train.images, partitions)


def identity(config: Config) -> dict[str, Any]:
    """What a workdir belongs to: the settings that change the numbers, and what the user's files hold that are read."""
    files, others = keys.training_data(config).get("files"), keys.fingerprints(config)
    return {**settings.identity(config), **({"files": files} if files else {}), **({"read": others} if others else {})}


def make_workdir(config: Config) -> Path:
    """The workdir, made if need be."""
    workdir.make_folder(_root(config), "--artifacts_dir")
    names = (config.data.dataset, keys.embedder_name(config), keys.partitioner_name(config), "+".join(config.run.algo))
    default = Path("runs") / f"{'-'.join(names)}-{workdir.key(identity(config))[:6]}"
    return workdir.make_folder(Path(config.run.workdir or default), "--workdir")


def _root(config: Config) -> Path:
    return Path(config.run.artifacts_dir)
