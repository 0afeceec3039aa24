import keras
import numpy as np
import pytest
import tensorflow as tf

from cactus_tf.errors import InputError, RunError
from cactus_tf.utils.checkpoints import Checkpoints


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
