"""The machine that a result was computed on: rounding, and with it accuracy, differs between processors."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.utils.threads import cores

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
"""TensorFlow reads this environment variable when it is loaded. "1" turns its faster convolutions on; by default it
does so only on processors with AVX-512."""


def machine() -> dict[str, Any]:
    """The processor, its instruction sets as NumPy names them, the cores, and whether oneDNN was asked for."""
    simd = np.show_config(mode="dicts").get("SIMD Extensions", {})
    return {
        "processor": _processor(),
        "instructions": [*simd.get("baseline", []), *simd.get("found", [])],
        "cores": cores(),
        "onednn": {"1": "on", "0": "off"}.get(os.environ.get(ONEDNN, ""), "TensorFlow's choice"),
    }


def has_avx512() -> bool:
    """Whether the processor has AVX-512 with instructions for neural networks, which NumPy names AVX512_..."""
    return any(name.startswith("AVX512_") for name in machine()["instructions"])


def _processor() -> str:
    """The name of the processor, or of its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()  # Linux
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), "") or platform.processor() or platform.machine()
