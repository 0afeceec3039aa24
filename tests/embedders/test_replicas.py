"""A fit is the same for any number of devices; a batch that cannot be divided is refused."""

import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from cactus_tf import embedders
from cactus_tf.embedders._base.replicas import own
from cactus_tf.errors import InputError

SCRIPT = Path(__file__).with_name("replicas_script.py")
OF_OTHER_IMAGES = "reconstruction_error"
"""Of BiGAN: the first quarter of each device's images."""


def fitted(replicas, folder, stop=0):
    """What the script stores: {"CASE: NAME": array}."""
    file = folder / f"{replicas}.npz"
    command = [sys.executable, SCRIPT, str(replicas), str(folder), str(stop), file]
    subprocess.run(command, check=True, timeout=900, capture_output=True)
    with np.load(file) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return fitted(0, tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The folder of fits that two devices were stopped in after 2 of 4 steps."""
    folder = tmp_path_factory.mktemp("stopped")
    fitted(2, folder, stop=2)
    return folder


def assert_same(arrays, expected, steps):
    """Of the last of four steps. Adam's moments show a sum in place of a mean, which its steps would not.

    The gradient of the bias of InfoGAN's images is a small difference of large terms, hence its rounding.
    """
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        if name.startswith("bigan") and name.endswith(OF_OTHER_IMAGES):
            continue
        wanted, here = (a[-steps:] if "each step" in name else a for a in (array, arrays[name]))
        difference = np.linalg.norm(np.subtract(here, wanted, dtype=np.float64))
        tolerance = 1e-2 if name.startswith("infogan") else 1e-4
        assert difference <= tolerance * np.linalg.norm(wanted.astype(np.float64)), name


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_steps_weights_and_optimizers_do_not_depend_on_the_number_of_devices(replicas, alone, tmp_path):
    assert len(alone) > 300
    assert_same(fitted(replicas, tmp_path), alone, steps=4)


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [0, 4])
def test_another_number_of_devices_resumes_a_stopped_fit(replicas, alone, stopped, tmp_path):
    folder = shutil.copytree(stopped, tmp_path / "resumed")
    resumed = fitted(replicas, folder)
    assert len(resumed["acai: each step's critic_loss"]) == 2
    assert_same(resumed, alone, steps=2)


def test_without_a_strategy_all_rows_are_a_replicas_own():
    rows = tf.range(5)
    assert own(rows) is rows


@pytest.mark.parametrize("replicas", [2, 3])
def test_pairs_of_rows_stay_together(replicas, monkeypatch):
    """As ACAI mixes them: row i with row n - 1 - i of the batch, and row i with row m - 1 - i of a replica."""
    parts = []
    for place in range(replicas):
        replica = types.SimpleNamespace(num_replicas_in_sync=replicas, replica_id_in_sync_group=place)
        monkeypatch.setattr(tf.distribute, "get_replica_context", lambda replica=replica: replica)
        parts.append(own(tf.stack([tf.range(12), tf.range(12)], axis=1)).numpy()[:, 0])
    assert sorted(np.concatenate(parts)) == list(range(12))
    for part in parts:
        np.testing.assert_array_equal(part + part[::-1], 11)


IMAGES = np.zeros((40, 16, 16, 1), np.uint8)


def test_batches_that_cannot_be_divided_are_fitted_on_one_device(caplog):
    alone, embedder = (embedders.build("acai", steps=1, batch=10, depth=4, latent=2) for _ in range(2))
    embedder._strategy = types.SimpleNamespace(num_replicas_in_sync=2)
    embedder.fit(IMAGES)
    assert "acai: batches of 10 images cannot be divided in pairs among 2 devices: it is fitted on one" in caplog.text
    np.testing.assert_array_equal(embedder.transform(IMAGES), alone.fit(IMAGES).transform(IMAGES))


def test_fitting_in_an_open_scope_is_refused():
    embedder = embedders.build("acai", steps=1)
    with tf.distribute.OneDeviceStrategy("CPU:0").scope(), pytest.raises(InputError, match="only build the embedder"):
        embedder.fit(IMAGES)
