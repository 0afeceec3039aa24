"""Default settings that depend on what the user's pictures are: those of photographs, for a folder of them."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from cactus_tf import plugins
from cactus_tf.config import flags
from cactus_tf.config.declared import DECLARED
from cactus_tf.config.presets import PHOTOGRAPHS
from cactus_tf.config.schema import DataSettings
from cactus_tf.utils.paths import keras_models

_HOST, _SECONDS = "https://storage.googleapis.com", 5  # where Keras' weights come from; patience with it
_NETWORK, _FILE = "mobilenet_v2", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
_ADDRESS = f"{_HOST}/tensorflow/keras-applications/{_NETWORK}/{_FILE}"
_OWN_CHOICE = frozenset(
    (
        "embedder", "partitioner", "first_partitioner", "backbone", "on_embeddings", "filters", "norm", "image_size",
        "supervised_fraction",
    )
)  # fmt: skip


def completed(argv: Sequence[str]) -> tuple[list[str], str]:
    """The command line with the flags that photographs are given by default, and a sentence about that choice.

    It stays as it is, and the sentence is empty, if the images are no photographs or the user chose an embedder,
    partitioner, network or image size, or a learner that trains on images. Without a pretrained network's weights at
    hand, only the sentence says so.

    Raises:
      InputError: a flag or value that cannot be used, or a folder without pictures.
    """
    given = flags.given(argv)
    dataset = given.get("dataset", DataSettings().dataset)
    if not given.get("data_dir") or dataset not in plugins.names("datasets") or _decided(given):
        return list(argv), ""
    if DECLARED.info("datasets", dataset).kind is None:  # read without importing the module
        return list(argv), ""
    info, places = plugins.info("datasets", dataset), (given["data_dir"], given.get("eval_dir"))
    if info.kind(*places) != "photographs":
        return list(argv), ""
    if not _at_hand(given):
        return list(argv), (
            f"photographs, but the weights of {_NETWORK} are not in {keras_models()} and cannot be downloaded: "
            "learning from the pictures alone, which is far less accurate; to use the network, put "
            f"{_ADDRESS} into that folder or name a file of weights with --pretrained_weights=FILE (see "
            "--help=pretrained)"
        )
    network = given.get("pretrained_weights") or given.get("pretrained_model") or _NETWORK
    chosen = {**PHOTOGRAPHS, "way": str(_way(len(info.train_files(*places))))}
    words = [f"--{name}={value}" for name, value in chosen.items() if name not in given]
    return [*argv, *words], (
        f"photographs: features of a pretrained network, {network}, and a linear map of them ({' '.join(words)}); "
        "--embedder=deepcluster learns from the pictures alone"
    )


def _decided(given: Mapping[str, Any]) -> bool:
    """Whether the user chose something that the defaults of photographs would contradict."""
    others = tuple(f"{name}_" for name in plugins.names("embedders") if name != "pretrained")
    known = set(given.get("algo", ())) & set(plugins.names("learners"))
    trained = [name for name in known if DECLARED.info("learners", name).training is not None]
    episodes = given.get("augmentation", "none") != "none" or given.get("rotate_classes")
    return bool(
        episodes
        or given.get("recipe", "paper") != "paper"
        or _OWN_CHOICE & set(given)
        or any(name.startswith(others) for name in given)
        or set(trained) - {"protonets"}
    )


def _way(images: int) -> int:
    """N of meta-training: the preset's, or less for fewer than ten pictures per class of an episode."""
    return max(2, min(int(PHOTOGRAPHS["way"]), images // 10))


def _at_hand(given: Mapping[str, Any]) -> bool:
    """Whether the weights of the network are here or can be downloaded, or the user chose the network."""
    if given.get("pretrained_weights") or given.get("pretrained_model"):
        return True
    return any(keras_models().glob(f"{_NETWORK}_*_no_top.h5")) or _online()


def _online() -> bool:
    """Whether the host of the weights answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(_HOST, method="HEAD"), timeout=_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True  # it answers, if only with an error
    except OSError:
        return False
