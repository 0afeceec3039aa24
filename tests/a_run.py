"""A run's folder and what is known of it, put together by hand, for tests of what is shown of a run."""

import dataclasses

import numpy as np

from cactus_tf.config import build_plan
from cactus_tf.config import flags as cli
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.report import Run
from cactus_tf.runs import predictions, results
from cactus_tf.types import Accuracy, AssignedPartitions, ImageSet, Splits
from cactus_tf.utils import files

WAY, QUERY, EPISODES, CLASSES = 5, 2, 12, 6
HISTORY = [{"step": step, "loss": 1 / step, "accuracy": 0.5} for step in range(1, 41)]


def images(channels=1, number=60):
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 256, (number, 28, 28, channels), np.uint8)
    drawn[:, :, :16] = 0  # mostly background
    return drawn


def classes(number=60):
    return AssignedPartitions([np.repeat(np.arange(CLASSES), number // CLASSES)])


def parse(*flags):
    base = ["--way=5", "--query=4", "--eval_ways=5", "--eval_shots=1", f"--eval_query={QUERY}", "--eval_episodes=12"]
    return cli.parse([*base, *flags])


def row(settings, name, task, accuracy):
    """A row of results.json."""
    reported = build_plan.learner_plan(settings, name).reported
    return results.row(build_plan.columns(settings), name, task, accuracy, None, reported)


def accuracy(rng):
    """Mostly right answers to every episode, and their accuracy."""
    truth = np.repeat(np.arange(WAY), QUERY)
    given = np.where(rng.random((EPISODES, WAY * QUERY)) < 0.7, truth, rng.integers(0, WAY, (EPISODES, WAY * QUERY)))
    values = (given == truth).mean(axis=1)
    return Accuracy(float(values.mean()), 0.05, values, given)


def make(folder, *flags, channels=1, labeled=True):
    """A run whose first learner was trained and evaluated."""
    plan = build_plan.make(parse(*flags))
    shown = images(channels)
    partitions = AssignedPartitions([np.arange(60) % 6, np.arange(60) // 10])
    test = ImageSet(images(channels), classes() if labeled else None)
    rows, rng = [], np.random.default_rng(1)
    for name in plan.run.algo if labeled else ():
        result = accuracy(rng)
        predictions.write(folder / name, "test", (WAY, 1), predictions.Evaluated(result, {}, []), "key")
        rows.append(row(plan.settings, name, (WAY, 1), result))
    for name in plan.settings.learners:
        files.make_folder(folder / name, "--workdir")
        files.write_csv(folder / name / "history.csv", HISTORY, list(HISTORY[0]))
    files.write_json(folder / "seconds.json", {"prepare": 1.5, "train": 2.5})
    files.write_json(folder / "config.json", results.provenance(plan.record) | {"command": "main.py --way=5"})
    tasks = Episodes(shown, partitions, way=5, shot=1, query=4) if plan.meta_learners else None
    data = Splits(ImageSet(shown), ImageSet(shown), test)
    return Run(plan, folder, data, rows, partitions if plan.meta_learners else [], tasks)


def with_embedder(run, embedder, name):
    embedding = dataclasses.replace(run.plan.embedding, embedder=name)
    return dataclasses.replace(run, plan=dataclasses.replace(run.plan, embedding=embedding), embedder=embedder)


def with_embeddings(run):
    """The run with embeddings of its training images: one far group for each cluster of its first partition."""
    cluster, rng = run.partitions[0].assignments(len(run.data.train)), np.random.default_rng(2)
    embeddings = 10 * np.eye(8)[cluster % 8] + rng.normal(size=(len(cluster), 8))
    return dataclasses.replace(run, embeddings=embeddings.astype(np.float32))


def with_training_images(run, images, partitions=None, names=None):
    """The run with other training images, and clusters of them."""
    data = dataclasses.replace(run.data, train=ImageSet(images, names=names))
    return dataclasses.replace(run, data=data, partitions=partitions or run.partitions)
