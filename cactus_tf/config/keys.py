"""What each artifact of a run depends on: exactly these settings are hashed into its folder's name."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from cactus_tf import plugins
from cactus_tf.config.schema import Config


def data(config: Config) -> dict[str, Any]:
    """The prepared arrays. Not the folder: every source of a data set gives the same arrays, where that set is fixed.

    A data set whose images are what the user's folders hold has `files_key(data_dir, eval_dir)`, which says what they
    hold: one text, or one for the files to train on, "train", and others for the rest.
    """
    name = config.data.dataset
    module, member = plugins.load("datasets", name), _member("datasets", name, config)
    if hasattr(module, "files_key"):
        member["files"] = module.files_key(config.data.data_dir, config.data.eval_dir)
    return {**member, "image_size": config.data.image_size}


def training_data(config: Config) -> dict[str, Any]:
    """The prepared training images: other images to judge on change nothing that was learnt."""
    whole = data(config)
    files = whole.get("files")
    return {**whole, "files": files["train"]} if isinstance(files, Mapping) else whole


def embeddings(config: Config) -> dict[str, Any]:
    """The embeddings of all splits."""
    learnt, judged = embedder(config), data(config)
    return learnt if judged == learnt["data"] else {**learnt, "judged": judged}


def embedder(config: Config) -> dict[str, Any]:
    """The fitted embedder."""
    if has_features(config):
        return {"data": training_data(config), "name": "features"}
    return {
        "data": training_data(config),
        **_member("embedders", config.embedding.embedder, config),
        "steps": config.embedding.embedder_steps,
        "seed": config.run.seed,
    }


def partitions(config: Config) -> dict[str, Any]:
    """The partitions."""
    return {
        "embeddings": embedder(config) if needs_embeddings(config) else training_data(config),
        **_member("partitioners", config.partition.partitioner, config),
        "clusters": config.partition.clusters,
        "partitions": config.partition.partitions,
        "way": largest_way(config),
        "seed": config.run.seed,
    }


def fingerprints(config: Config) -> dict[str, Any]:
    """What the files hold that the embedder and the partitioner read, by member; of those used that read any."""
    used = [("embedders", embedder_name(config)), ("partitioners", partitioner_name(config))]
    modules = {name: plugins.load(family, name) for family, name in used if name in plugins.names(family)}
    reading = {name: module for name, module in modules.items() if hasattr(module, "fingerprint")}
    return {name: module.fingerprint(config.options.get(name)) for name, module in reading.items()}


def largest_way(config: Config) -> int:
    """The largest N of the training episodes: a partition must have as many clusters of use."""
    return max((training.way for training in config.learners.values()), default=2)


def needs_embeddings(config: Config) -> bool:
    """Whether a learner or the partitioner reads embeddings; the oracle with ProtoNets, for one, does not."""
    if any(training.on_embeddings for training in (*config.learners.values(), *config.networks.values())):
        return True
    members = [("learners", name) for name in config.run.algo]
    if config.learners:
        members.append(("partitioners", config.partition.partitioner))
    return any(getattr(plugins.load(*member), "USES_EMBEDDINGS", False) for member in members)


def has_features(config: Config) -> bool:
    """Whether the data set's rows are vectors, which need no embedder: its module's `gives_features(options)`."""
    name = config.data.dataset
    gives_features = getattr(plugins.load("datasets", name), "gives_features", None)
    return gives_features is not None and gives_features(config.options.get(name))


def uses_clusters(learner: str) -> bool:
    """Whether a learner clusters the training embeddings itself, and answers from nothing else."""
    return getattr(plugins.load("learners", learner), "USES_CLUSTERS", False)


def embedder_name(config: Config) -> str:
    """The embedder that matters, "features" for rows that are vectors, "none" where nobody reads embeddings."""
    if not needs_embeddings(config):
        return "none"
    return "features" if has_features(config) else config.embedding.embedder


def partitioner_name(config: Config) -> str:
    """The partitioner that matters, "none" where nobody learns from tasks."""
    return config.partition.partitioner if config.learners else "none"


def _member(family: str, name: str, config: Config) -> dict[str, Any]:
    """A member's name, version and options; where it reads the user's files, their contents instead of their place."""
    module = plugins.load(family, name)
    options = config.options.get(name)
    chosen = dataclasses.asdict(options) if options else {}
    if hasattr(module, "fingerprint"):
        chosen = {**chosen, "dir": module.fingerprint(options)}
    return {"name": name, "version": getattr(module, "VERSION", 1), "options": chosen}
