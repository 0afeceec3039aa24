"""What a run found, as one page: report.html, and some of its pictures as files of their own."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf import comparison, figures, history, judging, keys, plugins, results, summaries, tiles, workdir
from cactus_tf.config import Config
from cactus_tf.mistakes import Confusion, confusion, hardest, right
from cactus_tf.page import Picture, Section, Table, render
from cactus_tf.published import RECALLED
from cactus_tf.sampling import Episodes, gather
from cactus_tf.types import ImageSet, Partitions, Splits

PICTURED = 8  # images that embedders are shown with
_TASKS, _HARDEST, _CLASSES, _EXAMPLES = 2, 3, 8, 5
_COUNTED = 2000  # episodes whose answers are counted by class
_MATRIX = 30  # classes of a confusion matrix that can be read
_PARTITIONS = 10  # whose cluster sizes are shown


@dataclasses.dataclass(frozen=True)
class Run:
    """What the page tells of.

    Attributes:
      config: resolved and sized.
      folder: the workdir.
      data: images, or features.
      rows: of results.json.
      partitions: that tasks were made from, none where nobody learns from tasks.
      tasks: the training tasks of the first learner, over images; None where there are none to look at.
      embedder: the fitted one, None where nothing is embedded.
    """

    config: Config
    folder: Path
    data: Splits
    rows: Sequence[Mapping[str, Any]]
    partitions: Partitions = ()
    tasks: Episodes | None = None
    embedder: Any = None

    @property
    def images(self) -> np.ndarray | None:
        """The training images; None where there are only features."""
        return None if keys.has_features(self.config) else self.data.train.images

    @property
    def histories(self) -> dict[str, list[dict[str, float]]]:
        """Learning curves of those learners that have one."""
        read = {name: history.read(self.folder / name / "history.csv") for name in self.config.learners}
        return {name: rows for name, rows in read.items() if rows}


def write(run: Run) -> None:
    """Writes report.html and, of what there is, accuracy.png, learning_curve.png, clusters.png and tasks.png."""
    write_pictures(run)
    parts = (results_of, tasks_of, clusters_of, embedder_of, training_of, adaptation_of, mistakes_of, hardest_of)
    made = [part(run) for part in (*parts, settings_of, reproduction_of)]
    title = f"{', '.join(run.config.run.algo)} on {run.config.data.dataset}"
    page = render(title, f"cactus_tf, {run.folder.name}", [section for section in made if section])
    workdir.write_text(run.folder / "report.html", page)


def write_pictures(run: Run) -> None:
    """Writes the pictures that are files of their own; where there are only features, none of clusters and tasks."""
    if run.rows:
        figures.save(figures.accuracy_figure(run.rows), run.folder / "accuracy.png")
    if run.histories:
        figures.save(figures.curve_figure(run.histories), run.folder / "learning_curve.png")
    if run.images is not None and len(run.partitions):
        figures.save(figures.cluster_figure(run.images, run.partitions[0]), run.folder / "clusters.png")
    if run.tasks is not None:
        paper = tiles.drawings(run.tasks.rows)
        figures.save(figures.task_figure(run.tasks, paper), run.folder / "tasks.png")


def results_of(run: Run) -> Section:
    """The result in a sentence, a table and a chart."""
    if not run.rows:
        return Section("Result", [f"Nothing was judged: the split to judge on has no labels; {results.JUDGED_WITH}."])
    compared = comparison.compare(run.rows)
    paragraphs = [sentence(run.rows[0]), *_remarks(run.rows, compared)]
    picture = _chart(
        figures.accuracy_figure(run.rows),
        "Bar chart of the accuracies in the table above, with 95% intervals and the level of chance.",
        "Mean accuracy with its 95% interval; dotted: chance.",
    )
    return Section("Result", paragraphs, [result_table(run.rows, compared)], [picture])


def sentence(row: Mapping[str, Any]) -> str:
    """One row of results.json in words."""
    learnt = {"labels": "true labels", "none": "no tasks"}.get(row["partitioner"], f"{row['partitioner']} clusters")
    source = "" if row["embedder"] == "none" else f" of {row['embedder']} embeddings"
    how = f", meta-trained on tasks from {learnt}{source if learnt.endswith('clusters') else ''},"
    return (
        f"{row['algo']}{how if 'steps' in row['options'] else ''} gives {100 * row['accuracy']:.2f} ± "
        f"{100 * row['ci95']:.2f} % of the queries their right class in {row['way']}-way {row['shot']}-shot tasks "
        f"of the {row['split']} split of {row['dataset']}, where chance gives {100 / row['way']:.2f} %."
    )


def _remarks(rows: Sequence[Mapping[str, Any]], compared: comparison.Comparison) -> list[str]:
    first = rows[0]
    said = [
        f"Accuracy in %: the mean over {first['episodes']:,} tasks of {first['query']} queries per class, ± half of "
        "its 95% interval. Learners are judged on the same tasks."
    ]
    if any("against" in row for row in rows):
        said.append("A difference from the first learner is taken task by task, so its interval is narrower.")
    if any(cell.paper is not None for cells in compared.values() for cell in cells.values()):
        said.append("Paper: Hsu, Levine, Finn, Unsupervised Learning via Meta-Learning, ICLR 2019.")
    leaking = sorted({row["algo"] for row in rows if row.get("leak")})
    if leaking:
        said.append(f"{', '.join(leaking)} saw the labels of the queries: no accuracy on unseen images.")
    return said


def result_table(rows: Sequence[Mapping[str, Any]], compared: comparison.Comparison) -> Table:
    """Ours with its interval and difference from the first learner; below it the paper's figure and the difference."""
    tasks = comparison.tasks_of(compared)
    lines: list[list[str]] = []

    def add(name: str, text: Callable, found: Mapping[comparison.Task, Any]) -> None:
        if any(value is not None for value in found.values()):
            lines.append([name, *(text(found[t]) if found.get(t) is not None else "" for t in tasks)])

    for row, cells in compared.items():
        own = {(r["way"], r["shot"]): r for r in rows if comparison.row_of(r) == row}
        pairs = {task: r.get("against") for task, r in own.items()}
        add(comparison.label(row), lambda c: f"{c.mean:.2f} ± {c.ci95:.2f}", cells)
        first = next((pair["algo"] for pair in pairs.values() if pair), "")
        add(f"less {first}, by task", lambda p: f"{100 * p['difference']:+.2f} ± {100 * p['ci95']:.2f}", pairs)
        paper = {task: cell if cell.paper is not None else None for task, cell in cells.items()}
        add("the paper" + (", recalled" if row in RECALLED else ""), lambda c: f"{c.paper:.2f}", paper)
        add("less the paper", lambda c: f"{c.mean - c.paper:+.2f}", paper)
    return Table(["accuracy in %", *(f"{way}-way {shot}-shot" for way, shot in tasks)], lines)


def tasks_of(run: Run) -> Section | None:
    """Some of the training tasks, drawn."""
    if run.tasks is None:
        return None
    paper, name = tiles.drawings(run.tasks.rows), next(iter(run.config.learners))
    pictures = []
    for i in range(_TASKS):
        episode = run.tasks[i]
        picture = tiles.task(episode.support, episode.query, paper=paper)
        what = f"Task {i} that {name} was trained on, made from partition {episode.partition}."
        pictures.append(_tiled(picture, f"{what} A row per label.", what))
    of = "class" if run.config.partition.partitioner == "labels" else "cluster"
    text = (
        f"Tasks as {name} met them: a row per label, which stands for a {of}; support images ({run.tasks.shot} per "
        f"label) framed in blue, then queries ({run.tasks.query} per label) in grey. At most 10 of either are drawn."
    )
    return Section("Training tasks", [text], pictures=pictures)


def clusters_of(run: Run) -> Section | None:
    """Sizes of the clusters, and images of some."""
    if not len(run.partitions):
        return None
    shown = range(min(_PARTITIONS, len(run.partitions)))
    sizes = np.concatenate([run.partitions[p].sizes for p in shown])
    which = f"the first {len(shown)} of {len(run.partitions):,} partitions" if len(shown) > 1 else "a partition"
    text = (
        f"{len(sizes):,} clusters in {which}: {sizes.min():,} to {sizes.max():,} images each, {sizes.mean():.1f} in "
        "the mean. Clusters with fewer images than a task takes are not drawn from."
    )
    pictures = [_chart(figures.size_figure(sizes), f"Histogram: {text}", "Images per cluster.")]
    if run.images is not None:
        chosen, rows = figures.cluster_rows(run.images, run.partitions[0])
        named = "; ".join(f"{run.partitions[0].sizes[c]}" for c in chosen)
        caption = f"Images of some clusters of the first partition, a row each, which have {named} images."
        pictures.append(_tiled(tiles.sheet(rows), caption, caption))
    return Section("Clusters", [text], pictures=pictures)


def embedder_of(run: Run) -> Section | None:
    """Learning curves of the embedder and what it makes of some images, where it has a network."""
    curve = getattr(run.embedder, "curve", [])
    if run.embedder is None or run.images is None or not curve:
        return None
    name = run.config.embedding.embedder
    module = plugins.load("embedders", name)
    pictures = []
    metrics = getattr(module, "METRICS", {})
    for scalar, meaning in ((s, m) for s, m in metrics.items() if s in curve[-1]):
        unit = scalar.replace("_", " ")
        figure = figures.line_figure({name: curve}, scalar, unit, "step of the embedder")
        pictures.append(_chart(figure, f"Line chart: {unit} of {name} over its training.", f"{_capital(meaning)}."))
    made, meanings = _embedder_pictures(run), getattr(module, "PICTURES", {})
    for what, picture in made.items():
        caption = f"{_capital(what)}: {meanings[what]}."
        pictures.append(_tiled(picture, caption, caption))
    return Section("Embedder", [f"{name}, after {curve[-1]['step']:,} steps, which saw no labels."], pictures=pictures)


def _embedder_pictures(run: Run) -> dict[str, np.ndarray]:
    """[h, w, c] uint8 by name."""
    if not hasattr(getattr(run.embedder, "model", None), "pictures"):
        return {}
    assert run.images is not None
    made = run.embedder.model.pictures(pictured(run.images))
    whole = {name: summaries.tiled(picture) for name, picture in made.items()}
    return {name: np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8) for name, picture in whole.items()}


def pictured(images: np.ndarray) -> np.ndarray:
    """The few images that an embedder is shown with, spread over all."""
    return np.asarray(images[np.linspace(0, len(images) - 1, PICTURED).astype(int)])


def training_of(run: Run) -> Section | None:
    """Learning curves of the meta-learners."""
    found = run.histories
    if not found:
        return None
    panels = {"loss": ("query loss in nats", 1), "accuracy": ("accuracy on training tasks in %", 100)}
    pictures = [
        _chart(
            figures.line_figure(found, scalar, unit, "outer step", factor),
            f"Line chart: {unit} over the outer steps of {', '.join(found)}.",
            f"{_capital(summaries.TAGS[f'train/{scalar}'])}.",
        )
        for scalar, (unit, factor) in panels.items()
    ]
    return Section("Meta-training", pictures=pictures)


def adaptation_of(run: Run) -> Section | None:
    """Accuracy while learners adapt."""
    path = run.folder / "adaptation.csv"
    judged = {(row["algo"], row["way"], row["shot"]) for row in run.rows}
    rows = [row for row in _read_adaptation(path) if (row["algo"], row["way"], row["shot"]) in judged]
    if not rows:
        return None
    pictures = []
    for way, shot in dict.fromkeys((row["way"], row["shot"]) for row in rows):
        own = [row for row in rows if (row["way"], row["shot"]) == (way, shot)]
        what = f"{way}-way {shot}-shot"
        alt = f"Line chart: accuracy before and after every step of adaptation, {what}."
        pictures.append(_chart(figures.adaptation_figure(own), alt, f"{what}; the band is the 95% interval."))
    text = "Mean accuracy on the evaluation tasks before adaptation (step 0) and after every step of it."
    return Section("Adaptation", [text], pictures=pictures)


def _read_adaptation(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    whole = ("way", "shot", "step")
    return [{k: v if k == "algo" else int(v) if k in whole else float(v) for k, v in row.items()} for row in rows]


def mistakes_of(run: Run) -> Section | None:
    """Which true classes the first learner mistakes for which, at the first way and shot."""
    judged = first_judged(run)
    if judged is None:
        return None
    row, episodes, answers = judged
    found = confusion(episodes, answers[:_COUNTED])
    if found is None:
        return None
    names = class_names(judging.evaluation_set(run.config, run.data))
    text = (
        f"{row['algo']}, {row['way']}-way {row['shot']}-shot, the answers of {min(len(answers), _COUNTED):,} tasks by "
        "true class. A class can be the answer only where it is in the task."
    )
    pictures = []
    if len(names) <= _MATRIX:
        figure = figures.confusion_figure(found.rates, names)
        alt = "Confusion matrix: answers in % of the queries of each true class; the table has the worst."
        pictures = [_chart(figure, alt, "Answers by true class, in % of its queries that could have had the answer.")]
    tables = [confusion_table(found, names, judging.evaluation_set(run.config, run.data), run.images is not None)]
    return Section("Mistakes", [text], tables, pictures)


def confusion_table(found: Confusion, names: Sequence[str], images: ImageSet, drawn: bool) -> Table:
    """The classes that are hardest, and what each is most often taken for."""
    wrong = found.counts - np.diag(np.diag(found.counts))
    met = np.flatnonzero(np.diag(found.together) > 0)
    worst = met[np.argsort(found.accuracy[met], kind="stable")][:_CLASSES]

    def cells(c: int) -> list[str | Picture]:
        return [names[c], *([_examples(images, c, names[c])] if drawn else [])]

    lines = []
    for c in worst:
        other = int(np.argmax(wrong[c]))
        share = f"{wrong[c, other]:,} of {found.together[c, other]:,} queries"
        taken = cells(other) if wrong[c, other] else [""] * (1 + drawn)
        lines.append([*cells(c), f"{100 * found.accuracy[c]:.1f}", *taken, share if wrong[c, other] else ""])
    look = [""] if drawn else []
    return Table(["hardest class", *look, "right in %", "most often taken for", *look, ""], lines, 1 + drawn)


def class_names(images: ImageSet) -> list[str]:
    """What the classes of the first partition by labels are called: folders of the images' files, else numbers."""
    assert images.partitions is not None
    classes = images.partitions[0]
    if images.names is None:
        return [str(c) for c in range(len(classes.sizes))]
    names = images.names
    return [Path(names[classes.cluster(c)[0]].decode()).parent.name or str(c) for c in range(len(classes.sizes))]


def _examples(images: ImageSet, c: int, name: str) -> Picture:
    assert images.partitions is not None
    numbers = images.partitions[0].cluster(c)[:_EXAMPLES]
    shown = tiles.sheet([tiles.tiles(gather(images.images, numbers), tiles.drawings(images.images))], gap=1)
    return _tiled(shown, f"images of class {name}", "")


def hardest_of(run: Run) -> Section | None:
    """The evaluation tasks that the first learner answers worst, drawn."""
    judged = first_judged(run)
    if judged is None or run.images is None:
        return None
    row, episodes, answers = judged
    correct, pictures = right(answers), []
    for i in hardest(answers, _HARDEST):
        episode, mean = episodes[int(i)], 100 * correct[i].mean()
        picture = tiles.task(episode.support, episode.query, ~correct[i], tiles.drawings(episodes.rows))
        what = f"Task {i}: {mean:.1f} % right."
        pictures.append(_tiled(picture, f"Evaluation {what} A row per true class; wrong answers are marked.", what))
    text = (
        f"The {len(pictures)} of {len(answers):,} {row['way']}-way {row['shot']}-shot tasks with the fewest right "
        f"answers of {row['algo']}: a row per true class, support images framed in blue, then queries, in grey where "
        "they were right, in orange with a marked corner where they were wrong."
    )
    return Section("Hardest tasks", [text], pictures=pictures)


def first_judged(run: Run) -> tuple[Mapping[str, Any], Episodes, np.ndarray] | None:
    """First row of the results, its episodes and the answers [episodes, way, query]; None where none were kept."""
    if not run.rows:
        return None
    row, split = run.rows[0], run.config.evaluation.eval_split
    task = (row["way"], row["shot"])
    answers = judging.kept_answers(run.folder / row["algo"], split, task, row["query"])
    images = judging.evaluation_set(run.config, run.data)
    if answers is None or images.partitions is None:
        return None
    return row, judging.evaluation_episodes(run.config, split, images.images, images.partitions, *task), answers


def settings_of(run: Run) -> Section:
    """The resolved configuration."""
    lines = [
        [section, name, results.plain(value)]
        for section, said in results.sections(run.config).items()
        for name, value in said.items()
    ]
    return Section("Configuration", tables=[Table(["section", "setting", "value"], lines, 3)])


def reproduction_of(run: Run) -> Section:
    """The command, versions and times."""
    kept = workdir.read_json(run.folder / "config.json")
    seconds = workdir.read_json(run.folder / "seconds.json")
    tables = [
        Table(["stage", "seconds"], [[name, f"{value:.1f}"] for name, value in seconds.items() if name != "report"]),
        Table(["package", "version"], [[name, version] for name, version in kept["package_versions"].items()]),
    ]
    text = (
        f"Seed {run.config.run.seed}. The command goes on from what is in the run's folder; in another one it begins "
        "anew. Numbers are in results.json and results.csv, every answer to the tasks in the learners' folders."
    )
    return Section("To do it again", [text], tables, typed=kept["command"])


def _chart(figure, alt: str, caption: str) -> Picture:
    return Picture(figures.svg(figure), "svg+xml", round(96 * figure.get_figwidth()), alt, caption)


def _tiled(picture: np.ndarray, alt: str, caption: str) -> Picture:
    return Picture(tiles.png(picture), "png", picture.shape[1], alt, caption)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
