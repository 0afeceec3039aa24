import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cactus_tf import plugins
from cactus_tf.config import by_content, flags
from cactus_tf.config.by_content import completed
from cactus_tf.config.presets import PHOTOGRAPHS


def put(folder, *, color=True, side=80, number=3):
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(number):
        pixels = rng.integers(0, 256, (side, side, 3) if color else (side, side), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}-{color}-{side}.png")
    return folder


@pytest.fixture
def photographs(tmp_path):
    return ["--dataset=folder", f"--data_dir={put(tmp_path / 'pictures', number=12)}"]


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.setattr(by_content, "_online", lambda: True)


def test_photographs_are_embedded_by_a_pretrained_network_and_a_linear_map_is_learned(photographs):
    words, reason = completed(photographs)
    assert words[:2] == photographs
    assert reason.startswith("photographs: features of a pretrained network, mobilenet_v2")
    settings = flags.parse(words)
    assert settings.embedding.embedder == "pretrained"
    assert settings.run.algo == ("protonets", "nearest_neighbours", "logistic_regression")
    training = settings.learners["protonets"]
    assert (training.backbone, training.way, training.shot, training.query) == ("linear", 2, 1, 4)
    assert settings.options["protonets"].metric == "cosine"


@pytest.mark.parametrize(("images", "way"), [(10, 2), (75, 7), (200, 20), (50_000, 20)])
def test_a_small_folder_trains_on_fewer_classes(photographs, monkeypatch, images, way):
    names = [str(i) for i in range(images)]
    info = plugins.info("datasets", "folder")
    fake = dataclasses.replace(info, train_files=lambda *places: names)
    monkeypatch.setattr(by_content.plugins, "info", lambda family, name: fake)
    assert f"--way={way}" in completed(photographs)[0]


def test_flags_that_the_user_gave_stay(photographs):
    words, _ = completed([*photographs, "--steps=7", "--algo=protonets", "--pretrained_model=resnet50"])
    settings = flags.parse(words)
    assert settings.learners["protonets"].steps == 7
    assert settings.run.algo == ("protonets",)
    assert settings.options["pretrained"].model == "resnet50"


@pytest.mark.parametrize(
    "given",
    ["--embedder=acai", "--algo=maml", "--backbone=conv4", "--image_size=32", "--deepcluster_network=alexnet"],
)
def test_what_the_user_chose_is_not_contradicted(photographs, given):
    assert completed([*photographs, given]) == ([*photographs, given], "")


@pytest.mark.parametrize(("color", "side"), [(False, 200), (True, 64)])
def test_gray_and_small_pictures_are_learned_from_themselves(tmp_path, color, side):
    argv = ["--dataset=folder", f"--data_dir={put(tmp_path / 'drawings', color=color, side=side)}"]
    assert completed(argv) == (argv, "")


def test_most_pictures_decide(tmp_path):
    folder = put(tmp_path / "both", number=3)
    argv = ["--dataset=folder", f"--data_dir={folder}"]
    put(folder, color=False, number=2)
    assert completed(argv)[1]
    put(folder, color=False, side=90, number=2)
    assert completed(argv) == (argv, "")


def test_without_weights_the_pictures_are_learned_from_themselves_and_a_sentence_says_so(
    photographs, monkeypatch, tmp_path
):
    monkeypatch.setattr(by_content, "_online", lambda: False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    words, reason = completed(photographs)
    assert words == photographs
    assert "--pretrained_weights=FILE" in reason
    assert str(tmp_path / "keras" / "models") in reason
    assert "/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5 into that folder" in reason
    file = tmp_path / "weights.h5"
    assert completed([*photographs, f"--pretrained_weights={file}"])[1].startswith("photographs: features")
    downloaded = tmp_path / "keras" / "models" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    downloaded.parent.mkdir(parents=True)
    downloaded.touch()
    assert completed(photographs)[1].startswith("photographs: features")


def test_other_data_sets_keep_their_defaults():
    assert completed([]) == ([], "")
    assert completed(["--dataset=omniglot", "--data_dir=x"]) == (["--dataset=omniglot", "--data_dir=x"], "")
    assert completed(["--dataset=folder"]) == (["--dataset=folder"], "")  # preparation asks for the folder


def test_the_flagfile_of_photographs_has_the_same_flags():
    path = Path(__file__).parents[2] / "flags" / "folder_pretrained_protonets.txt"
    given = flags.given([f"--flagfile={path}"])
    ours = flags.given([f"--{name}={value}" for name, value in PHOTOGRAPHS.items()])
    assert {**given, "algo": None, "dataset": None, "flagfile": None} == {
        **ours, "algo": None, "dataset": None, "flagfile": None
    }  # fmt: skip
    assert set(given["algo"]) <= set(ours["algo"])


@pytest.mark.slow
def test_the_first_line_of_the_command_says_what_was_chosen(photographs, tmp_path):
    command = [sys.executable, "-m", "cactus_tf.main", *photographs, "--pretrained_weights=random", "--stage=prepare"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("photographs: features of a pretrained network, random, and a linear map of them")


@pytest.mark.parametrize(
    "flag", ["--recipe=rounds", "--first_partitioner=instances", "--augmentation=photo", "--rotate_classes"]
)
def test_flags_that_train_on_images_leave_the_defaults_of_photographs(flag, photographs):
    assert completed([*photographs, flag]) == ([*photographs, flag], "")


def test_the_default_recipe_keeps_the_defaults_of_photographs(photographs):
    plain, named = completed(photographs)[0], completed([*photographs, "--recipe=paper"])[0]
    assert len(plain) > len(photographs)
    assert named == [*photographs, "--recipe=paper", *plain[len(photographs) :]]
