"""The scripts, with a stand-in for python that records its arguments."""

import dataclasses
import functools
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cactus_tf.config import flags as cli
from cactus_tf.config.build_plan import embedder_name, partitioner_name

ROOT = Path(__file__).parents[1]
FLAGFILES = sorted(path.stem for path in (ROOT / "flags").glob("*.txt"))
SETS = ["omniglot", "mnist", "miniimagenet", "celeba"]
SCRIPTS = [[path.stem] for path in sorted((ROOT / "run_scripts").glob("[!_]*.sh"))]
SCRIPTS += [["baselines", f"--dataset={name}"] for name in SETS]
EACH = pytest.mark.parametrize("script", SCRIPTS, ids=" ".join)

PYTHON = """#!/usr/bin/env bash
echo "$@" >> "$LOG"
if [[ "$*" == *"--workdir=$SLEEPS"* ]]; then
  trap 'exit 130' INT
  touch "$LOG.sleeps"
  for i in {1..200}; do sleep 0.1; done
fi
if [[ "$*" == *"--workdir=$FAILS"* ]]; then exit 3; fi
for flag in "$@"; do
  if [[ $flag == --workdir=* ]]; then folder=${flag#*=}; fi
done
if [[ -n ${folder-} ]]; then
  mkdir -p "$folder"
  touch "$folder/results.json"
  sleep 0.01
  touch "$folder/report.html"
fi
"""


def copy(place):
    """Fills the folder with the scripts, the flagfiles and a stand-in for python that records its arguments."""
    for folder in ("flags", "run_scripts"):
        shutil.copytree(ROOT / folder, place / folder)
    (place / "bin").mkdir()
    (place / "bin" / "python").write_text(PYTHON)
    (place / "bin" / "python").chmod(0o755)
    return place


@pytest.fixture
def project(tmp_path):
    return copy(tmp_path)


def environment(project, fails="nothing", sleeps="nothing"):
    path = f"{project / 'bin'}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "LOG": str(project / "log"), "FAILS": fails, "SLEEPS": sleeps}


def run(project, script, *flags, fails="nothing"):
    """Runs a script to its end."""
    command = [project / "run_scripts" / f"{script}.sh", *flags]
    return subprocess.run(command, env=environment(project, fails), capture_output=True, text=True, check=False)


def python_calls(project, script, *flags, code=0, fails="nothing"):
    """The calls of python that a script makes: a list of arguments each."""
    (project / "log").write_text("")
    done = run(project, script, *flags, fails=fails)
    assert done.returncode == code, done.stderr
    return [line.split(" ") for line in (project / "log").read_text().splitlines()]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """fresh(script, flag, ...): the calls of python in a project without runs; cached."""
    place = copy(tmp_path_factory.mktemp("project"))

    @functools.cache
    def ask(script, *flags):
        shutil.rmtree(place / "runs", ignore_errors=True)
        return python_calls(place, script, *flags)

    return ask


def runs(lines):
    """Name -> arguments, of the calls that are runs."""
    calls = [line for line in lines if line[:2] == ["-m", "cactus_tf.main"]]
    return {line[2].removeprefix("--flagfile=flags/").removesuffix(".txt"): line for line in calls}


def parse(line):
    """The configuration of a run's arguments."""
    return parsed(tuple(line[2:-1]))


@functools.cache
def parsed(flags):
    return cli.parse([flag.replace("=flags/", f"={ROOT}/flags/") for flag in flags])


def full_and_short(fresh, script):
    """Name -> the configurations of the run and of its short form."""
    full, short = runs(fresh(*script)), runs(fresh(script[0], "--short", *script[1:]))
    assert list(full) == list(short)
    return {name: (parse(full[name]), parse(short[name])) for name in full}


def test_the_scripts_run_exactly_the_flagfiles_that_exist(fresh):
    assert {name for script in SCRIPTS for name in runs(fresh(*script))} == set(FLAGFILES)


@EACH
def test_the_last_command_is_the_table_of_all_runs(fresh, script):
    *made, table = fresh(*script)
    assert table == ["-m", "cactus_tf.table", *(line[-1].removeprefix("--workdir=") for line in made)]


@EACH
def test_short_cuts_everything_that_takes_time_to_a_tenth_or_less(fresh, script):
    for name, (full, short) in full_and_short(fresh, script).items():
        for learner, training in full.learners.items():
            assert short.learners[learner].steps <= training.steps / 10, name
        if full.embedding.embedder_steps and embedder_name(full) != "none":
            assert short.embedding.embedder_steps <= full.embedding.embedder_steps / 10, name
        assert short.partition.partitions <= most_partitions(full), name
        assert short.evaluation.eval_episodes <= most_episodes(full), name


def most_partitions(config):
    """The most partitions of a short run. Five take seconds, the hundred of k-means on Omniglot two minutes: uncut."""
    p, name = config.partition.partitions, partitioner_name(config)
    uncut = (config.data.dataset, name) == ("omniglot", "kmeans") or name in (
        "none",
        "labels",
        "cluster_files",
        "instances",
    )
    return p if p <= 5 or uncut else p / 10


def most_episodes(config):
    """The most episodes of a short run. On Omniglot, episodes without adaptation are cheap and are not cut."""
    if config.data.dataset != "omniglot":
        return config.evaluation.eval_episodes / 10
    return 300 if {"maml", "scratch"} & set(config.run.algo) else 1000


@pytest.mark.parametrize("script", [["ablations"], ["miniimagenet"]], ids=" ".join)
def test_a_short_run_of_one_partition_has_one_partition(fresh, script):
    short = {name: short for name, (_, short) in full_and_short(fresh, script).items() if "one_partition" in name}
    assert {config.partition.partitions for config in short.values()} == {1}


def test_short_runs_differ_only_in_lengths_training_queries_and_margins(fresh):
    for full, short in full_and_short(fresh, ["ablations"]).values():
        for name, t in full.learners.items():
            assert dataclasses.replace(short.learners[name], steps=t.steps, query=t.query) == t
        episodes = dataclasses.replace(short.evaluation, eval_episodes=full.evaluation.eval_episodes)
        assert episodes == full.evaluation
        assert (short.data, short.run) == (full.data, full.run)
        assert {n: o for n, o in short.options.items() if n != "hyperplanes"} == {
            n: o for n, o in full.options.items() if n != "hyperplanes"
        }


def test_every_short_file_is_used(fresh):
    lines = [line for s in SCRIPTS for line in runs(fresh(s[0], "--short", *s[1:])).values()]
    used = {Path(flag.removeprefix("--flagfile=")).name for line in lines for flag in line if "flags/short/" in flag}
    assert used == {path.name for path in (ROOT / "flags" / "short").glob("*.txt")}


def test_flags_come_after_all_flagfiles(fresh):
    for flags in (["--short", "--steps=7"], ["--steps=7"]):
        for line in runs(fresh("digits", *flags)).values():
            assert line.index("--steps=7") > max(i for i, flag in enumerate(line) if flag.startswith("--flagfile="))


def test_finished_runs_are_reused(project):
    *_, table = python_calls(project, "digits", "--short")
    assert python_calls(project, "digits", "--short") == [table]


def test_a_run_that_two_scripts_share_is_made_once(project):
    python_calls(project, "omniglot")
    assert set(runs(python_calls(project, "baselines"))) == {
        "omniglot_pixels_baselines",
        "omniglot_acai_nearest_neighbours",
    }


@pytest.mark.parametrize("missing", ["results.json", "report.html"])
def test_only_a_stopped_run_is_started_again(project, missing):
    python_calls(project, "digits")
    (project / "runs/full/digits_oracle_maml" / missing).unlink()
    assert list(runs(python_calls(project, "digits"))) == ["digits_oracle_maml"]


def test_a_run_with_results_newer_than_its_report_is_started_again(project):
    python_calls(project, "digits")
    later = time.time() + 10
    os.utime(project / "runs/full/digits_oracle_maml/results.json", (later, later))
    assert list(runs(python_calls(project, "digits"))) == ["digits_oracle_maml"]


@pytest.mark.parametrize("changed", ["digits_oracle_maml", "short/digits_deepcluster"])
def test_a_run_whose_flagfile_changed_is_started_again(project, changed):
    python_calls(project, "digits", "--short")
    later = time.time() + 10
    os.utime(project / "flags" / f"{changed}.txt", (later, later))
    assert len(runs(python_calls(project, "digits", "--short"))) == 1


def test_a_failed_run_ends_the_script_with_its_exit_code(project):
    lines = python_calls(project, "ablations", code=3, fails="runs/full/omniglot_acai_protonets")
    assert list(runs(lines)) == ["omniglot_oracle_protonets", "omniglot_oracle_maml", "omniglot_acai_protonets"]
    assert "cactus_tf.table" not in lines[-1]


@pytest.mark.slow
def test_ctrl_c_stops_the_script(project):
    command = [project / "run_scripts" / "mnist.sh"]
    env = environment(project, sleeps="runs/full/mnist_acai_maml")
    process = subprocess.Popen(command, env=env, start_new_session=True, stdout=subprocess.PIPE)
    end = time.monotonic() + 60
    while not (project / "log.sleeps").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)
    assert list(runs([line.split(" ") for line in (project / "log").read_text().splitlines()]))[-1] == "mnist_acai_maml"


@pytest.mark.parametrize(
    ("script", "flags", "parent"),
    [
        ("digits", [], "runs/full"),
        ("digits", ["--short"], "runs/short"),
        ("digits", ["--seed=1"], "runs/full,seed=1"),
        ("digits", ["--short", "--seed=1", "--quiet"], "runs/short,seed=1"),
        ("mnist", ["--data_dir=/a/b", "--artifacts_dir=c"], "runs/full"),
        ("baselines", ["--dataset=mnist"], "runs/full"),
        ("folder", ["--data_dir=/a/b"], "runs/full,data_dir=_a_b"),
    ],
)
def test_runs_with_different_flags_have_different_folders(fresh, script, flags, parent):
    for name, line in runs(fresh(script, *flags)).items():
        assert line[-1] == f"--workdir={parent}/{name}"


@pytest.mark.parametrize(
    ("script", "flags", "words"),
    [
        ("digits", ["--seed=1", "--short"], "--short must be the first argument"),
        ("digits", ["--workdir=x"], "--workdir cannot be set: every run has its own folder"),
        ("digits", ["--seed", "1"], "unexpected argument '1'; flags look like --name=value"),
        ("baselines", ["--dataset=digits"], "--dataset=digits has no baselines; choose from"),
    ],
)
def test_bad_arguments_print_one_line_and_exit_with_code_2_before_anything_runs(project, script, flags, words):
    done = run(project, script, *flags)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert words in done.stderr
    assert not (project / "log").exists()
