import numpy as np
import pytest
from PIL import Image

from cactus_tf.report import figures, sheets
from cactus_tf.types import ImageSet, Splits


@pytest.mark.parametrize("tasks", [1, 4])
@pytest.mark.filterwarnings("error")
def test_many_learners_find_room_in_the_picture_of_accuracies(tmp_path, tasks):
    rows = [
        {"algo": f"learner_of_a_long_name_{i}", "way": 5, "shot": shot, "accuracy": 0.99, "ci95": 0.01}
        for i in range(7)
        for shot in range(tasks)
    ]
    figure = figures.accuracy_figure(rows)
    figure.savefig(tmp_path / "accuracy.png")  # matplotlib warns where the axes do not fit
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()][-2:] == [
        "learner_of_a_long_name_6",
        "chance",
    ]


@pytest.mark.parametrize("name", ["maml_{}", "learner_of_a_long_name_{}"])
@pytest.mark.filterwarnings("error")
def test_legends_stand_above_their_charts(tmp_path, name):
    names = [name.format(i) for i in range(7)]
    curves = {one: [{"step": s, "loss": 1.0 / s, "accuracy": 0.1 * s} for s in range(1, 9)] for one in names}
    for row in curves[names[0]]:
        del row["accuracy"]
    columns = ("support_accuracy", "query_accuracy", "query_ci95")
    rows = [{"algo": one, "step": s, **dict.fromkeys(columns, 0.5)} for one in names for s in range(3)]
    drawn = [figures.curve_figure(curves), figures.adaptation_figure(rows), figures.size_figure(np.arange(1, 9))]
    for figure in drawn:
        figure.savefig(tmp_path / "chart.png")  # matplotlib warns where the axes do not fit
        for axes in figure.axes:
            legend = axes.get_legend().get_window_extent()
            assert legend.y0 >= axes.get_window_extent().y1 - 1
            assert legend.x0 >= 0 and legend.x1 <= figure.bbox.x1 and legend.y1 <= figure.bbox.y1


def test_half_a_percent_is_not_written_as_0():
    rates = np.array([[0.995, 0.005], [0.006, 0.994]])
    texts = [text.get_text() for text in figures.confusion_figure(rates, ["a", "b"]).axes[0].texts]
    assert texts == ["100", "1", "99"]


def test_bars_of_cluster_sizes_have_the_same_width_and_count_every_cluster():
    sizes = np.arange(1, 47)
    bars = figures.size_figure(sizes).axes[0].patches
    assert {bar.get_width() for bar in bars} == {2}
    assert [bar.get_height() for bar in bars] == [1, *22 * [2], 1]


def sheet(tmp_path, gray):
    """The middle of the one image of a contact sheet, 0..255, given as a constant gray image."""
    images = np.full((1, 8, 8, 1), gray, np.uint8)
    images[0, 3:5, 3:5] = 100
    none = np.zeros((0, 8, 8, 1), np.uint8)
    sheets.write_contact_sheet(Splits(ImageSet(images), ImageSet(none), ImageSet(none)), tmp_path)
    picture = np.asarray(Image.open(tmp_path / "contact_sheet.png").convert("L"))
    values, counts = np.unique(picture, return_counts=True)
    return {value for value, count in zip(values.tolist(), counts, strict=True) if count > 50}


def test_gray_images_are_shown_as_they_are_and_drawings_as_ink_on_paper(tmp_path):
    assert 230 in sheet(tmp_path, 230)
    assert 60 in sheet(tmp_path, 60)
    assert 100 not in sheet(tmp_path, 0)
    assert 155 in sheet(tmp_path, 0)


def test_the_same_chart_is_the_same_svg_file_twice():
    rows = [{"step": s, "loss": 1.0 / s} for s in range(1, 9)]
    drawn = [figures.svg(figures.line_figure({"a": rows}, "loss", "loss in nats", "step")) for _ in range(2)]
    assert drawn[0] == drawn[1]


def test_a_curve_is_drawn_for_each_learner_that_has_the_scalar():
    rows = [{"step": s, "loss": 1.0} for s in range(1, 9)]
    other = [{"step": s, "else": 1.0} for s in range(1, 9)]
    axes = figures.line_figure({"a": rows, "b": other}, "loss", "loss in nats", "step").axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "loss in nats")


def test_adaptation_is_drawn_in_percent_from_before_the_first_step():
    rows = [
        {"algo": "maml", "step": s, "support_accuracy": 0.2 + 0.1 * s, "query_accuracy": 0.1 * s, "query_ci95": 0.01}
        for s in range(3)
    ]
    query, support = figures.adaptation_figure(rows).axes[0].lines
    np.testing.assert_allclose(query.get_xydata(), [[0, 0], [1, 10], [2, 20]])
    np.testing.assert_allclose(support.get_ydata(), [20, 30, 40])


@pytest.mark.parametrize("steps", [3, 5, 7, 10])
def test_steps_have_whole_ticks(steps):
    rows = [{"step": s, "loss": 1.0, "algo": "maml"} for s in range(steps)]
    scores = {"support_accuracy": 0.5, "query_accuracy": 0.5, "query_ci95": 0.01}
    for figure in (
        figures.line_figure({"a": rows}, "loss", "nats", "step"),
        figures.adaptation_figure([row | scores for row in rows]),
    ):
        ticks = figure.axes[0].get_xticks()
        assert len(ticks) > 2 and (ticks == np.round(ticks)).all()


def test_every_cluster_is_counted_in_the_histogram():
    bars = figures.size_figure(np.array([0, 1, 5, 5, 40])).axes[0].patches
    assert sum(bar.get_height() for bar in bars) == 5


def test_names_with_dollar_signs_are_drawn_as_they_are(tmp_path):
    names = ["cost_$5_vs_$10", r"$\\frac{$", "x^2"]
    figure = figures.confusion_figure(np.eye(3), names)
    assert figures.svg(figure)
    figures.save(figure, tmp_path / "confusion.png")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == names
