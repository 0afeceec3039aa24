"""Times one MAML training step and the same step in PyTorch. Requires torch and Linux (to detect other load).

    python benchmarks/maml_step.py [--way=20] [--size=28] [--intra=1] [--inter=2] [--blocks=8] [--minutes=10]
    python benchmarks/maml_step.py --alone [--recompute] [--first_order]    ours only, with a breakdown

The paper's settings: 8 tasks, 1 shot, 5 queries, 32 filters, 5 inner steps, second order, from uint8 images to updated
weights; `--size=84` takes color images and the max-pooled network. Blocks of our steps and of PyTorch's alternate, with
pauses in which idle threads stop spinning; blocks during other load on the machine are discarded. `--alone` prints the
time to the first step, a breakdown of the step's time, and the peak resident memory.
"""

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable

from side_by_side import measure, report

TASKS, SHOT, QUERY, FILTERS = 8, 1, 5, 32


class Ours:
    """Our learner, its compiled step and its input pipeline.

    Args:
      way, size: classes and image side of the tasks; images have one channel at 28 pixels, else three.
      options: options of the learner.
    """

    def __init__(self, way: int, size: int, **options):
        import numpy as np
        import tensorflow as tf

        from cactus_tf import learners
        from cactus_tf.fewshot.episodes import Episodes
        from cactus_tf.fewshot.training import adam, make_train_step
        from cactus_tf.types import AssignedPartitions

        channels = 1 if size == 28 else 3
        rng, images = np.random.default_rng(0), 22_000 if size == 28 else 4_000
        rows = rng.integers(0, 256, (images, size, size, channels), np.uint8)
        clusters = AssignedPartitions([rng.integers(0, images // 44, images) for _ in range(20)])
        self.batches = iter(Episodes(rows, clusters, way=way, shot=SHOT, query=QUERY).dataset(TASKS))
        self.learner = learners.build("maml", image_shape=rows.shape[1:], way=way, filters=FILTERS, **options)
        self.optimizer = adam(1e-3)
        self.step = make_train_step(self.learner, self.optimizer, tf.Variable(0, dtype=tf.int64))

    def __call__(self) -> float:
        """One step, as in `meta_train`."""
        return float(self.step(next(self.batches)).scalars["loss"])


def breakdown(ours: Ours, repeats: int) -> dict[str, float]:
    """Median milliseconds of the parts of a step, each compiled and timed separately."""
    import tensorflow as tf

    from cactus_tf.fewshot.training import make_task_update
    from cactus_tf.types import Episode

    update, batch = make_task_update(ours.learner), next(ours.batches)
    forward = tf.function(
        lambda episode: ours.learner.training_loss(episode).loss,
        autograph=False,
        experimental_attributes={"_noinline": True},
    )

    def tasks(batch):
        return [Episode(*parts) for parts in zip(*(tf.unstack(part) for part in batch), strict=True)]

    inner = tf.function(lambda batch: tf.add_n([forward(task) for task in tasks(batch)]), autograph=False)
    both = tf.function(
        lambda batch: [tf.add_n(g) for g in zip(*(update(t).gradients for t in tasks(batch)), strict=True)],
        autograph=False,
    )
    variables = ours.learner.trainable_variables
    apply = tf.function(lambda gradients: ours.optimizer.apply(gradients, variables), autograph=False)
    gradients = [tf.zeros_like(v) for v in variables]
    pipeline = milliseconds(lambda: next(ours.batches), repeats)
    loops = milliseconds(lambda: float(inner(batch)), repeats)
    whole = milliseconds(lambda: both(batch)[0].numpy(), repeats)
    return {
        "input pipeline (in parallel with the step)": pipeline,
        "inner loops and query losses": loops,
        "outer gradient": whole - loops,
        "optimizer": milliseconds(lambda: apply(gradients), repeats),
    }


def milliseconds(call: Callable, repeats: int) -> float:
    """Median milliseconds of a call after a warm-up."""
    times = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[3:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"way": 20, "size": 28, "intra": 1, "inter": 2, "blocks": 8, "repeats": 30}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--minutes", type=float, default=10)
    for name in ("alone", "recompute", "first_order"):
        parser.add_argument(f"--{name}", action="store_true")
    args = parser.parse_args()

    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(args.intra)
    tf.config.threading.set_inter_op_parallelism_threads(args.inter)
    ours = Ours(args.way, args.size, recompute=args.recompute, first_order=args.first_order)
    start = time.perf_counter()
    ours()
    print(f"to the end of the first step: {time.perf_counter() - start:.1f} s")
    if args.alone:
        print(f"one step: {milliseconds(ours, args.repeats):.1f} ms")
        print(f"peak resident memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
        for part, cost in breakdown(ours, args.repeats).items():
            print(f"  {part}: {cost:.1f} ms")
        return 0
    import torch_peers

    peer = torch_peers.maml_step(
        way=args.way,
        shot=SHOT,
        query=QUERY,
        tasks=TASKS,
        filters=FILTERS,
        channels=1 if args.size == 28 else 3,
        size=args.size,
    )
    return report(measure({"cactus_tf": ours, "torch": peer}, args.blocks, args.minutes))


if __name__ == "__main__":
    sys.exit(main())
