"""What a run says at its beginning and end, and results.json."""

import contextlib
import dataclasses
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
from cactus_tf.config import keys
from cactus_tf.config.schema import STAGES, Config
from cactus_tf.contracts import Learner
from cactus_tf.fewshot.evaluation import AdaptationAccuracy
from cactus_tf.types import Accuracy, Difference, Splits
from cactus_tf.utils import files

JUDGED_WITH = "a data set of your own is judged with --eval_dir=FOLDER, a sub-folder per class"
_PACKAGES = ("cactus-tf", "tensorflow", "keras", "numpy", "scikit-learn", "tensorflow-datasets", "tensorboard")
_COLUMNS = (
    "dataset", "split", "embedder", "partitioner", "algo", "way", "shot", "query", "episodes",
    "accuracy", "ci95", "transductive", "seed",
)  # fmt: skip


class Clock:
    """Times the stages and knows the last one.

    Args:
      last: the stage to end after, or "all".
      path: keeps the seconds, so that those of a stopped run count too. The report begins anew every time; evaluation
        counts what it used of earlier commands.
    """

    def __init__(self, last: str, path: Path):
        self._last = STAGES[-1] if last == "all" else last
        self._path = path
        self._done: set[str] = set()
        self._earlier: dict[str, float] = {}
        self.started = _now()
        self.seconds: dict[str, float] = files.read_json(path) if path.exists() else {}

    @property
    def over(self) -> bool:
        """Whether the last stage asked for is done."""
        return self._last in self._done

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times one stage."""
        began = time.monotonic()
        before = 0.0 if name in ("evaluate", "report") else self.seconds.get(name, 0.0)
        try:
            yield
        finally:
            self.seconds[name] = round(before + self._earlier.get(name, 0.0) + time.monotonic() - began, 3)
            files.write_json(self._path, self.seconds)
        self._done.add(name)

    def count_earlier(self, name: str, seconds: float) -> None:
        """Adds to a stage that is under way what an earlier command spent on it."""
        self._earlier[name] = self._earlier.get(name, 0.0) + seconds


def places(config: Config, data: Splits, folder: Path) -> str:
    """Where a first run puts what it makes, and how big that gets."""
    images = sum(part.images.nbytes for part in (data.train, data.val, data.test))
    kept = f"{_megabytes(images)} of images"
    if config.learners and config.partition.partitioner == "kmeans":
        kept += f", {_megabytes(4 * config.partition.partitions * len(data.train))} of partitions"
    return (
        f"first run here: {Path(config.run.artifacts_dir).resolve()} keeps what later runs share ({kept}, the embedder "
        f"and 4 bytes per number of its embeddings), {folder.resolve()} the results; --artifacts_dir and --workdir put "
        "them elsewhere"
    )


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else "under 1 MB"


def row(config: Config, name: str, task: tuple[int, int], accuracy: Accuracy, learner: Learner) -> dict[str, Any]:
    """One row of results.json: a learner at one (way, shot)."""
    return {
        "dataset": config.data.dataset,
        "split": config.evaluation.eval_split,
        "embedder": keys.embedder_name(config),
        "partitioner": keys.partitioner_name(config),
        "algo": name,
        "way": task[0],
        "shot": task[1],
        "query": config.evaluation.eval_query,
        "episodes": config.evaluation.eval_episodes,
        "accuracy": accuracy.mean,
        "ci95": accuracy.ci95,
        "transductive": bool(getattr(learner, "transductive", False)),
        "seed": config.run.seed,
        "options": options(config, name),
    }


def against(first: str, difference: Difference) -> dict[str, Any]:
    """What a row says of its learner against the first one on the same episodes; fractions."""
    return {"against": {"algo": first, "difference": difference.mean, "ci95": difference.ci95}}


def adaptation_rows(name: str, task: tuple[int, int], traced: AdaptationAccuracy) -> list[dict[str, Any]]:
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
        for step, (support, query) in enumerate(zip(*traced, strict=True))
    ]


def options(config: Config, name: str) -> dict[str, Any]:
    """The settings that had a part in a learner's result; a member's own ones as their flags are called."""
    embedder, partitioner = keys.embedder_name(config), keys.partitioner_name(config)
    network = config.learners.get(name) or config.networks.get(name)
    used = {k: v for k, v in dataclasses.asdict(network).items() if v is not None} if network else {}
    if embedder not in ("none", "features"):
        used["embedder_steps"] = config.embedding.embedder_steps
    own_sizes = getattr(config.options.get(partitioner), "sizes", None)  # of cluster files, in place of k and P
    if partitioner not in ("none", "labels") and not own_sizes:
        used |= {"clusters": config.partition.clusters, "partitions": config.partition.partitions}
    if name in config.learners and config.partition.supervised_fraction:
        used["supervised_fraction"] = config.partition.supervised_fraction
    if keys.uses_clusters(name):
        used["clusters"] = config.partition.clusters
    for member in (config.data.dataset, embedder, partitioner, name):
        if member in config.options:
            used |= {f"{member}_{k}": v for k, v in dataclasses.asdict(config.options[member]).items()}
    return used


def write(config: Config, rows: Sequence[Mapping], clock: Clock, folder: Path) -> None:
    """Writes results.json and the same rows as results.csv, their options spread into columns."""
    value = {
        "config": dataclasses.asdict(config),
        "package_versions": package_versions(),
        "started": clock.started,
        "finished": _now(),
        "seconds": {name: clock.seconds.get(name, 0.0) for name in STAGES[:-1]},
        "rows": list(rows),
    }
    files.write_json(folder / "results.json", value)
    flat = [flat_row(r) for r in rows]
    extra = dict.fromkeys(name for r in flat for name in r if name not in _COLUMNS)
    files.write_csv(folder / "results.csv", flat, [*_COLUMNS, *extra])


def flat_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with `options` and `against` spread into columns such as `options.steps`."""
    groups = {name: value for name, value in row.items() if isinstance(value, Mapping)}
    spread = {f"{name}.{k}": v for name, value in groups.items() for k, v in value.items()}
    return {**{name: value for name, value in row.items() if name not in groups}, **spread}


def provenance(config: Config) -> dict[str, Any]:
    """What config.json holds beside the identity."""
    return {
        "config": dataclasses.asdict(config),
        "seed": config.run.seed,
        "package_versions": package_versions(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a number."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def describe(config: Config, folder: Path) -> str:
    """The resolved configuration, a line a section."""
    lines = [f"cactus_tf in {folder}, artifacts in {config.run.artifacts_dir}, seed {config.run.seed}"]
    for name, said in sections(config).items():
        lines.append(f"  {name}: " + ", ".join(f"{k}={plain(v)}" for k, v in said.items()))
    return "\n".join(lines)


def sections(config: Config) -> dict[str, dict[str, Any]]:
    """The resolved configuration by section and name, without what does not apply."""
    parts = {
        "data": config.data,
        "embedding": config.embedding,
        "partition": config.partition,
        **config.learners,
        "evaluation": config.evaluation,
        **{f"{name} settings": part for name, part in config.options.items()},
    }
    return {name: {k: v for k, v in dataclasses.asdict(part).items() if v is not None} for name, part in parts.items()}


def table(rows: Sequence[Mapping]) -> str:
    """A column per (way, shot): accuracy in percent with its 95% interval, a line per learner.

    Below each but the first stands its difference from the first on the same episodes, with the interval of that.
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


def closing_words(rows: Sequence[Mapping], folder: Path) -> str:
    """The table, where everything is, and what to do next."""
    return "\n".join(
        [
            *_judged(rows),
            f"\nresults      {folder}/results.json, results.csv",
            *([f"report       {folder}/report.html"] if (folder / "report.html").exists() else []),
            f"TensorBoard  tensorboard --logdir {folder}/events",
            f"next         {_suggestion(rows[0]['dataset'] if rows else 'folder')}; every setting is in --help",
        ]
    )


def _judged(rows: Sequence[Mapping]) -> list[str]:
    if not rows:
        return [f"\nno accuracy: the split to judge on has no labels; {JUDGED_WITH}"]
    first = rows[0]
    about = f"\n{first['dataset']}, {first['split']} split, {first['episodes']} episodes, mean and 95% interval\n"
    return [about, table(rows)]


def _suggestion(dataset: str) -> str:
    others = [name for name in plugins.names("datasets") if name != dataset]
    if dataset == "folder":
        return "compare: --algo=LEARNER,LEARNER shares the episodes, --partitioner=random is how far chance gets"
    if dataset == "digits":
        return f"real data: --dataset={others[-1]} --data_dir=FOLDER (or {', '.join(others[:-1])})"
    return "compare: --algo=LEARNER,LEARNER shares the episodes, --partitioner=labels is the oracle"


def plain(value: Any) -> str:
    """A setting as it is written in a flag."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
