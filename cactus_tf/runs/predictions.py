"""The stored results of evaluation: a stopped evaluation resumes, and a repeated command computes nothing again."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import cactus_tf
from cactus_tf.config import keys
from cactus_tf.config.plan import EvaluationPlan, LearnerPlan, Task
from cactus_tf.contracts import Learner, MetaLearner
from cactus_tf.errors import InputError
from cactus_tf.fewshot.evaluation import over_episodes
from cactus_tf.types import Accuracy
from cactus_tf.utils import files, sealed
from cactus_tf.utils.arrays import read_array

_REMEDY = "rerun the command, which evaluates again"


class Evaluated(NamedTuple):
    """The result of one learner on the tasks of one way and shot.

    Attributes:
      accuracy: of every episode, with the answer to every query if there is one.
      marks: `leak` and `unanswered`, for its row of results.json.
      adaptation: its rows of adaptation.csv; none for a learner that does not adapt.
      seconds: that it took.
    """

    accuracy: Accuracy
    marks: dict[str, Any]
    adaptation: list[dict[str, Any]]
    seconds: float = 0.0


def key(
    data_key: Mapping[str, Any], evaluation: EvaluationPlan, plan: LearnerPlan, learner: Learner, inputs: np.ndarray
) -> str:
    """A key of everything that changes the answers: weights, embeddings, data, tasks, settings, versions.

    Args:
      data_key: of the prepared data.
      evaluation, plan: of the tasks and the learner.
      learner: trained.
      inputs: [n, ...] its rows of the split to evaluate on; images are known by the key of their data set.
    """
    weights = [np.asarray(variable) for variable in learner.variables] if isinstance(learner, MetaLearner) else []
    arrays = [*weights, *([inputs] if learner.consumes == "embeddings" else [])]
    return keys.digest(
        {
            "version": [cactus_tf.__version__, plan.info.version],
            "data": data_key,
            "options": plan.reported,
            "tasks": [evaluation.split, evaluation.query, evaluation.episodes],
            "arrays": [hashlib.blake2b(np.ascontiguousarray(array).data).hexdigest() for array in arrays],
        }
    )


def write(folder: Path, split: str, task: Task, evaluated: Evaluated, key: str) -> None:
    """Writes accuracies of all episodes, then answers, then a description that makes them complete.

    Args:
      folder: RUN/ALGO; it gets accuracy-, answers- and judged-SPLIT-WAYway-SHOTshot.
      split, task: that was evaluated.
      evaluated: the result.
      key: of `key`.
    """
    files.make_folder(folder, "--workdir")
    description = _path(folder, "judged", split, task, "json")
    files.remove(description)
    _write(_path(folder, "accuracy", split, task), evaluated.accuracy.per_episode)
    answers = evaluated.accuracy.answers
    if answers is not None:
        _write(_path(folder, "answers", split, task), answers.astype(np.int16))
    content = _content(evaluated.accuracy.per_episode, answers)
    about = {"marks": evaluated.marks, "adaptation": evaluated.adaptation, "seconds": round(evaluated.seconds, 3)}
    sealed.write(description, {"of": key, "content": content, **about})


def read(folder: Path, split: str, task: Task, key: str) -> Evaluated | None:
    """What `write` wrote with the same arguments; None if it is missing, damaged, or depends on something else."""
    try:
        about = sealed.read(_path(folder, "judged", split, task, "json"), _REMEDY)
        if about.get("of") != key:
            return None
        per_episode = read_array(_path(folder, "accuracy", split, task), remedy=_REMEDY)
        path = _path(folder, "answers", split, task)
        answers = read_array(path, remedy=_REMEDY) if path.exists() else None
        if about["content"] != _content(per_episode, answers):
            return None
        accuracy = over_episodes(per_episode)._replace(answers=answers)
        return Evaluated(accuracy, about["marks"], about["adaptation"], about["seconds"])
    except (InputError, KeyError):
        return None


def of_queries(folder: Path, split: str, task: Task, query: int) -> np.ndarray | None:
    """[episodes, way, query] answers to the queries, those of true label i in row i; None if there are none.

    Args:
      folder, split, task: as of `write`.
      query: Q of the evaluation episodes.
    """
    try:
        return read_array(_path(folder, "answers", split, task)).reshape(-1, task[0], query)
    except ValueError:  # missing, damaged or of other tasks; only for pictures
        return None


def _content(per_episode: np.ndarray, answers: np.ndarray | None) -> str:
    """A digest of the stored arrays: types, shapes and numbers."""
    digest = hashlib.blake2b(digest_size=16)
    for array in [per_episode] if answers is None else [per_episode, answers.astype(np.int16)]:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _path(folder: Path, what: str, split: str, task: Task, suffix: str = "npy") -> Path:
    return folder / f"{what}-{split}-{task[0]}way-{task[1]}shot.{suffix}"


def _write(path: Path, array: np.ndarray) -> None:
    files.write_atomic(path, functools.partial(_save, array))


def _save(array: np.ndarray, file: Any) -> None:
    np.save(file, array, allow_pickle=False)
