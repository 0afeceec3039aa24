"""Warnings of pictures to evaluate on that look like training pictures."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from cactus_tf.main import main
from cactus_tf.pipeline import overlap
from cactus_tf.types import ImageSet, Splits


def picture(i):
    coarse = np.random.default_rng(i).integers(0, 256, (7, 7, 3), np.uint8)
    return Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC)


@pytest.fixture
def pictures(tmp_path):
    """train/ of 12 pictures; test/CLASS of 3 pictures each, one of them a smaller copy of a training picture."""
    (tmp_path / "train").mkdir()
    for i in range(12):
        picture(i).save(tmp_path / "train" / f"{i}.png")
    for c, name in enumerate(("one", "two")):
        (tmp_path / "test" / name).mkdir(parents=True)
        for i in range(3):
            picture(100 + 10 * c + i).save(tmp_path / "test" / name / f"{i}.png")
    picture(5).resize((60, 60)).save(tmp_path / "test" / "two" / "smaller.jpg", quality=80)
    return tmp_path


def prepare(place, *flags):
    places = [f"--data_dir={place / 'train'}", f"--eval_dir={place / 'test'}", f"--artifacts_dir={place / 'artifacts'}"]
    settings = ["--dataset=folder", "--embedder=pixels", "--stage=prepare", f"--workdir={place / 'run'}"]
    return main([*settings, *places, "--eval_query=1", "--eval_shots=1", *flags])


def test_preparation_warns_of_a_smaller_copy_and_names_it_every_time(pictures, capsys):
    for _ in range(2):
        assert prepare(pictures, "--way=2", "--shot=1", "--query=2") == 0
        printed = capsys.readouterr().out
        assert "prepare: 1 of 7 test images are near-duplicates of training images" in printed
        assert "(such as two/smaller.jpg and 5.png)" in printed


def test_preparation_is_silent_where_all_pictures_differ(pictures, capsys):
    (pictures / "test" / "two" / "smaller.jpg").unlink()
    assert prepare(pictures, "--way=2", "--shot=1", "--query=2") == 0
    assert "near-duplicate" not in capsys.readouterr().out


def near(norm, dataset="folder"):
    """What is logged of embeddings of 3 training images and 2 others, the second of which is close to number 1."""
    rows = {"train": np.eye(3, dtype=np.float32), "test": np.array([[0.6, 0, 0.8], [0.1, 0.99, 0.1]], np.float32)}
    names = np.array([b"a", b"b", b"c"])
    sets = [ImageSet(np.zeros((n, 2, 2, 1), np.uint8), names=names[:n]) for n in (3, 0, 2)]
    embedding = SimpleNamespace(context=SimpleNamespace(norm=norm))
    overlap.warn_of_near(embedding, SimpleNamespace(dataset=dataset, features=False), Splits(*sets), rows)


def test_centered_embeddings_that_are_close_are_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        near("centered")
    assert "embed: 1 of 2 test images are near-duplicates of training images (such as b and b)" in caplog.text


@pytest.mark.parametrize(("norm", "dataset"), [("none", "folder"), ("centered", "omniglot")])
def test_other_embeddings_and_other_data_sets_are_not_compared(norm, dataset, caplog):
    with caplog.at_level(logging.WARNING):
        near(norm, dataset)
    assert not caplog.text
