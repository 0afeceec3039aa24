"""Runs on a folder of pictures: what the program says and does with what people have."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from cactus_tf.main import main

TINY = ["--dataset=folder", "--image_size=28", "--embedder=pixels", "--clusters=5", "--partitions=1", "--filters=4"]
TINY += ["--steps=2", "--eval_episodes=3", "--eval_shots=1", "--eval_query=2"]


def fill(folder, number, seed):
    """Gray noise pictures 0.png, 1.png, ... of 28x28."""
    folder.mkdir(parents=True)
    for i, pixels in enumerate(np.random.default_rng(seed).integers(0, 256, (number, 28, 28), np.uint8)):
        Image.fromarray(pixels).save(folder / f"{i}.png")


@pytest.fixture
def pictures(tmp_path):
    """A folder with train, 60 pictures, one of them broken, and labeled classes large and small."""
    fill(tmp_path / "train", 60, 0)
    (tmp_path / "train" / "bad.png").write_bytes(b"no picture")
    for i, (name, number) in enumerate([("cat", 6), ("dog", 6), ("emu", 6), ("fly", 1), ("gnu", 1)]):
        fill(tmp_path / "labeled" / name, number, i + 1)
    return tmp_path


def run(pictures, *flags, name="run"):
    places = [f"--workdir={pictures / name}", f"--artifacts_dir={pictures / 'artifacts'}"]
    return main([*TINY, f"--data_dir={pictures / 'train'}", f"--eval_dir={pictures / 'labeled'}", *places, *flags])


def test_an_unsaid_way_is_what_the_large_classes_allow(pictures, capsys):
    assert run(pictures) == 0
    assert {row["way"] for row in json.loads((pictures / "run" / "results.json").read_text())["rows"]} == {3}
    assert "fly (1 images), gnu (1 images)" in capsys.readouterr().out


def test_a_way_that_the_classes_do_not_allow_is_answered_with_their_number_and_names(pictures, capsys):
    assert run(pictures, "--eval_ways=4") == 2
    message = capsys.readouterr().err
    assert "--eval_ways=4 --eval_shots=1: 3 classes of test have 3 images or more (shot 1 + query 2)" in message
    assert "fly (1 images)" in message


def test_the_description_comes_before_what_later_settings_cannot_do(pictures, capsys):
    assert run(pictures, "--stage=prepare", "--eval_ways=4") == 2
    assert "no labels" in capsys.readouterr().out
    assert (pictures / "run" / "contact_sheet.png").exists()


def test_what_was_left_out_is_counted_again_with_kept_data(pictures, capsys):
    shutil.copy(pictures / "train/7.png", pictures / "labeled/cat/copy.png")
    for name in ("first", "again"):
        assert run(pictures, "--stage=prepare", name=name) == 0
        out = capsys.readouterr().out
        assert "1 skipped" in out
        assert out.count("1 of 21 test images are in train, too") == 1
        path = next((pictures / "artifacts").glob("data-*/prepared.json"))
        assert str(path) in out
        assert json.loads(path.read_text())["skipped"][0]["file"] == "bad.png"


def test_a_run_does_not_go_on_over_other_cluster_files(pictures, capsys):
    clusters = pictures / "clusters"
    clusters.mkdir()
    flags = ["--partitioner=cluster_files", f"--cluster_files_dir={clusters}", "--algo=protonets"]
    for shift in (0, 1):
        known = {str(i): (i + shift) % 3 for i in range(60)}
        (clusters / "train_k5.json").write_text(json.dumps(known))
        code = run(pictures, *flags, "--way=3", f"--steps={2 + shift}")
        assert code == (2 if shift else 0)
    assert "belongs to another configuration (read.cluster_files" in capsys.readouterr().err


def test_few_pictures_are_answered_with_how_many_it_takes(tmp_path, capsys):
    fill(tmp_path / "train", 3, 0)
    assert (
        main(
            [
                "--dataset=folder",
                f"--data_dir={tmp_path / 'train'}",
                f"--artifacts_dir={tmp_path}/a",
                f"--workdir={tmp_path}/w",
            ]
        )
        == 2
    )
    assert (
        "an episode of protonets takes 30 images, and there are 3: lower one, or add images" in capsys.readouterr().err
    )
