"""How well accuracy on held-out pseudo-tasks, which needs no labels, follows accuracy on true classes over a training.

    python benchmarks/pseudo_accuracy.py RUN [--steps=1500] [--schedule=constant] [--episodes=1000] [--out=RESULTS.json]

Trains the ProtoNets of a finished run anew, with a tenth of its clusters held out as by `--select=pseudo`. Evaluates
ten steps both ways: on pseudo-tasks of the held-out clusters, and on the run's 1-shot tasks of true test classes.
Prints a line per step, accuracies in %, and Spearman's rank correlation of the columns.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path

from run_parts import parts_of
from scipy.stats import spearmanr

from cactus_tf import learners
from cactus_tf.fewshot.evaluation import evaluate
from cactus_tf.fewshot.selection import Selection
from cactus_tf.fewshot.training import meta_train
from cactus_tf.pipeline.meta_training import augmentation
from cactus_tf.pipeline.selection import held_out, selection


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--schedule", default="constant")
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    plan, own, data, partitions = parts_of(args.run)
    assert own.training is not None and data.test.partitions is not None
    training = dataclasses.replace(own.training, steps=args.steps, outer_schedule=args.schedule, select="pseudo")
    own = dataclasses.replace(own, training=training)
    learner = learners.make("protonets", own.context(data.image_shape), own.options)
    held, varied = held_out(own, data.train.images, partitions), augmentation(own)
    assert held is not None
    tasks = [(way, shot) for way, shot in own.tasks if shot == 1]
    episodes = [plan.evaluation.tasks(data.test.images, data.test.partitions, *task) for task in tasks]
    points: list[tuple[int, float, list[float]]] = []

    def write(step: int, scalars: dict[str, float]) -> None:
        true = [evaluate(learner, kind, args.episodes).mean for kind in episodes]
        points.append((step, scalars["pseudo/accuracy"], true))
        print(" | ".join(line(points[-1])), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        selected: Selection = selection(own, learner, held, varied, Path(folder), write)
        meta_train(
            learner,
            own.training_tasks(data.train.images, held.training),
            tasks_per_step=training.tasks_per_step,
            steps=args.steps,
            outer_lr=training.outer_lr,
            outer_schedule=training.outer_schedule,
            outer_warmup=training.outer_warmup,
            augment=varied,
            selection=selected,
            folder=Path(folder) / "protonets",
        )
    pseudo = [accuracy for _, accuracy, _ in points]
    ranks = [spearmanr(pseudo, [true[i] for _, _, true in points]).statistic for i in range(len(tasks))]
    lines = [*(line(one) for one in points), ["rank correlation", "", *(f"{rank:.2f}" for rank in ranks)]]
    print(" | ".join(lines[-1]))
    if args.out:
        head = ["step", f"pseudo, {held.tasks.way}-way", *(f"true, {way}-way {shot}-shot" for way, shot in tasks)]
        about = {
            "steps": args.steps,
            "schedule": args.schedule,
            "episodes": args.episodes,
            "head": head,
            "lines": lines,
        }
        args.out.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def line(one: tuple[int, float, list[float]]) -> list[str]:
    """A step's accuracies in words."""
    step, pseudo, true = one
    return [f"{step:,}", *(f"{100 * accuracy:.2f}" for accuracy in (pseudo, *true))]


if __name__ == "__main__":
    sys.exit(main())
