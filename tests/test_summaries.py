from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cactus_tf import plugins
from cactus_tf.summaries import TAGS, EmbedderSummaries, Events, tiled

METRICS_PAGE = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text()


def logged(folder):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    return {tag: [event.step for event in events.Tensors(tag)] for tag in events.Tags()["tensors"]}


def test_the_page_shows_every_tag_with_its_meaning():
    for tag, meaning in TAGS.items():
        assert f"| `{tag}` | {meaning} |" in METRICS_PAGE


@pytest.mark.parametrize("name", plugins.names("embedders"))
def test_the_page_shows_every_scalar_and_picture_of_every_embedder(name):
    module = plugins.load("embedders", name)
    for tag, meaning in {**getattr(module, "METRICS", {}), **getattr(module, "PICTURES", {})}.items():
        assert f"| `embedder/{tag}` | {meaning} (`{name}`) |" in METRICS_PAGE


def test_training_scalars_are_written_thinned(tmp_path):
    scalars = Events(tmp_path, every=10)
    for step in range(1, 31):
        scalars.on_step(step, {"loss": 1.0, "accuracy": 0.5})
    scalars.close()
    assert logged(tmp_path) == {"train/loss": [1, 10, 20, 30], "train/accuracy": [1, 10, 20, 30]}


def test_an_unexplained_tag_is_an_error(tmp_path):
    with pytest.raises(KeyError, match="unheard"):
        Events(tmp_path).write(1, {"unheard": 1.0})


def test_embedder_scalars_are_written_as_embedder_tags(tmp_path):
    callback = EmbedderSummaries(tmp_path, {"loss": "some loss"}, every=2)
    for batch in range(4):
        callback.on_train_batch_end(batch, {"loss": 0.5})
    callback.on_train_end()
    assert logged(tmp_path) == {"embedder/loss": [2, 4]}


class Painter:
    """A network that shows its images brighter and brighter."""

    def pictures(self, images):
        return {"shades": tf.stack([tf.cast(images, tf.float32) / 255] * 3)}


def test_pictures_are_written_now_and_then_and_at_the_end(tmp_path):
    images = np.zeros((2, 4, 4, 1), np.uint8)
    callback = EmbedderSummaries(tmp_path, {"loss": "some loss"}, {"shades": "some shades"}, images, every=1)
    callback.set_model(Painter())
    for batch in range(150):
        callback.on_train_batch_end(batch, {"loss": 0.5})
    callback.on_train_end()
    assert logged(tmp_path)["embedder/shades"] == [100, 150]


def test_a_tiled_picture_has_its_parts_where_they_belong():
    parts = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5, 1)
    whole = tiled(parts)
    assert whole.shape == (8, 15, 1)
    np.testing.assert_array_equal(whole[4:8, 10:15], parts[1, 2])
