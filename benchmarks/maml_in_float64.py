"""Meta-trains MAML in float32 and in float64 on the same tasks from the same initial weights: does rounding matter?

    python benchmarks/maml_in_float64.py [--seeds=0,1,2] [--steps=2000] [--episodes=1000] [--out=RESULTS.json]

The setting of `python -m cactus_tf.main --algo=maml` on the bundled digits: 10-way 1-shot 5-query tasks of k-means
partitions of the pixels (k = 25, P = 100), 8 tasks per step, 32 filters, 5 inner steps. Weights, gradients, inner loop,
optimizer and pixels are all float64 in one of the two trainings. Both answer the same test tasks; prints a row per seed
and kind of task: accuracies in % and their mean difference, with 95% intervals, and the relative distance of the two
trained networks' weights.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from cactus_tf import backbones, datasets, embedders, partitioners
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.evaluation import adaptation_accuracies, paired_difference
from cactus_tf.fewshot.training import meta_train
from cactus_tf.learners import maml
from cactus_tf.learners._adaptation.inner_loop import AdaptedNetwork
from cactus_tf.learners._adaptation.networks import everything_but_norms
from cactus_tf.utils.machine import machine

WAY, SHOT, QUERY, TASKS = 10, 1, 5, 8
DTYPES = ("float32", "float64")
HEAD = [
    "seed",
    "task",
    *DTYPES,
    "difference on the same tasks",
    "distance of the weights",
    *(f"{d}, time" for d in DTYPES),
]


def learner_in(dtype: str, shape: tuple[int, ...], seed: int) -> maml.MAML:
    """MAML in one type; of one seed, both types start from the same float32 weights."""

    def network(kind: str):
        return backbones.build(
            "conv4",
            shape,
            WAY,
            filters=32,
            norm="batch",
            pooled=False,
            initializers="glorot",
            head_stddev=1.0,
            seed=seed,
            dtype=kind,
        )

    model, options = network(dtype), maml.Options()
    model.set_weights(network("float32").get_weights())
    return maml.MAML(
        AdaptedNetwork(model, rates=lambda _: options.inner_lr, adapts=everything_but_norms), options, name="maml"
    )


def rows_in(dtype: str, images: np.ndarray) -> np.ndarray:
    """Pixels in 0..1, divided in float32."""
    return (images.astype(np.float32) / 255).astype(dtype)


def compare(seed: int, steps: int, episodes: int) -> list[list[str]]:
    """The lines of one seed."""
    data = datasets.load("digits")
    embeddings = embedders.build("pixels", "digits").fit(data.train.images).transform(data.train.images)
    partitions = partitioners.build("kmeans", clusters=25, partitions=100)(embeddings, seed=seed)
    learners, seconds = {}, {}
    for dtype in DTYPES:
        learner, began = learner_in(dtype, data.image_shape, seed), time.monotonic()
        rows = rows_in(dtype, data.train.images)
        tasks = Episodes(rows, partitions, way=WAY, shot=SHOT, query=QUERY, seed=seed)
        meta_train(learner, tasks, tasks_per_step=TASKS, steps=steps)
        learners[dtype], seconds[dtype] = learner, time.monotonic() - began
    single, double = (
        np.concatenate([np.asarray(v, np.float64).ravel() for v in learners[dtype].trainable_variables])
        for dtype in DTYPES
    )
    distance = float(np.linalg.norm(single - double) / np.linalg.norm(double))
    result = []
    for shot in (1, 5):
        accuracies = []
        for dtype in DTYPES:
            rows = rows_in(dtype, data.test.images)
            tasks = Episodes(rows, data.test.partitions, way=WAY, shot=shot, query=5, seed=1_000_000 + seed)
            accuracies.append(adaptation_accuracies(learners[dtype], tasks, episodes, traced=0).final)
        line = [str(seed), f"{WAY}-way {shot}-shot", *(percent(a.mean, a.ci95) for a in accuracies)]
        line += [percent(*paired_difference(*accuracies), "+"), f"{distance:.2f}"]
        result.append(line + [f"{seconds[dtype]:.0f} s" for dtype in DTYPES])
        print(" | ".join(result[-1]), flush=True)
    return result


def percent(mean: float, ci95: float, sign: str = "") -> str:
    return f"{100 * mean:{sign}.2f} ± {100 * ci95:.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    print(machine(), flush=True)
    about = {"steps": args.steps, "episodes": args.episodes, "machine": machine(), "head": HEAD}
    lines: list[list[str]] = []
    for seed in map(int, args.seeds.split(",")):
        lines += compare(seed, args.steps, args.episodes)
        if args.out:  # a seed takes half an hour
            content = json.dumps({**about, "lines": lines}, indent=1, ensure_ascii=False)
            args.out.write_text(content + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
