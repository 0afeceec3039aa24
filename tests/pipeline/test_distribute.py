"""What cannot be distributed is refused before any work, such as tasks that cannot be divided."""

import types

import pytest

from cactus_tf import pipeline
from cactus_tf.config import build_plan, flags
from cactus_tf.errors import InputError
from cactus_tf.main import main
from cactus_tf.utils import distribution
from cactus_tf.utils.distribution import Distribution

TWO = types.SimpleNamespace(num_replicas_in_sync=2)


def plan(*words):
    return build_plan.make(flags.parse([*words, "--dataset=digits"]))


@pytest.fixture
def two(monkeypatch):
    """Two replicas in one process."""
    monkeypatch.setattr(distribution, "start", lambda kind, seconds: Distribution(TWO))


def test_tasks_that_cannot_be_divided_are_refused(two):
    message = "--tasks_per_step=1 of protonets cannot be divided equally among 2 replicas: choose a multiple of 2"
    with pytest.raises(InputError, match=message):
        pipeline.distribute(plan("--algo=protonets", "--distribute=mirrored"))
    assert pipeline.distribute(plan("--algo=maml", "--distribute=mirrored")).strategy.num_replicas_in_sync == 2


def test_learners_without_tasks_can_be_distributed(two):
    pipeline.distribute(plan("--algo=nearest_neighbours", "--distribute=mirrored"))


@pytest.mark.parametrize(
    "words, message",
    [
        (["--distribute=both"], "--distribute=both"),
        (["--distribute=multiworker"], "TF_CONFIG, which is not set: TF_CONFIG="),
        (["--distribute=mirrored", "--xla"], "--xla and --images_on_device are for one device: leave them out, or"),
    ],
)
def test_other_wrong_flags_end_in_one_line(words, message, monkeypatch, tmp_path, capfd):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_one_device_is_mirrored_with_a_warning(caplog):
    with caplog.at_level("WARNING"):
        assert distribution.start("mirrored", 1).strategy.num_replicas_in_sync == 1
    assert "there is one device, so nothing is divided" in caplog.text
