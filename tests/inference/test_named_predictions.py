"""Prediction with a run on embeddings that were computed elsewhere, found by file name."""

import csv

import numpy as np
import pytest
from PIL import Image

from cactus_tf import export, main, predict, suggest

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures of noise in data, support/CLASS and query, z.csv with a row for each, and a run on them."""
    place, rows = tmp_path_factory.mktemp("named"), []
    for number, folder in enumerate(["data"] * 30 + ["support/a", "support/b"] * 2 + ["query"] * 3):
        path = place / folder / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (28, 28), np.uint8)).save(path)
        sign = 1 if folder.endswith("a") or number in (34, 36) else -1
        rows.append([path.name, sign, *RNG.normal(size=3).round(3) / 10])
    with (place / "z.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "sign", "x", "y", "z"], *rows])
    flags = ["--dataset=folder", f"--data_dir={place / 'data'}", "--embedder=precomputed", "--algo=nearest_neighbours"]
    places = [f"--workdir={place / 'run'}", f"--artifacts_dir={place / 'artifacts'}", "--stage=train", "--quiet"]
    named = [f"--precomputed_file={place / 'z.csv'}", "--embedding_norm=centered"]
    assert main.main([*flags, *named, *places]) == 0
    return place


def test_pictures_to_classify_find_their_embeddings_by_name(place):
    words = [f"--run={place / 'run'}", f"--support={place / 'support'}", f"--query={place / 'query'}", "--quiet"]
    assert predict.main([*words, f"--out={place / 'out'}"]) == 0
    with (place / "out" / "predictions.csv").open() as file:
        found = {row["file"]: row["predicted"] for row in csv.DictReader(file)}
    assert found == {"34.png": "a", "35.png": "b", "36.png": "a"}


def test_suggestions_find_embeddings_by_name_too(place):
    words = [f"--run={place / 'run'}", f"--data_dir={place / 'query'}", "--number=2", "--quiet"]
    assert suggest.main([*words, f"--out={place / 'suggested'}"]) == 0


def test_a_picture_without_a_row_is_named(place, capsys, tmp_path):
    Image.fromarray(RNG.integers(0, 256, (28, 28), np.uint8)).save(tmp_path / "new.png")
    words = [f"--run={place / 'run'}", f"--support={place / 'support'}", f"--query={tmp_path / 'new.png'}"]
    assert predict.main(words) == 2
    assert "z.csv lacks 1 of 1 pictures, the first new.png: add their rows" in capsys.readouterr().err


def test_embeddings_by_name_cannot_be_exported(place, capsys):
    assert export.main([f"--run={place / 'run'}", f"--out={place / 'exported'}"]) == 2
    assert "are only looked up, so they cannot be exported" in capsys.readouterr().err
