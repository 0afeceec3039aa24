from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cactus_tf import plugins
from cactus_tf.summaries import TAGS, EmbedderScalars, Scalars

METRICS_PAGE = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text()


def logged(folder):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    return {tag: [event.step for event in events.Tensors(tag)] for tag in events.Tags()["tensors"]}


def test_the_page_shows_every_tag_with_its_meaning():
    for tag, meaning in TAGS.items():
        assert f"| `{tag}` | {meaning} |" in METRICS_PAGE


@pytest.mark.parametrize("name", plugins.names("embedders"))
def test_the_page_shows_every_scalar_of_every_embedder(name):
    for scalar, meaning in getattr(plugins.load("embedders", name), "METRICS", {}).items():
        assert f"| `embedder/{scalar}` | {meaning} (`{name}`) |" in METRICS_PAGE


def test_training_scalars_are_written_thinned(tmp_path):
    scalars = Scalars(tmp_path, every=10)
    for step in range(1, 31):
        scalars.on_step(step, {"loss": 1.0, "accuracy": 0.5})
    scalars.close()
    assert logged(tmp_path) == {"train/loss": [1, 10, 20, 30], "train/accuracy": [1, 10, 20, 30]}


def test_an_unexplained_tag_is_an_error(tmp_path):
    with pytest.raises(KeyError, match="unheard"):
        Scalars(tmp_path).write(1, {"unheard": 1.0})


def test_embedder_scalars_are_written_as_embedder_tags(tmp_path):
    callback = EmbedderScalars(tmp_path, {"loss": "some loss"}, every=2)
    for batch in range(4):
        callback.on_train_batch_end(batch, {"loss": 0.5})
    callback.on_train_end()
    assert logged(tmp_path) == {"embedder/loss": [2, 4]}
