"""Measures time and peak memory of every stage, from ten thousand images to ten million.

    python benchmarks/scale.py [--images=10000,100000] [--side=28] [--embedders=pixels,acai] [--folder=FOLDER]
    python benchmarks/scale.py --images=10000,100000 --side=84 --embedders=pixels
    python benchmarks/scale.py --images=10000000 --embedders=pixels --clusters=10000 --folder=FOLDER

Generates images of classes of about a hundred images each (random mixtures of slow waves, and noise; 28x28x1 or
84x84x3) and runs the stages of a run on them: prepare, fit an embedder, embed all images, one partition (by default
with a cluster per hundred images), 1,000 ProtoNets steps of 5-way 1-shot 5-query episodes. `pixels` uses 64 components,
`acai` is trained for 200 steps. Each stage runs in its own process, so its peak memory is its own. Prints a table:
"beyond maps" is the peak of anonymous memory, including TensorFlow's (about 0.4 GB); "resident" includes pages of
memory maps, which the system can reclaim. Both include the processes that decode images.

FOLDER needs 8 GB of disk for a million 28x28 images with `acai`, 7 GB for a hundred thousand 84x84x3 images, and 24 GB
for ten million 28x28 images with `pixels`. Rerun the command to resume; finished stages are not repeated.
"""

import argparse
import functools
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from memory import Peak

from cactus_tf import embedders, partitioners
from cactus_tf.contracts import DataContext, PartitionContext
from cactus_tf.datasets._io.preparing import Listed, SplitFiles, prepare_files
from cactus_tf.datasets._io.rows import Decoding
from cactus_tf.runs import artifacts
from cactus_tf.types import Partitions

PIECE = 1_000  # images generated at once
WAVES = 5  # per side
SETTINGS = {"pixels": {"dims": 64}, "acai": {"steps": 200}}
LIGHT = ("generate", "prepare")  # stages without TensorFlow, whose worker processes would import it too


class Setting(NamedTuple):
    """The setting of one row of the table."""

    folder: Path
    images: int
    side: int
    steps: int
    clusters: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.side, self.side, 1 if self.side == 28 else 3)

    @property
    def classes(self) -> int:
        return self.images // 100

    def store(self, kind: str) -> artifacts.Artifact:
        return artifacts.Artifact(self.folder, kind, {"images": self.images, "side": self.side})

    def prepared(self) -> np.ndarray:
        return self.store("data").cache("train-images", missing)


class Stored(NamedTuple):
    """An image in one file of all images, in place of `Entry`, an image file in a folder."""

    root: str
    name: str
    size: int
    stamp: int = 0
    archived: bool = False

    def open(self) -> io.BytesIO:
        return io.BytesIO(self.read())

    def read(self) -> bytes:
        with open(self.root, "rb") as file:
            file.seek(int(self.name) * self.size)
            return file.read(self.size)


class AllStored(Sequence):
    """The images of such a file, each made when it is asked for: ten million in a list would take gigabytes."""

    def __init__(self, root: str, size: int, number: int):
        self._root, self._size, self._number = root, size, number

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, i):
        numbers = range(self._number)[i]
        return [self[j] for j in numbers] if isinstance(i, slice) else Stored(self._root, f"{numbers:08d}", self._size)


def missing() -> np.ndarray:
    raise RuntimeError("an earlier stage must run first")


def waves(shape: tuple[int, int, int]) -> np.ndarray:
    """[WAVES^2 channels, h w channels] slow cosines in two directions."""
    height, width, channels = shape
    rows, columns = (np.cos(np.pi * np.outer(np.arange(WAVES), np.arange(n) + 0.5) / n) for n in (height, width))
    gray = np.einsum("ay,bx->abyx", rows, columns).reshape(WAVES**2, -1)
    return np.kron(gray, np.eye(channels)).astype(np.float32)


def generate(setting: Setting) -> None:
    """Writes images.raw, [n, h, w, c] uint8, and labels.npy, [n] in random order."""
    rng, basis = np.random.default_rng(0), waves(setting.shape)
    classes = rng.normal(size=(setting.classes, len(basis))).astype(np.float32)
    labels = rng.integers(setting.classes, size=setting.images)
    with open(setting.folder / "images.raw", "wb") as file:
        for part in np.split(labels, range(PIECE, len(labels), PIECE)):
            mixture = classes[part] + 0.5 * rng.standard_normal((len(part), len(basis)), np.float32)
            images = 128 + 25 * mixture @ basis + 20 * rng.standard_normal((len(part), basis.shape[1]), np.float32)
            file.write(images.clip(0, 255).astype(np.uint8).tobytes())
    np.save(setting.folder / "labels.npy", labels.astype(np.int32))


def as_image(content: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    return np.frombuffer(content, np.uint8).reshape(shape)


def prepare(setting: Setting) -> None:
    size, raw = int(np.prod(setting.shape)), str(setting.folder / "images.raw")
    entries = AllStored(raw, size, setting.images)
    listed = {"train": Listed(entries, np.load(setting.folder / "labels.npy")), "val": Listed([]), "test": Listed([])}
    store = setting.store("data")
    how = Decoding(functools.partial(as_image, shape=setting.shape), setting.shape, read=Stored.read)
    context = DataContext(store.cache, store.folder)
    prepare_files("generated", lambda _: SplitFiles(listed, []), lambda *_: how, context)


def fit(setting: Setting, name: str) -> None:
    embedders.build(name, **SETTINGS[name]).fit(setting.prepared()).save(setting.folder / name)


def embed(setting: Setting, name: str) -> None:
    """As a run does it: in shards, which are joined."""
    from cactus_tf.runs.shards import ROWS, Shards

    embedder, images = embedders.build(name).load(setting.folder / name), setting.prepared()
    store = setting.store("embeddings")
    parts = {f"{name}-{i:010d}": slice(i, i + ROWS) for i in range(0, len(images), ROWS)}
    shards = Shards(store.folder)
    store.cache(
        name, lambda: shards.joined(list(parts), len(images), lambda part: embedder.transform(images[parts[part]]))
    )
    shards.remove()


def partition(setting: Setting, name: str) -> Partitions:
    embeddings = setting.store("embeddings").cache(name, missing)
    cache = setting.store(f"partitions-{name}").cache
    context = PartitionContext(images=setting.images, embeddings=embeddings, way=5, cache=cache)
    return partitioners.build("kmeans", setting.clusters, 1)(context)


def train(setting: Setting, name: str) -> None:
    from cactus_tf import learners
    from cactus_tf.fewshot.episodes import Episodes
    from cactus_tf.fewshot.training import meta_train

    episodes = Episodes(setting.prepared(), partition(setting, name), way=5, shot=1, query=5)
    learner = learners.build("protonets", image_shape=setting.shape, way=5)
    with tempfile.TemporaryDirectory() as folder:
        meta_train(learner, episodes, steps=setting.steps, folder=Path(folder))


def import_all() -> None:
    """Imports what most stages need, so that their times exclude it."""
    import sklearn.decomposition

    from cactus_tf import pipeline
    from cactus_tf.embedders import acai
    from cactus_tf.learners import protonets
    from cactus_tf.partitioners import kmeans

    assert all((sklearn.decomposition, pipeline, acai, protonets, kmeans))


def stages(names: list[str]) -> dict[str, Callable[[Setting], object]]:
    """All stages by name, in order; training uses the partition of the first embedder."""
    ordered: dict[str, Callable[[Setting], object]] = {"generate": generate, "prepare": prepare}
    for name in names:
        for stage in (fit, embed, partition):
            ordered[f"{stage.__name__}, {name}"] = functools.partial(stage, name=name)
    return {**ordered, "train": functools.partial(train, name=names[0])}


def run_stage(name: str, stage: Callable[[Setting], object], setting: Setting) -> None:
    """Prints the time and memory of the stage as JSON."""
    if name not in LIGHT:
        import_all()
    with Peak() as peak:
        start, used = time.perf_counter(), os.times()
        stage(setting)
        seconds, now = time.perf_counter() - start, os.times()
    core = sum(now[:4]) - sum(used[:4])  # children, too
    print(json.dumps({"seconds": seconds, "core_seconds": core, **peak.bytes}))


def measure(stage: str, setting: Setting, arguments: list[str]) -> dict[str, float]:
    """Runs a stage in its own process, unless its result is saved already."""
    result = setting.folder / f"{stage}.json"
    if not result.exists():
        command = [sys.executable, __file__, *arguments, f"--stage={stage}", f"--images={setting.images}"]
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=quiet).stdout
        result.write_text(output.splitlines()[-1])
    return json.loads(result.read_text())


def row(stage: str, setting: Setting, took: dict[str, float]) -> str:
    size = "x".join(map(str, setting.shape))
    each = 1e6 * took["core_seconds"] / setting.images
    time_taken = f"{took['seconds']:.1f} | {took['core_seconds']:.1f} | {each:.0f}"
    memory = f"{took['anonymous'] / 1e9:.2f} | {took['all'] / 1e9:.2f}"
    return f"| {setting.images:,} of {size} | {stage} | {time_taken} | {memory} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="10000,100000")
    parser.add_argument("--side", type=int, default=28, choices=(28, 84))
    parser.add_argument("--embedders", default="pixels,acai")
    parser.add_argument("--steps", type=int, default=1000, help="ProtoNets steps")
    parser.add_argument("--clusters", type=int, help="of the partition; default: a hundredth of the images")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as passing:
        root = args.folder or Path(passing)
        chosen = stages(args.embedders.split(","))
        common = [f"--side={args.side}", f"--embedders={args.embedders}", f"--steps={args.steps}", f"--folder={root}"]
        if args.clusters:
            common.append(f"--clusters={args.clusters}")
        settings = [
            Setting(root / f"{args.side}-{n}", n, args.side, args.steps, args.clusters or n // 100)
            for n in map(int, args.images.split(","))
        ]
        if args.stage:
            run_stage(args.stage, chosen[args.stage], settings[0])
            return
        print("| images | stage | s | core s | core us per image | GB beyond maps | GB resident |")
        print("|---|---|---|---|---|---|---|")
        for setting in settings:
            setting.folder.mkdir(parents=True, exist_ok=True)
            for stage in chosen:
                print(row(stage, setting, measure(stage, setting, common)), flush=True)


if __name__ == "__main__":
    main()
