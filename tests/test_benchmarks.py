"""Every benchmark runs, at its smallest size."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from benchmark_scripts import script

from cactus_tf.config import flags as cli
from cactus_tf.main import main

FOLDER = Path(__file__).parents[1] / "benchmarks"
LIBRARIES = ("memory.py", "run_parts.py", "side_by_side.py", "torch_peers.py")  # imported by the others
OTHERS = ("bigan_collapse.py", "embedder_curve.py", "protonets_in_torch.py", "pseudo_accuracy.py")  # below
LARGE = ("augmented_step.py", "rounds_ablation.py")  # need an idle machine, or Omniglot and an hour
TORCH = pytest.mark.skipif(not find_spec("torch"), reason="compares with torch, which is not installed")
FLAGS = {
    "agreement.py": "--partitions=2",
    "baselines.py": "--learners=nearest_neighbours,cluster_matching --episodes=2 --clusters=20",
    "embedder_step.py": "--steps=15 --images=256",
    "episodes_scale.py": "--images=2000 --partitions=1 --episodes=1200",
    "golden_errors.py": "",
    "flagfile_times.py": "omniglot_acai_protonets",
    "infogan_clusters.py": "--steps=2 --seeds=0 --out=infogan.json",
    "input_pipeline.py": "--images=22000 --repeats=8",
    "keras_norm_error.py": "--way=2 --tasks=1",
    "stored_results.py": "--help",
    "kmeans.py": "--images=500 --dim=8 --clusters=10 --partitions=2",
    "kmeans_scale.py": "--quality=2000 --times=2000 --sampled=2000 --dim=8 --seeds=1",
    "maml_evaluation.py": "--episodes=2",
    "maml_in_float64.py": "--seeds=0 --steps=1 --episodes=2",
    "maml_step.py": "--alone --way=2 --repeats=2",
    "meta_gradient_noise.py": "--ways=2 --tasks=1 --draws=1",
    "partitions.py": "--clusters=20 --pairs=3",
    "protonets_step.py": "--blocks=1 --minutes=0.1",
    "run_all.py": "--minutes=0.1 protonets",
    "scale.py": "--images=1000 --embedders=pixels --steps=2",
    "workers.py": "--steps=12 --rounds=1",
}
WITHOUT_DATA = "CACTUS_DATA_DIR does not name a folder with the real data"
SCRIPTS = [
    pytest.param(path.name, marks=TORCH if path.name in ("protonets_step.py", "run_all.py") else ())
    for path in sorted(FOLDER.glob("*.py"))
    if path.name not in (*LIBRARIES, *OTHERS, *LARGE)
]


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_benchmark_runs(name, tmp_path):
    if name == "infogan_clusters.py" and "CACTUS_DATA_DIR" not in os.environ:
        pytest.skip(WITHOUT_DATA)
    command = [sys.executable, str(FOLDER / name), *FLAGS[name].split()]
    paths = os.pathsep.join([str(FOLDER.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stdout, done.stderr[-2000:]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("run")
    flags = ["--algo=protonets", "--way=5", "--query=2", "--partitions=2", "--steps=3", "--filters=4"]
    flags += ["--eval_ways=5", "--eval_shots=1", "--eval_episodes=4", f"--workdir={place / 'run'}"]
    assert main([*flags, f"--artifacts_dir={place / 'artifacts'}", "--quiet"]) == 0
    return place / "run"


def call(script, *arguments):
    subprocess.run([sys.executable, FOLDER / script, *arguments], check=True, cwd=FOLDER.parent)


@pytest.mark.slow
def test_a_curve_is_stored_after_each_measurement_and_again_by_a_repeated_command(tmp_path):
    flags = ["--embedder=acai", "--episodes=2", f"--folder={tmp_path / 'curve'}", f"--out={tmp_path / 'curve.json'}"]
    call("embedder_curve.py", "--steps=2", *flags)
    stored = json.loads((tmp_path / "curve.json").read_text())
    assert stored["head"] == ["embedder", "step", "10-way 1-shot", "10-way 5-shot", "purity", "mutual information"]
    assert [line[:2] for line in stored["lines"]] == [["acai", "2"]]
    (tmp_path / "curve.json").unlink()
    call("embedder_curve.py", "--steps=2", *flags)
    assert json.loads((tmp_path / "curve.json").read_text())["lines"] == stored["lines"]


@pytest.mark.slow
def test_variants_of_bigan_are_added_to_a_file_of_the_same_lengths(tmp_path, capfd):
    if "CACTUS_DATA_DIR" not in os.environ:
        pytest.skip(WITHOUT_DATA)
    out = f"--out={tmp_path / 'bigan.json'}"
    for variants in ("omniglot", "omniglot,mnist"):
        call("bigan_collapse.py", f"--variants={variants}", "--steps=2", out)
    stored = json.loads((tmp_path / "bigan.json").read_text())
    assert [line[:2] for line in stored["lines"]] == [["omniglot", "2"], ["mnist", "2"]]
    assert all(len(line) == len(stored["head"]) for line in stored["lines"])
    with pytest.raises(subprocess.CalledProcessError):
        call("bigan_collapse.py", "--variants=mnist", "--steps=3", out)
    assert "name another file" in capfd.readouterr().err


@pytest.mark.slow
def test_the_tasks_of_a_run_are_stored_and_learned_in_torch(run, tmp_path):
    tasks = tmp_path / "tasks.npz"
    call("protonets_in_torch.py", "tasks", run, tasks)
    with np.load(tasks) as arrays:
        assert arrays["tasks"].shape == (3, 5, 3)
        assert arrays["test_5_1"].shape == (4, 5, 6)
        rows = json.loads((run / "results.json").read_text())["rows"]
        assert arrays["ours_5_1"].mean() == pytest.approx(rows[0]["accuracy"])
    if find_spec("torch"):
        call("protonets_in_torch.py", "train", tasks, f"--out={tmp_path / 'torch.json'}")
        assert len(json.loads((tmp_path / "torch.json").read_text())["lines"]) == 1


@pytest.mark.slow
def test_ten_steps_of_a_training_are_evaluated_with_and_without_labels(run, tmp_path):
    call("pseudo_accuracy.py", run, "--steps=10", "--episodes=4", f"--out={tmp_path / 'pseudo.json'}")
    assert len(json.loads((tmp_path / "pseudo.json").read_text())["lines"]) == 11


def test_every_row_of_the_ablation_is_a_command():
    ablation = script("rounds_ablation")
    for name in ablation.ROWS:
        flags = ablation.flags_of(name, Path("RUN"))
        cli.parse([f"--{flag}={value}" for flag, value in flags.items()])
