import re
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from cactus_tf import plugins
from cactus_tf.runs import tensorboard
from cactus_tf.runs.tensorboard import TAGS, EmbedderSummaries, Events, tiled

METRICS_PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


def logged(folder):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    return {tag: [event.step for event in events.Tensors(tag)] for tag in events.Tags()["tensors"]}


def test_the_page_shows_every_tag_with_its_meaning():
    for tag, meaning in TAGS.items():
        assert f"| `{tag}` | {meaning} |" in METRICS_PAGE


@pytest.mark.parametrize("name", plugins.names("embedders"))
def test_the_page_shows_every_scalar_and_picture_of_every_embedder(name):
    info = plugins.info("embedders", name)
    for tag, meaning in {**info.metrics, **info.pictures}.items():
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


def test_pictures_are_written_at_intervals_and_at_the_end(tmp_path):
    images = np.zeros((2, 4, 4, 1), np.uint8)
    callback = EmbedderSummaries(tmp_path, {"loss": "some loss"}, {"shades": "some shades"}, images, every=1)
    callback.set_model(Painter())
    for batch in range(150):
        callback.on_train_batch_end(batch, {"loss": 0.5})
    callback.on_train_end()
    assert logged(tmp_path)["embedder/shades"] == [100, 150]


def test_a_tiled_picture_has_its_parts_in_order():
    parts = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5, 1)
    whole = tiled(parts)
    assert whole.shape == (8, 15, 1)
    np.testing.assert_array_equal(whole[4:8, 10:15], parts[1, 2])


def log_steps(folder, first, last):
    if folder.exists() and list(folder.iterdir()):
        time.sleep(1.1)  # TensorBoard orders files by the second in their names
    scalars = Events(folder, every=10)
    for step in range(first, last + 1):
        scalars.on_step(step, {"loss": float(step)})
    scalars.close()


def test_of_a_resumed_training_tensorboard_shows_each_step_once(tmp_path):
    log_steps(tmp_path, 1, 40)
    log_steps(tmp_path, 21, 60)  # the checkpoint was of step 20
    assert logged(tmp_path) == {"train/loss": [1, 10, 20, 30, 40, 50, 60]}


def test_of_a_restarted_training_tensorboard_shows_the_last_one(tmp_path):
    log_steps(tmp_path, 1, 40)
    log_steps(tmp_path, 1, 15)
    assert logged(tmp_path) == {"train/loss": [1, 10]}


def test_a_half_written_event_of_a_killed_run_is_skipped(tmp_path):
    log_steps(tmp_path, 1, 40)
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    log_steps(tmp_path, 21, 50)
    assert logged(tmp_path) == {"train/loss": [1, 10, 20, 30, 40, 50]}


def test_a_finished_training_writes_no_event_file(tmp_path):
    log_steps(tmp_path / "events", 1, 0)
    assert not list(tmp_path.rglob("*"))


def whole(folder, value):
    picture = np.full((2, 3, 3), value, np.uint8)
    tensorboard.replace(
        folder,
        "result",
        step=7,
        scalars={"test/accuracy-5way-1shot": value / 10},
        pictures={"tasks/training": [picture, np.zeros((4, 2, 3), np.uint8)]},
        texts={"configuration": "| a |"},
        hparams={"steps": value, "algo": "maml"},
    )


@pytest.fixture(scope="module")
def replaced(tmp_path_factory):
    """A folder of curves and of a part that was written twice."""
    folder = tmp_path_factory.mktemp("replaced")
    log_steps(folder, 1, 10)
    for value in (3, 5):
        whole(folder, value)
    return EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()


def test_a_part_that_is_rewritten_appears_once_and_curves_remain(replaced):
    steps = {tag: [event.step for event in replaced.Tensors(tag)] for tag in replaced.Tags()["tensors"]}
    hparams = steps.pop("_hparams_/session_start_info")
    assert hparams == [0]
    assert steps == {
        "train/loss": [1, 10],
        "test/accuracy-5way-1shot": [7],
        "tasks/training": [7],
        "configuration": [7],
    }
    [event] = replaced.Tensors("test/accuracy-5way-1shot")
    assert tf.make_ndarray(event.tensor_proto) == pytest.approx(0.5)


def test_pictures_of_different_sizes_are_padded_with_white(replaced):
    [event] = replaced.Tensors("tasks/training")
    shown = [tf.io.decode_png(png).numpy() for png in tf.make_ndarray(event.tensor_proto)[2:]]
    assert [picture.shape for picture in shown] == [(4, 3, 3)] * 2
    assert (shown[0][:2] == 5).all()
    assert (shown[0][2:] == 255).all()
    assert (shown[1][:, 2] == 255).all()


def test_settings_are_logged_as_hparams(replaced):
    from tensorboard.plugins.hparams import plugin_data_pb2

    content = replaced.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    found = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert (found["steps"].number_value, found["algo"].string_value) == (5, "maml")


def test_the_tag_of_a_final_accuracy_is_explained_by_its_pattern(tmp_path):
    with pytest.raises(KeyError, match="SPLIT/speed-WAYway-SHOTshot"):
        tensorboard.replace(tmp_path, "result", scalars={"test/speed-5way-1shot": 1.0})


def projected(folder, columns, pictures=None):
    tensorboard.write_projector(folder, np.arange(6.0).reshape(3, 2) / 3, columns, pictures)
    return (folder / "metadata.tsv").read_text().splitlines()


def test_the_projector_has_a_line_for_each_image_in_every_file(tmp_path):
    known = projected(tmp_path, {"image": [7, 8, 9], "cluster": [0, 1, 1]})
    assert known == ["image\tcluster", "7\t0", "8\t1", "9\t1"]
    np.testing.assert_allclose(np.loadtxt(tmp_path / "embeddings.tsv"), np.arange(6.0).reshape(3, 2) / 3, rtol=1e-3)


def test_a_single_column_of_the_projector_has_no_head(tmp_path):
    assert projected(tmp_path, {"image": [7, 8, 9]}) == ["7", "8", "9"]


def test_the_sprite_has_the_images_row_by_row(tmp_path):
    pictures = np.stack([np.full((2, 4, 3), 50 * i, np.uint8) for i in range(3)])
    projected(tmp_path, {"image": [7, 8, 9]}, pictures)
    sprite = tf.io.decode_png((tmp_path / "sprite.png").read_bytes()).numpy()[..., 0]
    assert sprite.shape == (4, 8)
    assert sprite[::2, ::4].tolist() == [[0, 50], [100, 255]]
    config = (tmp_path / "projector_config.pbtxt").read_text()
    assert re.findall(r"single_image_dim: (\d+)", config) == ["4", "2"]  # width first


def trained(folder, steps=3, **tracing):
    """Logs a few steps."""
    with tensorboard.TrainingEvents(folder, **tracing) as events:
        for step in range(1, steps + 1):
            events.on_step(step, {"loss": 1.0})


def test_the_graph_of_the_training_step_is_logged_on_request(tmp_path):
    @tf.function
    def double(x):
        return tf.add(x, x, name="doubled")

    with tensorboard.TrainingEvents(tmp_path, graph=True) as events:
        double(tf.constant(1.0))
        for step in (1, 2):
            events.on_step(step, {"loss": 1.0})
    [event] = EventAccumulator(str(tmp_path)).Reload().Tensors("train_step")
    assert event.step == 1
    assert b"doubled" in event.tensor_proto.string_val[0]


def test_by_default_only_scalars_are_logged(tmp_path):
    trained(tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".v2"]


@pytest.fixture
def profiler(monkeypatch):
    """Calls of TensorFlow's profiler."""
    calls = []
    monkeypatch.setattr(tf.profiler.experimental, "start", lambda folder: calls.append("start"))
    monkeypatch.setattr(tf.profiler.experimental, "stop", lambda: calls.append("stop"))
    return calls


def test_the_requested_number_of_steps_after_the_first_is_profiled(tmp_path, profiler):
    with tensorboard.TrainingEvents(tmp_path, profiled=2) as events:
        for step in range(1, 6):
            profiler.append(step)
            events.on_step(step, {"loss": 1.0})
    assert profiler == [1, "start", 2, 3, "stop", 4, 5]


def test_a_profile_ends_with_the_training(tmp_path, profiler):
    trained(tmp_path, steps=1, profiled=9)
    assert profiler == ["start", "stop"]
