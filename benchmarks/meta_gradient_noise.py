"""Measures what rounding does to MAML's meta-gradient: against float64, and against weights rounded anew.

    TF_ENABLE_ONEDNN_OPTS=1 python benchmarks/meta_gradient_noise.py [--ways=20,5] [--tasks=8] [--draws=16] [--out=FILE]

One row per golden setting (all recorded outer steps together) and per way of the paper's Omniglot setting (1 shot, 5
queries, 32 filters, 5 inner steps, rate 0.05) at its initial weights, on tasks from k-means of scikit-learn's digits.
Every number is a relative error in norm of the whole meta-gradient, the mean over the tasks of an outer step:

- the original: its recorded float32 against float64, where a golden file has both;
- float32: ours against ours in float64, at the same weights;
- rounded weights: float32 at weights that differ by a relative 1e-7, about one rounding, against float32; median and
  largest;
- the same in float64: at the same two sets of weights; what is left without rounding in the computation.

The import order leaves oneDNN to TensorFlow unless the variable above says 0 or 1.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from keras_norm_error import pseudo_tasks

from cactus_tf import backbones
from cactus_tf.utils import sealed
from cactus_tf.utils.machine import machine

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from golden_files import golden_files
from golden_maml import Golden

HEAD = ["setting", "oneDNN", "the original", "float32"]
HEAD += ["rounded weights, median", "largest", "the same in float64, median", "largest"]


def of_paper(way: int, tasks: int) -> dict:
    """As the arrays of a golden file: the paper's setting and initial weights, and tasks of digits."""
    flags = {
        "dataset": "omniglot",
        "num_classes_train": way,
        "num_classes_val": way,
        "num_filters": 32,
        "update_lr": 0.05,
        "num_updates": 5,
    }
    drawn = pseudo_tasks(way, tasks)
    arrays = {"config": json.dumps({"dim": 28 * 28, "test_num_updates": 5, "flags": flags})}
    for part in ("support", "query"):
        rows = np.stack([np.rint(255 * np.asarray(getattr(task, part))) for task in drawn])
        arrays[f"step0/{part}"] = rows.astype(np.uint8).reshape(tasks, -1, 28 * 28)
    golden = Golden(arrays)
    start = backbones.build(
        "conv4", golden.shape, way, filters=32, norm="batch", pooled=False, initializers="glorot", head_stddev=1.0
    )
    golden.network.model.set_weights(start.get_weights())
    return arrays | {f"weight0/{name}": np.asarray(variable.value) for name, variable in golden.variables().items()}


def difference(actual: dict, expected: dict) -> float:
    """Relative, in the norm of all tensors together."""
    parts = [(np.float64(actual[name]), np.float64(gradient)) for name, gradient in expected.items()]
    return np.sqrt(sum(np.sum((a - e) ** 2) for a, e in parts) / sum(np.sum(e**2) for _, e in parts))


def row(name: str, single: Golden, double: Golden, recorded: list[float], draws: int) -> list[str]:
    float32, rounded, exact = [], [], []
    for step in range(single.steps):
        ours, truth = single.gradients(step), double.gradients(step)
        float32.append(difference(ours, truth))
        rounded += [difference(single.gradients(step, draw), ours) for draw in range(1, draws + 1)]
        exact += [difference(double.gradients(step, draw), truth) for draw in range(1, draws + 1)]
    values = [max(float32), np.median(rounded), max(rounded), np.median(exact), max(exact)]
    cells = [f"{max(recorded):.1e}" if recorded else "", *(f"{value:.1e}" for value in values)]
    return [name, machine()["onednn"], *cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", default="20,5")
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    print(machine())
    print(" | ".join(HEAD))
    lines = []
    for path in golden_files("float64/maml_*.npz"):
        single, double = Golden.read(path.parents[1] / path.name), Golden.read(path)
        steps = range(single.steps)
        recorded = [difference(single.recorded_gradients(s), double.recorded_gradients(s)) for s in steps]
        lines.append(row(path.stem, single, double, recorded, args.draws))
        print(" | ".join(lines[-1]), flush=True)
    for way in map(int, args.ways.split(",")):
        arrays = of_paper(way, args.tasks)
        name = f"the paper's {way}-way 1-shot"
        lines.append(row(name, Golden(arrays), Golden(arrays, "float64"), [], args.draws))
        print(" | ".join(lines[-1]), flush=True)
    if args.out:
        about = {"tasks": args.tasks, "draws": args.draws, "machine": machine()}
        sealed.write(args.out, {**about, "head": HEAD, "lines": lines})


if __name__ == "__main__":
    main()
