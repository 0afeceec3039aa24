"""What a run prints at its beginning and end, and results.json."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import platform
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cactus_tf import plugins
from cactus_tf.config.plan import Task
from cactus_tf.config.schema import STAGES, RunSettings
from cactus_tf.contracts import AdaptingLearner, Learner
from cactus_tf.errors import InputError, RunError
from cactus_tf.fewshot.evaluation import AdaptationAccuracy
from cactus_tf.types import Accuracy, Difference, Splits
from cactus_tf.utils import files, progress, sealed, watchdog
from cactus_tf.utils.machine import machine

NAME = "results.json"
EVAL_DIR_HINT = "to measure accuracy on your own images, add --eval_dir=FOLDER with a subfolder per class"
_PACKAGES = ("cactus-tf", "tensorflow", "keras", "numpy", "scikit-learn", "tensorflow-datasets", "tensorboard")
_COLUMNS = (
    "dataset", "split", "embedder", "partitioner", "algo", "way", "shot", "query", "episodes",
    "accuracy", "ci95", "transductive", "seed",
)  # fmt: skip


class Clock:
    """Times the stages and knows the last one.

    Args:
      last: the stage to end after, or "all".
      path: stores the seconds, so that those of a stopped run count, too; None stores nothing. The report starts at
        zero every time; evaluation counts the stored results that it reuses.
    """

    def __init__(self, last: str, path: Path | None):
        self._last = STAGES[-1] if last == "all" else last
        self._path = path
        self._done: set[str] = set()
        self._earlier: dict[str, float] = {}
        self.started = _now()
        stored = files.read_json_if_whole(path, dict, {}) if path else {}
        self.seconds: dict[str, float] = {n: s for n, s in stored.items() if type(s) in (int, float) and s >= 0}

    @property
    def over(self) -> bool:
        """Whether the last requested stage is done."""
        return self._last in self._done

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times one stage."""
        began = time.monotonic()
        before = 0.0 if name in ("evaluate", "report") else self.seconds.get(name, 0.0)

        def record() -> None:
            self.seconds[name] = round(before + self._earlier.get(name, 0.0) + time.monotonic() - began, 3)
            if self._path:
                files.write_json(self._path, self.seconds)

        progress.stages.append(name)
        watchdog.on_end.append(record)
        try:
            yield
        except BaseException:
            with contextlib.suppress(InputError, RunError):  # a full disk has an error of its own already
                record()
            raise
        else:
            record()
        finally:
            watchdog.on_end.remove(record)
            progress.stages.pop()
        self._done.add(name)

    def count_earlier(self, name: str, seconds: float) -> None:
        """Adds what an earlier command spent on a stage."""
        self._earlier[name] = self._earlier.get(name, 0.0) + seconds


def places(artifacts_dir: str, partitions: int, data: Splits, folder: Path) -> str:
    """Where the first run writes, and how much.

    Args:
      artifacts_dir: the folder that runs share.
      partitions: number of partitions to store, 0 for none.
      data: all images.
      folder: of the run.
    """
    images = sum(part.images.nbytes for part in (data.train, data.val, data.test))
    size = f"{_megabytes(images)} of images"
    if partitions:
        size += f", {_megabytes(4 * partitions * len(data.train))} of partitions"
    return (
        f"Shared cache: {Path(artifacts_dir).resolve()} ({size}, the embedder, and 4 bytes per number of its "
        f"embeddings). Results: {folder.resolve()}. Change them with --artifacts_dir and --workdir."
    )


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else "under 1 MB"


def row(
    columns: Mapping[str, Any],
    name: str,
    task: Task,
    accuracy: Accuracy,
    learner: Learner | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """One row of results.json: a learner at one (way, shot).

    Args:
      columns: `EvaluationPlan.columns`.
      name, learner: of the learner.
      task: (way, shot).
      accuracy: on its episodes.
      options: `LearnerPlan.reported`.
    """
    own = {
        "algo": name,
        "way": task[0],
        "shot": task[1],
        "accuracy": accuracy.mean,
        "ci95": accuracy.ci95,
        "transductive": isinstance(learner, AdaptingLearner) and bool(learner.transductive),
    }
    values = {**columns, **own}
    return {**{column: values[column] for column in _COLUMNS}, "options": dict(options)}


def against(first: str, difference: Difference) -> dict[str, Any]:
    """The part of a row that compares its learner with the first one on the same episodes; fractions."""
    return {"against": {"algo": first, "difference": difference.mean, "ci95": difference.ci95}}


def adaptation_rows(name: str, task: Task, accuracies: AdaptationAccuracy) -> list[dict[str, Any]]:
    """Rows of adaptation.csv: a learner at one (way, shot), step 0 before adaptation; fractions."""
    return [
        {
            "algo": name,
            "way": task[0],
            "shot": task[1],
            "step": step,
            "support_accuracy": support.mean,
            "query_accuracy": query.mean,
            "query_ci95": query.ci95,
        }
        for step, (support, query) in enumerate(zip(accuracies.support, accuracies.query, strict=True))
    ]


def write(record: Mapping[str, Any], rows: Sequence[Mapping], clock: Clock, folder: Path) -> None:
    """Writes results.json, and the same rows as results.csv with their options spread into columns."""
    value = {
        "config": record,
        "package_versions": package_versions(),
        "machine": machine(),
        "started": clock.started,
        "finished": _now(),
        "seconds": {name: clock.seconds.get(name, 0.0) for name in _timed(clock)},
        "rows": list(rows),
    }
    sealed.write(folder / NAME, value)
    flat = [flat_row(r) for r in rows]
    extra = dict.fromkeys(name for r in flat for name in r if name not in _COLUMNS)
    files.write_csv(folder / "results.csv", flat, [*_COLUMNS, *extra])


def _timed(clock: Clock) -> list[str]:
    """The stages whose seconds are reported; "rounds", all rounds but the last, if there are any."""
    return [*(["rounds"] if "rounds" in clock.seconds else []), *STAGES[:-1]]


def flat_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with `options` and `against` spread into columns such as `options.steps`."""
    groups = {name: value for name, value in row.items() if isinstance(value, Mapping)}
    spread = {f"{name}.{k}": v for name, value in groups.items() for k, v in value.items()}
    return {**{name: value for name, value in row.items() if name not in groups}, **spread}


def provenance(record: Mapping[str, Any]) -> dict[str, Any]:
    """What config.json holds besides the identity."""
    return {
        "config": record,
        "seed": record["run"]["seed"],
        "package_versions": package_versions(),
        "command": f"{_program()} {shlex.join(sys.argv[1:])}".rstrip(),
    }


def _program() -> str:
    """How this program was started, so that the command can be repeated."""
    name = Path(sys.argv[0]).name
    return "python -m cactus_tf.main" if name == "main.py" else name


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a number."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def describe(sections: Mapping[str, Mapping[str, Any]], run: RunSettings, folder: Path) -> str:
    """The resolved settings, a line per section."""
    lines = [f"cactus_tf in {folder}, artifacts in {run.artifacts_dir}, seed {run.seed}"]
    for name, values in sections.items():
        lines.append(f"  {name}: " + ", ".join(f"{k}={plain(v)}" for k, v in values.items()))
    return "\n".join(lines)


def table(rows: Sequence[Mapping]) -> str:
    """A column per (way, shot): accuracy in percent with its 95% interval, a line per learner.

    Below each learner but the first is its difference from the first on the same episodes, with its own interval.
    """
    tasks = list(dict.fromkeys((r["way"], r["shot"]) for r in rows))
    lines = [("accuracy in %", {task: f"{task[0]}-way {task[1]}-shot" for task in tasks})]
    for name in dict.fromkeys(r["algo"] for r in rows):
        own = {(r["way"], r["shot"]): r for r in rows if r["algo"] == name}
        lines.append((name, {task: _percent(r["accuracy"], r["ci95"]) for task, r in own.items()}))
        pairs = {task: r["against"] for task, r in own.items() if "against" in r}
        if pairs:
            first = next(iter(pairs.values()))["algo"]
            lines.append(
                (f"  against {first}", {t: _percent(p["difference"], p["ci95"], "+") for t, p in pairs.items()})
            )
    width = max(len(title) for title, _ in lines)
    return "\n".join((t.ljust(width) + "".join(f"{c.get(k, ''):>16}" for k in tasks)).rstrip() for t, c in lines)


def _percent(fraction: float, ci95: float, sign: str = "") -> str:
    return f"{100 * fraction:{sign}.2f} ± {100 * ci95:.2f}"


def closing_words(rows: Sequence[Mapping], folder: Path, *, several_rounds: bool = False) -> str:
    """The table, where everything is, and what to do next.

    Args:
      rows: of results.json.
      folder: of the run.
      several_rounds: whether earlier rounds have curves of their own.
    """
    return "\n".join(
        [
            *_accuracies(rows),
            *most_accurate(rows),
            f"\nresults      {folder}/results.json, results.csv",
            *([f"report       {folder}/report.html"] if (folder / "report.html").exists() else []),
            f"TensorBoard  tensorboard --logdir {folder if several_rounds else folder / 'events'}",
            f"next         {_suggestion(rows[0] if rows else {'dataset': 'folder'}, folder)}",
            "help         --help lists the main flags, --helpfull all",
        ]
    )


def _accuracies(rows: Sequence[Mapping]) -> list[str]:
    if not rows:
        return [f"\nno accuracy, because the evaluation split has no labels; {EVAL_DIR_HINT}"]
    first = rows[0]
    about = f"\n{first['dataset']}, {first['split']} split, {first['episodes']} episodes, mean and 95% interval\n"
    return [about, table(rows)]


def most_accurate(rows: Sequence[Mapping]) -> list[str]:
    """Which learner to trust at which task, in one line; none for a single learner.

    A learner whose difference from the first on the same episodes is within its interval is not told apart from it.
    """
    answers: dict[str, list[str]] = {}
    for task in dict.fromkeys((r["way"], r["shot"]) for r in rows):
        columns = [r for r in rows if (r["way"], r["shot"]) == task and not r.get("leak")]
        if len(columns) > 1:
            answers.setdefault(_best(columns), []).append(f"{task[0]}-way {task[1]}-shot")
    found = "; ".join(f"{', '.join(tasks)}: {answer}" for answer, tasks in answers.items())
    return [f"\nmost accurate  {found}"] if found else []


def _best(rows: Sequence[Mapping]) -> str:
    """The learner of the highest accuracy, or all that are not told apart from the first one, if that is as good."""
    best = max(rows, key=lambda r: r["accuracy"])
    first = [r["algo"] for r in rows if "against" not in r]
    rivals = [r for r in rows if "against" in r]
    if best in rivals and best["against"]["difference"] > best["against"]["ci95"]:
        return str(best["algo"])
    level = [r["algo"] for r in rivals if r["against"]["difference"] + r["against"]["ci95"] >= 0]
    names = [*first[:1], *level]
    return f"{' and '.join(names)} (not told apart)" if level else names[0]


def _suggestion(row: Mapping, folder: Path) -> str:
    """What to do after a run with such a row."""
    dataset = row["dataset"]
    others = [name for name in plugins.names("datasets") if name != dataset]
    if dataset == "folder":
        run = shlex.quote(str(folder))
        return f"classify pictures: python -m cactus_tf.predict --run={run} --support=LABELED --query=PICTURES"
    if dataset == "digits":
        return f"try real data: --dataset={others[-1]} --data_dir=FOLDER (or {', '.join(others[:-1])})"
    labels = row.get("partitioner") == "labels"
    compared = "clusters (--partitioner=kmeans)" if labels else "true labels (--partitioner=labels)"
    return f"compare learners (--algo=A,B), or compare with {compared}"


def plain(value: Any) -> str:
    """A setting as it is written in a flag."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
