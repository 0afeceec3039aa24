"""Runs of several workers over loopback: the result of one, one writer, and an end that names who is missing."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import cactus_tf as ct
from cactus_tf.utils import history

pytestmark = pytest.mark.slow

FLAGS = [
    "--algo=protonets", "--partitions=4", "--clusters=12", "--filters=2", "--tasks_per_step=6", "--way=3", "--query=2",
    "--eval_ways=3", "--eval_shots=1", "--eval_query=2", "--eval_episodes=4", "--workdir=run", "--novalidation",
]  # fmt: skip


class Running:
    """Workers that run the command in one folder, a process each."""

    def __init__(self, place, number, *flags, only=None, own=None, seconds=120, taken=None):
        place.mkdir(exist_ok=True)
        ports = []
        for _ in range(number):
            with socket.create_server(("127.0.0.1", 0)) as server:
                ports.append(server.getsockname()[1])
        ports[-1] = taken or ports[-1]
        self.addresses = [f"127.0.0.1:{port}" for port in ports]
        self.place, self.processes = place, []
        command = [sys.executable, "-m", "cactus_tf.main", *FLAGS, *flags]
        for i in range(number) if only is None else only:
            task = {"type": "worker", "index": i}
            config = json.dumps({"cluster": {"worker": self.addresses}, "task": task})
            others = [own[i]] if own else []
            several = ["--distribute=multiworker", f"--worker_timeout={seconds}"] if number > 1 else []
            environment = {**os.environ, "TF_CONFIG": config, "TF_NUM_INTEROP_THREADS": "1"}
            with open(self.output(len(self.processes)), "w") as output:
                pipes = {"stdout": output, "stderr": subprocess.PIPE, "text": True}
                self.processes.append(
                    subprocess.Popen([*command, *several, *others], cwd=place, env=environment, **pipes)
                )

    def output(self, process):
        """The file of what a process prints."""
        return self.place / f"output{process}.txt"

    def outcomes(self):
        """Exit code, output and errors of each."""
        ended = []
        for number, process in enumerate(self.processes):
            _, err = process.communicate(timeout=900)
            lines = [line for line in err.splitlines() if "0000 00:" not in line]  # not those of TensorFlow's C++
            ended.append((process.returncode, self.output(number).read_text(), "\n".join(lines)))
        return ended

    def state(self, learner="protonets"):
        """The numbers of the last checkpoint, by name."""
        reader = tf.train.load_checkpoint(str(self.place / "run" / learner / "checkpoints"))
        return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if "GRAPH" not in name}


def finished(place, number, *flags):
    running = Running(place, number, *flags)
    for code, _, err in running.outcomes():
        assert code == 0, err
    return running


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("alone"), 1, "--steps=1")


def losses(running, learner="protonets"):
    """Losses by step."""
    return [row["loss"] for row in history.read(running.place / "run" / learner / "history.csv")]


@pytest.mark.parametrize("number", [2, 3])
def test_workers_give_the_result_of_one(number, alone, tmp_path):
    together = finished(tmp_path / "together", number, "--steps=1")
    np.testing.assert_allclose(losses(together), losses(alone), rtol=1e-5)
    one, several = alone.state(), together.state()
    assert one.keys() == several.keys()
    learner = ct.learners.build("protonets", image_shape=(28, 28, 1), way=3, filters=2)
    trained = {f"variables/{i}/" for i, v in enumerate(learner.variables) if v.trainable}
    for name, array in one.items():  # a step of Adam has the rate's length even where the gradient is rounding noise
        loose = name.startswith(tuple(trained))
        np.testing.assert_allclose(several[name], array, rtol=1e-3, atol=2.1e-3 if loose else 1e-6, err_msg=name)
    places = [running.place / "artifacts" for running in (alone, together)]
    stored = [sorted(path.relative_to(place) for path in place.rglob("*.npy")) for place in places]
    assert stored[0] == stored[1]
    for name in stored[0]:
        arrays = [np.load(place / name) for place in places]
        np.testing.assert_array_equal(*arrays, err_msg=str(name))
    assert not list(together.place.rglob("shards"))


def test_workers_train_several_rounds_as_one_does(tmp_path):
    """At a low rate, as the clusters of a round would show the rounding of the round before, enlarged by Adam."""
    flags = ["--rounds=2", "--round_clusters=10", "--round_steps=2", "--steps=3", "--outer_lr=1e-6"]
    one, two = finished(tmp_path / "one", 1, *flags), finished(tmp_path / "two", 2, *flags)
    for learner in ("rounds/1/protonets", "protonets"):
        np.testing.assert_allclose(losses(two, learner), losses(one, learner), rtol=1e-4)
        several, alone = two.state(learner), one.state(learner)
        assert several.keys() == alone.keys()
        for name, array in alone.items():
            np.testing.assert_allclose(several[name], array, rtol=1e-3, atol=1e-5, err_msg=name)
    lines = [(place.place / "run/rounds.csv").read_text() for place in (one, two)]
    assert lines[0] == lines[1]
    assert "protonets, 2 steps, in " in two.output(0).read_text()
    assert "round 2 of 2" in two.output(1).read_text()
    again = finished(tmp_path / "two", 2, *flags)
    assert "3 steps, trained before" in again.output(0).read_text()


def test_a_worker_that_does_not_share_the_run_folder_of_rounds_says_so(tmp_path):
    running = Running(tmp_path / "run", 2, "--rounds=2", "--steps=1", own=["--workdir=run", "--workdir=elsewhere"])
    for code, _, err in running.outcomes():
        assert code == 2
        assert err.startswith(f"the worker at {running.addresses[1]} does not see what the chief at")
        assert "writes to --workdir (here " in err


def test_workers_that_augment_select_and_stop_after_training_give_the_losses_of_one(tmp_path):
    flags = ["--algo=reptile", "--augmentation=affine", "--select=pseudo", "--steps=2", "--reptile_inner_steps=1"]
    runs = [finished(tmp_path / str(number), number, *flags, "--stage=train") for number in (1, 2)]
    one, two = ([*history.read(running.place / "run/reptile/history.csv")] for running in runs)
    for name, error in (("loss", 1e-5), ("pseudo_accuracy", 5e-3)):  # by rounding, a query of hundreds changes sides
        np.testing.assert_allclose([row[name] for row in two], [row[name] for row in one], rtol=0, atol=error)
    assert not list(tmp_path.rglob("results.json"))


def test_workers_decode_together_what_one_decodes(tmp_path):
    rng, pictures = np.random.default_rng(0), tmp_path / "pictures"
    for i in range(70):
        place = pictures / f"class{i % 5}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(256, size=(40, 30, 3)).astype(np.uint8)).save(place / f"{i}.jpg")
    for name in ("class0", "class1", "class2"):
        shutil.copytree(pictures / name, tmp_path / "labeled" / name)
    flags = ["--dataset=folder", f"--data_dir={pictures}", f"--eval_dir={tmp_path / 'labeled'}", "--stage=prepare"]
    alone, together = (finished(tmp_path / f"of{number}", number, *flags) for number in (1, 2))
    for worker, own in enumerate((4, 4)):
        assert f"{own} of 8 shards are decoded here" in together.output(worker).read_text()
    stored = [
        {path.relative_to(place): path.read_bytes() for path in place.rglob("*") if path.is_file()}
        for place in (alone.place / "artifacts", together.place / "artifacts")
    ]
    assert stored[0] == stored[1]
    assert len([name for name in stored[0] if name.suffix == ".npy"]) >= 9


def killed_in_training(place, which):
    """Two workers, of which one is killed, and the outcome of the other."""
    running = Running(place, 2, "--steps=100000")
    deadline = time.monotonic() + 600
    while "ran the first step" not in running.output(0).read_text() and time.monotonic() < deadline:
        time.sleep(0.5)
    time.sleep(2)
    running.processes[which].send_signal(signal.SIGKILL)
    return running, running.outcomes()[1 - which]


def test_a_killed_worker_is_named_and_training_resumes(tmp_path):
    running, (code, _, err) = killed_in_training(tmp_path / "run", 1)
    assert code == 1
    assert err.count("\n") == 0
    step = re.search(
        rf"the worker at {running.addresses[1]} no longer responds; the checkpoint of step (\d+) is in run/protonets",
        err,
    )
    assert step, err
    again = Running(tmp_path / "run", 2, f"--steps={int(step[1]) + 2}")
    (code, out, err), (other_code, *_) = again.outcomes()
    assert (code, other_code) == (0, 0), err
    assert "2 of them now" in out


def test_a_killed_chief_is_named(tmp_path):
    running, (code, _, err) = killed_in_training(tmp_path / "run", 0)
    assert code == 1
    assert f"the worker at {running.addresses[0]} no longer responds; the chief has the checkpoints" in err


def test_workers_with_other_commands_are_named(tmp_path):
    running = Running(tmp_path / "run", 2, "--steps=1", own=["--seed=0", "--seed=1"])
    for code, _, err in running.outcomes():
        assert code == 1
        assert f"the worker at {running.addresses[1]} has another command" in err


def test_a_worker_that_never_comes_is_named(tmp_path):
    running = Running(tmp_path / "run", 2, only=[1], seconds=3)
    ((code, _, err),) = running.outcomes()
    assert code == 1
    assert err.startswith(f"no worker at {running.addresses[0]}")
    assert not (tmp_path / "run/run").exists()


def test_an_artifacts_folder_that_is_not_shared_is_named(tmp_path):
    running = Running(tmp_path / "run", 2, "--steps=1", own=["--artifacts_dir=here", "--artifacts_dir=there"])
    for (code, _, err), own in zip(running.outcomes(), ("here", "there"), strict=True):
        assert code == 2
        assert err.startswith(f"the worker at {running.addresses[1]} does not see what the chief at")
        assert f"writes to --artifacts_dir (here {running.place / own}): name a folder" in err
    assert not (running.place / "here").exists()


def test_a_chief_that_tensorflow_cannot_connect_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # answers like a worker that starts, and never joins
        running = Running(tmp_path / "run", 2, only=[0], seconds=8, taken=deaf.getsockname()[1])
        ((code, _, err),) = running.outcomes()
    assert code == 1
    assert err.startswith(f"TensorFlow did not connect the workers after 8 s; the chief is at {running.addresses[0]}:")
    assert err.count("\n") == 0
