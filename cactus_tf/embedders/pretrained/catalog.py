"""The networks by name: those of `keras.applications` with what their weights and features measure, and keras-hub's."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, NamedTuple

from cactus_tf.embedders.pretrained import presets
from cactus_tf.errors import InputError


class Entry(NamedTuple):
    """A network of `keras.applications`.

    Attributes:
      build: name of the function that builds it.
      module: name of the module with its `preprocess_input`.
      side: of its input, in pixels.
      numbers: length of its features.
      megabytes: of its weights.
    """

    build: str
    module: str
    side: int
    numbers: int
    megabytes: int

    def builder(self) -> Callable[..., Any]:
        """The function that builds the network."""
        import keras

        return vars(keras.applications)[self.build]

    def preprocess(self, images: Any) -> Any:
        """Pixels in 0..255 in the range and order of channels that its weights were trained on."""
        import keras

        return vars(keras.applications)[self.module].preprocess_input(images)


NETWORKS = {
    "mobilenet_v2": Entry("MobileNetV2", "mobilenet_v2", 224, 1280, 9),
    "mobilenet": Entry("MobileNet", "mobilenet", 224, 1024, 13),
    "mobilenet_v3_small": Entry("MobileNetV3Small", "mobilenet_v3", 224, 576, 4),
    "mobilenet_v3_large": Entry("MobileNetV3Large", "mobilenet_v3", 224, 960, 12),
    "efficientnet_b0": Entry("EfficientNetB0", "efficientnet", 224, 1280, 16),
    "efficientnet_b1": Entry("EfficientNetB1", "efficientnet", 240, 1280, 26),
    "efficientnet_b2": Entry("EfficientNetB2", "efficientnet", 260, 1408, 31),
    "efficientnet_b3": Entry("EfficientNetB3", "efficientnet", 300, 1536, 43),
    "efficientnet_b4": Entry("EfficientNetB4", "efficientnet", 380, 1792, 71),
    "efficientnet_b5": Entry("EfficientNetB5", "efficientnet", 456, 2048, 114),
    "efficientnet_b6": Entry("EfficientNetB6", "efficientnet", 528, 2304, 164),
    "efficientnet_b7": Entry("EfficientNetB7", "efficientnet", 600, 2560, 256),
    "efficientnet_v2_b0": Entry("EfficientNetV2B0", "efficientnet_v2", 224, 1280, 24),
    "efficientnet_v2_b1": Entry("EfficientNetV2B1", "efficientnet_v2", 240, 1280, 28),
    "efficientnet_v2_b2": Entry("EfficientNetV2B2", "efficientnet_v2", 260, 1408, 35),
    "efficientnet_v2_b3": Entry("EfficientNetV2B3", "efficientnet_v2", 300, 1536, 52),
    "efficientnet_v2_s": Entry("EfficientNetV2S", "efficientnet_v2", 384, 1280, 81),
    "efficientnet_v2_m": Entry("EfficientNetV2M", "efficientnet_v2", 480, 1280, 213),
    "efficientnet_v2_l": Entry("EfficientNetV2L", "efficientnet_v2", 480, 1280, 471),
    "resnet50": Entry("ResNet50", "resnet", 224, 2048, 94),
    "resnet101": Entry("ResNet101", "resnet", 224, 2048, 171),
    "resnet152": Entry("ResNet152", "resnet", 224, 2048, 233),
    "resnet50_v2": Entry("ResNet50V2", "resnet_v2", 224, 2048, 94),
    "resnet101_v2": Entry("ResNet101V2", "resnet_v2", 224, 2048, 171),
    "resnet152_v2": Entry("ResNet152V2", "resnet_v2", 224, 2048, 233),
    "convnext_tiny": Entry("ConvNeXtTiny", "convnext", 224, 768, 111),
    "convnext_small": Entry("ConvNeXtSmall", "convnext", 224, 768, 198),
    "convnext_base": Entry("ConvNeXtBase", "convnext", 224, 1024, 350),
    "convnext_large": Entry("ConvNeXtLarge", "convnext", 224, 1536, 785),
    "convnext_xlarge": Entry("ConvNeXtXLarge", "convnext", 224, 2048, 1393),
    "densenet121": Entry("DenseNet121", "densenet", 224, 1024, 28),
    "densenet169": Entry("DenseNet169", "densenet", 224, 1664, 51),
    "densenet201": Entry("DenseNet201", "densenet", 224, 1920, 73),
    "inception_v3": Entry("InceptionV3", "inception_v3", 299, 2048, 87),
    "inception_resnet_v2": Entry("InceptionResNetV2", "inception_resnet_v2", 299, 1536, 217),
    "xception": Entry("Xception", "xception", 299, 2048, 83),
    "nasnet_mobile": Entry("NASNetMobile", "nasnet", 224, 1056, 17),
    "nasnet_large": Entry("NASNetLarge", "nasnet", 331, 4032, 340),
    "vgg16": Entry("VGG16", "vgg16", 224, 512, 59),
    "vgg19": Entry("VGG19", "vgg19", 224, 512, 80),
}
"""By the value of `--pretrained_model`."""


def check(name: str) -> None:
    """Checks the value of `--pretrained_model`.

    Raises:
      InputError: there is no such network; names the closest.
    """
    known = (*NETWORKS, *presets.PRESETS)
    if name not in known:
        closest = difflib.get_close_matches(name.lower(), known, 3, 0.4)
        hint = f"; closest: {', '.join(closest)}" if closest else ""
        raise InputError(f"--pretrained_model={name}: unknown network{hint}; --help=pretrained lists them")


def entry(name: str) -> Entry:
    """The network of `keras.applications` of this name.

    Raises:
      InputError: there is none; names the closest.
    """
    check(name)
    return NETWORKS[name]


def side(name: str) -> int:
    """Side of the input of the network of this name, in pixels.

    Raises:
      InputError: there is none; names the closest.
    """
    return presets.PRESETS[name].side if name in presets.PRESETS else entry(name).side


def listing() -> str:
    """The networks as a table for `--help=pretrained`."""
    head = f"  {'--pretrained_model':<22}{'weights':>8}{'input':>8}{'numbers':>9}"
    rows = [f"  {name:<22}{e.megabytes:>5} MB{e.side:>8}{e.numbers:>9}" for name, e in NETWORKS.items()]
    return "\n".join([head, *rows, "", presets.listing()])
