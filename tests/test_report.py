import numpy as np
import pytest
from PIL import Image

from cactus_tf import report
from cactus_tf.config import TrainingSettings
from cactus_tf.types import AssignedPartitions, ImageSet, Splits
from cactus_tf.workdir import write_csv

ROWS = [
    {"algo": algo, "way": way, "shot": shot, "accuracy": 0.5, "ci95": 0.01}
    for algo in ("protonets", "nearest_neighbours")
    for way in (5, 20)
    for shot in (1, 5)
]


@pytest.mark.parametrize("tasks", [1, 4])
@pytest.mark.filterwarnings("error")
def test_many_learners_find_room_in_the_picture_of_accuracies(tmp_path, tasks):
    rows = [
        {"algo": f"learner_of_a_long_name_{i}", "way": 5, "shot": shot, "accuracy": 0.99, "ci95": 0.01}
        for i in range(7)
        for shot in range(tasks)
    ]
    report.accuracy_figure(rows).savefig(tmp_path / "accuracy.png")  # matplotlib warns where the axes have no room


@pytest.mark.parametrize("channels", [1, 3])
def test_every_picture_of_a_run_is_a_readable_png(tmp_path, channels):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 28, 28, channels), np.uint8)
    partitions = AssignedPartitions([np.repeat(np.arange(6), 10)])
    (tmp_path / "protonets").mkdir()
    history = [{"step": s, "loss": 1 / (s + 1), "accuracy": 0.5} for s in range(40)]
    write_csv(tmp_path / "protonets" / "history.csv", history, list(history[0]))
    report.write(tmp_path, ROWS, images, partitions, {"protonets": TrainingSettings(way=5, shot=1, query=4)})
    names = {path.name for path in tmp_path.glob("*.png")}
    assert names == {"accuracy.png", "clusters.png", "learning_curve.png", "tasks.png"}
    for name in names:
        picture = np.asarray(Image.open(tmp_path / name).convert("L"))
        assert picture.std() > 5  # not blank


def test_a_run_without_training_shows_its_accuracies_alone(tmp_path):
    images = np.zeros((60, 28, 28, 1), np.uint8)
    report.write(tmp_path, ROWS, images, [], {})
    assert {path.name for path in tmp_path.glob("*.png")} == {"accuracy.png"}


def sheet(tmp_path, grey):
    """The middle of the one image of a contact sheet, 0..255, given as a constant grey image."""
    images = np.full((1, 8, 8, 1), grey, np.uint8)
    images[0, 3:5, 3:5] = 100
    none = np.zeros((0, 8, 8, 1), np.uint8)
    report.write_contact_sheet(Splits(ImageSet(images), ImageSet(none), ImageSet(none)), tmp_path)
    picture = np.asarray(Image.open(tmp_path / "contact_sheet.png").convert("L"))
    values, counts = np.unique(picture, return_counts=True)
    return {value for value, count in zip(values.tolist(), counts, strict=True) if count > 50}


def test_grey_images_are_shown_as_they_are_and_drawings_as_ink_on_paper(tmp_path):
    assert 230 in sheet(tmp_path, 230)
    assert 60 in sheet(tmp_path, 60)
    assert 100 not in sheet(tmp_path, 0)
    assert 155 in sheet(tmp_path, 0)
