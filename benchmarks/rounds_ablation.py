"""Takes parts out of a round of `--recipe=rounds` on Omniglot, and puts others in, one at a time.

    python benchmarks/rounds_ablation.py --data_dir=FOLDER --first_round=RUN/rounds/1 --folder=KEPT [--out=RESULTS.json]
        [--steps=1500] [--filters=32] [--jobs=1] [ROW ...]

Every row is a run of round 2 by itself on the features of one first round: the recipe's partitions, tasks and schedule
but for the flags of the row, a shorter training and a narrower network. Runs stay in --folder, so that a repeated
command goes on. Prints accuracies in % with 95% intervals; labels only measure.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cactus_tf.utils.threads import cores

BASE = {
    "embedder": "learner", "partitioner": "neighbors", "partitions": "1", "way": "60", "shot": "1", "query": "4",
    "augmentation": "affine", "rotate_classes": "true", "outer_schedule": "cosine", "outer_warmup": "100",
}  # fmt: skip
ROWS: dict[str, dict[str, str]] = {
    "the recipe's round 2": {},
    "k-means, 1 partition of 1,466": {"partitioner": "kmeans", "clusters": "1466"},
    "k-means, 3 partitions of 1,466": {"partitioner": "kmeans", "clusters": "1466", "partitions": "3"},
    "k-means, 1 partition of 500": {"partitioner": "kmeans", "clusters": "500"},
    "`--neighbors_pairs=8`": {"neighbors_pairs": "8"},
    "no copies": {"augmentation": "none"},
    "no turned classes": {"rotate_classes": "false"},
    "neither": {"augmentation": "none", "rotate_classes": "false"},
    "constant rate": {"outer_schedule": "constant", "outer_warmup": "0"},
    "20-way tasks": {"way": "20"},
    "`--protonets_redraws=4`": {"protonets_redraws": "4"},
    "`--protonets_normalize=support --protonets_temperature=0.5`": {
        "protonets_normalize": "support", "protonets_temperature": "0.5",
    },
    "`--protonets_normalize=both --protonets_temperature=10`": {
        "protonets_normalize": "both", "protonets_temperature": "10",
    },
    "`--protonets_metric=cosine`": {"protonets_metric": "cosine"},
    "`--protonets_hard_negatives=10`": {"protonets_hard_negatives": "10"},
    "`--select=pseudo`": {"select": "pseudo"},
    "round 1 instead: every image a class": {"partitioner": "instances", "embedder": "acai"},
}  # fmt: skip
TASKS = ((5, 1), (5, 5), (20, 1), (20, 5))


def flags_of(name: str, first_round: Path) -> dict[str, str]:
    """What a row is, without its length and folders."""
    flags = BASE | ROWS[name] | {"dataset": "omniglot", "algo": "protonets", "stage": "evaluate"}
    return flags | ({"learner_run": str(first_round)} if flags["embedder"] == "learner" else {})


def line(name: str, args: argparse.Namespace) -> list[str]:
    """The row's accuracies; what was computed before is not computed again."""
    run = args.folder / f"{args.steps}-{args.filters}-{''.join(c if c.isalnum() else '_' for c in name)}"
    flags = flags_of(name, args.first_round) | {
        "data_dir": str(args.data_dir), "steps": str(args.steps), "filters": str(args.filters), "workdir": str(run),
        "artifacts_dir": str(args.folder / "artifacts"), "quiet": "true",
    }  # fmt: skip
    command = [sys.executable, "-m", "cactus_tf.main", *(f"--{flag}={value}" for flag, value in flags.items())]
    threads = str(max(1, cores() // args.jobs))
    subprocess.run(command, check=True, env={**os.environ, "TF_NUM_INTRAOP_THREADS": threads})
    content = json.loads((run / "results.json").read_text(encoding="utf-8"))
    rows = {(row["way"], row["shot"]): row for row in content["rows"]}
    cells = [f"{100 * rows[task]['accuracy']:.2f} ± {100 * rows[task]['ci95']:.2f}" for task in TASKS]
    print(" | ".join([name, *cells]), flush=True)
    return [name, *cells, f"{content['seconds']['train']:.0f} s"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data_dir", "first_round", "folder", "out"):
        parser.add_argument(f"--{name}", type=lambda path: Path(path).absolute(), required=name != "out")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--jobs", type=int, default=1, help="rows at a time")
    parser.add_argument("rows", nargs="*", help="default: all")
    args = parser.parse_args()
    names = args.rows or list(ROWS)
    with ThreadPoolExecutor(args.jobs) as pool:
        lines = list(pool.map(lambda name: line(name, args), names))
    if args.out:
        head = ["flags", *(f"{way}-way {shot}-shot" for way, shot in TASKS), "training"]
        about = {
            "steps": args.steps,
            "filters": args.filters,
            "seed": 0,
            "jobs": args.jobs,
            "head": head,
            "lines": lines,
        }
        args.out.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
