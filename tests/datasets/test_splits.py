import dataclasses

import numpy as np
from cactus_tf.datasets._io.splits import Labeled, in_order, prepare
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cactus_tf.contracts import DataContext

pixels = st.sampled_from([0, 1, 127, 128, 255])  # few values, so that rows often agree in their first bytes
few_images = hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.just(2), st.just(2), st.just(1)), elements=pixels)


@given(images=few_images, seed=st.integers(0, 99))
def test_rows_are_ordered_by_class_then_bytes_like_python_tuples(images, seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 2, 255, 256, 70_000], len(images)).astype(np.int32)
    expected = sorted((int(c), image.tobytes()) for c, image in zip(labels, images, strict=True))

    result = in_order(Labeled(images, labels))

    assert [(int(c), image.tobytes()) for c, image in zip(result.labels, result.images, strict=True)] == expected
    assert result.labels.dtype == np.int32
    assert result.images.dtype == np.uint8


@given(images=few_images, seed=st.integers(0, 99))
def test_order_of_the_source_does_not_matter(images, seed):
    rng = np.random.default_rng(seed)
    data = Labeled(images, rng.integers(0, 3, len(images)).astype(np.int32))
    one, other = in_order(data), in_order(data.take(rng.permutation(len(images))))
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.labels, other.labels)


@dataclasses.dataclass
class Shelf:
    """A cache, and a source that counts how often it is read."""

    kept: dict = dataclasses.field(default_factory=dict)
    reads: int = 0

    def cache(self, name, make):
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]

    def read(self):
        self.reads += 1
        sizes = {"train": 6, "val": 4, "test": 5}
        rng = np.random.default_rng(0)
        return {
            split: Labeled(rng.integers(0, 256, (n, 3, 3, 1), np.uint8), np.arange(n, dtype=np.int32) // 2 + 100)
            for split, n in sizes.items()
        }

    def prepare(self):
        return prepare("shelf", self.read, DataContext(self.cache))


def test_the_source_is_read_once_for_all_splits():
    shelf = Shelf()
    shelf.prepare()
    assert shelf.reads == 1
    assert sorted(shelf.kept) == sorted(f"{s}-{a}" for s in ("train", "val", "test") for a in ("images", "labels"))


def test_the_source_is_not_read_where_everything_is_kept():
    shelf = Shelf()
    shelf.prepare()
    again = shelf.prepare()
    assert shelf.reads == 1
    assert again.train.images is shelf.kept["train-images"]


def test_only_what_is_missing_is_made_again_and_equals_what_was_lost():
    shelf = Shelf()
    before = shelf.prepare().val.images
    train = shelf.kept["train-images"]
    del shelf.kept["val-images"]
    after = shelf.prepare()
    assert shelf.reads == 2
    np.testing.assert_array_equal(after.val.images, before)
    assert after.train.images is train


def test_labels_are_kept_as_they_are_and_clusters_are_counted_from_zero():
    shelf = Shelf()
    splits = shelf.prepare()
    np.testing.assert_array_equal(shelf.kept["val-labels"], [100, 100, 101, 101])
    assert len(splits.val.partitions) == 1
    np.testing.assert_array_equal(splits.val.partitions[0].sizes, [2, 2])


def test_what_was_prepared_is_logged(caplog):
    with caplog.at_level("INFO"):
        Shelf().prepare()
    assert "prepared shelf: 6 train, 4 val, 5 test images" in caplog.text
