import csv
import shutil

import numpy as np
import pytest

from cactus_tf.datasets import Pictures
from cactus_tf.errors import InputError
from cactus_tf.inference.prediction import Predictions
from cactus_tf.inference.prediction_output import calibration_error, figure, summary
from cactus_tf.inference.pseudo_tasks import sample
from cactus_tf.inference.rejection import nearest, refused, threshold
from cactus_tf.predict import main
from tests.inference.test_prediction import classify, pictures  # noqa: F401


def groups(number, each, seed=0):
    """[number * each, 16] rows around as many directions, and the direction of each."""
    rng = np.random.default_rng(seed)
    kind = np.repeat(np.arange(number), each)
    return rng.normal(size=(number, 16))[kind] + 0.4 * rng.normal(size=(number * each, 16)), kind


def test_the_similarity_is_the_cosine_to_the_nearest_mean():
    rows, means = groups(3, 4)[0], groups(2, 1, seed=1)[0]
    loop = [max(r @ m / np.linalg.norm(r) / np.linalg.norm(m) for m in means) for r in rows]
    np.testing.assert_allclose(nearest(rows, means), loop, rtol=1e-12)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_about_the_given_share_of_true_members_is_refused_and_nearly_all_others(share):
    rows, kind = groups(10, 80)
    order = np.arange(len(rows)) - kind * 80  # the place of a row in its group
    training, known, asked = order < 60, (order >= 60) & (order < 65) & (kind < 5), order >= 65
    found = refused(rows[known], kind[known], rows[asked], rows[training], share)
    members = kind[asked] < 5
    assert found[members].mean() == pytest.approx(share, abs=0.08)
    assert found[~members].mean() > 0.9


def test_a_larger_share_has_a_higher_threshold():
    rows = groups(10, 30)[0]
    values = [threshold(rows, 5, 1, share) for share in (0.01, 0.05, 0.2, 0.5)]
    assert values == sorted(set(values))


def test_of_many_training_pictures_a_part_is_enough():
    assert len(sample(np.zeros((6000, 2)), 5000)) == 5000
    assert len(sample(np.zeros((10, 2)), 5000)) == 10


@pytest.mark.parametrize("rows", [np.zeros((0, 4)), np.ones((20, 4)), np.eye(3)])
def test_training_pictures_without_two_clusters_set_no_threshold(rows):
    with pytest.raises(InputError, match="too few: leave it out"):
        threshold(rows, 2, 1, 0.05)


def test_the_calibration_error_is_that_of_a_loop_over_bins():
    rng = np.random.default_rng(0)
    certainty, correct = np.append(rng.random(200), 1.0), rng.random(201) < 0.5
    loop = 0.0
    for b in range(10):
        own = (certainty >= b / 10) & ((certainty < (b + 1) / 10) | (b == 9))
        loop += own.sum() / 201 * abs(correct[own].mean() - certainty[own].mean())
    assert calibration_error(certainty, correct) == pytest.approx(loop)


def test_refused_pictures_have_a_column_a_line_and_a_row(digits_run, pictures, tmp_path, capsys):  # noqa: F811
    assert classify(digits_run, pictures, "--reject=0.3", f"--out={tmp_path}") == 0
    with open(tmp_path / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    number = sum(row["none_of_these"] == "yes" for row in rows)
    assert list(rows[0])[:3] == ["file", "predicted", "none_of_these"]
    assert {row["none_of_these"] for row in rows} <= {"yes", "no"}
    assert f"none of these{number:>12,}" in capsys.readouterr().out
    assert (tmp_path / "predictions.png").exists()


def test_the_accuracy_of_the_pictures_that_got_a_class_is_printed_as_well():
    four = Pictures(np.zeros((4, 2, 2, 1), np.uint8), np.array(list("wxyz")), np.array(["a", "a", "b", "b"]), [])
    chances = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.1, 0.9]])
    refused = np.array([False, True, False, False])
    text = summary(Predictions(four, np.array(["a", "b"]), chances, "protonets", 2, refused=refused))
    assert "accuracy 50.0%," in text
    assert "4 pictures, refused or not" in text
    assert "correct and not refused: 50.0% of 4 pictures" in text
    assert 'accuracy 66.7% of the 3 pictures that are not "none of these"' in text


def judged(truth, predicted, refused, similarity):
    """Predictions of classes a and b, each at 90%."""
    names = np.array([str(i) for i in range(len(truth))])
    queries = Pictures(np.zeros((len(truth), 2, 2, 1), np.uint8), names, truth, [])
    chances = np.where((np.array(list(predicted)) == "a")[:, None], [0.9, 0.1], [0.1, 0.9])
    masks = {"refused": np.array(refused, bool), "similarity": np.array(similarity)}
    return Predictions(queries, np.array(["a", "b"]), chances, "protonets", 2, **masks)


def mixed():
    """Four pictures of the classes, one wrong and one refused, and three of others, two of them refused."""
    truth = np.array(["a", "a", "b", "b", "cat", "cat", "dog"])
    return judged(truth, list("abbbaab"), [0, 0, 1, 0, 1, 0, 1], [0.9, 0.8, 0.2, 0.7, 0.1, 0.75, 0.15])


def test_pictures_of_other_classes_are_right_when_refused():
    assert mixed().correct.tolist() == [True, False, False, True, True, False, True]


def test_refused_pictures_are_called_so_among_the_least_certain():
    assert "\n  2: none of these; b 90%, a 10%\n" in summary(mixed())
    drawn = [(text.get_text(), text.get_color()) for text in figure(mixed()).axes[0].texts]
    assert ("none of these\n(b)", "tab:red") in drawn
    assert ("none of these", "black") in drawn  # a cat


def test_the_summary_tells_what_was_refused_of_the_classes_and_of_others():
    text = summary(mixed())
    assert "accuracy 75.0%, 95% interval 30.1 to 95.4 (Wilson), 4 pictures of these classes" in text
    assert 'accuracy 66.7% of the 3 pictures of these classes that are not "none of these"' in text
    assert "refused 25.0% of 4 pictures of these classes" in text
    assert "refused 66.7% of 3 pictures of other classes" in text
    assert "correct, or refused if of another class: 57.1% of 7 pictures" in text
    below = np.mean([[s < t for t in (0.9, 0.8, 0.2, 0.7)] for s in (0.1, 0.75, 0.15)])
    assert f"AUROC {below:.2f}" in text
    assert "calibration error 15.0%" in text  # 75% right of the classes' pictures at 90%


def test_refused_pictures_are_shown_with_the_class_that_they_would_have():
    axes = figure(mixed()).axes[0]
    assert "red: wrong class, or wrongly refused" in axes.get_title()
    titles = [label.get_text() for label in axes.get_yticklabels()]
    assert titles[2].startswith("none of these\n3 pictures")
    captions = [text.get_text() for text in axes.texts]
    assert captions[4:7] == ["b\n(b)", "a", "b"]


def test_the_printed_matrix_has_a_row_for_each_other_class_and_a_column_of_refused_pictures():
    lines = [line.split() for line in summary(mixed()).splitlines()]
    assert ["class", "a", "b", "none", "<-", "predicted"] in lines
    assert lines[-4:] == [["a", "1", "1", "0"], ["b", "0", "1", "1"], ["cat", "1", "0", "1"], ["dog", "0", "0", "1"]]


def test_without_a_picture_of_the_classes_there_is_no_accuracy():
    text = summary(judged(np.array(["cat", "dog"]), "ab", [1, 0], [0.1, 0.2]))
    assert "accuracy" not in text
    assert "AUROC" not in text
    assert "refused 50.0% of 2 pictures of other classes" in text


@pytest.mark.parametrize("missing", [("zero",), ("one", "two")])
def test_a_query_class_that_the_support_lacks_is_evaluated_with_reject(
    missing,
    digits_run,
    pictures,  # noqa: F811
    tmp_path,
    capsys,
):
    for part in ("support", "query"):
        shutil.copytree(pictures / part, tmp_path / part)
    for name in missing:
        (tmp_path / "support" / name).rename(tmp_path / "support" / f"other {name}")
    assert classify(digits_run, tmp_path, "--evaluate", "--reject=0.3", f"--out={tmp_path / 'out'}") == 0
    printed = capsys.readouterr().out
    assert f"subfolders that --support lacks, {', '.join(missing)}" in printed
    assert f"of {6 * len(missing)} pictures of other classes, which is right" in printed
    assert "AUROC" in printed
    with open(tmp_path / "out" / "confusion.csv", newline="") as file:
        table = {row.pop("class"): sum(map(int, row.values())) for row in csv.DictReader(file)}
    assert [table[name] for name in ("one", "two", "zero")] == [6, 6, 6]


@pytest.mark.parametrize("share", ["0", "1", "-0.1", "nan"])
def test_a_share_that_is_none_is_refused(digits_run, pictures, capsys, share):  # noqa: F811
    assert classify(digits_run, pictures, f"--reject={share}") == 2
    assert "a share of true members, between 0 and 1" in capsys.readouterr().err


def test_a_learner_without_features_cannot_reject(digits_run, pictures, capsys):  # noqa: F811
    assert classify(digits_run, pictures, "--reject=0.1", algo="maml") == 2
    assert "maml has none: leave it out" in capsys.readouterr().err


def test_help_names_the_flag(capsys):
    assert main(["--help"]) == 0
    assert "--reject" in capsys.readouterr().out


def test_the_length_of_a_feature_vector_does_not_count():
    rows, kind = groups(10, 30)
    known, asked = np.arange(300) % 30 < 5, np.arange(300) % 30 >= 20
    lengths = np.random.default_rng(1).uniform(0.1, 10, (300, 1))
    one, other = (refused(r[known], kind[known], r[asked], rows, 0.2) for r in (rows, lengths * rows))
    np.testing.assert_array_equal(one, other)
