"""The command that classifies one's own pictures: what it writes, prints and refuses."""

import csv
import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from cactus_tf import FewShotClassifier, datasets
from cactus_tf.datasets import Pictures, read_all, read_classes
from cactus_tf.errors import InputError
from cactus_tf.inference import prediction_output
from cactus_tf.inference.prediction import Predictions, predict
from cactus_tf.inference.prediction_output import default_folder, figure, summary
from cactus_tf.predict import main
from cactus_tf.utils import sealed

CLASSES = ["one", "two", "zero"]


def save(folder, images, first=0):
    folder.mkdir(parents=True)
    for i, image in enumerate(images, first):
        Image.fromarray(image[..., 0]).save(folder / f"{i}.png")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Digits as PNG: support/CLASS of 4, 3 and 2 pictures, query/CLASS of 6 each and one that is broken."""
    place, digits = tmp_path_factory.mktemp("pictures"), datasets.load("digits").test
    for number, name, shot in zip((1, 2, 0), CLASSES, (4, 3, 2), strict=True):
        images = digits.images[digits.partitions[0].cluster(number)]
        save(place / "support" / name, images[:shot])
        save(place / "query" / name, images[10:16], 10)
    (place / "query" / "one" / "broken.png").write_bytes(b"no picture")
    return place


@pytest.fixture(scope="module")
def evaluated(digits_run, pictures):
    """Exit code, what was printed, and the folder of an evaluated prediction."""
    import contextlib
    import io

    out = pictures / "out"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = classify(digits_run, pictures, "--evaluate", f"--out={out}")
    return code, printed.getvalue(), out


def classify(run, pictures, *flags, algo="protonets"):
    return main([f"--run={run}", f"--support={pictures / 'support'}", f"--query={pictures / 'query'}", *flags]
                + ([f"--algo={algo}"] if algo else []))  # fmt: skip


def stopped(*_, **__):
    raise KeyboardInterrupt


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_csv_has_a_row_per_picture_with_its_probabilities(evaluated):
    found = rows(evaluated[2] / "predictions.csv")
    assert evaluated[0] == 0
    assert list(found[0]) == ["file", "class", "predicted", "p_one", "p_two", "p_zero"]
    assert [row["file"] for row in found] == [f"{name}/{i}.png" for name in CLASSES for i in range(10, 16)]
    for row in found:
        shares = [float(row[f"p_{name}"]) for name in CLASSES]
        assert sum(shares) == pytest.approx(1, abs=1e-4)
        assert row["predicted"] == CLASSES[int(np.argmax(shares))]
        assert row["file"].split("/")[0] == row["class"]


def test_the_accuracy_is_that_of_the_rows_and_its_interval_is_wilson_s(evaluated):
    found = rows(evaluated[2] / "predictions.csv")
    p, n, z = np.mean([row["class"] == row["predicted"] for row in found]), len(found), 1.959964
    middle, half = (p + z * z / (2 * n)), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (100 * (middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    assert f"accuracy {100 * p:.1f}%, 95% interval {low:.1f} to {high:.1f} (Wilson), 18 pictures" in evaluated[1]


def test_the_confusion_matrix_counts_the_rows(evaluated):
    found = rows(evaluated[2] / "predictions.csv")
    for row in rows(evaluated[2] / "confusion.csv"):
        for name in CLASSES:
            assert int(row[name]) == sum(r["class"] == row["class"] and r["predicted"] == name for r in found)


def evaluated_summary(names, pictures_each=1):
    """The summary of pictures of as many classes, all right but those of the first one, which are taken for another."""
    truth = np.repeat(np.array(names), pictures_each)
    files = np.array([f"{i}.png" for i in range(len(truth))])
    pictures = Pictures(np.zeros((len(truth), 1, 1, 1), np.uint8), files, truth, [])
    predicted = np.repeat([1, *range(1, len(names))], pictures_each)
    return summary(Predictions(pictures, np.array(names), np.eye(len(names))[predicted], "protonets", len(names)))


@pytest.mark.parametrize("letters", [3, 6, 10, 37, 60])
@pytest.mark.parametrize("classes", [2, 7, 12])
def test_a_confusion_matrix_fits_a_line_however_long_the_names(classes, letters):
    printed = evaluated_summary([f"{'a' * (letters - 2)}{i:02d}" for i in range(classes)]).splitlines()
    assert sum("<- predicted" in line for line in printed) == 1
    assert max(map(len, printed)) <= 120


def test_columns_of_long_names_are_headed_by_numbers():
    printed = evaluated_summary([f"a_class_whose_name_is_rather_long_{i:02d}" for i in range(12)])
    assert re.search(r"^class +" + " +".join(map(str, range(1, 13))) + "  <- predicted$", printed, re.MULTILINE)
    assert re.search(r"^ 1 a_class_whose_name_is_rather_long_00 +0 +1( +0)+$", printed, re.MULTILINE)


def test_of_names_that_are_too_long_what_tells_them_apart_is_kept():
    printed = evaluated_summary([f"{'a' * 60}_{i:02d}" for i in range(12)], pictures_each=1000)
    assert max(map(len, printed.splitlines())) <= 120
    assert re.search(r"^12 a+…a*_11( +0)+ +1,000$", printed, re.MULTILINE)


def test_a_matrix_of_counts_too_large_for_a_line_is_left_to_its_file(monkeypatch):
    monkeypatch.setattr(prediction_output, "_confusion", lambda predictions: [("", [10_000_000] * 12)] * 12)
    assert "<- predicted" not in evaluated_summary([f"{i:02d}" for i in range(12)])


def test_where_every_picture_is_certain_none_is_called_the_least_certain():
    names = np.array(["a", "b"])
    pictures = Pictures(np.zeros((2, 8, 8, 1), np.uint8), np.array(["0.png", "1.png"]), None, [])
    found = Predictions(pictures, names, 0.999 * np.eye(2), "nearest_neighbours", 2)
    assert "every prediction is at 100%" in summary(found)
    texts = [text.get_text() for text in figure(found).axes[0].texts]
    assert "\nleast certain" not in summary(found)
    assert "%" not in "".join(texts)


def test_the_summary_counts_names_and_says_where_files_are(evaluated):
    _, printed, out = evaluated
    assert "protonets learned 3 classes from 9 pictures and classified 18" in printed
    assert "--query: 1 skipped: one/broken.png is not a picture in a known format" in printed
    least = min(rows(out / "predictions.csv"), key=lambda row: max(float(row[f"p_{name}"]) for name in CLASSES))
    assert f"least certain\n  {least['file']}: " in printed
    for name in ("predictions.csv", "predictions.png", "confusion.csv"):
        assert str(out / name) in printed


def test_the_picture_is_one(evaluated):
    with Image.open(evaluated[2] / "predictions.png") as image:
        assert min(image.size) > 300
        assert np.asarray(image.convert("L")).std() > 10


@pytest.mark.parametrize(
    ("query", "place"), [("trip.2023", "trip.2023-maml"), ("trip.zip", "trip-maml"), ("a/trip/", "trip-maml")]
)
def test_each_query_folder_has_a_place_of_its_own(query, place):
    source = {"run": "/runs/first", "query": str(Path(query).resolve()), "support": "/support"}
    pictures = Pictures(np.zeros((1, 8, 8, 1), np.uint8), np.array(["0.png"]), None, [])
    found = Predictions(pictures, np.array(["a", "b"]), np.eye(2)[:1], "maml", 2, source)
    assert default_folder(found, "/runs/first", "/support", query) == Path("predictions", "first", place)


def test_other_labeled_pictures_or_settings_get_a_folder_of_their_own(digits_run, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(pictures / "support", tmp_path / "others")
    first = [f"--run={digits_run}", f"--query={pictures / 'query'}", "--algo=nearest_neighbours", "--quiet"]
    calls = [[f"--support={place}"] for place in (pictures / "support", tmp_path / "others")]
    calls.append([*calls[0], "--invert"])
    for call in [*calls, *calls]:  # a repeated call replaces its own predictions
        assert main([*first, *call]) == 0
    found = {path.parent.name for path in tmp_path.glob("predictions/digits/*/predictions.csv")}
    assert len(found) == len(calls)
    assert "query-nearest_neighbours" in found


def test_a_confusion_matrix_of_an_earlier_call_does_not_stay(digits_run, pictures, tmp_path):
    for flag, stays in (("--evaluate", True), ("--noevaluate", False)):
        call = [flag, "--quiet", f"--out={tmp_path / 'out'}"]
        assert classify(digits_run, pictures, *call, algo="nearest_neighbours") == 0
        assert (tmp_path / "out" / "confusion.csv").exists() == stays


def test_one_picture_is_classified(digits_run, pictures, tmp_path, capsys):
    picture = next((pictures / "query" / "one").iterdir())
    call = [f"--run={digits_run}", f"--support={pictures / 'support'}", "--algo=nearest_neighbours"]
    assert main([*call, f"--query={picture}", f"--out={tmp_path / 'out'}"]) == 0
    assert [row["file"] for row in rows(tmp_path / "out" / "predictions.csv")] == [picture.name]
    (tmp_path / "note.txt").write_text("no picture")
    capsys.readouterr()
    assert main([*call, f"--query={tmp_path / 'note.txt'}"]) == 2
    assert "name a picture, or a folder or zip archive of pictures" in capsys.readouterr().err
    assert main([*call, f"--query={picture}", "--evaluate"]) == 2
    assert "is one file: name a folder or zip archive with a subfolder per class" in capsys.readouterr().err


def test_a_class_name_with_dollar_signs_is_drawn_as_it_is(tmp_path):
    names = np.array(["cost_$5_vs_$10", r"$\frac{$"])
    pictures = Pictures(np.zeros((4, 8, 8, 1), np.uint8), np.array(["0", "1", "2", "3"]), names[[0, 1, 0, 1]], [])
    found = Predictions(pictures, names, np.array([[0.6, 0.4], [0.7, 0.3]] * 2), "maml", 2)
    assert [path.name for path in prediction_output.write(found, tmp_path)][1:] == ["predictions.png", "confusion.csv"]


def test_ctrl_c_while_the_picture_is_drawn_leaves_nothing(digits_run, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Figure, "savefig", stopped)
    assert classify(digits_run, pictures, f"--out={tmp_path / 'out'}", algo="nearest_neighbours") == 130
    assert capsys.readouterr().err == "stopped; nothing was written\n"
    assert not list(tmp_path.iterdir())


def test_labels_are_not_needed_and_files_go_below_predictions(digits_run, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert classify(digits_run, pictures, "--quiet") == 0
    (found,) = tmp_path.rglob("predictions.csv")
    assert found.relative_to(tmp_path).as_posix() == "predictions/digits/query-protonets/predictions.csv"
    assert list(rows(found)[0]) == ["file", "predicted", "p_one", "p_two", "p_zero"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("algo", ["maml", "nearest_neighbours"])
def test_accuracy_is_above_chance(digits_run, pictures, tmp_path, algo):
    assert classify(digits_run, pictures, "--quiet", "--evaluate", f"--out={tmp_path}", algo=algo) == 0
    right = [row["class"] == row["predicted"] for row in rows(tmp_path / "predictions.csv")]
    assert np.mean(right) > 0.6  # chance is a third, of 18


def test_swapping_light_and_dark_of_negatives_gives_the_same_answers(digits_run, pictures, evaluated, tmp_path, capsys):
    for picture in pictures.glob("*/*/[0-9]*.png"):
        place = tmp_path / picture.relative_to(pictures)
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - np.asarray(Image.open(picture))).save(place)
    out = tmp_path / "out"
    assert classify(digits_run, tmp_path, "--invert", "--evaluate", f"--out={out}") == 0
    assert (out / "predictions.csv").read_text() == (evaluated[2] / "predictions.csv").read_text()
    assert classify(digits_run, tmp_path, f"--out={out}") == 0
    assert "the run learned light ink on black: --invert" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["class", "predicted", "file", 'a, "b"', "p_two", "fu\u0308nf"])
def test_a_class_of_any_name_has_its_own_row_and_columns(tmp_path, name):
    names = np.sort([name, "two"])
    truth = np.repeat(names, 2)
    pictures = Pictures(np.zeros((4, 8, 8, 1), np.uint8), np.array(list("abcd")), truth, [])
    found = Predictions(pictures, names, np.eye(2)[[0, 0, 0, 1]], "protonets", 2)
    prediction_output.write(found, tmp_path)
    assert lines(tmp_path / "confusion.csv") == [["class", *names], [names[0], "2", "0"], [names[1], "1", "1"]]
    header, *rest = lines(tmp_path / "predictions.csv")
    assert header == ["file", "class", "predicted", *(f"p_{name}" for name in names)]
    assert rest[0] == ["a", names[0], names[0], "1", "0"]


def lines(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_pictures_of_the_query_that_the_support_has_are_counted(digits_run, pictures, tmp_path, capsys):
    shutil.copytree(pictures / "support", tmp_path / "query")
    save(tmp_path / "query/new", np.full((1, 9, 9, 1), 77, np.uint8))
    places = [f"--run={digits_run}", f"--support={pictures / 'support'}", f"--query={tmp_path / 'query'}"]
    assert main([*places, "--algo=nearest_neighbours", f"--out={tmp_path / 'out'}"]) == 0
    assert "9 of 10 query pictures are in --support, too" in capsys.readouterr().out


def test_no_picture_of_another_query_is_counted(evaluated):
    assert "in --support, too" not in evaluated[1]


def test_what_is_passed_over_is_said_of_support_and_query(digits_run, pictures, tmp_path, capsys):
    for name in ("support", "query"):
        shutil.copytree(pictures / name, tmp_path / name)
        (tmp_path / name / "one/9.tga").write_bytes(b"")
        (tmp_path / name / "@eaDir").mkdir()
    assert classify(digits_run, tmp_path, f"--out={tmp_path / 'out'}", algo="nearest_neighbours") == 0
    printed = capsys.readouterr().out
    for name in ("--support", "--query"):
        assert f"{name}: 1 files with other extensions are passed over: 1 .tga, such as one/9.tga" in printed
        assert f"{name}: 1 hidden or system files and folders are not looked at: @eaDir" in printed


# Reading


@pytest.mark.parametrize("packed", [False, True])
def test_a_class_whose_files_all_have_other_extensions_is_refused(tmp_path, packed):
    decode = datasets.picture_decoder("digits", (28, 28, 1))
    save(tmp_path / "in/cat", np.zeros((2, 9, 9, 1), np.uint8))
    save(tmp_path / "in/cow", np.zeros((1, 9, 9, 1), np.uint8))
    (tmp_path / "in/dog").mkdir()
    (tmp_path / "in/dog/1.tga").write_bytes(b"")
    place = shutil.make_archive(str(tmp_path / "in"), "zip", tmp_path / "in") if packed else tmp_path / "in"
    with pytest.raises(InputError, match=r"no readable picture of dog \(1 files .* 1 \.tga, such as dog/1\.tga\): add"):
        read_classes("--support", place, decode, (28, 28, 1))


def test_a_class_whose_name_is_stored_in_two_ways_is_one_in_folders_and_archives(tmp_path):
    decode = datasets.picture_decoder("digits", (28, 28, 1))
    save(tmp_path / "composed/fünf", np.zeros((2, 9, 9, 1), np.uint8))
    save(tmp_path / "decomposed/fu\u0308nf", np.zeros((2, 9, 9, 1), np.uint8))
    for name in ("composed", "decomposed"):
        shutil.make_archive(str(tmp_path / name), "zip", tmp_path, name)
        for place in (tmp_path / name, tmp_path / f"{name}.zip"):
            assert set(read_classes("--support", place, decode, (28, 28, 1)).labels.tolist()) == {"fünf"}


def test_tiff_is_read_as_png_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    for name in ("a.png", "a.tif"):
        Image.fromarray(pixels).save(tmp_path / name)
    read = read_all("--query", tmp_path, datasets.picture_decoder("folder", (28, 28, 1)), (28, 28, 1))
    np.testing.assert_array_equal(read.images, [pixels[..., np.newaxis]] * 2)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_is_read_as_the_folder_data_set_prepares_it(tmp_path, mode):
    rng = np.random.default_rng(0)
    (tmp_path / "train").mkdir()
    for i in range(4):
        pixels = rng.integers(0, 256, (360 + i, 420, 3), np.uint8)  # large enough to be decoded at half of its size
        Image.fromarray(pixels).convert(mode).save(tmp_path / "train" / f"{i}.jpg")
    prepared = datasets.load("folder", tmp_path / "train").train.images
    decode = datasets.picture_decoder("folder", prepared.shape[1:])
    read = read_all("--query", tmp_path / "train", decode, prepared.shape[1:]).images
    assert {image.tobytes() for image in read} == {image.tobytes() for image in prepared}


def test_a_drawing_is_read_as_omniglot_prepares_it(tmp_path):
    from cactus_tf.datasets.omniglot import sample

    ink = np.random.default_rng(0).random((105, 105)) < 0.1
    Image.fromarray(~ink).save(tmp_path / "drawing.png")
    decode = datasets.picture_decoder("omniglot", (28, 28, 1))
    np.testing.assert_array_equal(decode((tmp_path / "drawing.png").read_bytes()), sample(ink))


def test_dark_ink_of_another_size_is_light_for_omniglot(tmp_path):
    pixels = np.full((56, 56), 255, np.uint8)
    pixels[20:36] = 0
    Image.fromarray(pixels).save(tmp_path / "drawing.png")
    row = datasets.picture_decoder("omniglot", (28, 28, 1))((tmp_path / "drawing.png").read_bytes())
    assert (row[0, 0, 0], row[14, 14, 0]) == (0, 255)


def dark(folder, number, bits):
    """Pictures of 16-bit files that use this many bits."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(number).integers(0, 2**bits, (28, 28), np.uint16)
    pixels[0, 0] = 2**bits - 1
    Image.fromarray(pixels).save(folder / "0.png")


@pytest.fixture
def deep_run(digits_run, tmp_path):
    """A run that learned from 12-bit pictures."""
    run = shutil.copytree(digits_run, tmp_path / "run")
    inputs = sealed.read(run / "inputs.json", "")
    sealed.write(run / "inputs.json", {**inputs, "pixel_range": [0, 4095]})
    return run


@pytest.mark.parametrize(("of_run", "brightest"), [(True, {63, 255}), (False, {255})])
def test_pictures_are_read_in_the_range_of_the_run_or_else_of_the_support(
    of_run, brightest, deep_run, digits_run, tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    dark(tmp_path / "support/a", 1, 10)
    dark(tmp_path / "support/b", 2, 9)
    dark(tmp_path / "query", 3, 10)
    dark(tmp_path / "query/c", 4, 12)
    run = deep_run if of_run else digits_run
    found = predict(run, tmp_path / "support", tmp_path / "query", "nearest_neighbours")
    assert {int(image.max()) for image in found.queries.images} == brightest
    assert f"--support: 2 pictures of 16 bits or more hold values up to 1023, read as {12 if of_run else 10}-bit" in (
        caplog.text
    )
    assert ("--query: values of 1 of these pictures are outside this range and are cut off" in caplog.text) != of_run


def test_a_classifier_of_the_run_reads_wide_integers_in_its_range_before_and_after_saving(deep_run, tmp_path):
    images = np.random.default_rng(0).integers(0, 4096, (6, 28, 28), np.uint16)
    classifier = FewShotClassifier.from_run(deep_run, "nearest_neighbours").fit(images[:4], [0, 0, 1, 1])
    np.testing.assert_array_equal(classifier.support_[..., 0], images[:4] >> 4)
    classifier.save(tmp_path / "saved")
    loaded = FewShotClassifier.load(tmp_path / "saved")
    np.testing.assert_array_equal(
        loaded.predict_proba(images), classifier.predict_proba((images >> 4).astype(np.uint8))
    )


def test_the_class_of_a_picture_is_its_sub_folder_however_deep_it_lies(pictures, tmp_path):
    decode = datasets.picture_decoder("digits", (28, 28, 1))
    save(tmp_path / "cat" / "deep" / "er", np.zeros((2, 9, 9, 1), np.uint8))
    save(tmp_path / "dog", np.zeros((1, 9, 9, 1), np.uint8))
    read = read_classes("--support", tmp_path, decode, (28, 28, 1))
    assert read.labels.tolist() == ["cat", "cat", "dog"]
    assert read.files.tolist() == ["cat/deep/er/0.png", "cat/deep/er/1.png", "dog/0.png"]


# Bad input


def test_a_class_without_a_picture_that_can_be_read(tmp_path):
    decode = datasets.picture_decoder("digits", (28, 28, 1))
    save(tmp_path / "cat", np.zeros((2, 9, 9, 1), np.uint8))
    (tmp_path / "dog").mkdir()
    with pytest.raises(InputError, match="no readable picture of dog: add one to each class"):
        read_classes("--support", tmp_path, decode, (28, 28, 1))
    (tmp_path / "dog" / "bad.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"of dog \(dog/bad.png is not a picture"):
        read_classes("--support", tmp_path, decode, (28, 28, 1))


def refused(capsys, *flags):
    assert main(list(flags)) == 2
    return capsys.readouterr().err


def test_one_class_is_no_choice(digits_run, tmp_path, capsys):
    save(tmp_path / "support" / "cat", np.zeros((2, 9, 9, 1), np.uint8))
    places = [f"--run={digits_run}", "--algo=maml", f"--support={tmp_path / 'support'}", f"--query={tmp_path}"]
    assert "has one class, cat: add a subfolder" in refused(capsys, *places)


def test_pictures_in_no_class_are_no_support_set(digits_run, pictures, capsys):
    places = [f"--support={pictures / 'query' / 'one'}", f"--query={pictures / 'query'}"]
    message = refused(capsys, f"--run={digits_run}", "--algo=protonets", *places)
    assert "has no subfolders with pictures: it takes one per class" in message


def test_folders_that_are_not_there_are_named(digits_run, pictures, capsys):
    places = [f"--support={pictures / 'support'}", f"--query={pictures / 'gone'}"]
    assert "gone: there is no such folder or file" in refused(
        capsys, f"--run={digits_run}", "--algo=protonets", *places
    )
    places = [f"--support={pictures / 'support'}", f"--query={pictures / 'query'}"]
    assert "is not a run" in refused(capsys, f"--run={pictures}", *places)


def test_query_classes_that_the_support_folder_lacks(digits_run, pictures, tmp_path, capsys):
    save(tmp_path / "emu", np.zeros((1, 9, 9, 1), np.uint8))
    places = [f"--support={pictures / 'support'}", f"--query={tmp_path}", "--evaluate"]
    message = refused(capsys, f"--run={digits_run}", "--algo=protonets", *places)
    assert "--query has subfolders that --support lacks, emu: name them like the classes (one, two, zero)" in message
    assert "add --reject=0.05" in message


def test_flags_that_are_missing_or_unknown_are_named(digits_run, capsys):
    assert "--support, --query missing" in refused(capsys, f"--run={digits_run}")
    assert "did you mean --support?" in refused(capsys, "--suport=x")


def test_of_several_learners_one_must_be_named(digits_run, pictures, capsys):
    assert classify(digits_run, pictures, algo=None) == 2
    assert "choose one with algo" in capsys.readouterr().err


def photograph(i):
    coarse = np.random.default_rng(i).integers(0, 256, (7, 7), np.uint8)
    return Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("algo", ["protonets", "nearest_neighbours"])
def test_a_query_that_is_a_smaller_copy_of_a_support_picture_is_warned_of(algo, digits_run, tmp_path, capsys):
    for c, name in enumerate(("one", "two")):
        (tmp_path / "support" / name).mkdir(parents=True)
        photograph(c).save(tmp_path / "support" / name / "a.png")
    (tmp_path / "query").mkdir()
    photograph(1).resize((70, 70)).save(tmp_path / "query" / "smaller.png")
    photograph(0).save(tmp_path / "query" / "equal.png")
    photograph(7).save(tmp_path / "query" / "other.png")
    assert classify(digits_run, tmp_path, f"--out={tmp_path / 'out'}", algo=algo) == 0
    printed = capsys.readouterr().out
    assert "1 of 3 query pictures are in --support, too" in printed
    assert "1 of 3 query pictures are near-duplicates of pictures in --support (such as smaller.png and two/a.png)" in (
        printed
    )


def test_logistic_regression_on_the_learners_features_is_a_prediction_of_its_own(digits_run, pictures, tmp_path):
    def predicted(head):
        return predict(digits_run, pictures / "support", pictures / "query", "protonets", head=head)

    by_default, own, logistic = predicted("auto"), predicted("learner"), predicted("logistic")
    np.testing.assert_array_equal(by_default.probabilities, own.probabilities)
    assert not np.allclose(logistic.probabilities, own.probabilities)
    assert "head" not in own.source
    assert logistic.source["head"] == "logistic"
    assert (own.classifier, logistic.classifier) == ("protonets", "logistic regression on protonets")
    np.testing.assert_allclose(predicted("prototype").probabilities, own.probabilities, rtol=1e-5)
