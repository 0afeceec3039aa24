"""Training batches are a pure function of (seed, step)."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cactus_tf.embedders._base.batches import batches, rows


def numbered(n):
    """[n, 2, 2, 1] uint8: image i is i everywhere."""
    return np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 2, 2, 1))


@given(st.integers(0, 2**62), st.integers(1, 60), st.data())
def test_an_epoch_uses_each_image_at_most_once_and_leaves_less_than_a_batch(seed, n, data):
    batch, epoch = data.draw(st.integers(1, n)), data.draw(st.integers(0, 5))
    per_epoch = n // batch
    used = np.concatenate([rows(seed, epoch * per_epoch + i, n, batch) for i in range(per_epoch)])
    assert len(set(used)) == len(used) > n - batch
    assert set(used) <= set(range(n))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [tuple(rows(seed, epoch, 50, 50)) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4


def test_a_pipeline_that_starts_late_goes_on_as_the_whole_one_does():
    images = numbered(20)
    whole = [(int(step), b.numpy()) for step, b in batches(images, 6, 7, 0, 11)]
    late = [(int(step), b.numpy()) for step, b in batches(images, 6, 7, 4, 11)]
    assert [step for step, _ in whole] == list(range(11))
    assert [step for step, _ in late] == list(range(4, 11))
    for (_, a), (_, b) in zip(whole[4:], late, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == np.uint8


def test_batches_hold_the_images_of_their_rows():
    for step, batch in batches(numbered(20), 6, 7, 2, 5):
        np.testing.assert_array_equal(batch[:, 0, 0, 0], rows(7, int(step), 20, 6))


def test_the_pipeline_does_not_copy_the_images_into_its_graph():
    images = np.zeros((3000, 28, 28, 1), np.uint8)
    graph = batches(images, 8, 0, 0, 10)._as_serialized_graph().numpy()
    assert len(graph) < images.nbytes / 50
