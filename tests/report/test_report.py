import dataclasses
import re

import a_run
import numpy as np
import pytest
from PIL import Image

from cactus_tf import report
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.report import comparison, evaluated, result, sheets, training
from cactus_tf.report.mistakes import Confusion
from cactus_tf.runs import results
from cactus_tf.types import AssignedPartitions, Difference, ImageSet
from cactus_tf.utils import files

ADAPTATION = [
    {"algo": "maml", "way": 5, "shot": 1, "step": s, "support_accuracy": 0.5, "query_accuracy": 0.4, "query_ci95": 0.01}
    for s in range(4)
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of protonets and nearest neighbours, and its page."""
    run = a_run.make(tmp_path_factory.mktemp("made"))
    report.write(run)
    return run


def page(run):
    report.write(run)
    return (run.folder / "report.html").read_text()


def titles(text):
    return re.findall(r"<h2>(.*?)</h2>", text)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_picture_of_a_run_is_a_readable_png(tmp_path, channels):
    report.write_pictures(a_run.make(tmp_path, channels=channels))
    names = {path.name for path in tmp_path.glob("*.png")}
    assert names == {"accuracy.png", "clusters.png", "learning_curve.png", "tasks.png"}
    for name in names:
        picture = np.asarray(Image.open(tmp_path / name).convert("L"))
        assert picture.std() > 5  # not blank


def test_a_run_without_training_shows_only_its_evaluation(tmp_path):
    run = a_run.make(tmp_path, "--algo=nearest_neighbours")
    shown = titles(page(run))
    learner = "nearest_neighbours"
    assert shown == [
        "Result", f"Mistakes of {learner}", f"Hardest tasks of {learner}", "Configuration", "Reproduce this run",
    ]  # fmt: skip
    assert {path.name for path in tmp_path.glob("*.png")} == {"accuracy.png"}


def test_the_parts_of_a_page_are_those_of_the_run(made):
    shown = titles((made.folder / "report.html").read_text())
    assert shown == [
        "Result", "Training tasks", "Clusters", "Meta-training", "Mistakes of protonets", "Hardest tasks of protonets",
        "Mistakes of nearest_neighbours", "Hardest tasks of nearest_neighbours", "Configuration", "Reproduce this run",
    ]  # fmt: skip


def test_a_run_without_labels_says_that_there_is_no_accuracy(tmp_path):
    text = page(a_run.make(tmp_path, labeled=False))
    assert "No accuracy, because the evaluation split has no labels" in text
    assert titles(text)[:2] == ["Result", "Training tasks"]
    assert not re.search("Mistakes|Hardest", text)


def test_adaptation_is_shown_of_learners_that_adapt(tmp_path):
    run = a_run.make(tmp_path, "--algo=maml")
    files.write_csv(tmp_path / "adaptation.csv", ADAPTATION, list(ADAPTATION[0]))
    assert [picture.caption for picture in training.adaptation_of(run).pictures] == [
        "5-way 1-shot; the band is the 95% interval."
    ]


def test_adaptation_of_another_evaluation_is_not_shown(tmp_path):
    run = a_run.make(tmp_path, "--algo=maml")
    files.write_csv(tmp_path / "adaptation.csv", [{**row, "way": 3} for row in ADAPTATION], list(ADAPTATION[0]))
    assert training.adaptation_of(run) is None


def test_a_run_without_stored_predictions_shows_no_mistakes(tmp_path):
    run = a_run.make(tmp_path)
    (tmp_path / "protonets" / "answers-test-5way-1shot.npy").unlink()
    assert evaluated.mistakes_of(run, "protonets") is None
    assert evaluated.hardest_of(run, "protonets") is None


def test_labels_of_several_partitions_show_the_hardest_tasks_but_no_classes(tmp_path):
    run = a_run.make(tmp_path)
    several = AssignedPartitions([np.arange(60) // 10, np.arange(60) % 6])
    object.__setattr__(run.data.test, "partitions", several)
    assert evaluated.mistakes_of(run, "protonets") is None
    assert len(evaluated.hardest_of(run, "protonets").pictures) == 3


def test_the_table_has_ours_the_papers_figure_and_both_differences(tmp_path):
    config = a_run.parse("--dataset=omniglot", "--embedder=acai", "--algo=maml,nearest_neighbours")
    rows = [
        a_run.row(config, name, (5, 1), a_run.Accuracy(mean, 0.01, np.zeros(1)))
        for name, mean in (("maml", 0.7), ("nearest_neighbours", 0.6))
    ]
    rows[1] |= results.against("maml", Difference(-0.1, 0.02))
    table = result.result_table(rows, comparison.compare(rows))
    assert table.head == ["accuracy in %", "5-way 1-shot"]
    assert table.lines == [
        ["nearest neighbors", "60.00 ± 1.00"],
        ["against maml", "-10.00 ± 2.00"],
        ["the paper", "57.46"],
        ["against the paper", "+2.54"],
        ["CACTUs-MAML", "70.00 ± 1.00"],
        ["the paper", "68.84"],
        ["against the paper", "+1.16"],
    ]


def test_the_first_sentence_says_what_was_learnt_how_well_and_how_well_chance_does(made):
    mean = f"{100 * made.rows[0]['accuracy']:.2f} ± 5.00%"
    assert result.sentence(made.rows[0]) == (
        f"protonets, meta-trained on tasks from kmeans clusters of pixels embeddings, classifies {mean} of the queries "
        "correctly in 5-way 1-shot tasks of the test split of digits; chance is 20.00%."
    )


def test_a_folder_of_pictures_is_called_by_its_name(made):
    data = dataclasses.replace(made.plan.data, dataset="folder", data_dir="shots/of_cats")
    named = dataclasses.replace(made, plan=dataclasses.replace(made.plan, data=data))
    assert (made.subject, named.subject) == ("digits", "the pictures in of_cats")
    assert "tasks of the test split; chance" in result.sentence({**made.rows[0], "dataset": "folder"})


def test_a_task_with_more_labels_than_rows_says_how_many_it_shows(made):
    whole = sheets.task_figure(made.tasks, invert=False)
    assert whole.axes[0].get_title() == "a training task:\nsupport in blue, queries in gray"
    many = AssignedPartitions([np.arange(60) % 15])
    tasks = Episodes(made.images, many, way=15, shot=1, query=3)
    assert "12 of its 15 labels" in sheets.task_figure(tasks, invert=False).axes[0].get_title()


def test_every_setting_and_the_command_stand_on_the_page(made):
    text = (made.folder / "report.html").read_text()
    for section, values in made.plan.sections.items():
        for name in values:
            assert re.search(rf">{section}</td>\s*<td[^>]*>{name}</td>", text), (section, name)
    assert "main.py --way=5" in text


def test_the_page_of_a_finished_run_is_the_same_when_made_again(made):
    before = (made.folder / "report.html").read_bytes()
    report.write(made)
    assert (made.folder / "report.html").read_bytes() == before


def test_every_picture_has_words_for_those_who_cannot_see_it(made):
    text = (made.folder / "report.html").read_text()
    images = re.findall(r"<img [^>]*>", text)
    assert len(images) > 8
    assert all(re.search(r'alt="[^"]{8,}"', image) for image in images)


def test_the_hardest_class_is_named_first_with_what_it_is_taken_for():
    counts = np.array([[8, 2, 0], [6, 3, 1], [0, 0, 10]])
    found = Confusion(counts, np.full((3, 3), 10))
    table = evaluated.confusion_table(found, ["a", "b", "c"], None, drawn=False)
    assert table.lines == [
        ["b", "30.0", "a", "6 of 10 queries"],
        ["a", "80.0", "b", "2 of 10 queries"],
        ["c", "100.0", "", ""],
    ]


def test_classes_of_files_are_called_as_their_folders(made):
    names = np.array([f"animals/{'cat' if i < 30 else 'dog'}/{i}.png".encode() for i in range(60)])
    pets = AssignedPartitions([np.arange(60) // 30])
    assert evaluated.class_names(ImageSet(a_run.images(), pets, names)) == ["cat", "dog"]
    assert evaluated.class_names(ImageSet(a_run.images(), pets)) == ["0", "1"]


class Reconstructing:
    """An embedder after two steps, whose network shows its images unchanged."""

    fit = transform = save = load = lambda *_: None
    curve = ({"step": 1, "critic_loss": 0.5}, {"step": 2, "critic_loss": 0.25})

    def pictures(self, images):
        return {"reconstructions": np.stack([images / 255] * 2)}


def test_an_embedder_with_a_network_shows_its_curves_and_pictures(made):
    section = training.embedder_of(a_run.with_embedder(made, Reconstructing(), "acai"))
    assert section.paragraphs == ["acai after 2 steps. It saw no labels."]
    kinds = [(picture.kind, picture.caption.split()[0]) for picture in section.pictures]
    assert kinds == [("svg+xml", "Squared"), ("png", "Reconstructions:")]


def test_features_are_not_drawn(tmp_path):
    made = a_run.make(tmp_path)
    data = dataclasses.replace(made.plan.data, features=True)
    run = dataclasses.replace(made, plan=dataclasses.replace(made.plan, data=data), tasks=None)
    assert training.tasks_of(run) is None
    assert evaluated.hardest_of(run, "protonets") is None
    assert [picture.kind for picture in training.clusters_of(run).pictures] == ["svg+xml"]
    report.write_pictures(run)
    assert {path.name for path in tmp_path.glob("*.png")} == {"accuracy.png", "learning_curve.png"}
