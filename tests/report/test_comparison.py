import csv
import io
import json

import numpy as np
import pytest

from cactus_tf import table
from cactus_tf.errors import InputError
from cactus_tf.report import comparison as c
from cactus_tf.report.published import RECALLED, PublishedRow, figures


def row(accuracy=0.7, **about):
    usual = {
        "dataset": "omniglot", "split": "test", "embedder": "acai", "partitioner": "kmeans", "algo": "maml", "way": 5,
        "shot": 1, "accuracy": accuracy, "ci95": 0.01, "seed": 0, "options": {"partitions": 100, "steps": 10},
    }  # fmt: skip
    return {**usual, **about}


def run(folder, name, *rows):
    (folder / name).mkdir()
    (folder / name / "results.json").write_text(json.dumps({"rows": rows}))
    return str(folder / name)


def test_the_published_figures_have_the_right_cells():
    found = figures()
    assert found[PublishedRow("omniglot", "acai", "kmeans", "maml")] == {
        (5, 1): 68.84,
        (5, 5): 87.78,
        (20, 1): 48.09,
        (20, 5): 73.36,
    }
    assert found[PublishedRow("miniimagenet", "deepcluster", "none", "mlp_dropout")][5, 50] == 60.95
    assert found[PublishedRow("miniimagenet", "none", "none", "scratch")][5, 1] == 27.59
    assert found[PublishedRow("omniglot", "none", "random", "maml")] == {(20, 1): 6.51, (5, 5): 25.74}
    single = PublishedRow("miniimagenet", "deepcluster", "kmeans, P = 1", "maml")
    assert found[single] == {(5, 1): 38.75, (5, 50): 67.77}
    assert PublishedRow("miniimagenet", "none", "random", "maml") not in found
    assert found[PublishedRow("celeba", "deepcluster", "kmeans", "maml")] == {(2, 5): 73.79}
    assert set(found) >= RECALLED


@pytest.mark.parametrize(
    ("about", "tasks", "label"),
    [
        ({}, "kmeans", "CACTUs-MAML"),
        ({"options": {"partitions": 1, "steps": 3}}, "kmeans, P = 1", "CACTUs-MAML (kmeans, P = 1)"),
        ({"partitioner": "labels", "embedder": "none"}, "labels", "Oracle-MAML"),
        ({"partitioner": "random", "options": {"partitions": 1, "steps": 3}}, "random", "MAML (random labels)"),
        ({"algo": "nearest_neighbours", "options": {"partitions": 100}}, "none", "nearest neighbors"),
        ({"partitioner": "hyperplanes"}, "hyperplanes", "CACTUs-MAML (hyperplanes)"),
        (
            {"options": {"rounds": 3, "first_partitioner": "instances", "steps": 3}},
            "kmeans, 3 rounds",
            "CACTUs-MAML (kmeans, 3 rounds)",
        ),
        (
            {"options": {"rounds": 2, "first_partitioner": "labels", "steps": 3}},
            "kmeans, 2 rounds, true labels in the first",
            "CACTUs-MAML (kmeans, 2 rounds, true labels in the first)",
        ),
        (
            {"partitioner": "labels", "options": {"rounds": 2, "first_partitioner": "kmeans", "steps": 3}},
            "labels, 2 rounds",
            "Oracle-MAML (2 rounds)",
        ),
        (
            {"partitioner": "random", "options": {"rounds": 2, "first_partitioner": "random", "steps": 3}},
            "random, 2 rounds",
            "MAML (random labels, 2 rounds)",
        ),
        ({"algo": "nearest_neighbours", "options": {"rounds": 2}}, "none", "nearest neighbors"),
        (
            {"options": {"partitions": 9, "steps": 3, "supervised_fraction": 0.5}},
            "kmeans, true labels 0.5",
            "CACTUs-MAML (kmeans, true labels 0.5)",
        ),
        (
            {"partitioner": "hyperplanes", "options": {"hyperplanes_margin": 0.0, "steps": 3}},
            "hyperplanes, m = 0",
            "CACTUs-MAML (hyperplanes, m = 0)",
        ),
        ({"partitioner": "random", "options": {"steps": 0}}, "untrained", "MAML (untrained)"),
    ],
)
def test_a_result_belongs_to_the_row_of_its_tasks(about, tasks, label):
    found = c.row_of(row(**about))
    assert (found.tasks, c.label(found)) == (tasks, label)


@pytest.mark.parametrize(
    ("about", "embedder"),
    [
        ({}, "acai"),
        ({"algo": "scratch", "options": {}}, "none"),
        ({"algo": "nearest_neighbours", "options": {}}, "acai"),
        ({"partitioner": "labels"}, "none"),
        ({"partitioner": "random"}, "none"),
        ({"options": {"steps": 0}}, "none"),
    ],
)
def test_a_row_has_the_embedder_that_it_read_and_not_its_neighbors(about, embedder):
    assert c.row_of(row(**about)).embedder == embedder


def test_one_run_keeps_the_interval_of_its_tasks_and_stands_beside_the_paper():
    (cell,) = c.compare([row(0.7)])[PublishedRow("omniglot", "acai", "kmeans", "maml")].values()
    assert cell == pytest.approx(c.Cell(70.0, 1.0, 1, 68.84))


def test_several_seeds_give_their_mean_and_its_interval_by_students_t():
    (cells,) = c.compare([row(v, seed=s) for s, v in enumerate((0.70, 0.72, 0.77))]).values()
    values = np.array([70.0, 72.0, 77.0])
    half = 4.302653 * np.sqrt(((values - 73) ** 2).sum() / 2 / 3)  # the 97.5% point of t with 2 degrees of freedom
    assert cells[5, 1] == pytest.approx(c.Cell(73.0, half, 3, 68.84))


def test_rows_come_in_the_papers_order_and_what_it_lacks_comes_last():
    rows = [row(algo="reptile"), row(), row(algo="nearest_neighbours", options={}), row(algo="protonets")]
    assert [r.algo for r in c.compare(rows)] == ["nearest_neighbours", "maml", "protonets", "reptile"]


def test_the_markdown_table_has_ours_the_papers_and_the_difference():
    rows = [row(0.7, shot=5), row(0.5, way=20), row(0.6, algo="reptile")]
    text = c.markdown(c.compare(rows)).splitlines()
    assert text[0] == "| embedding | method |  | 5-way 1-shot | 5-way 5-shot | 20-way 1-shot |"
    assert text[2:5] == [
        "| acai | CACTUs-MAML | ours |  | 70.00 ± 1.00 | 50.00 ± 1.00 |",
        "|  |  | paper |  | 87.78 | 48.09 |",
        "|  |  | difference |  | -17.78 | +1.91 |",
    ]
    assert text[5:] == ["| acai | CACTUs-Reptile | ours | 60.00 ± 1.00 |  |  |"]


def test_recalled_figures_are_called_so():
    about = {"dataset": "celeba", "way": 2, "shot": 5, "embedder": "bigan"}
    assert "| paper, recalled | 74.98 |" in c.markdown(c.compare([row(**about)]))


def test_csv_has_a_line_per_row_and_task():
    lines = list(csv.DictReader(io.StringIO(c.as_csv(c.compare([row(0.7), row(0.8, algo="reptile")])))))
    assert [line["accuracy"] for line in lines] == ["70.00", "80.00"]
    assert (lines[0]["paper"], lines[0]["difference"], lines[1]["paper"]) == ("68.84", "+1.16", "")


def test_latex_is_a_tabular_with_as_many_columns_as_its_head():
    text = c.latex(c.compare([row(0.7), row(0.8, shot=5, embedder="a_b")])).splitlines()
    assert text[0] == r"\begin{tabular}{lllrr}"
    assert all(line.count(" & ") == 4 for line in text if line.endswith(r"\\"))
    assert any(r"a\_b" in line and r"$\pm$" in line for line in text)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "no results"),
        ([row(), row(dataset="celeba")], "datasets, celeba, omniglot"),
        ([row(), row(split="val")], "splits, test, val"),
        ([row(), row(0.8)], "two runs of CACTUs-MAML with seed 0 differ"),
        ([row(), row(seed=1, options={"partitions": 100, "steps": 11})], "differ in more than the seed"),
        ([row(episodes=100), row(seed=1, episodes=1000)], "differ in more than the seed"),
    ],
)
def test_runs_that_do_not_go_into_one_table_are_refused(rows, words):
    with pytest.raises(InputError, match=words):
        c.compare(rows)


def test_a_run_given_twice_counts_once():
    (cells,) = c.compare([row(), row()]).values()
    assert cells[5, 1].seeds == 1


def test_a_baseline_of_two_runs_counts_once_whatever_the_others_of_its_run_learned_from():
    beside = row(
        algo="nearest_neighbours",
        options={"embedder_steps": 9, "partitions": 100, "clusters": 500, "kmeans_method": "auto"},
        against={"algo": "protonets", "difference": 0.1, "ci95": 0.1},
    )
    alone = row(algo="nearest_neighbours", partitioner="none", options={"embedder_steps": 9})
    (cells,) = c.compare([beside, alone]).values()
    assert cells[5, 1].seeds == 1


def test_a_baseline_on_two_embeddings_of_one_name_is_refused():
    rows = [row(algo="nearest_neighbours", options={"embedder_steps": steps}) for steps in (9, 10)]
    with pytest.raises(InputError, match="two runs of nearest neighbors with seed 0 differ"):
        c.compare(rows)


def test_the_command_prints_the_table_of_the_runs_named(tmp_path, capsys):
    runs = [run(tmp_path, "a", row(0.7)), run(tmp_path, "b", row(0.5, algo="protonets"))]
    assert table.main(runs) == 0
    assert capsys.readouterr().out == c.markdown(c.compare([row(0.7), row(0.5, algo="protonets")]))
    assert table.main([*runs, "--format=csv"]) == 0
    assert capsys.readouterr().out.startswith("dataset,embedder")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name the folders"),
        (["nowhere"], "nowhere has no results.json"),
        (["nowhere", "--format=pdf"], "--format=pdf: unknown format; choose from markdown, csv, latex"),
        (["--fromat=csv"], "did you mean --format?"),
    ],
)
def test_bad_arguments_end_with_one_line_and_code_two(arguments, words, capsys):
    assert table.main(arguments) == 2
    assert words in capsys.readouterr().err


def test_runs_of_several_data_sets_end_with_one_line_and_code_two(tmp_path, capsys):
    runs = [run(tmp_path, "a", row()), run(tmp_path, "b", row(dataset="mnist"))]
    assert table.main(runs) == 2
    assert capsys.readouterr() == (
        "",
        "these runs have several datasets, mnist, omniglot: a table shows one, so name runs of one\n",
    )


def test_a_damaged_results_file_is_named(tmp_path, capsys):
    folder = run(tmp_path, "a")
    (tmp_path / "a" / "results.json").write_text("{")
    assert table.main([folder]) == 2
    assert "results.json is damaged" in capsys.readouterr().err
    (tmp_path / "a" / "results.json").write_text("[]")
    assert table.main([folder]) == 2
    assert "results.json is damaged: it holds no JSON object" in capsys.readouterr().err
