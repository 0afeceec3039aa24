import logging
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from cactus_tf.errors import InputError, RunError
from cactus_tf.utils.checkpoints import Checkpoints, load_newest


def kept_in(folder, **identity):
    """(weight, step, checkpoints) of a tiny training."""
    weight, step = keras.Variable(np.zeros(3, np.float32)), tf.Variable(0, dtype=tf.int64)
    return weight, step, Checkpoints([weight], step, folder, identity)


def test_a_saved_checkpoint_is_restored_with_its_step(tmp_path):
    weight, step, checkpoints = kept_in(tmp_path)
    weight.assign([1, 2, 3])
    step.assign(7)
    checkpoints.save()
    weight, step, checkpoints = kept_in(tmp_path)
    assert checkpoints.restore() == 7
    assert int(step) == 7
    np.testing.assert_array_equal(weight.numpy(), [1, 2, 3])


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    weight, step, checkpoints = kept_in(tmp_path)
    step.assign(1)
    checkpoints.save()
    weight.assign([np.nan, 0, 0])
    step.assign(2)
    with pytest.raises(RunError, match="NaN or infinite after step 2; the checkpoint of step 1 is in"):
        checkpoints.save()
    assert kept_in(tmp_path)[2].restore() == 1


def test_a_folder_of_other_settings_is_refused(tmp_path):
    kept_in(tmp_path, rate=1)
    with pytest.raises(InputError, match="holds a fit with rate 1, now 2"):
        kept_in(tmp_path, rate=2)


def test_the_error_about_an_unwritable_checkpoint_names_the_reason_and_the_last_checkpoint(tmp_path):
    _, step, checkpoints = kept_in(tmp_path / "a")
    for path in (tmp_path / "a").iterdir():
        path.unlink()
    (tmp_path / "a").rmdir()
    (tmp_path / "a").write_text("a file where the folder was")
    step.assign(1)
    with pytest.raises(RunError, match=r"cannot write a checkpoint to .* no checkpoint yet"):
        checkpoints.save()


def test_without_a_folder_nothing_is_saved():
    _, step, checkpoints = kept_in(None)
    step.assign(3)
    checkpoints.save()
    assert checkpoints.restore() == 0


def trained(folder, *steps):
    """Saves a weight that equals the step at each of these steps."""
    weight, step, checkpoints = kept_in(folder)
    for number in steps:
        weight.assign([number] * 3)
        step.assign(number)
        checkpoints.save()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"3", b'model_checkpoint_path: ""', None])
def test_a_damaged_list_of_the_checkpoints_stops_nothing(tmp_path, content):
    trained(tmp_path, 1, 2)
    (tmp_path / "checkpoint").unlink()
    if content is None:
        (tmp_path / "checkpoint").mkdir()
    else:
        (tmp_path / "checkpoint").write_bytes(content)
    assert kept_in(tmp_path)[2].restore() == 2
    _, step, checkpoints = kept_in(tmp_path)
    checkpoints.restore()
    step.assign(3)
    checkpoints.save()
    assert sorted(path.name for path in tmp_path.glob("*.index")) == ["step-2.index", "step-3.index"]  # two, as ever


@pytest.mark.parametrize("name", ["step-2.index", "step-2.data-00000-of-00001"])
@pytest.mark.parametrize("damage", ["empty", "gone", "folder"])
def test_older_weights_are_used_only_with_an_error_message(tmp_path, caplog, name, damage):
    trained(tmp_path, 1, 2)
    weight, path = keras.Variable(np.zeros(3, np.float32)), tmp_path / name
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "empty":
        path.write_bytes(b"")
    assert load_newest([weight], tmp_path) == 1
    (record,) = caplog.records
    assert record.levelno == logging.ERROR  # --quiet shows it
    assert "step-2 is damaged: using the older weights of step 1" in record.getMessage()
    trained(tmp_path, 1, 2)  # a folder in the place of a file does not stop a training
    assert load_newest([weight], tmp_path) == 2


@pytest.mark.parametrize("content", ["", "3", "[1]", "null", "{}"])
def test_a_damaged_note_of_the_settings_of_a_fit_stops_nothing(tmp_path, content):
    trained(tmp_path, 1)
    (tmp_path / "fit.json").write_text(content)
    assert kept_in(tmp_path, rate=1)[2].restore() == 1
    with pytest.raises(InputError, match="holds a fit with rate 1, now 2"):
        kept_in(tmp_path, rate=2)


def saved_at(folder, *steps):
    """Checkpoints at these steps; gives the names of their files."""
    _, step, checkpoints = kept_in(folder)
    checkpoints.restore()
    for number in steps:
        step.assign(number)
        checkpoints.save()
    return sorted(path.name for path in folder.glob("step-*"))


def test_what_a_killed_process_left_of_a_checkpoint_is_removed(tmp_path, caplog):
    expected = saved_at(tmp_path / "whole", 1, 2, 3, 4)
    folder = tmp_path / "killed"
    saved_at(folder, 1, 2)
    listed = (folder / "checkpoint").read_text()
    saved_at(folder, 3)
    (folder / "checkpoint").write_text(listed)  # killed before the list was written
    (folder / "step-4_temp").mkdir()
    (folder / "step-4_temp" / "part-00000-of-00001.data-00000-of-00001").touch()
    (folder / "step-4.data-00000-of-00001.tempstate7").touch()
    assert saved_at(folder, 4) == expected
    assert not caplog.text
    shutil.copy(folder / "step-4.data-00000-of-00001", folder / "step-1.data-00000-of-00001")  # killed while removing
    assert saved_at(folder, 4) == expected
    assert not caplog.text
