"""A fit that is stopped goes on as if nothing had happened; one that diverges keeps what was good."""

import dataclasses
import json
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from cactus_tf import embedders
from cactus_tf.config import option
from cactus_tf.contracts import TrainedNetwork
from cactus_tf.embedders._base import fit_callbacks, fitting
from cactus_tf.embedders._base.network import Network
from cactus_tf.embedders._base.trained import TrainedEmbedder
from cactus_tf.errors import InputError, RunError
from cactus_tf.utils import history

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 6, 6, 1), np.uint8)


class Line(Network):
    """A linear autoencoder with noise: the smallest network that has everything a fit must restore."""

    def __init__(self, options, plan):
        super().__init__(name="line")
        d = int(np.prod(plan.image_shape))
        init = keras.initializers.RandomNormal(stddev=0.1, seed=plan.seed)
        self.code = self.add_weight(shape=(d, 3), initializer=init, name="code")
        self._seed = plan.seed
        self.compile_players(keras.optimizers.Adam(options.rate))

    @property
    def players(self):
        return [self.trainable_variables]

    def flat(self, images):
        return tf.reshape(tf.cast(images, tf.float32) / 255, (-1, self.code.shape[0]))

    def encode(self, images):
        return self.flat(images) @ self.code.value

    def train_step(self, data):
        step, images = data
        x = self.flat(images)
        noise = tf.random.stateless_normal(x.shape, seed=tf.stack([tf.cast(self._seed, tf.int64), step]))
        with tf.GradientTape() as tape:
            z = (x + 0.1 * noise) @ self.code.value
            loss = tf.reduce_mean(tf.square(z @ tf.transpose(self.code.value) - x))
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


class Settings(embedders.plugins.load("embedders", "acai").Options):
    """ACAI's own, of which only rate and batch matter here."""


def line(steps, rate=0.01, batch=8):
    return TrainedEmbedder("line", Line, Settings(rate=rate, batch=batch), steps)


class Watch(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((batch, logs["loss"]))


def weights(embedder):
    return [v.numpy() for v in fitting.state(embedder.model)]


def assert_same(a, b):
    for x, y in zip(weights(a), weights(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)  # threads change the order of summation


@pytest.fixture
def stopped(tmp_path, stop_at):
    """A folder with a fit that was interrupted after step 7 of 20."""
    with pytest.raises(KeyboardInterrupt):
        line(20).fit(IMAGES, seed=1, folder=tmp_path, callbacks=[stop_at(7)])
    return tmp_path


def test_an_interrupted_fit_goes_on_to_the_same_weights_and_optimizer(stopped):
    watch, whole_watch = Watch(), Watch()
    resumed = line(20).fit(IMAGES, seed=1, folder=stopped, callbacks=[watch])
    whole = line(20).fit(IMAGES, seed=1, callbacks=[whole_watch])
    assert [batch for batch, _ in watch.seen] == list(range(7, 20))
    np.testing.assert_allclose([loss for _, loss in watch.seen], [loss for _, loss in whole_watch.seen[7:]], rtol=1e-4)
    assert_same(resumed, whole)


def test_an_interrupted_fit_resumes_in_a_release_that_adds_a_setting(stopped):
    @dataclasses.dataclass(frozen=True)
    class Later(Settings):
        added: int = option(7, "a setting that a later release adds")

    watch = Watch()
    later = TrainedEmbedder("line", Line, Later(rate=0.01, batch=8), 20)
    later.fit(IMAGES, seed=1, folder=stopped, callbacks=[watch])
    assert watch.seen[0][0] == 7
    with pytest.raises(InputError, match="holds a fit with options"):
        TrainedEmbedder("line", Line, Later(rate=0.01, batch=8, added=8), 20).fit(IMAGES, seed=1, folder=stopped)


def test_the_learning_curve_of_an_interrupted_fit_is_that_of_a_whole_one(stopped, tmp_path_factory):
    folders = [tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("resumed")]
    line(20).fit(IMAGES, seed=1).save(folders[0])
    line(20).fit(IMAGES, seed=1, folder=stopped).save(folders[1])
    tables = [np.genfromtxt(folder / "history.csv", delimiter=",", names=True) for folder in folders]
    np.testing.assert_array_equal(tables[0]["step"], np.arange(1, 21))
    np.testing.assert_array_equal(tables[1]["step"], np.arange(1, 21))
    np.testing.assert_allclose(tables[0]["loss"], tables[1]["loss"], rtol=1e-4)


def test_a_kill_after_a_checkpoint_loses_no_point_of_the_learning_curve(tmp_path):
    class KilledError(Exception):
        pass

    class Killed:
        def save(self):
            raise KilledError

    curve = history.Curve(tmp_path / history.NAME, 0, 2)
    curve.add(1, {"loss": 0.5})
    with pytest.raises(KilledError):
        fit_callbacks.Saver(Killed(), curve, None).save()
    assert [row["step"] for row in history.read(tmp_path / history.NAME)] == [1]


def test_periodic_checkpoints_survive_a_kill(tmp_path, monkeypatch, stop_at):
    monkeypatch.setattr(fit_callbacks, "SAVE_STEPS", 5)

    class KilledError(Exception):
        pass

    class Kill(stop_at):
        def on_train_batch_end(self, batch, logs=None):
            if batch + 1 == self.steps:
                raise KilledError

    with pytest.raises(KilledError):
        line(20).fit(IMAGES, seed=1, folder=tmp_path, callbacks=[Kill(13)])
    watch = Watch()
    resumed = line(20).fit(IMAGES, seed=1, folder=tmp_path, callbacks=[watch])
    assert watch.seen[0][0] == 10
    assert_same(resumed, line(20).fit(IMAGES, seed=1))


def test_slow_steps_are_saved_by_time(tmp_path, monkeypatch):
    monkeypatch.setattr(fit_callbacks, "SAVE_SECONDS", 0)

    class Look(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            saved.append(len(list(tmp_path.glob(f"step-{batch}.index"))))

    saved = []
    line(4).fit(IMAGES, seed=1, folder=tmp_path, callbacks=[Look()])
    assert saved == [0, 1, 1, 1]


def test_a_finished_fit_is_not_repeated_and_a_longer_one_goes_on_from_it(tmp_path):
    first = line(6).fit(IMAGES, folder=tmp_path)
    watch = Watch()
    assert_same(line(6).fit(IMAGES, folder=tmp_path, callbacks=[watch]), first)
    assert not watch.seen
    longer = line(9).fit(IMAGES, folder=tmp_path, callbacks=[watch])
    assert [batch for batch, _ in watch.seen] == [6, 7, 8]
    assert_same(longer, line(9).fit(IMAGES))
    with pytest.raises(InputError, match="holds a fit of 9 steps, more than 6"):
        line(6).fit(IMAGES, folder=tmp_path)


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("part", ["data-00000-of-00001", "index"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, monkeypatch, caplog, part):
    monkeypatch.setattr(fit_callbacks, "SAVE_STEPS", 5)
    line(10).fit(IMAGES, seed=1, folder=tmp_path)
    damage(tmp_path / f"step-10.{part}")
    watch = Watch()
    with caplog.at_level(logging.WARNING):
        again = line(10).fit(IMAGES, seed=1, folder=tmp_path, callbacks=[watch])
    assert "step-10 is damaged" in caplog.text
    assert watch.seen[0][0] == 5
    assert_same(again, line(10).fit(IMAGES, seed=1))


def test_where_every_checkpoint_is_damaged_the_fit_starts_again(stopped):
    (stopped / "step-7.data-00000-of-00001").write_bytes(b"short")
    (stopped / "checkpoint").write_text("nonsense")
    watch = Watch()
    again = line(20).fit(IMAGES, seed=1, folder=stopped, callbacks=[watch])
    assert watch.seen[0][0] == 0
    assert_same(again, line(20).fit(IMAGES, seed=1))


def test_a_folder_of_another_fit_is_refused_by_what_differs(stopped):
    with pytest.raises(InputError, match="seed 1, now 2"):
        line(20).fit(IMAGES, seed=2, folder=stopped)
    with pytest.raises(InputError, match="images 40, now 39"):
        line(20).fit(IMAGES[:39], seed=1, folder=stopped)


class Poison(keras.callbacks.Callback):
    """Puts a NaN into the weights after so many steps."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.steps:
            self.model.code.assign(self.model.code.value * np.nan)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(fit_callbacks, "SAVE_STEPS", 5)
    message = "line: loss is nan at step 13; the checkpoint of step 10 is in .*; lower the rate"
    with pytest.raises(RunError, match=message):
        line(20).fit(IMAGES, seed=1, folder=tmp_path, callbacks=[Poison(12)])
    resumed = line(20).fit(IMAGES, seed=1, folder=tmp_path)
    assert all(np.isfinite(w).all() for w in weights(resumed))


def test_weights_that_are_not_finite_are_never_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(fit_callbacks, "SAVE_STEPS", 5)
    with pytest.raises(RunError, match="weights are NaN or infinite after step 10; the checkpoint of step 5 is in"):
        line(20).fit(IMAGES, seed=1, folder=tmp_path, callbacks=[Poison(10)])
    with pytest.raises(RunError, match="after step 3; no checkpoint yet"):
        line(3).fit(IMAGES, callbacks=[Poison(3)])


def test_fewer_images_than_a_batch_are_refused():
    with pytest.raises(InputError, match="7 images are fewer than a batch of 8"):
        line(3).fit(IMAGES[:7])


def test_start_and_end_are_logged(caplog):
    with caplog.at_level(logging.INFO):
        line(3).fit(IMAGES)
    messages = [record.message for record in caplog.records if record.name.startswith("cactus_tf")]
    assert messages[0] == "line: fitting, steps 0 to 3"
    assert messages[1].startswith("line: fitted in ")
    assert "loss 0." in messages[1]
    assert messages[1].endswith(" on average over the last 3 steps")  # a single batch may have accuracy 0.0000


@pytest.mark.parametrize("change", [lambda i: i[..., 0], lambda i: i / 255.0, lambda i: i.transpose(0, 3, 1, 2)])
def test_images_of_another_form_are_refused(change):
    with pytest.raises(InputError, match="images"):
        line(3).fit(change(IMAGES))


# Afterwards


@pytest.fixture(scope="module")
def fitted():
    return line(5).fit(IMAGES, seed=3)


def test_a_saved_embedder_is_restored_with_its_own_settings(fitted, tmp_path):
    fitted.save(tmp_path)
    loaded = line(99, rate=1.0, batch=2).load(tmp_path)
    np.testing.assert_array_equal(loaded.transform(IMAGES), fitted.transform(IMAGES))
    loaded.save(tmp_path / "again")
    for name in ("embedder.json", "history.csv"):
        assert (tmp_path / "again" / name).read_text() == (tmp_path / name).read_text()


def test_a_trained_embedder_has_a_learning_curve_and_the_pictures_of_its_network(fitted):
    assert isinstance(fitted, TrainedNetwork)
    assert [row["step"] for row in fitted.curve] == [1, 2, 3, 4, 5]
    assert fitted.pictures(IMAGES[:2]) == {}  # this network draws none


def test_embeddings_do_not_depend_on_how_many_images_are_asked_for(fitted):
    many = np.concatenate([IMAGES] * 10)  # more than a chunk
    np.testing.assert_allclose(fitted.transform(many), np.tile(fitted.transform(IMAGES), (10, 1)), rtol=1e-5)
    assert fitted.transform(IMAGES[:0]).shape == (0, 3)


@pytest.mark.parametrize("name", ["arrays.npz", "embedder.json"])
@pytest.mark.parametrize("harm", [lambda p: p.unlink(), lambda p: p.write_bytes(p.read_bytes()[:40])])
def test_a_damaged_or_missing_part_is_named_with_its_folder(fitted, tmp_path, name, harm):
    fitted.save(tmp_path)
    harm(tmp_path / name)
    with pytest.raises(InputError, match=str(tmp_path)):
        line(5).load(tmp_path)


def test_saved_options_that_lack_a_new_field_take_its_default_and_an_unknown_one_is_named(fitted, tmp_path):
    fitted.save(tmp_path)
    path = tmp_path / "embedder.json"
    saved = json.loads(path.read_text())
    del saved["options"]["advweight"], saved["digest"]
    path.write_text(json.dumps(saved))
    np.testing.assert_array_equal(line(5).load(tmp_path).transform(IMAGES), fitted.transform(IMAGES))
    saved["options"]["tempo"] = 3
    path.write_text(json.dumps(saved))
    with pytest.raises(InputError, match="was saved with tempo, which this version does not know"):
        line(5).load(tmp_path)


def test_the_embedder_of_another_family_member_is_refused(fitted, tmp_path):
    fitted.save(tmp_path)
    with pytest.raises(InputError, match="holds line, not acai"):
        embedders.build("acai").load(tmp_path)


def test_before_a_fit_there_is_nothing_to_embed_with():
    with pytest.raises(InputError, match="line is not fitted yet"):
        line(3).transform(IMAGES)


def test_images_of_another_size_than_in_the_fit_are_refused(fitted):
    with pytest.raises(InputError, match="fitted on 6x6x1 images, these are 8x6x1"):
        fitted.transform(np.zeros((2, 8, 6, 1), np.uint8))
