"""From given settings to resolved ones: defaults are filled in, and every number is checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from cactus_tf import plugins
from cactus_tf.config import rounds
from cactus_tf.config.presets import preset
from cactus_tf.config.rounds import Info
from cactus_tf.config.schema import (
    DataSettings,
    EmbeddingSettings,
    GivenSettings,
    Settings,
    TrainingSettings,
    check_ranges,
    check_warmup,
    merge,
    network_only,
)
from cactus_tf.contracts import EmbedderInfo, LearnerInfo
from cactus_tf.errors import InputError


def resolve(given: GivenSettings, options: Mapping[str, Any], info: Info = plugins.info) -> Settings:
    """Fills in what was not given: from the data set's preset, then from the defaults of each learner and the embedder.

    Args:
      given: the sections as the user gave them.
      options: each chosen member's own settings, by member name.
      info: (family, name) -> what a member declares.

    Raises:
      InputError: no such member, a number out of its range, or two settings that contradict each other.
    """
    defaults = preset(given.data.dataset)
    embedding = merge(given.embedding, defaults.embedding)
    embedder = info("embedders", embedding.embedder)
    own_steps = defaults.embedder_steps.get(embedding.embedder) or embedder.default_steps(given.data.dataset)
    steps = (embedding.embedder_steps or own_steps) if embedder.trained else None
    dataset = info("datasets", given.data.dataset)
    features = dataset.gives_features(options.get(given.data.dataset))
    infos = {name: info("learners", name) for name in given.run.algo}
    settings = Settings(
        data=given.data if features else _sized(given.data, dataset.takes, embedder, options.get(embedding.embedder)),
        embedding=_normalized(dataclasses.replace(embedding, embedder_steps=steps), embedder, features),
        partition=merge(given.partition, defaults.partition),
        learners={
            name: merge(given.training, defaults.training(name), _training_defaults(given.training, own.training, info))
            for name, own in infos.items()
            if own.training
        },
        networks={name: merge(network_only(given.training), own.network) for name, own in infos.items() if own.network},
        evaluation=merge(given.evaluation, defaults.evaluation),
        run=given.run,
        options=dict(options),
    )
    _check(settings, infos, given.evaluation.eval_ways, info)
    return settings


def _sized(data: DataSettings, takes: Collection[str], embedder: EmbedderInfo, options: Any) -> DataSettings:
    """The data settings with the image size that the embedder wants, if none is given and the data set takes one."""
    if data.image_size is not None or embedder.image_size is None or "image_size" not in takes:
        return data
    return dataclasses.replace(data, image_size=embedder.image_size(options))


def _normalized(embedding: EmbeddingSettings, embedder: EmbedderInfo, features: bool) -> EmbeddingSettings:
    """With the norm of the embeddings; None for "none", so that it changes no key of runs without this setting."""
    if features and embedding.embedding_norm:
        raise InputError("--embedding_norm needs an embedder, and the rows of this data set are features: leave it out")
    norm = "none" if features else embedding.embedding_norm or embedder.norm
    center = embedding.embedding_center
    if norm == "centered":
        return dataclasses.replace(embedding, embedding_norm=norm, embedding_center=1.0 if center is None else center)
    if center is not None:
        raise InputError(
            f"--embedding_center={center:g} needs --embedding_norm=centered, and it is {norm}: change one of them"
        )
    return dataclasses.replace(embedding, embedding_norm=None if norm == "none" else norm)


def _training_defaults(given: TrainingSettings, own: TrainingSettings, info: Info) -> TrainingSettings:
    """A learner's defaults, with the default width of the network that is used."""
    backbone = given.backbone or ("mlp" if given.on_embeddings else own.backbone)
    network = info("backbones", backbone)
    filters = None if network.as_wide_as_input else network.filters or own.filters
    return dataclasses.replace(own, backbone=backbone, filters=filters)  # type: ignore[arg-type]


def _check(settings: Settings, infos: Mapping[str, LearnerInfo], eval_ways: tuple[int, ...] | None, info: Info) -> None:
    sections = (settings.data, settings.embedding, settings.partition, settings.evaluation, settings.run)
    for section in (*sections, *settings.learners.values(), *settings.networks.values()):
        check_ranges(section)
    for name, options in settings.options.items():
        check_ranges(options, f"--{name}_")
    _check_way(settings, info)
    _check_network(settings, info)
    for training in settings.learners.values():
        check_warmup(training.outer_schedule, training.outer_warmup, training.steps)
    for partitioner in {settings.partition.partitioner, settings.partition.first_partitioner} - {None}:
        _check_augmentation(settings, str(partitioner), info)
    rounds.check(settings, info)
    for name, own in infos.items():
        if own.fixed_head:
            _check_head(name, settings.learners[name].way, eval_ways, settings.evaluation.eval_ways)


def _check_way(settings: Settings, info: Info) -> None:
    for flag, clusters, partitioner in rounds.clusters_of(settings):
        if clusters is None or info("partitioners", partitioner).clusters_of_its_own:
            continue
        for training in settings.learners.values():
            if training.way > clusters:
                raise InputError(
                    f"--way={training.way} is more than {flag}={clusters}: an episode needs a cluster for each of its "
                    f"classes; lower --way or raise {flag}"
                )


def _check_network(settings: Settings, info: Info) -> None:
    for training in (*settings.learners.values(), *settings.networks.values()):
        backbone = training.backbone if training.on_embeddings else None
        if backbone is not None and info("backbones", backbone).consumes == "images":
            raise InputError(f"--on_embeddings: {backbone} takes images; leave --backbone out or set --backbone=mlp")
        if training.precision != "float32" and "dtype" not in info("backbones", training.backbone).arguments:
            raise InputError(
                f"--precision={training.precision}: {training.backbone} computes in float32 only: leave out --precision"
            )


def _check_augmentation(settings: Settings, partitioner: str, info: Info) -> None:
    repeats = info("partitioners", partitioner).repeats_images
    for training in settings.learners.values():
        varied = training.augmentation != "none"
        if training.on_embeddings and (varied or training.rotate_classes or repeats):
            flag = (
                "--augmentation"
                if varied
                else "--rotate_classes"
                if training.rotate_classes
                else f"--partitioner={partitioner}"
            )
            raise InputError(f"{flag} varies images, and --on_embeddings learns on embeddings: drop one of them")
        if repeats and not (varied and (training.augment_support or training.augment_query)):
            raise InputError(
                f"--partitioner={partitioner} makes the images of a class from one image: add --augmentation=affine "
                "(drawings) or photo (photographs), of support or query images"
            )


def _check_head(name: str, way: int, given: tuple[int, ...] | None, ways: tuple[int, ...] | None) -> None:
    """Checks the given evaluation ways, or the smallest default one, against the outputs of a fixed head."""
    if ways is None:
        return
    above = [w for w in given or () if w > way] or ([] if any(w <= way for w in ways) else [min(ways)])
    if above:
        raise InputError(
            f"--eval_ways={above[0]} is more than --way={way}: {name} has a fixed head with --way outputs; "
            "lower --eval_ways or raise --way"
        )
