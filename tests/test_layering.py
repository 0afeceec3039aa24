"""Imports go downwards only, and what the library must not do, it does not do."""

import ast
from pathlib import Path

import pytest

import cactus_tf
from cactus_tf.plugins import FAMILIES

ROOT = Path(cactus_tf.__file__).parent
LAYERS = [
    {"errors", "seeds", "types", "contracts", "config", "resolving", "published"},
    {"losses", "norms", "plugins", "workdir", "summaries", "checkpoints", "progress", "terminal", "history"},
    {*FAMILIES, "sampling", "training", "evaluation"},
    {"inspection", "keys", "board", "report", "results", "answers", "judging", "comparison"}
    | {"learning", "rehearsal", "pipeline"}
    | {"restoring", "own_images", "own_pictures", "classifier", "saving", "predictions"}
    | {"exporting", "export_formats"},
    {"cli", "commands"},
    {"main", "table", "predict", "export"},
]
FILES = sorted(p for p in ROOT.rglob("*.py"))


def unit(path):
    """The top-level module or family that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path):
    """Names of the cactus_tf modules and of the top-level packages that a file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            own = node.module == "cactus_tf"
            yield from (f"cactus_tf.{a.name}" for a in node.names) if own else (node.module,)


def layer(name):
    return next(i for i, names in enumerate(LAYERS) if name in names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downwards_and_families_do_not_import_each_other(path):
    own = unit(path)
    if own == "__init__":
        return
    for name in imports(path):
        if not name.startswith("cactus_tf."):
            continue
        other = name.split(".")[1]
        assert layer(other) <= layer(own), f"{own} imports {other} from above"
        if own in FAMILIES and other != own:
            assert other not in FAMILIES, f"family {own} imports family {other}"


LIBRARY = [p for p in FILES if unit(p) not in ("cli", "commands", "main", "table", "predict", "export")]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: str(p.relative_to(ROOT)))
def test_flags_global_seeds_and_print_stay_out_of_the_library(path):
    assert not [name for name in imports(path) if name.split(".")[0] == "absl"]
    calls = [ast.unparse(n.func) for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    forbidden = {"print", "np.random.seed", "random.seed", "tf.random.set_seed", "keras.utils.set_random_seed"}
    assert not forbidden & set(calls)


def test_importing_the_package_alone_loads_no_tensorflow():
    import subprocess
    import sys

    code = "import sys, cactus_tf; sys.exit(bool({'tensorflow', 'keras', 'sklearn'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
