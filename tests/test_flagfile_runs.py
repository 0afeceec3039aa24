"""Every flagfile runs, for two steps, on generated images: a pattern for each class, and noise."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest

from cactus_tf import datasets, main, pipeline, plugins
from cactus_tf.config import flags as cli
from cactus_tf.config.build_plan import embedder_name, partitioner_name
from cactus_tf.types import AssignedPartitions, ImageSet, Splits

FLAGFILES = sorted((Path(__file__).parents[1] / "flags").glob("*.txt"))
FAST = ["omniglot_acai_one_partition_protonets", "omniglot_acai_hyperplanes_protonets", "omniglot_untrained_protonets"]
GRAY = {"omniglot", "mnist", "digits"}  # 28x28; color 32x32 here, because AlexNet alone takes minutes at 84x84
CLASSES = {"omniglot": 24, "mnist": 10, "digits": 10, "celeba": 2}  # else 6
EACH_TRAIN, EACH_TEST = 24, 8  # images of a class

SMALL = ["--embedder_steps=2", "--tasks_per_step=1", "--filters=4", "--query=1", "--eval_episodes=1"]
# What is slow or wants more images than there are, by the member that it belongs to.
MEMBERS = {
    "acai": ["--acai_depth=2", "--acai_batch=4"],
    "bigan": ["--bigan_batch=4", "--bigan_deploy_batches=2", "--bigan_units=8", "--bigan_filters=4"],
    "deepcluster": ["--deepcluster_batch=4", "--deepcluster_clusters=8", "--deepcluster_dims=4"],
    "infogan": ["--infogan_batch=4"],
    "pretrained": ["--pretrained_weights=random"],
    "hyperplanes": ["--way=8", "--hyperplanes_margin=0.001", "--hyperplanes_splits=40"],
    "maml": ["--maml_inner_steps=1", "--maml_eval_steps=1"],
    "scratch": ["--scratch_eval_steps=1"],
    "mlp_dropout": ["--mlp_dropout_epochs=1"],
    "cluster_network": ["--cluster_network_epochs=1", "--cluster_network_starts=1"],
    "cluster_colour": ["--cluster_colour_starts=1"],
}


def images(dataset, each, seed):
    """An ImageSet of as many images of every class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES.get(dataset, 6)), each)
    shape = (28, 28, 1) if dataset in GRAY else (32, 32, 3)
    patterns = rng.integers(0, 100, (labels.max() + 1, *shape))
    pixels = (patterns[labels] + rng.integers(0, 156, (len(labels), *shape))).astype(np.uint8)
    names = np.array([f"n{label:08}_{i}.JPEG".encode() for i, label in enumerate(labels)])
    partition = AssignedPartitions([labels.astype(np.int32)])
    return ImageSet(pixels, partition, names, supervised=partition if dataset == "imagenet" else None)


@functools.cache
def generated(dataset):
    return Splits(*(images(dataset, each, seed) for seed, each in enumerate((EACH_TRAIN, EACH_TEST, EACH_TEST))))


def features(dataset):
    """The same classes with vectors for images."""
    splits = generated(dataset)
    return Splits(
        *(
            dataclasses.replace(s, images=s.images.reshape(len(s), -1)[:, :64].astype(np.float32), supervised=None)
            for s in (splits.train, splits.val, splits.test)
        )
    )


@pytest.fixture
def in_place_of_files(monkeypatch):
    """Generated images in place of any data set's."""

    def load(name, data_dir, context):
        vectors = getattr(context.options, "input", "images") == "features"
        return features(name) if vectors else generated(name)

    monkeypatch.setattr(datasets, "load", load)
    for name in plugins.names("datasets"):
        module = plugins.load("datasets", name)
        if module.INFO.files_key is not None:
            info = dataclasses.replace(module.INFO, files_key=lambda *folders: "generated")
            monkeypatch.setattr(module, "INFO", info)


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory):
    """A folder of artifacts, so that the flagfiles share embedders."""
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="session")
def cluster_files(tmp_path_factory):
    """A folder with the cluster files that flagfiles name: six random clusters each."""
    folder = tmp_path_factory.mktemp("clusters")
    names = [name.decode().removesuffix(".JPEG") for name in generated("imagenet").train.names]
    rng = np.random.default_rng(0)
    for k, i in ((500, 0), (1000, 0), (10_000, 0), (10_000, 1)):
        clusters = {name: int(rng.integers(6)) for name in names}
        (folder / f"train_k{k}{f'_{i}' if i else ''}.json").write_text(json.dumps(clusters))
    return folder


def reduced(full):
    """Flags that make the run of a flagfile's configuration small; its members stay, and P = 1."""
    members = [embedder_name(full), partitioner_name(full), *full.run.algo]
    ways, shots = full.evaluation.eval_ways or (5,), full.evaluation.eval_shots
    flags = [*SMALL, *(flag for member in members for flag in MEMBERS.get(member, []))]
    flags += [f"--eval_ways={min(ways)}", f"--eval_shots={min(3, *shots)}"]
    flags += [f"--steps={min(2, t.steps)}" for t in full.learners.values()]
    flags += ["--outer_warmup=1" for t in full.learners.values() if t.outer_warmup]
    if full.data.dataset == "imagenet":
        flags += [f"--way={min(5, t.way)}" for t in full.learners.values()]
    flags += [f"--partitions={min(2, full.partition.partitions)}"]
    if full.partition.rounds > 1:
        ways = [min(5, t.way) for t in full.learners.values()]
        flags += ["--rounds=2", "--round_steps=2", "--round_clusters=10", *(f"--way={way}" for way in ways)]
    if full.partition.partitioner != "cluster_files":
        flags += [f"--clusters={min(20, full.partition.clusters or 20)}"]
    return flags


def marked(path):
    return pytest.param(path, id=path.stem, marks=[] if path.stem in FAST else [pytest.mark.slow])


@pytest.mark.parametrize("path", [marked(path) for path in FLAGFILES])
def test_two_steps_of_every_flagfile_end_in_an_accuracy(
    path, in_place_of_files, artifacts, cluster_files, tmp_path, capsys
):
    full = cli.parse([f"--flagfile={path}"])
    flags = [f"--flagfile={path}", *reduced(full), f"--workdir={tmp_path}", f"--artifacts_dir={artifacts}"]
    if full.partition.partitioner == "cluster_files":
        flags += [f"--cluster_files_dir={cluster_files}"]
    assert main.run(pipeline.run, flags) == 0, capsys.readouterr().err
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert {row["algo"] for row in rows} == set(full.run.algo)
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
