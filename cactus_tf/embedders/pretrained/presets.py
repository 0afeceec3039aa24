"""The presets of keras-hub that have a name here, with what their weights and features measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

URL = "https://www.kaggle.com/models/keras"


class Preset(NamedTuple):
    """A preset of keras-hub.

    Attributes:
      family: its folder below `URL`.
      backbone: class of `keras_hub.models` whose output the features come from.
      arguments: of that class, for random weights.
      numbers: length of its features.
      megabytes: of its download, which for CLIP and SigLIP holds their text network, too.
      license: of the weights.
      features: which output of the network they are.
      side: of its input, in pixels.
    """

    family: str
    backbone: str
    arguments: Mapping[str, Any]
    numbers: int
    megabytes: int
    license: str
    features: str = "class token"
    side: int = 224


def _transformer(patch: int, layers: int, width: int, heads: int, **others: Any) -> dict[str, Any]:
    """Arguments of a vision transformer, whose hidden layers are four times as wide."""
    sizes = {"patch_size": patch, "num_layers": layers, "hidden_dim": width, "num_heads": heads}
    return {**sizes, "intermediate_dim": 4 * width, **others}


def _dinov2(megabytes: int, layers: int, width: int, heads: int, registers: int = 0) -> Preset:
    """Oquab et al. 2023: nearest neighbors of the class token, at 224 pixels, as in the authors' code."""
    sizes = _transformer(14, layers, width, heads, num_register_tokens=registers)
    return Preset("dinov2", "DINOV2Backbone", sizes, width, megabytes, "Apache 2.0")


def _dinov3(megabytes: int, width: int, heads: int) -> Preset:
    """Siméoni et al. 2025: the class token for whole images."""
    sizes = _transformer(16, 12, width, heads, use_key_bias=False)
    return Preset("dinov3", "DINOV3Backbone", sizes, width, megabytes, "DINOv3 License")


def _clip(megabytes: int, patch: int) -> Preset:
    """Radford et al. 2021, appendix A: the class token before its projection to the space of texts."""
    return Preset("clip", "CLIPVisionEncoder", _transformer(patch, 12, 768, 12), 768, megabytes, "MIT")


def _siglip(megabytes: int) -> Preset:
    """Zhai et al. 2023: the output of attention pooling, which is compared to texts."""
    sizes = _transformer(16, 12, 768, 12)
    return Preset("siglip", "SigLIPVisionEncoder", sizes, 768, megabytes, "Apache 2.0", "attention pooling")


def _vit(megabytes: int) -> Preset:
    """Dosovitskiy et al. 2021, eq. 4: the normalized class token."""
    sizes = {"patch_size": 16, "num_layers": 12, "num_heads": 12, "hidden_dim": 768, "mlp_dim": 3072}
    return Preset("vit", "ViTBackbone", sizes, 768, megabytes, "Apache 2.0")


def _resnet(megabytes: int, blocks: list[int]) -> Preset:
    """He et al. 2016: the last map, averaged over the image."""
    sizes = {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [7],
        "stackwise_num_filters": [64, 128, 256, 512],
        "stackwise_num_blocks": blocks,
        "stackwise_num_strides": [1, 2, 2, 2],
        "block_type": "basic_block",
    }
    return Preset("resnetv1", "ResNetBackbone", sizes, 512, megabytes, "Apache 2.0", "mean of the map")


PRESETS = {
    "dinov2_small": _dinov2(90, 12, 384, 6),
    "dinov2_base": _dinov2(351, 12, 768, 12),
    "dinov2_large": _dinov2(1223, 24, 1024, 16),
    "dinov2_with_registers_small": _dinov2(90, 12, 384, 6, registers=4),
    "dinov2_with_registers_base": _dinov2(351, 12, 768, 12, registers=4),
    "dinov3_vit_small_lvd1689m": _dinov3(86, 384, 6),
    "dinov3_vit_base_lvd1689m": _dinov3(344, 768, 12),
    "clip_vit_base_patch32": _clip(605, 32),
    "clip_vit_base_patch16": _clip(598, 16),
    "siglip_base_patch16_224": _siglip(813),
    "vit_base_patch16_224_imagenet21k": _vit(343),
    "resnet_18_imagenet": _resnet(45, [2, 2, 2, 2]),
}
"""By the value of `--pretrained_model`."""


def page(name: str) -> str:
    """The address of a preset's weights and terms."""
    return f"{URL}/{PRESETS[name].family}/keras/{name}"


def listing() -> str:
    """The presets as a table for `--help=pretrained`."""
    head = f"  {'--pretrained_model':<34}{'weights':>8}{'input':>7}{'numbers':>9}  {'features':<19}license"
    rows = [
        f"  {name:<34}{p.megabytes:>5} MB{p.side:>7}{p.numbers:>9}  {p.features:<19}{p.license}"
        for name, p in PRESETS.items()
    ]
    about = (
        '  presets of keras-hub, which takes pip install "cactus-tf[hub]" and downloads them from\n'
        f"  {URL} (their terms are there; those of DINOv3 must be accepted there first)"
    )
    return "\n".join([about, head, *rows])
