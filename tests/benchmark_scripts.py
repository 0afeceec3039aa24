"""Modules of the scripts in benchmarks/, for tests of what they compute."""

import functools
import importlib.util
from pathlib import Path


@functools.cache
def script(name):
    """benchmarks/NAME.py as a module."""
    path = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
