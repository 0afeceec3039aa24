"""Runs the benchmarks that compare with other implementations, and prints their table. Requires torch and Linux.

    python benchmarks/run_all.py [--minutes=3] [NAME ...]

Takes about a quarter of an hour on an idle machine. Redirect the output into a file to keep it: a Markdown table, and
above it the processor, its instruction sets and whether oneDNN is on.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import cactus_tf  # noqa: F401  turns oneDNN on, also for the scripts
from cactus_tf.utils.machine import machine

PLACE = Path(__file__).parent
BENCHMARKS = {
    "protonets": ("ProtoNets step, 20-way 1-shot 15-query", "protonets_step.py", ()),
    "maml_20": ("MAML step, 8 tasks, 20-way 1-shot 5-query", "maml_step.py", ("--way=20",)),
    "maml_5": ("MAML step, 8 tasks, 5-way 1-shot 5-query", "maml_step.py", ("--way=5",)),
    "maml_84": ("MAML step, 5-way, 84x84 color", "maml_step.py", ("--way=5", "--size=84")),
}
STEP = re.compile(r"^(\w+): ([\d.]+) ms per step", re.MULTILINE)


def row(title: str, script: str, arguments: tuple[str, ...], minutes: float) -> tuple[str, bool]:
    """The line of a benchmark, or why there is none; and whether there is one."""
    command = [sys.executable, str(PLACE / script), *arguments, f"--minutes={minutes}"]
    done = subprocess.run(command, capture_output=True, text=True)
    times = {name: float(ms) for name, ms in STEP.findall(done.stdout)}
    called = " ".join([f"benchmarks/{script}", *arguments])
    if done.returncode or len(times) < 2:
        reason = (done.stdout + done.stderr).strip().splitlines()[-1:] or ["it printed nothing"]
        return f"| {title} | {reason[0]} | | | `{called}` |", False
    (_, ours), *_, (_, other) = times.items()
    return f"| {title} | {ours:.0f} ms | {other:.0f} ms | {other / ours:.2f} | `{called}` |", True


def main() -> int:
    """Prints the table; returns 1 if a row has no figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    args = parser.parse_args()
    unknown = set(args.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(BENCHMARKS)}")
    described = machine()
    instructions = " ".join(described["instructions"])
    print(f"{described['processor']}, {described['cores']} cores, {instructions}; oneDNN {described['onednn']}\n")
    print("| what | ours | PyTorch | speedup | command |\n|---|---|---|---|---|", flush=True)
    complete = True
    for name in args.names or BENCHMARKS:
        line, measured = row(*BENCHMARKS[name], args.minutes)
        complete = complete and measured
        print(line, flush=True)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
