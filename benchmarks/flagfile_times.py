"""Estimates how long each flagfile takes on 2 cores: measured times per step, partition and episode, times the lengths.

    python benchmarks/flagfile_times.py [--write] [NAME ...]

Prints minutes by stage; --write puts the sum into the "# Time:" line of each file. The constants below are measured
(docs/benchmarks.md, docs/embedders.md, docs/scale.md); other settings are scaled by images, ways and shots, as the
functions say. There is no estimate if no comparable setting was measured.
"""

import argparse
import re
from pathlib import Path

from cactus_tf.config import flags, rounds
from cactus_tf.config.build_plan import embedder_name, learner_plan, partitioner_name
from cactus_tf.config.schema import Settings

FLAGS = Path(__file__).parents[1] / "flags"
GPU = "one GPU: not measured"

FILES = {"omniglot": 430, "mnist": 0, "miniimagenet": 60_000, "celeba": 202_599, "digits": 0, "imagenet": 1_281_167}
TRAINED_ON = {"omniglot": 22_000, "mnist": 50_000, "miniimagenet": 38_400, "celeba": 162_770, "digits": 1000}
TESTED_ON = {"omniglot": 8460, "mnist": 10_000, "miniimagenet": 12_000, "celeba": 19_962, "digits": 500}
LARGE = ("miniimagenet", "celeba", "imagenet")  # 84x84 color; the others 28x28 gray
DECODED = 0.007  # s per JPEG file; docs/scale.md. Omniglot's small drawings take 3 s in total.

# s per step, at 28x28 and at 84x84; for DeepCluster of 256 images, and s per image between two epochs
# (docs/embedders.md). At 84x84: half of the CPU time of a few steps on a busy machine. BiGAN took 6.4 s per step,
# DeepCluster 1.47 s per step of 16 images, a third of which is assumed for the features between epochs.
EMBEDDER_STEP = {"acai": (0.075, None), "bigan": (0.051, 3.2), "infogan": (0.259, None), "deepcluster": (0.135, 11.8)}
BETWEEN_EPOCHS = (12 / 22_000, 11.8 / 256 / 3)
DEEPCLUSTER_BATCH = {"digits": 32}

KMEANS = 1.4 / (22_000 * 500 * 256)  # s per image, cluster and dimension
WHITENED = 53.5  # s per start on whitened pixels of Omniglot, k = 500, on a busy machine
DIMS = {"pixels": 784, "infogan": 12, "learner": 64}

# s per step and image of ProtoNets: 20-way 1-shot 15-query; 5-way 1-shot 5-query at 84x84.
PROTONETS = (0.120 / 320, 0.263 / 30)
# s per step of MAML of 8 tasks: 5-way and 20-way at 28x28, linear in between; 5-way at 84x84, proportional to ways.
MAML_5, MAML_20, MAML_LARGE = 0.053, 0.142, 1.0
# s per task of 5-way 5-shot 5-query and 50 steps. A support image takes a forward and a backward pass, a query image a
# forward pass: 3 to 1.
ADAPTATION = 69 / 1000
VALIDATION = (1000, 100)  # steps between two validations; episodes of each

NEIGHBORS, MATCHING, DROPOUT = 1.6 / 1000, 1.0 / 1000, 46 / 1000  # s per episode of any size
LOGISTIC = 34 / 1000 / (25 * 5)  # s per episode, support image and way
COLOR = 720 / 1000 / (25 * 44 * 5)  # s per episode, way, and image that receives the label of its cluster
STARTS = {"cluster_matching": 10, "cluster_colour": 20, "cluster_network": 20}
NETWORK_BATCHES = (
    25 * 0.120 / 320
)  # s per image of cluster_network's 25 epochs; upper bound: its network is half as wide


MEASURED = {"omniglot_rounds": "about 55 min on 2 cores without AVX-512 (measured)"}
"""Whole runs."""


def stages(config: Settings) -> dict[str, float] | None:
    """Seconds by stage; None if one of them cannot be estimated."""
    if config.data.dataset not in FILES or not all(measured(config, name) for name in config.learners):
        return None
    seconds = {
        "prepare": FILES[config.data.dataset] * DECODED,
        "embed": embedding(config),
        "partition": sum(partitioning(own) for own in each_round(config)),
        "train": sum(training(own, name) for own in each_round(config) for name in own.run.algo),
        "evaluate": sum(evaluation(config, name) for name in config.run.algo),
    }
    return None if None in seconds.values() else seconds


def each_round(config: Settings) -> list[Settings]:
    """The settings of each round."""
    number = config.partition.rounds
    return [rounds.settings_of(config, i, Path("run")) for i in range(1, number + 1)]


def measured(config: Settings, name: str) -> bool:
    """Whether steps of this network were timed, with any tasks and ways."""
    t = config.learners[name]
    return t.backbone == "conv4" and t.filters == (64 if name == "protonets" else 32) and not t.on_embeddings


def large(config: Settings) -> bool:
    return config.data.dataset in LARGE


def embedding(config: Settings) -> float | None:
    name, steps = embedder_name(config), config.embedding.embedder_steps
    if name not in EMBEDDER_STEP:
        return 0.0
    step, dataset = EMBEDDER_STEP[name][large(config)], config.data.dataset
    if step is None:
        return None
    if name != "deepcluster":
        return steps * step
    batch = DEEPCLUSTER_BATCH.get(dataset, 256)
    epochs = steps / (TRAINED_ON[dataset] // batch)
    return steps * step * batch / 256 + epochs * TRAINED_ON[dataset] * BETWEEN_EPOCHS[large(config)]


def clustering(config: Settings, times: int) -> float:
    """Seconds of k-means."""
    if embedder_name(config) == "pixels" and config.options["pixels"].whiten:
        return WHITENED * times
    dims = DIMS.get(embedder_name(config), 256)
    return KMEANS * TRAINED_ON[config.data.dataset] * config.partition.clusters * dims * times


def partitioning(config: Settings) -> float:
    return clustering(config, config.partition.partitions) if partitioner_name(config) == "kmeans" else 0.0


def training(config: Settings, name: str) -> float:
    if name not in config.learners:
        starts = clustering(config, STARTS[name]) if name in STARTS else 0.0
        return starts + NETWORK_BATCHES * TRAINED_ON[config.data.dataset] * (name == "cluster_network")
    t = config.learners[name]
    if name == "protonets":
        return t.steps * t.tasks_per_step * t.way * (t.shot + t.query) * PROTONETS[large(config)]
    small = MAML_5 + (MAML_20 - MAML_5) * (t.way - 5) / 15
    step = MAML_LARGE * t.way / 5 if large(config) else small
    validations = (
        t.steps / VALIDATION[0] * VALIDATION[1] * adaptation(config, name, *learner_plan(config, name).tasks[0])
    )
    return t.steps * step * t.tasks_per_step / 8 + (0 if config.data.dataset == "celeba" else validations)


def adaptation(config: Settings, name: str, way: int, shot: int) -> float:
    """Seconds of adaptation to one task."""
    images = way * (3 * shot + config.evaluation.eval_query) / (5 * (3 * 5 + 5))
    sizes = MAML_LARGE / MAML_5 if large(config) else 1.0
    return ADAPTATION * images * sizes * config.options[name].eval_steps / 50


def evaluation(config: Settings, name: str) -> float:
    if name == "protonets":  # one forward pass per image, a third of a step
        return TESTED_ON[config.data.dataset] * PROTONETS[large(config)] / 3
    tasks = learner_plan(config, name).tasks
    return config.evaluation.eval_episodes * sum(episode(config, name, *task) for task in tasks)


def episode(config: Settings, name: str, way: int, shot: int) -> float:
    if name in ("maml", "scratch"):
        return adaptation(config, name, way, shot)
    if name == "logistic_regression":
        return LOGISTIC * way * shot * way
    if name == "cluster_colour":
        clusters = min(way * shot, config.partition.clusters)
        return COLOR * clusters * TRAINED_ON[config.data.dataset] / config.partition.clusters * way
    return {"nearest_neighbours": NEIGHBORS, "mlp_dropout": DROPOUT}.get(name, MATCHING)


def time_line(seconds: float | None, name: str = "") -> str:
    """The text of a flagfile's time line.

    Args:
      seconds: the estimate, if there is one.
      name: of the flagfile; whole runs of some were measured.
    """
    if name in MEASURED:
        return f"{MEASURED[name]}; {GPU}."
    if seconds is None:
        return f"not measured on 2 cores; {GPU}."
    hours = seconds / 3600
    length = f"{float(f'{hours:.2g}'):,g} h" if hours >= 1 else f"{max(1, float(f'{60 * hours:.2g}')):g} min"
    return f"about {length} on 2 cores (estimated from step times); {GPU}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="names of flagfiles; default: all")
    parser.add_argument("--write", action="store_true", help='write the sums into the "# Time:" lines')
    args = parser.parse_args()
    for path in sorted(FLAGS.glob("*.txt")):
        if args.names and path.stem not in args.names:
            continue
        seconds = stages(flags.parse([f"--flagfile={path}"]))
        line = time_line(sum(seconds.values()) if seconds else None, path.stem)
        print(f"{path.stem}: {line}", {name: round(s / 60, 1) for name, s in (seconds or {}).items()})
        if args.write:
            path.write_text(re.sub("^# Time:.*$", f"# Time: {line}", path.read_text(), flags=re.MULTILINE))


if __name__ == "__main__":
    main()
