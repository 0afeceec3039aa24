"""What each artifact and each run depends on: exactly these settings are hashed into its folder's name.

A setting that later releases add counts only if it differs from its default, so a new setting with its default changes
no key: what an earlier release has computed is used again. When the same settings give other results, a member raises
its `INFO.version`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cactus_tf import plugins
from cactus_tf.config.schema import TrainingSettings

_RELEASED = {
    "celeba": "crop",
    "folder": "fit",
    "imagenet": "input decode",
    "acai": "depth latent latent_width advweight gamma rate batch",
    "bigan": "network dims units filters rate beta decay batch deploy_batches",
    "deepcluster": "network clusters dims batch rate momentum weight_decay dropout kmeans_iterations legacy_sampling "
    "sobel side crop_scale flip",
    "infogan": "noise categories codes weight depth discriminator_rate generator_rate batch features",
    "pixels": "dims whiten",
    "precomputed": "dir",
    "cluster_files": "dir sizes",
    "hyperplanes": "margin splits",
    "kmeans": "scaled accept_images accept_fraction restarts method",
    "anil": "inner_lr inner_steps eval_steps transductive pooled clip vectorized first_order recompute",
    "cluster_colour": "c starts",
    "cluster_matching": "starts",
    "cluster_network": "epochs starts",
    "logistic_regression": "c",
    "maml": "inner_lr inner_steps eval_steps transductive pooled clip vectorized first_order recompute",
    "meta_sgd": "inner_lr inner_steps eval_steps transductive pooled clip vectorized first_order recompute",
    "mlp_dropout": "units rate epochs legacy_leak",
    "nearest_neighbours": "k",
    "protonets": "legacy_gain",
    "reptile": "inner_lr inner_steps eval_steps transductive pooled clip vectorized",
    "scratch": "inner_lr eval_steps transductive",
    "data": "dataset data_dir eval_dir image_size",
    "embedding": "embedder embedder_steps",
    "partition": "partitioner clusters partitions supervised_fraction",
    "training": "backbone filters norm on_embeddings way shot query steps tasks_per_step outer_lr",
}
"""Settings of release 0.1, which hashed them at their default, too. This table never grows."""

_FREE = {"steps", "round_steps", "data_dir", "eval_dir", "dir", "file", "weights", "run"}
"""Lengths, and where the same files lie. What `--round_steps` amounts to is a part of the identity by itself."""


def digest(settings: Mapping[str, Any]) -> str:
    """Ten hexadecimal digits that change exactly when the settings do."""
    canonical = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]


def relevant(name: str, settings: Any) -> dict[str, Any]:
    """The fields of a section or of a member's options that count: those of release 0.1, and others if not default.

    Args:
      name: of the section ("data", "embedding", "partition", "training") or of the member.
      settings: the dataclass, or None.
    """
    released = _RELEASED.get(name, "").split()
    values = dataclasses.asdict(settings) if settings else {}
    defaults = {field.name: field.default for field in dataclasses.fields(settings)} if settings else {}
    return {k: v for k, v in values.items() if k in released or v != defaults[k]}


def trained_on(name: str, settings: Any) -> dict[str, Any]:
    """The relevant fields that may not change within a run: no length, no folder, nothing of evaluation.

    A length counts where earlier steps depend on it, as with a schedule that ends at the last one.
    """
    free = _FREE | {field.name for field in dataclasses.fields(settings) if field.metadata.get("evaluation_only")}
    if isinstance(settings, TrainingSettings) and settings.fixed_length:
        free -= {"steps"}
    return {k: v for k, v in relevant(name, settings).items() if k not in free}


def member(family: str, name: str, options: Any) -> dict[str, Any]:
    """A member's name, version and options; of files that it reads, their contents instead of their folder.

    Of a plug-in it has the source, too: when it is edited, its artifacts are made again.
    """
    info, chosen = plugins.info(family, name), relevant(name, options)
    if family != "datasets" and info.fingerprint is not None:
        chosen = {k: v for k, v in chosen.items() if k not in _FREE} | {"dir": info.fingerprint(options)}
    source = plugins.sources([(family, name)])
    return {"name": name, "version": info.version, "options": chosen, **({"source": source} if source else {})}
