"""Imports go down only, without a circle, and what the library must not do, it does not do."""

import ast
import graphlib
from pathlib import Path

import pytest

import cactus_tf
from cactus_tf.plugins import FAMILIES

ROOT = Path(cactus_tf.__file__).parent
ORDER = [
    "errors", "types",
    "utils.seeds", "utils.text", "utils.progress", "utils.watchdog", "utils.terminal", "utils.paths", "utils.digests",
    "utils.arrays", "utils.threads", "utils.memory", "utils.machine", "utils.files", "utils.sealed", "utils.drawing",
    "utils.history", "utils.checkpoints", "utils.weights", "utils.keras_defaults", "utils.near_duplicates",
    "utils.distribution",
    "config.schema", "config", "contracts", "plugin_folders", "plugins", "config.keys",
    "config.saved_learners", "config.saved_embedders", "config.rounds", "config.declared",
    "fewshot.losses", "fewshot.episodes", "fewshot.augmenting", "fewshot.schedules", "fewshot.holdout",
    "fewshot.selection", "fewshot.resident", "fewshot.replicas", "fewshot.training",
    "fewshot.evaluation",
    "backbones", "datasets", "embedders", "partitioners", "augmentations", "learners",
    "config.presets", "config.plan", "config.resolve", "config.build_plan",
    "config.flagfiles", "config.command_flags", "config.commands", "config.help",
    "config.settings_page",
    "runs.checksums", "runs.artifacts", "runs.shards", "runs.folder", "runs.inputs", "runs.changed_files",
    "runs.tensorboard",
    "runs.results", "runs.predictions", "runs.restoring", "runs.training_pictures",
    "inference.conversion", "inference.saving", "inference.heads", "inference.classifier",
    "inference.pseudo_tasks", "inference.rejection", "inference.temperature",
    "inference.prediction",
    "inference.prediction_output", "inference.suggestions", "inference.suggestion_output",
    "inference.formats", "inference.signatures", "inference.exporting",
    "report",
    "pipeline", "config.flags", "config.by_content",
    "main", "predict", "suggest", "export", "table",
]  # fmt: skip
"""Every module and family from the ground up; a module imports only what stands before it."""
WITHOUT_ORDER_INSIDE = (*FAMILIES, "report", "pipeline")  # their modules are free among each other, but for circles
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}
MODULES = sorted(set(FILES) - {"__init__", "config", "fewshot", "runs", "utils", "inference"})


def place(module):
    """The entry of ORDER that a module belongs to."""
    return module if module in ORDER else module.split(".")[0]


def imported(module):
    """Dotted names of everything that a file imports anywhere."""
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(module):
    """Modules of this package that a module imports anywhere."""
    for name in imported(module):
        if name.startswith("cactus_tf."):
            name = name.removeprefix("cactus_tf.")
            yield name if name in FILES else name.rpartition(".")[0] or "__init__"


def upward(module):
    """Imports that do not go down."""
    here = ORDER.index(place(module))
    for other in set(own_imports(module)) - {"__init__"}:
        same_folder = place(other) == place(module) and place(module) in WITHOUT_ORDER_INSIDE
        if not same_folder and ORDER.index(place(other)) >= here:
            yield other


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module):
    assert not list(upward(module))


@pytest.mark.parametrize("module", MODULES)
def test_families_import_no_family_but_backbones(module):
    family = module.split(".")[0]
    if family in FAMILIES:
        others = {name.split(".")[0] for name in own_imports(module)} & set(FAMILIES)
        assert others <= {family, "backbones"}


@pytest.mark.parametrize("module", MODULES)
def test_what_starts_with_an_underscore_stays_in_its_folder(module):
    for other in own_imports(module):
        folder = other.split("._")[0] if "._" in other else ""
        assert module.startswith(folder), f"{module} imports {other}"


def test_there_is_no_circle():
    graph = {module: set(own_imports(module)) - {module} for module in MODULES}
    list(graphlib.TopologicalSorter(graph).static_order())


def test_no_folder_shows_more_than_25_things():
    for folder in {path.parent for path in FILES.values()}:
        seen = [p for p in folder.iterdir() if p.name != "__pycache__"]
        assert len(seen) <= 25, folder


COMMANDS = ("config.flags", "config.command_flags", "config.commands", "main", "table", "predict", "suggest", "export")
LIBRARY = [module for module in MODULES if module not in COMMANDS]


@pytest.mark.parametrize("module", LIBRARY)
def test_flags_global_seeds_and_print_stay_out_of_the_library(module):
    assert not [name for name in imported(module) if name.split(".")[0] == "absl"]
    calls = [ast.unparse(n.func) for n in ast.walk(ast.parse(FILES[module].read_text())) if isinstance(n, ast.Call)]
    forbidden = {"print", "np.random.seed", "random.seed", "tf.random.set_seed", "keras.utils.set_random_seed"}
    assert not forbidden & set(calls)


@pytest.mark.parametrize("module", MODULES)
def test_members_declare_what_they_can_do_and_nobody_probes_for_it(module):
    for call in (n for n in ast.walk(ast.parse(FILES[module].read_text())) if isinstance(n, ast.Call)):
        probing = ast.unparse(call.func) == "hasattr" or (ast.unparse(call.func) == "getattr" and len(call.args) == 3)
        allowed = ast.unparse(call.args[0]) in ("os", "error", "array", "rows") if probing else True
        assert allowed, f"{module} probes: {ast.unparse(call)}"


def test_importing_the_package_alone_loads_no_tensorflow():
    import subprocess
    import sys

    code = "import sys, cactus_tf; sys.exit(bool({'tensorflow', 'keras', 'sklearn'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(("backend", "ends"), [("torch", 1), ("tensorflow", 0)])
def test_keras_that_is_loaded_on_another_backend_is_one_clear_error(backend, ends):
    import subprocess
    import sys

    loaded = f"SimpleNamespace(config=SimpleNamespace(backend=lambda: {backend!r}))"
    code = f"import sys; from types import SimpleNamespace; sys.modules['keras'] = {loaded}; import cactus_tf"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == ends
    assert ("ImportError: cactus_tf needs Keras on TensorFlow, and" in done.stderr) == bool(ends)


def test_importing_the_package_asks_keras_for_tensorflow():
    import os
    import subprocess
    import sys

    code = "import os, cactus_tf; print(os.environ['KERAS_BACKEND'], os.environ.get('KERAS_MAX_EPOCHS'))"
    environment = {**os.environ, "KERAS_BACKEND": "torch", "KERAS_MAX_EPOCHS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "tensorflow None\n"


@pytest.mark.parametrize("choice", ["0", "1", None])
def test_importing_the_package_turns_on_onednn_unless_the_user_has_chosen(choice):
    import os
    import subprocess
    import sys

    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    environment |= {"TF_ENABLE_ONEDNN_OPTS": choice} if choice else {}
    code = "import os, cactus_tf; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == (choice or "1")


def test_a_tensorflow_loaded_first_without_onednn_is_a_warning_where_it_costs_time(monkeypatch, caplog):
    import tensorflow as tf  # noqa: F401

    import cactus_tf
    from cactus_tf.utils import machine

    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for instructions, warned in ((["X86_V3"], True), (["X86_V4", "AVX512_ICL"], False)):
        caplog.clear()
        monkeypatch.setattr(machine, "machine", lambda instructions=instructions: {"instructions": instructions})
        cactus_tf._ask_for_onednn()
        assert ("import cactus_tf first" in caplog.text) == warned


def test_every_text_file_is_opened_as_utf8():
    for module, path in FILES.items():
        for call in (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)):
            name, words = ast.unparse(call.func).rpartition(".")[2], ast.unparse(call)
            if name in ("read_text", "write_text") and not words.startswith(("write_text(", "files.write_text(")):
                assert "encoding" in words, f"{module}: {words}"
            if words.startswith("open(") and "b'" not in words:
                assert "encoding" in words, f"{module}: {words}"
