"""How far this code is, in float64, from independent implementations of the same mathematics: the golden files.

    python benchmarks/golden_errors.py [--out=RESULTS.json]

For MAML, the float64 files below tests/golden and $CACTUS_GOLDEN_DIR hold losses and meta-gradients of another program
at recorded weights and tasks. ProtoNets are compared with the equations in NumPy (tests/protonets_oracle.py). Prints
the largest relative error over all recorded steps: of a loss, and of a tensor of the gradient in norm, both as computed
by the function that training compiles and by the training step itself. The tests ask for 1e-9.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from cactus_tf.utils.machine import machine

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from golden_files import golden_files, relative_error
from golden_maml import Golden
from test_golden_protonets import InFloat64, compiled, trained

HEAD = ["golden file", "compared with", "loss", "gradient", "training step"]


def of_maml(path: Path) -> list[str]:
    golden = Golden.read(path)
    losses, gradients, steps = [], [], []
    for step in range(golden.steps):
        golden.load(step)
        expected = golden.recorded_trace(f"step{step}")[0]
        losses.append(np.abs(golden.trace(f"step{step}")[0, : len(expected)] / expected - 1).max())
        recorded = golden.recorded_gradients(step)
        gradients += [relative_error(g, recorded[name]) for name, g in golden.gradients(step).items()]
        _, recorded = golden.recorded_training(step)
        steps += [relative_error(g, recorded[name]) for name, g in golden.train(step)[1].items()]
    return [path.stem, "another program", *(f"{max(errors):.0e}" for errors in (losses, gradients, steps))]


def of_protonets(path: Path) -> list[str]:
    golden = InFloat64(path)
    losses, gradients, steps = [], [], []
    for step in range(golden.steps):
        loss, expected, _ = golden.expected(step)
        ours, by_name = compiled(golden, step)
        losses.append(abs(float(ours) / loss - 1))
        gradients += [relative_error(by_name[name], expected[name]) for name in golden.trained()]
        _, by_name = trained(golden, step)
        steps += [relative_error(by_name[name], expected[name]) for name in golden.trained()]
    return [path.stem, "the equations in NumPy", *(f"{max(errors):.0e}" for errors in (losses, gradients, steps))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    lines = []
    for find, files in ((of_maml, "float64/maml_*.npz"), (of_protonets, "protonets_*.npz")):
        for path in golden_files(files):
            lines.append(find(path))
            print(" | ".join(lines[-1]), flush=True)
    if args.out:
        about = {"machine": machine(), "head": HEAD, "lines": lines}
        args.out.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
