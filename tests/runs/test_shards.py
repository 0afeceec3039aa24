"""Workers share shards: each makes its own, a stopped run goes on, and what does not come is made by others."""

import threading

import numpy as np
import pytest

from cactus_tf.errors import RunError
from cactus_tf.runs import shards as module
from cactus_tf.runs.shards import Shards
from cactus_tf.utils.distribution import Workers

NAMES = [f"train-{i:06d}" for i in range(5)]


def part(name):
    return np.full((3, 2), int(name[-6:]), np.float32)


def workers(number, index):
    return Workers(tuple(f"host{i}:1" for i in range(number)), index)


class Maker:
    """Makes shards and remembers their names."""

    def __init__(self, folder):
        self.shards, self.made = Shards(folder), []

    def __call__(self, name):
        self.made.append(name)
        return part(name)

    def store(self, names):
        for name in names:
            self.shards.get(name, self)


def test_two_workers_make_every_shard_once(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_POLL", 0.01)
    makers = [Maker(tmp_path), Maker(tmp_path)]
    threads = [
        threading.Thread(target=maker.shards.share, args=(NAMES, maker.store, workers(2, i)))
        for i, maker in enumerate(makers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert [maker.made for maker in makers] == [NAMES[::2], NAMES[1::2]]
    joined = makers[0].shards.joined(NAMES, 15, part)
    np.testing.assert_array_equal(np.asarray(joined), np.repeat(np.arange(5), 3)[:, None] * np.ones(2))
    with pytest.raises(RunError, match="have 15 rows, not 16: delete the folder"):
        list(makers[0].shards.joined(NAMES, 16, part).pieces())


def test_shards_of_a_worker_that_ended_are_made_by_another(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "_POLL", 0.01)
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    maker = Maker(tmp_path)
    with caplog.at_level("WARNING"):
        maker.shards.share(NAMES, maker.store, workers(2, 0))
    assert sorted(maker.made) == NAMES
    assert caplog.text.count("2 shards of") == caplog.text.count("such as train-000003: making them here") == 1
    assert len(maker.made) == 5  # after one wait, not after one for each


def test_a_shard_under_another_name_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_POLL", 0.01)
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    with pytest.raises(RunError, match="was made under another name"):
        Shards(tmp_path).share(NAMES, lambda names: None, workers(2, 0))


def test_a_stopped_run_goes_on(tmp_path):
    Maker(tmp_path).store(NAMES[:3])
    again = Maker(tmp_path)
    assert np.asarray(again.shards.joined(NAMES, 15, again)).shape == (15, 2)
    assert again.made == NAMES[3:]


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY damaged"])
def test_a_damaged_shard_is_made_again(damage, tmp_path, caplog):
    Maker(tmp_path).store(NAMES)
    (tmp_path / "shards" / f"{NAMES[1]}.npy").write_bytes(damage)
    again = Maker(tmp_path)
    np.testing.assert_array_equal(again.shards.get(NAMES[1], again), part(NAMES[1]))
    assert again.made == NAMES[1:2]
    assert "is damaged; making it again" in caplog.text


def test_what_is_taken_is_not_stored(tmp_path):
    shards = Shards(tmp_path)
    np.testing.assert_array_equal(shards.read_or_make("a", lambda: np.ones(2)), [1, 1])
    assert not (tmp_path / "shards").exists()
    shards.get("a", lambda _: np.zeros(2))
    np.testing.assert_array_equal(shards.read_or_make("a", lambda: np.ones(2)), [0, 0])
    shards.remove()
    assert not (tmp_path / "shards").exists()
