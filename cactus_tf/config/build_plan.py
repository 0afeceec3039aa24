"""From resolved settings to the plan of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cactus_tf import plugins
from cactus_tf.config import keys, rounds
from cactus_tf.config.plan import DataPlan, EmbeddingPlan, EvaluationPlan, LearnerPlan, PartitionPlan, RunPlan
from cactus_tf.config.presets import default_clusters, default_eval_way, default_round_clusters
from cactus_tf.config.schema import Settings, TrainingSettings
from cactus_tf.contracts import EmbedderContext
from cactus_tf.errors import InputError
from cactus_tf.utils import seeds

PLUGINS = "plugins"
"""The part of a run's identity with the sources of its plug-ins."""


def make(settings: Settings) -> RunPlan:
    """The plan of a run. What only the data can tell, k and the evaluation ways, may be missing; see `complete`.

    Raises:
      InputError: files of the user that a key depends on are missing.
    """
    return of(settings, data_plan(settings))


def complete(plan: RunPlan, images: int, classes: int) -> RunPlan:
    """The plan with what only the data can tell.

    Args:
      plan: of `make`.
      images: number of training images.
      classes: number of classes to evaluate on; 0 without labels.

    Raises:
      InputError: too few images for the default number of clusters of later rounds.
    """
    settings, way = plan.settings, largest_way(plan.settings)
    partition, evaluation = settings.partition, settings.evaluation
    if partition.clusters is None:
        partition = dataclasses.replace(partition, clusters=default_clusters(images, way))
    if partition.rounds > 1 and partition.round_clusters is None:
        drawn = max(training.shot + training.query for training in settings.learners.values())
        clusters = default_round_clusters(images, drawn)
        if clusters < way and not plugins.info("partitioners", partition.partitioner).clusters_of_its_own:
            raise InputError(
                f"--way={way} is more than {clusters}, the default k of later rounds (of {images} images, {3 * drawn} "
                "in a cluster on average): lower --way, --shot or --query, or set --round_clusters"
            )
        partition = dataclasses.replace(partition, round_clusters=(max(clusters, way),))
    if evaluation.eval_ways is None:
        evaluation = dataclasses.replace(evaluation, eval_ways=(default_eval_way(classes, way),))
    settings = dataclasses.replace(settings, partition=partition, evaluation=evaluation)
    return of(settings, plan.data, plan.identity)


def of(settings: Settings, data: DataPlan, identity: Mapping[str, Any] | None = None) -> RunPlan:
    """The plan of a run on data that are planned already; of several rounds, that of the first.

    Args:
      settings: resolved.
      data: the plan of the data.
      identity: of the run; None: that of the settings.
    """
    learners = tuple(learner_plan(settings, name) for name in settings.run.algo)
    embedding = _embedding_plan(settings, data) if _needs_embeddings(settings) else None
    partition = _partition_plan(settings, data, embedding) if settings.learners else None
    evaluation = settings.evaluation
    identity = identity or _identity(settings, data)
    names = (settings.data.dataset, embedder_name(settings), partitioner_name(settings), "+".join(settings.run.algo))
    return RunPlan(
        data=data,
        embedding=embedding,
        partition=partition,
        learners=learners,
        evaluation=EvaluationPlan(
            split=evaluation.eval_split,
            ways=evaluation.eval_ways,
            shots=evaluation.eval_shots,
            query=evaluation.eval_query,
            episodes=evaluation.eval_episodes,
            seed=settings.run.seed,
            columns=columns(settings),
        ),
        run=settings.run,
        name=f"{'-'.join(names)}-{keys.digest(identity)[:6]}",
        identity=identity,
        record=dataclasses.asdict(settings),
        sections=_sections(settings),
        settings=settings,
    )


def data_plan(settings: Settings) -> DataPlan:
    """The plan of the prepared data; reads the names and sizes of the user's files if the key depends on them.

    Raises:
      InputError: these files are missing.
    """
    data, info = settings.data, plugins.info("datasets", settings.data.dataset)
    options = settings.options.get(data.dataset)
    key = {**keys.member("datasets", data.dataset, options), "image_size": data.image_size}
    train_key = key
    if info.files_key is not None:
        files = info.files_key(data.data_dir, data.eval_dir)
        key = {**key, "files": files}
        train_key = {**key, "files": files["train"]} if isinstance(files, Mapping) else key
    return DataPlan(
        dataset=data.dataset,
        data_dir=data.data_dir,
        eval_dir=data.eval_dir,
        image_size=data.image_size,
        options=options,
        features=has_features(settings),
        mixed=settings.partition.supervised_fraction > 0,
        key=key,
        train_key=train_key,
    )


def embedder_context(settings: Settings) -> EmbedderContext:
    """What the embedder of a run is built from."""
    embedding = settings.embedding
    return EmbedderContext(
        dataset=settings.data.dataset,
        steps=embedding.embedder_steps,
        norm=embedding.embedding_norm or "none",
        center=1.0 if embedding.embedding_center is None else embedding.embedding_center,
    )


def _embedding_plan(settings: Settings, data: DataPlan) -> EmbeddingPlan:
    name, steps = settings.embedding.embedder, settings.embedding.embedder_steps
    options, norm = settings.options.get(name), settings.embedding.embedding_norm
    key: dict[str, Any] = {"data": data.train_key, "name": "features"}
    if data.features:
        name = "features"
    else:
        member = keys.member("embedders", name, options)
        seed = {"seed": settings.run.seed} if plugins.info("embedders", name).seeded else {}
        key = {"data": data.train_key, **member, "steps": steps, **seed}
    return EmbeddingPlan(
        embedder=name,
        options=options,
        context=embedder_context(settings),
        seed=seeds.derive(settings.run.seed, "embedder"),
        splits=tuple(dict.fromkeys(["train", settings.evaluation.eval_split])),
        key=key,
        embeddings_key=key if data.key == data.train_key else {**key, "judged": data.key},  # release 0.1's word
        norm_key={"norm": norm, "center": settings.embedding.embedding_center} if norm else {},
    )


def _partition_plan(settings: Settings, data: DataPlan, embedding: EmbeddingPlan | None) -> PartitionPlan:
    part, way = settings.partition, largest_way(settings)
    options = settings.options.get(part.partitioner)
    return PartitionPlan(
        partitioner=part.partitioner,
        options=options,
        clusters=part.clusters,
        partitions=part.partitions,
        supervised_fraction=part.supervised_fraction,
        way=way,
        images_per_cluster=min(t.shot + t.query for t in settings.learners.values()),
        seed=seeds.derive(settings.run.seed, "partitions"),
        key={
            "embeddings": {**embedding.key, **embedding.norm_key} if embedding else data.train_key,
            **keys.member("partitioners", part.partitioner, options),
            "clusters": part.clusters,
            "partitions": part.partitions,
            "way": way,
            "seed": settings.run.seed,
        },
    )


def learner_plan(settings: Settings, name: str) -> LearnerPlan:
    """The plan of one learner; needs none of the data."""
    info = plugins.info("learners", name)
    training = settings.learners.get(name)
    network = training or settings.networks.get(name) or TrainingSettings()
    ways, shots = settings.evaluation.eval_ways or (), settings.evaluation.eval_shots
    able = tuple(way for way in ways if not info.fixed_head or way <= network.way)
    return LearnerPlan(
        name=name,
        info=info,
        options=settings.options.get(name),
        training=training,
        augmentation=settings.options.get(training.augmentation) if training else None,
        network=network,
        way=network.way or max(ways, default=2),
        seed=seeds.derive(settings.run.seed, "weights"),
        episodes_seed=seeds.derive(settings.run.seed, "training episodes"),
        clusters=settings.partition.clusters,
        embeddings=reads_embeddings(settings, name),
        tasks=tuple((way, shot) for way in able for shot in shots),
        skipped_ways=tuple(way for way in ways if way not in able),
        reported=_reported(settings, name),
    )


def columns(settings: Settings) -> dict[str, Any]:
    """What every row of results.json says about the run."""
    return {
        "dataset": settings.data.dataset,
        "split": settings.evaluation.eval_split,
        "embedder": embedder_name(settings),
        "partitioner": partitioner_name(settings),
        "query": settings.evaluation.eval_query,
        "episodes": settings.evaluation.eval_episodes,
        "seed": settings.run.seed,
    }


def _reported(settings: Settings, name: str) -> dict[str, Any]:
    """The settings that affect a learner's result; a member's own ones under the names of their flags."""
    embedder, partitioner = embedder_name(settings), partitioner_name(settings)
    part, network = settings.partition, settings.learners.get(name) or settings.networks.get(name)
    used = {k: v for k, v in keys.relevant("training", network).items() if v is not None}
    if embedder not in ("none", "features"):
        used["embedder_steps"] = settings.embedding.embedder_steps
        norm = {name: getattr(settings.embedding, name) for name in ("embedding_norm", "embedding_center")}
        used |= {name: value for name, value in norm.items() if value is not None}
    own = settings.options.get(partitioner)
    if settings.learners and not plugins.info("partitioners", partitioner).ignores_counts(own):
        k = {} if plugins.info("partitioners", partitioner).ignores_clusters else {"clusters": part.clusters}
        used |= {**k, "partitions": part.partitions}
    if name in settings.learners and part.supervised_fraction:
        used["supervised_fraction"] = part.supervised_fraction
    if plugins.info("learners", name).uses_clusters:
        used["clusters"] = part.clusters
    augmentation = [part.augmentation for part in (settings.learners.get(name),) if part]
    for member in (settings.data.dataset, embedder, partitioner, *augmentation, name):
        if member in settings.options:
            used |= {f"{member}_{k}": v for k, v in dataclasses.asdict(settings.options[member]).items()}
    used.pop("learner_run", None)  # where it lies may change; the weights in it count
    return used


def _sections(settings: Settings) -> dict[str, dict[str, Any]]:
    """The settings to show, by title: those of an embedder only if something reads embeddings."""
    parts = {
        "data": settings.data,
        "embedding": settings.embedding,
        "partition": settings.partition,
        **settings.learners,
        "evaluation": settings.evaluation,
        **{f"{name} settings": part for name, part in settings.options.items()},
    }
    if not _needs_embeddings(settings):
        parts = {k: v for k, v in parts.items() if k not in ("embedding", f"{settings.embedding.embedder} settings")}
    return {name: {k: v for k, v in dataclasses.asdict(part).items() if v is not None} for name, part in parts.items()}


def _identity(settings: Settings, data: DataPlan) -> dict[str, Any]:
    """All settings that change the numbers, but no length, evaluation, stage or display; and what read files hold."""
    sections = {
        "data": keys.trained_on("data", settings.data),
        "embedding": keys.trained_on("embedding", settings.embedding),
        "partition": keys.trained_on("partition", settings.partition),
        **{f"learners.{name}": keys.trained_on("training", part) for name, part in settings.learners.items()},
        **{f"networks.{name}": keys.trained_on("training", part) for name, part in settings.networks.items()},
        **{f"options.{name}": keys.trained_on(name, part) for name, part in settings.options.items()},
    }
    files, read = data.train_key.get("files"), _fingerprints(settings)
    own = plugins.sources(_members(settings))
    contents = {name: value for name, value in {"files": files, "read": read, PLUGINS: own}.items() if value}
    versions = {
        part.augmentation: plugins.info("augmentations", part.augmentation).version
        for part in settings.learners.values()
    }
    newer = {name: version for name, version in versions.items() if version != 1}
    steps = {"round_steps": earlier} if (earlier := rounds.earlier_steps(settings)) else {}
    return {
        **sections,
        "algo": list(settings.run.algo),
        "seed": settings.run.seed,
        **contents,
        **steps,
        **({"augmentations": newer} if newer else {}),
    }


def _members(settings: Settings) -> list[tuple[str, str]]:
    """(family, name) of every member that a run uses."""
    networks = [part.backbone for part in (*settings.learners.values(), *settings.networks.values()) if part.backbone]
    return [
        ("datasets", settings.data.dataset),
        ("embedders", embedder_name(settings)),
        ("partitioners", partitioner_name(settings)),
        ("partitioners", first_partitioner_name(settings)),
        *(("learners", name) for name in settings.run.algo),
        *(("augmentations", part.augmentation) for part in settings.learners.values()),
        *(("backbones", name) for name in networks),
    ]


def _fingerprints(settings: Settings) -> dict[str, Any]:
    """What the files hold that embedder and partitioner read, by member."""
    used = [("embedders", embedder_name(settings)), ("partitioners", partitioner_name(settings))]
    used += [("partitioners", first_partitioner_name(settings))]
    infos = {name: plugins.info(family, name) for family, name in used if name not in ("none", "features")}
    return {n: info.fingerprint(settings.options.get(n)) for n, info in infos.items() if info.fingerprint is not None}


# What follows from settings.


def has_features(settings: Settings) -> bool:
    """Whether the data set's rows are feature vectors, which need no embedder."""
    name = settings.data.dataset
    return plugins.info("datasets", name).gives_features(settings.options.get(name))


def largest_way(settings: Settings) -> int:
    """The largest N of the training episodes."""
    return max((training.way for training in settings.learners.values()), default=2)


def reads_embeddings(settings: Settings, name: str) -> bool:
    """Whether a learner reads embeddings."""
    network = settings.learners.get(name) or settings.networks.get(name)
    return plugins.info("learners", name).uses_embeddings or bool(network and network.on_embeddings)


def _needs_embeddings(settings: Settings) -> bool:
    """Whether a learner or the partitioner reads embeddings; the oracle with ProtoNets, for one, does not.

    Of several rounds, only the first one reads those of the embedder.
    """
    if settings.partition.rounds > 1:
        return _needs_embeddings(rounds.settings_of(settings, 1, Path()))
    if any(reads_embeddings(settings, name) for name in settings.run.algo):
        return True
    return bool(settings.learners) and plugins.info("partitioners", settings.partition.partitioner).uses_embeddings


def embedder_name(settings: Settings) -> str:
    """The embedder used; "features" for feature vectors, "none" if nothing reads embeddings."""
    if not _needs_embeddings(settings):
        return "none"
    return "features" if has_features(settings) else settings.embedding.embedder


def first_partitioner_name(settings: Settings) -> str:
    """The partitioner of the first round."""
    return settings.partition.first_partitioner or partitioner_name(settings)


def partitioner_name(settings: Settings) -> str:
    """The partitioner used; "none" if no learner is meta-trained."""
    return settings.partition.partitioner if settings.learners else "none"
