"""The command that suggests pictures to label: what it writes, prints and refuses."""

import csv
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cactus_tf.datasets import folder
from cactus_tf.errors import InputError
from cactus_tf.inference import suggestion_output, suggestions
from cactus_tf.inference.suggestions import suggest
from cactus_tf.runs import restoring, training_pictures
from cactus_tf.suggest import main
from cactus_tf.utils.near_duplicates import EMBEDDING_COSINE

COLORS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}
SIZES = {"red": 20, "green": 14, "blue": 8}


def draw(color, i):
    """A picture of mostly one color, with a texture of its own."""
    rng = np.random.default_rng(1000 * sum(color[:2]) + i)
    coarse = np.clip(rng.normal(0, 40, (6, 6, 3)) + np.array(color), 0, 255).astype(np.uint8)
    return Image.fromarray(coarse).resize((60, 60), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of pictures of three colors, one of them twice, and a run on it."""
    from cactus_tf.main import main as train

    place = tmp_path_factory.mktemp("suggest")
    for name, color in COLORS.items():
        (place / "pictures" / name).mkdir(parents=True)
        for i in range(SIZES[name]):
            draw(color, i).save(place / "pictures" / name / f"{i:02}.png")
    draw(COLORS["red"], 3).resize((40, 40)).save(place / "pictures" / "copy of a red one.png")
    flags = ["--dataset=folder", "--embedder=pixels", "--pixels_dims=8", "--algo=protonets", "--steps=1"]
    sizes = ["--clusters=6", "--partitions=1", "--way=2", "--shot=1", "--query=2", "--filters=4", "--image_size=28"]
    places = [f"--data_dir={place / 'pictures'}", f"--workdir={place / 'runs' / 'run'}"]
    code = train([*flags, *sizes, *places, f"--artifacts_dir={place / 'artifacts'}", "--stage=train", "--quiet"])
    assert code == 0
    return place


@pytest.fixture
def command(trained, tmp_path):
    """command(*flags, data_dir): exit code of the command, which writes to tmp_path/out."""

    def run(*flags, data_dir=trained / "pictures"):
        return main(
            [f"--run={trained / 'runs' / 'run'}", f"--data_dir={data_dir}", f"--out={tmp_path / 'out'}", *flags]
        )

    return run


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def refused(code, capsys, *words):
    error = capsys.readouterr().err
    return code == 2 and error.count("\n") == 1 and all(word in error for word in words)


def test_pictures_of_all_kinds_are_suggested_that_of_the_largest_cluster_first(command, tmp_path, capsys):
    assert command("--number=3") == 0
    found = rows(tmp_path / "out" / "suggestions.csv")
    sizes = [int(row["cluster_pictures"]) for row in found]
    assert list(found[0]) == ["rank", "file", "cluster_pictures", "typicality", "link"]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == 43
    assert {row["file"].split("/")[0] for row in found} == set(COLORS)
    assert found[0]["file"] in capsys.readouterr().out


def test_the_suggested_picture_of_a_cluster_is_closest_to_its_mean():
    z = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 1]] + np.array([[0], [0.3], [0], [0], [0]], np.float32) * [0, 0, 1]
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    chosen = suggestions._one_per_cluster(z, np.array([1, 1, 1, 0, 0]))
    assert [(one.picture, one.pictures) for one in chosen] == [(0, 3), (3, 2)]


def test_each_suggestion_has_a_link_to_its_file(command, trained, tmp_path):
    assert command("--number=4", "--quiet") == 0
    for row in rows(tmp_path / "out" / "suggestions.csv"):
        link = tmp_path / "out" / row["link"]
        assert link.name.startswith(f"{row['rank']}-")
        assert link.resolve() == (trained / "pictures" / row["file"]).resolve()


def test_suggestions_are_named_after_the_given_link_not_its_target(trained, tmp_path):
    (tmp_path / "link").symlink_to(trained / "pictures")
    assert suggestion_output.choose_folder("runs/one", tmp_path / "link") == Path("suggestions/one/link")


def test_a_link_that_leads_to_another_run_gets_a_folder_of_its_own(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    latest, pictures = tmp_path / "latest", trained / "pictures"
    latest.symlink_to(trained / "runs" / "run")
    assert main([f"--run={latest}", f"--data_dir={pictures}", "--number=2", "--quiet"]) == 0
    assert suggestion_output.choose_folder(latest, pictures) == Path("suggestions", "latest", "pictures")
    latest.unlink()
    latest.symlink_to(tmp_path)
    assert suggestion_output.choose_folder(latest, pictures).name.startswith("pictures-")


def test_a_place_in_the_pictures_is_refused_however_they_are_named(trained, tmp_path):
    (tmp_path / "link").symlink_to(next(path for path in (trained / "pictures").iterdir() if path.is_dir()))
    with pytest.raises(InputError, match="lies in --data_dir"):
        suggestion_output.choose_folder("run", tmp_path / "link" / "..", str(trained / "pictures" / "found"))


def test_where_links_are_refused_pictures_are_copied(command, trained, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    assert command("--number=2", "--quiet") == 0
    for row in rows(tmp_path / "out" / "suggestions.csv"):
        link = tmp_path / "out" / row["link"]
        assert not link.is_symlink()
        assert link.read_bytes() == (trained / "pictures" / row["file"]).read_bytes()


def test_fewer_suggestions_in_the_same_folder_leave_no_old_links_but_what_is_not_ours(command, tmp_path):
    assert command("--number=5", "--quiet") == 0
    own = tmp_path / "out" / "to_label" / "notes.txt"
    own.write_text("mine", encoding="utf-8")
    assert command("--number=2", "--quiet") == 0
    assert len(os.listdir(own.parent)) == 3
    assert own.exists()


def test_a_smaller_copy_is_a_near_duplicate(command, tmp_path):
    assert command("--quiet") == 0
    found = rows(tmp_path / "out" / "duplicates.csv")
    assert {row["file"] for row in found} == {"copy of a red one.png", "red/03.png"}
    assert {row["group"] for row in found} == {"1"}
    assert (tmp_path / "out" / "duplicates.png").exists()


def test_without_near_duplicates_earlier_ones_are_removed(command, trained, tmp_path, capsys):
    assert command("--quiet") == 0
    assert command(data_dir=trained / "pictures" / "blue") == 0
    assert "no near-duplicates" in capsys.readouterr().out
    assert not list((tmp_path / "out").glob("duplicates.*"))


def test_pictures_that_the_run_was_trained_on_are_not_embedded_again(command, monkeypatch):
    monkeypatch.setattr(restoring, "restore_embedder", None)
    assert command("--quiet") == 0
    assert command("--quiet", "--number=30") == 0  # more than the run's clusters


def test_the_folder_may_have_moved_and_a_changed_one_is_embedded(trained, tmp_path):
    run, moved = trained / "runs" / "run", tmp_path / "moved"
    shutil.copytree(trained / "pictures", moved)
    stored = training_pictures.stored(run, moved)
    assert stored is not None
    assert stored.clusters is not None
    assert stored.files.tolist() == training_pictures.stored(run, trained / "pictures").files.tolist()
    (moved / "red" / "00.png").unlink()
    folder.files_key.cache_clear()
    assert training_pictures.stored(run, moved) is None
    assert len(suggest(run, moved, 3).files) == 42


def test_stored_and_new_embeddings_suggest_the_same_near_duplicates(trained, tmp_path):
    run, copied = trained / "runs" / "run", tmp_path / "copied"
    shutil.copytree(trained / "pictures", copied, copy_function=shutil.copyfile)  # other times
    known, new = suggest(run, trained / "pictures"), suggest(run, copied)
    names = [{tuple(sorted(one.files[group])) for group in one.duplicates} for one in (known, new)]
    assert names[0] == names[1]


def test_pictures_of_a_zip_archive_are_copied(command, trained, tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        for path in sorted((trained / "pictures" / "green").iterdir()):
            archive.write(path, f"green/{path.name}")
    assert command("--number=3", data_dir=tmp_path / "some.zip") == 0
    for row in rows(tmp_path / "out" / "suggestions.csv"):
        link = tmp_path / "out" / row["link"]
        assert link.read_bytes() == (trained / "pictures" / row["file"]).read_bytes()
        assert not link.is_symlink()
    assert "3 pictures are copied" in capsys.readouterr().out


def test_broken_pictures_are_named_and_the_others_suggested(command, trained, tmp_path, capsys):
    shutil.copytree(trained / "pictures" / "blue", tmp_path / "blue")
    (tmp_path / "blue" / "00.png").write_bytes(b"no picture")
    assert command("--number=7", data_dir=tmp_path / "blue") == 0
    found = {row["file"] for row in rows(tmp_path / "out" / "suggestions.csv")}
    assert found == {f"{i:02}.png" for i in range(1, 8)}
    assert "1 skipped: 00.png" in capsys.readouterr().out


def test_of_fewer_pictures_than_asked_for_all_are_suggested(command, trained, tmp_path, capsys):
    assert command(data_dir=trained / "pictures" / "blue") == 0
    assert len(rows(tmp_path / "out" / "suggestions.csv")) == 8
    assert "--number=20: there are 8 pictures" in capsys.readouterr().out


def test_more_than_the_clusters_of_the_run_are_suggested(command, tmp_path):
    assert command("--number=12", "--quiet") == 0
    assert len({row["file"] for row in rows(tmp_path / "out" / "suggestions.csv")}) == 12


def test_one_picture_is_suggested(command, trained, tmp_path):
    assert command("--quiet", data_dir=trained / "pictures" / "red" / "00.png") == 0
    [row] = rows(tmp_path / "out" / "suggestions.csv")
    assert (tmp_path / "out" / row["link"]).resolve().name == "00.png"


def test_pictures_that_are_all_the_same_are_one_suggestion_and_one_group(command, trained, tmp_path, capsys):
    (tmp_path / "same").mkdir()
    for i in range(5):
        shutil.copy(trained / "pictures" / "red" / "00.png", tmp_path / "same" / f"{i}.png")
    assert command("--number=3", data_dir=tmp_path / "same") == 0
    assert len(rows(tmp_path / "out" / "suggestions.csv")) == 1
    assert len(rows(tmp_path / "out" / "duplicates.csv")) == 5
    assert "only 1 of the 5 pictures differ" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--number=0", ["--number=0", "1 or more"]),
        ("--number=many", ["--number=many", "whole number"]),
        ("--duplicates=1.5", ["--duplicates=1.5", "cosine"]),
        ("--duplicates=0", ["--duplicates=0", "cosine"]),
        ("--duplicates=nan", ["--duplicates=nan", "cosine"]),
        ("--duplicates=high", ["--duplicates=high", "a number"]),
        ("--nmuber=3", ["--nmuber", "did you mean --number?"]),
        ("more", ["unexpected argument 'more'"]),
        ("--run=nowhere", ["--run=nowhere", "no such folder"]),
    ],
)
def test_a_wrong_flag_is_one_line(command, flag, words, capsys):
    assert refused(command(flag), capsys, *words)


def test_folders_that_cannot_be_used_are_one_line(command, trained, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert refused(command(data_dir=tmp_path / "empty"), capsys, "--data_dir", "holds no pictures")
    assert refused(command(f"--run={tmp_path / 'empty'}"), capsys, "is not a run")
    assert refused(main([f"--run={trained / 'runs' / 'run'}"]), capsys, "--data_dir missing")


def test_a_run_without_an_embedder_is_refused(command, trained, capsys, monkeypatch):
    inputs = suggestions.read_inputs(trained / "runs" / "run")
    monkeypatch.setattr(suggestions, "read_inputs", lambda _: type(inputs)(**{**vars(inputs), "embedder": None}))
    assert refused(command(), capsys, "has no embedder")


def test_a_run_on_features_is_refused(command, capsys, monkeypatch):
    monkeypatch.setattr(suggestions.build_plan, "has_features", lambda _: True)
    assert refused(command(), capsys, "learned from features")


def test_a_run_on_another_data_set_suggests_pictures_of_any_folder(digits_run, trained, tmp_path):
    out = tmp_path / "out"
    flags = [f"--run={digits_run}", f"--data_dir={trained / 'pictures'}", f"--out={out}", "--number=3", "--quiet"]
    assert main(flags) == 0
    assert len(rows(out / "suggestions.csv")) == 3


def test_files_go_to_a_folder_named_after_the_run_and_the_pictures(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run, pictures = trained / "runs" / "run", trained / "pictures"
    folder = Path("suggestions") / "run" / "pictures"
    assert suggestion_output.choose_folder(run, pictures) == folder
    assert main([f"--run={run}", f"--data_dir={pictures}", "--number=2", "--quiet"]) == 0
    assert suggestion_output.choose_folder(run, pictures) == folder
    (tmp_path / "pictures").mkdir()
    other = suggestion_output.choose_folder(run, tmp_path / "pictures")
    assert other.name.startswith("pictures-")
    assert other.parent == folder.parent


def test_links_among_the_pictures_are_refused(command, trained, capsys, monkeypatch):
    inside = trained / "pictures" / "found"
    assert refused(command(f"--out={inside}"), capsys, "--out", "lies in --data_dir")
    monkeypatch.chdir(trained / "pictures")
    assert refused(main([f"--run={trained / 'runs' / 'run'}", "--data_dir=."]), capsys, "lies in --data_dir")


def test_with_a_cosine_given_embeddings_are_compared_whatever_their_norm(trained):
    found = suggest(trained / "runs" / "run", trained / "pictures", 2, duplicates=0.5)
    assert sum(map(len, found.duplicates)) > 20
    assert found.source["duplicates"] == 0.5


def test_centered_embeddings_are_compared_by_default(trained, monkeypatch):
    monkeypatch.setattr(suggestions, "_centered", lambda _: True)
    assert suggest(trained / "runs" / "run", trained / "pictures", 2).source["duplicates"] == EMBEDDING_COSINE
