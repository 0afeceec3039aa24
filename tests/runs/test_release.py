"""A run of release 0.1.0 resumes, predicts, exports and lists after every options class got a new setting.

release-0.1.0.tar.xz holds runs/ and artifacts/ of this command, with the tiny networks that its flags ask for:
COMMAND with --steps=4, by release 0.1.0 (without the prepared images, which are made again).
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cactus_tf
from cactus_tf import datasets

COMMAND = [
    "--algo=protonets,maml,nearest_neighbours", "--embedder=acai", "--acai_depth=1", "--acai_latent=1",
    "--acai_batch=8", "--embedder_steps=3", "--partitions=2", "--clusters=12", "--filters=2", "--tasks_per_step=1",
    "--way=4", "--query=2", "--maml_inner_steps=1", "--maml_eval_steps=2", "--eval_ways=4", "--eval_shots=1",
    "--eval_query=2", "--eval_episodes=5", "--workdir=runs/digits", "--artifacts_dir=artifacts",
]  # fmt: skip
ADDED = "    added_later: int = option(7, 'a setting that a later release adds', low=1)"
SCRIPT = """
import json, sys
import cactus_tf.export, cactus_tf.main, cactus_tf.predict, cactus_tf.table
from cactus_tf import plugins
assert plugins.options("learners", "maml").added_later == 7
command, run = json.loads(sys.argv[1]), "--run=runs/digits"
places = ["--support=pictures", "--query=pictures"]
assert cactus_tf.main.main([*command, "--steps=6"]) == 0
for algo in ("protonets", "maml", "nearest_neighbours"):
    assert cactus_tf.predict.main([run, f"--algo={algo}", *places, f"--out=out-{algo}"]) == 0
    assert cactus_tf.export.main([run, f"--algo={algo}", f"--out=exported-{algo}"]) == 0
assert cactus_tf.table.main(["runs/digits"]) == 0
"""


@pytest.fixture
def release(tmp_path):
    """The folder with the run of release 0.1.0 and its artifacts."""
    with tarfile.open(Path(__file__).with_name("release-0.1.0.tar.xz")) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.fixture
def next_release(tmp_path_factory):
    """A folder with a copy of the package in which every options and settings class has one more setting."""
    copy = tmp_path_factory.mktemp("next") / "cactus_tf"
    shutil.copytree(Path(cactus_tf.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    changed = [path for path in copy.rglob("*.py") if add_setting(path)]
    assert len(changed) > 15
    return copy.parent


def add_setting(path):
    """Adds a field to every options and settings class of a file; returns how many there are."""
    lines, classes = path.read_text().splitlines(), []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef) and node.name.endswith(("Options", "Settings")) and node.decorator_list:
            fields = [part for part in node.body if isinstance(part, ast.AnnAssign) and "option(" in ast.unparse(part)]
            classes += [fields[-1].end_lineno] if fields else []
    for end in sorted(classes, reverse=True):
        lines.insert(
            end, ADDED.replace("added_later", "added_later" if path.name != "schema.py" else f"added_at_{end}")
        )
    path.write_text("\n".join(lines) + "\n")
    return len(classes)


def pictures(folder):
    """Three digits of two classes as files."""
    data = datasets.load("digits").test
    for c in range(2):
        (folder / str(c)).mkdir(parents=True)
        for i in data.partitions[0].cluster(c)[:3]:
            Image.fromarray(np.asarray(data.images[i, :, :, 0])).save(folder / str(c) / f"{i}.png")


@pytest.mark.slow
def test_a_run_of_the_last_release_resumes_predicts_exports_and_lists_in_the_next_one(release, next_release):
    before = {path.name for path in (release / "artifacts").iterdir()}
    model = next((release / "artifacts").glob("embedder-*/model/arrays.npz"))
    written = model.stat().st_mtime_ns
    pictures(release / "pictures")
    environment = {**os.environ, "PYTHONPATH": str(next_release)}
    script = [sys.executable, "-c", SCRIPT, json.dumps(COMMAND)]
    done = subprocess.run(script, cwd=release, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (release / "artifacts").iterdir()} == before
    assert model.stat().st_mtime_ns == written  # the embedder was not fitted again
    assert "protonets, 6 steps, 2 of them now" in done.stdout
    assert "maml, 6 steps, 2 of them now" in done.stdout
    for algo in ("protonets", "maml", "nearest_neighbours"):
        assert (release / f"out-{algo}" / "predictions.csv").exists()
        assert (release / f"exported-{algo}" / "export.json").exists()
    assert "CACTUs-ProtoNets" in done.stdout
