"""The options for GPUs, on a CPU: XLA and images that stay on the device change nothing but rounding."""

import numpy as np
import pytest
import tensorflow as tf

import cactus_tf as ct
from cactus_tf import backbones
from cactus_tf.errors import InputError
from cactus_tf.fewshot import training
from cactus_tf.fewshot.augmenting import EpisodeAugmentation
from cactus_tf.learners._adaptation.inner_loop import AdaptedNetwork
from cactus_tf.learners._adaptation.networks import everything_but_norms
from cactus_tf.learners.maml import MAML, Options
from cactus_tf.learners.protonets import ProtoNets

SHAPE, WAY = (28, 28, 1), 3


def stream(dtype=np.uint8):
    data = ct.datasets.load("digits").train
    rows = data.images if dtype == np.uint8 else data.images.astype(dtype) / 255
    return ct.episodes(rows, data.partitions, way=WAY, shot=1, query=2, seed=0)


def protonets():
    return ProtoNets(backbones.build("conv4", SHAPE, filters=4, norm="running", dtype="float64"))


def maml(vectorized=False, pooled=False):
    network = backbones.build(
        "conv4",
        SHAPE,
        WAY,
        filters=4,
        norm=(lambda name: backbones.BatchStatisticsNorm(fused=False, name=name, dtype="float64"))
        if vectorized
        else "batch",
        pooled=pooled,
        convolution="patches" if vectorized else "kernel",
        dtype="float64",
    )
    options = Options(inner_steps=1)
    adapted = AdaptedNetwork(
        network, rates=lambda _: options.inner_lr, adapts=everything_but_norms, vectorized=vectorized
    )
    return MAML(adapted, options, name="maml")


def trained(learner, tasks, **options):
    losses = []
    ct.meta_train(learner, tasks, tasks_per_step=2, steps=2, on_step=lambda _, s: losses.append(s["loss"]), **options)
    return [np.array(losses), *(v.numpy() for v in learner.variables)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "build",
    [protonets, maml, lambda: maml(vectorized=True), lambda: maml(vectorized=True, pooled=True)],
    ids=["protonets", "maml", "maml in shared kernels", "pooled maml in shared kernels"],
)
def test_xla_gives_the_losses_weights_and_averages_of_the_plain_step(build, monkeypatch):
    compiled, calls = training._compiled_by_xla, []
    monkeypatch.setattr(training, "_compiled_by_xla", lambda run: calls.append(run) or compiled(run))
    tasks = stream(np.float64)
    for compiled, plain in zip(trained(build(), tasks, xla=True), trained(build(), tasks), strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=1e-9, atol=1e-9)
    assert len(calls) == 1  # of the two trainings, one was compiled


def test_a_training_on_resident_images_gets_their_numbers(monkeypatch):
    def spied(learner, optimizer, counter, augment, *more):
        def watched(episode):
            seen.append((episode.support.dtype, tuple(episode.support.shape)))
            return augment(episode)

        return make(learner, optimizer, counter, watched, *more)

    make, seen = training.make_train_step, []
    monkeypatch.setattr(training, "make_train_step", spied)
    trained(ct.learners.build("protonets", image_shape=SHAPE, way=WAY, filters=4), stream(), images_on_device=True)
    assert set(seen) == {(tf.int64, (WAY, 1))}


@pytest.mark.parametrize("augmentation", [None, "affine"])
def test_images_on_the_device_change_no_bit(augmentation):
    def build():
        return ct.learners.build("protonets", image_shape=SHAPE, way=WAY, filters=4)

    augment = augmentation and EpisodeAugmentation(ct.augmentations.build(augmentation), seed=1)
    for resident, plain in zip(
        trained(build(), stream(), augment=augment, images_on_device=True),
        trained(build(), stream(), augment=augment),
        strict=True,
    ):
        np.testing.assert_array_equal(resident, plain)


@pytest.mark.parametrize("option", ["xla", "images_on_device"])
def test_options_for_one_device_are_refused_with_a_strategy(option):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        learner = ct.learners.build("protonets", image_shape=SHAPE, way=WAY, filters=4)
    with pytest.raises(InputError, match="xla and images_on_device are for one device: leave them out"):
        trained(learner, stream(), **{option: True})


def mixed(name="protonets", **settings):
    return ct.learners.build(name, image_shape=SHAPE, way=WAY, filters=8, precision="mixed_bfloat16", **settings)


@pytest.mark.parametrize("build", ["conv4", "resnet"])
@pytest.mark.parametrize("norm", ["batch", "running", "layer", "none"])
def test_mixed_precision_keeps_weights_norms_and_results_in_float32(build, norm):
    sizes = {"filters": 8, "norm": norm, "seed": 3}
    half, full = (backbones.build(build, SHAPE, WAY, dtype=d, **sizes) for d in ("mixed_bfloat16", "float32"))
    assert {str(v.dtype) for v in half.variables} == {"float32"}
    kinds = {type(layer).__name__: layer.compute_dtype for layer in half.layers if layer.weights}
    assert kinds.pop("Convolution") == "bfloat16"
    assert set(kinds.values()) == {"float32"}  # the norms and the head
    images = tf.random.stateless_uniform((6, *SHAPE), (0, 1))
    for mode in (False, True):
        ours, exact = half(images, training=mode), full(images, training=mode)
        assert ours.dtype == tf.float32
        scale = np.abs(exact).max()
        assert 0 < np.abs(ours - exact).max() < 0.1 * scale


@pytest.mark.parametrize("name", ["protonets", "maml"])
def test_mixed_precision_trains_close_to_float32(name):
    full = ct.learners.build(name, image_shape=SHAPE, way=WAY, filters=8)
    ours, exact = trained(mixed(name), stream())[0], trained(full, stream())[0]
    assert np.all(ours != exact)
    np.testing.assert_allclose(ours, exact, rtol=0.1)


@pytest.mark.slow
def test_shared_kernels_in_mixed_precision_train_under_xla_too():
    compiled, plain = (
        trained(mixed("maml", vectorized=True, inner_steps=1), stream(), xla=x)[0] for x in (True, False)
    )
    np.testing.assert_allclose(compiled, plain, rtol=0.2)  # XLA rounds to bfloat16 at other places


def test_mixed_precision_of_a_network_without_it_is_refused():
    with pytest.raises(InputError, match="--precision=mixed_bfloat16: mlp computes in float32 only: leave out --prec"):
        mixed(on_embeddings=True, embeddings=np.zeros((1, 8), np.float32))


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError, match="--precision=float16: choose from float32, mixed_bfloat16"):
        ct.learners.build("protonets", image_shape=SHAPE, precision="float16")
