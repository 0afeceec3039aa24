"""Times a step of `--recipe=rounds` on Omniglot beside the default ProtoNets step, per image.

    python benchmarks/augmented_step.py [--intra=2] [--inter=2] [--blocks=8] [--minutes=10]

The recipe: 60-way, 1 shot, 4 queries, every image a copy by `affine`, classes turned; and without copies, which shows
what they cost. The default step: 20-way, 1 shot, 15 queries, images as they are. 64 filters, 28x28, from uint8 images
to updated weights. The three alternate in blocks on an otherwise idle machine. Prints medians, and ms per image.
"""

import argparse
import statistics
import sys

from protonets_step import QUERY, SHOT, WAY, our_step, use_threads
from side_by_side import measure

STEPS = {"60-way, copies": (60, 4, "affine"), "60-way, as they are": (60, 4, None), "20-way": (WAY, QUERY, None)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("intra", 2), ("inter", 2), ("blocks", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--minutes", type=float, default=10)
    args = parser.parse_args()
    use_threads(args.intra, args.inter)
    steps = {name: our_step(*setting) for name, setting in STEPS.items()}
    for step in steps.values():
        step()
    times = measure(steps, args.blocks, args.minutes)
    if not all(times.values()):
        print("no result: the machine was never idle")
        return 1
    for name, (way, query, _) in STEPS.items():
        seconds, images = statistics.median(times[name]), way * (SHOT + query)
        print(
            f"{name}: {1000 * seconds:.1f} ms per step of {images} images, {1000 * seconds / images:.3f} ms per image"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
