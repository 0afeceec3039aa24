"""What learners answered to evaluation tasks, kept in the workdir, so that a stopped evaluation goes on from it."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import cactus_tf
from cactus_tf.config import keys
from cactus_tf.config.schema import Config
from cactus_tf.contracts import Learner
from cactus_tf.errors import InputError
from cactus_tf.fewshot.evaluation import over_episodes
from cactus_tf.runs import artifacts, results
from cactus_tf.types import Accuracy
from cactus_tf.utils import files

Task = tuple[int, int]
"""(way, shot)."""

_DAMAGE = (OSError, ValueError, EOFError)  # of np.load


class Judged(NamedTuple):
    """What came of one learner on the tasks of one way and shot.

    Attributes:
      accuracy: of every episode, with the answers where it gives one per query.
      marks: what a reader of its row must know (`judging.marks`).
      adaptation: its rows of adaptation.csv; none of a learner that does not adapt.
      seconds: that it took.
    """

    accuracy: Accuracy
    marks: dict[str, Any]
    adaptation: list[dict[str, Any]]
    seconds: float = 0.0


def depends_on(config: Config, name: str, learner: Learner, inputs: np.ndarray) -> str:
    """A key of all that may change in a workdir and changes the answers: weights, images, embeddings, tasks, version.

    Args:
      config: resolved and sized.
      name, learner: who answers.
      inputs: [n, ...] what it takes of the split that it is judged on. Images and labels are known by their data set.
    """
    weights = [np.asarray(variable) for variable in getattr(learner, "variables", [])]
    arrays = [*weights, *([inputs] if learner.consumes == "embeddings" else [])]
    judged = config.evaluation
    said = {
        "version": cactus_tf.__version__,
        "data": keys.data(config),
        "options": results.options(config, name),
        "tasks": [judged.eval_split, judged.eval_query, judged.eval_episodes],
        "arrays": [hashlib.blake2b(np.ascontiguousarray(array).data).hexdigest() for array in arrays],
    }
    return artifacts.key(said)


def keep(folder: Path, split: str, task: Task, judged: Judged, of: str) -> None:
    """Writes, in this order, accuracies of all episodes, answers, and a description that makes them whole.

    Args:
      folder: WORKDIR/ALGO; it gets accuracy-, answers- and judged-SPLIT-WAYway-SHOTshot.
      split: that was judged on.
      task: (way, shot).
      judged: what came of it.
      of: as of `depends_on`.
    """
    files.make_folder(folder, "--workdir")
    description = _path(folder, "judged", split, task, "json")
    description.unlink(missing_ok=True)
    _write(_path(folder, "accuracy", split, task), judged.accuracy.per_episode)
    if judged.accuracy.answers is not None:
        _write(_path(folder, "answers", split, task), judged.accuracy.answers.astype(np.int16))
    told = {"marks": judged.marks, "adaptation": judged.adaptation, "seconds": round(judged.seconds, 3)}
    files.write_json(description, {"of": of, **told})


def kept(folder: Path, split: str, task: Task, of: str) -> Judged | None:
    """What `keep` wrote with the same arguments; None where there is nothing whole, or it depends on something else."""
    try:
        there = files.read_json(_path(folder, "judged", split, task, "json"))
        if there["of"] != of:
            return None
        found = over_episodes(np.load(_path(folder, "accuracy", split, task)))
        answers = _path(folder, "answers", split, task)
        found = found._replace(answers=np.load(answers) if answers.exists() else None)
        return Judged(found, there["marks"], there["adaptation"], there["seconds"])
    except (InputError, *_DAMAGE, KeyError, TypeError):
        return None


def of_queries(folder: Path, split: str, task: Task, query: int) -> np.ndarray | None:
    """[episodes, way, query] the labels that the queries were given, those of true label i in row i; None if not kept.

    Args:
      folder, split, task: as of `keep`.
      query: Q of the evaluation episodes.
    """
    try:
        return np.load(_path(folder, "answers", split, task)).reshape(-1, task[0], query)
    except _DAMAGE:  # it is only for pictures
        return None


def _path(folder: Path, what: str, split: str, task: Task, suffix: str = "npy") -> Path:
    return folder / f"{what}-{split}-{task[0]}way-{task[1]}shot.{suffix}"


def _write(path: Path, array: np.ndarray) -> None:
    files.write_atomic(path, functools.partial(np.save, arr=array))
