"""Workers that decode pictures together leave what one process leaves, to the last byte; folders that they share."""

import dataclasses
import shutil
import threading

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cactus_tf.config import build_plan
from cactus_tf.config import flags as cli
from cactus_tf.datasets._io import preparing, rows, sharing
from cactus_tf.errors import InputError
from cactus_tf.pipeline import sharing as shared
from cactus_tf.pipeline.preparation import prepare
from cactus_tf.runs import shards
from cactus_tf.utils.distribution import Distribution, Workers

PICTURES = {"train": 40, "val": 9, "test": 7}
SHARDS = 10 + 3 + 2  # of 4 pictures each


class Meeting:
    """Where the workers of a test, a thread each, exchange numbers."""

    def __init__(self, number):
        self.numbers, self.barrier = [0] * number, threading.Barrier(number)

    def __call__(self, index, number):
        self.numbers[index] = number
        self.barrier.wait(60)
        numbers = list(self.numbers)
        self.barrier.wait(60)
        return numbers


@dataclasses.dataclass(frozen=True)
class InThreads(Distribution):
    """Workers that meet in a test."""

    meet: Meeting | None = None

    def of_all(self, number):
        return self.meet(self.workers.index, number)


def distributed(number, index, meet):
    return InThreads(tf.distribute.get_strategy(), Workers(tuple(f"host{i}:1" for i in range(number)), index), meet)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(rows, "SHARD", 4)
    monkeypatch.setattr(shards, "_POLL", 0.01)


@pytest.fixture
def pictures(tmp_path):
    """Pictures in classes; one is damaged, and two are alike."""
    rng, folder = np.random.default_rng(0), tmp_path / "pictures"
    for split, number in PICTURES.items():
        for i in range(number):
            place = folder / split / f"class{i % 3}"
            place.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(256, size=(20, 30, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(place / f"{i:02d}.png")
    (folder / "train/class1/01.png").write_bytes(b"damaged")
    (folder / "train/class0/00.png").write_bytes((folder / "train/class0/03.png").read_bytes())
    return folder


@pytest.fixture
def made(monkeypatch):
    """Files decoded for other workers, by thread."""
    encoded, by_thread = sharing.encoded, {}

    def spied(entries, decoding):
        by_thread.setdefault(threading.current_thread().name.partition("#")[0], []).append([e.name for e in entries])
        return encoded(entries, decoding)

    monkeypatch.setattr(sharing, "encoded", spied)
    monkeypatch.setattr(
        "cactus_tf.pipeline.sharing.parallel_map", lambda call, number, watch: [*map(call, range(number))]
    )
    return by_thread


def plan(pictures):
    return build_plan.make(cli.parse(["--dataset=folder", f"--data_dir={pictures}", "--image_size=16"])).data


def stored(artifacts):
    """The content of every file of the artifacts but locks."""
    return {
        path.relative_to(artifacts).as_posix(): path.read_bytes()
        for path in artifacts.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def together(pictures, artifacts, number, plans=None):
    """Prepares with so many workers, a thread each; what they return."""
    meet, results = Meeting(number), [None] * number

    def work(index):
        try:
            results[index] = prepare((plans or [plan(pictures)] * number)[index], artifacts, False,
                                     distributed(number, index, meet))  # fmt: skip
        except BaseException as error:
            results[index] = error
            meet.barrier.abort()

    threads = [threading.Thread(target=work, args=(i,), name=f"worker{i}#") for i in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    return results


@pytest.fixture
def alone(pictures, tmp_path):
    prepare(plan(pictures), tmp_path / "alone")
    return stored(tmp_path / "alone")


@pytest.mark.parametrize("number", [2, 3])
def test_workers_leave_what_one_process_leaves(number, pictures, alone, made, tmp_path):
    results = together(pictures, tmp_path / "together", number)
    assert stored(tmp_path / "together") == alone
    for data in results:
        assert [len(data[split]) for split in PICTURES] == [39, 9, 7]
    assert sorted(made) == [f"worker{i}" for i in range(number)]
    decoded = [name for parts in made.values() for part in parts for name in part]
    assert len(decoded) == len(set(decoded)) == sum(PICTURES.values())
    sizes = [len(parts) for parts in made.values()]
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == SHARDS


def test_what_is_prepared_is_not_decoded_again(pictures, alone, made, tmp_path):
    shutil.copytree(tmp_path / "alone", tmp_path / "again")
    results = together(pictures, tmp_path / "again", 2)
    assert not made
    assert stored(tmp_path / "again") == alone
    np.testing.assert_array_equal(results[0].train.images, results[1].train.images)


def test_shards_of_a_worker_that_dies_are_made_by_the_chief(pictures, alone, made, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(shards, "_PATIENCE", 0.05)
    prepare(plan(pictures), tmp_path / "left", False, distributed(2, 0, lambda index, number: [number] * 2))
    assert stored(tmp_path / "left") == alone
    assert "shards of" in caplog.text and "making them here" in caplog.text
    assert len([part for parts in made.values() for part in parts]) == SHARDS


def test_workers_with_other_files_leave_the_chief_alone(pictures, alone, made, tmp_path, caplog):
    shutil.copytree(pictures, tmp_path / "other")
    (tmp_path / "other/train/class0/new.png").write_bytes((pictures / "train/class0/03.png").read_bytes())
    plans = [plan(pictures), dataclasses.replace(plan(pictures), data_dir=str(tmp_path / "other"))]
    results = together(pictures, tmp_path / "together", 2, plans)
    assert "the worker at host1:1 has files of other names, sizes or times: the chief decodes alone" in caplog.text
    assert not made
    assert stored(tmp_path / "together") == alone
    assert len(results[1].train) == 39


def test_an_archive_is_decoded_by_the_chief(pictures, made, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "pictures"), "zip", pictures)
    prepare(plan(archive), tmp_path / "alone")
    together(archive, tmp_path / "together", 2)
    assert stored(tmp_path / "together") == stored(tmp_path / "alone")
    assert not made


def test_shards_of_a_stopped_run_are_used_again(pictures, alone, made, tmp_path, monkeypatch):
    with monkeypatch.context() as stopping:
        stopping.setattr(preparing, "in_digest_order", lambda *_: 1 / 0)
        results = together(pictures, tmp_path / "stopped", 3)
        assert isinstance(results[0], ZeroDivisionError)
    assert len(list((tmp_path / "stopped").rglob("shards/*.npy"))) == SHARDS
    made.clear()
    together(pictures, tmp_path / "stopped", 2)
    assert not made
    assert stored(tmp_path / "stopped") == alone


def test_a_worker_without_the_pictures_leaves_the_chief_alone(pictures, alone, made, tmp_path, caplog):
    plans = [plan(pictures), dataclasses.replace(plan(pictures), data_dir=str(tmp_path / "missing"))]
    results = together(pictures, tmp_path / "together", 2, plans)
    assert "this worker decodes nothing" in caplog.text
    assert not made
    assert stored(tmp_path / "together") == alone
    assert isinstance(results[1], InputError)  # a folder of pictures is listed by every run


def test_a_worker_with_an_archive_does_not_unpack_it(pictures, alone, made, tmp_path, monkeypatch):
    archive = shutil.make_archive(str(tmp_path / "pictures"), "zip", pictures)
    plans = [plan(pictures), dataclasses.replace(plan(pictures), data_dir=archive)]
    unpacked, by_thread = preparing.unpacked, []

    def spied(*arguments):
        by_thread.append(threading.current_thread().name.partition("#")[0])
        return unpacked(*arguments)

    monkeypatch.setattr(preparing, "unpacked", spied)
    together(pictures, tmp_path / "together", 2, plans)
    assert set(by_thread) == {"worker0"}
    assert not made
    assert stored(tmp_path / "together") == alone


def checked(*folders):
    """The errors of workers that check these folders."""
    meet, errors = Meeting(len(folders)), [None] * len(folders)

    def check(i):
        try:
            shared.check_shared(folders[i], "--artifacts_dir", distributed(len(folders), i, meet))
        except InputError as error:
            errors[i] = str(error)

    threads = [threading.Thread(target=check, args=(i,)) for i in range(len(folders))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_a_shared_folder_is_accepted_and_nothing_stays_in_it(tmp_path):
    (tmp_path / ".shared.left.tmp").touch()  # by a chief that was killed
    assert checked(tmp_path, tmp_path, tmp_path) == [None] * 3
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_one_worker_does_not_see_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(shared, "_APPEARS", 0.1)
    monkeypatch.setattr(shared, "_POLL", 0.02)
    (tmp_path / "own").mkdir()
    errors = checked(tmp_path, tmp_path, tmp_path / "own")
    for error, folder in zip(errors, (tmp_path, tmp_path, tmp_path / "own"), strict=True):
        assert "the worker at host2:1 does not see what the chief" in error
        assert f"writes to --artifacts_dir (here {folder}): name a folder on a file system that all mach" in error
    assert [path.name for path in tmp_path.iterdir()] == ["own"]
