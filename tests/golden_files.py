"""The golden files: those of this folder, and those below the folder that $CACTUS_GOLDEN_DIR names."""

import os
from pathlib import Path

import numpy as np

FOLDERS = [Path(__file__).parent / "golden", *map(Path, filter(None, [os.environ.get("CACTUS_GOLDEN_DIR")]))]


def golden_files(pattern):
    """The files of a pattern; one that both folders hold, byte for byte, comes once."""
    paths = [path for folder in FOLDERS for path in sorted(folder.glob(pattern))]
    return sorted({path.read_bytes(): path for path in reversed(paths)}.values())


def golden_id(path):
    return f"{path.parent.name}-{path.stem}"


def relative_error(actual, expected):
    return np.linalg.norm(actual - expected) / max(np.linalg.norm(expected), 1e-30)
