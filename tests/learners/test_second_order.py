"""The meta-gradient against finite differences in float64, in every form in which it is computed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cactus_tf import backbones
from cactus_tf.fewshot.training import make_task_update, make_train_step, side_by_side, vectorized
from cactus_tf.learners import maml
from cactus_tf.learners._adaptation.inner_loop import AdaptedNetwork
from cactus_tf.learners._adaptation.networks import everything_but_norms
from cactus_tf.types import Episode
from cactus_tf.utils.checkpoints import tf_variable

SLOW = pytest.mark.slow
WAY, SHOT, QUERY = 3, 2, 2
STEP = 1e-7  # at 1e-6 the deepest network still crosses kinks of its ReLUs and poolings
# Central differences err by about STEP^2 and by 1e-16 / STEP, so 1e-6 of the value is generous.
TOLERANCE = 1e-6

NETWORKS = {
    "conv4 strided": ("conv4", (12, 12, 1), {"filters": 3, "pooled": False, "initializers": "glorot"}),
    "conv4 strided, patches": (
        "conv4",
        (12, 12, 1),
        {"filters": 3, "pooled": False, "initializers": "glorot", "convolution": "patches"},
    ),
    "conv4 pooled, patches": (
        "conv4",
        (17, 16, 2),
        {"filters": 3, "pooled": True, "initializers": "glorot", "convolution": "patches"},
    ),
    "conv4 pooled": ("conv4", (17, 16, 2), {"filters": 3, "pooled": True, "initializers": "glorot"}),
    "resnet": ("resnet", (32, 32, 1), {"filters": 2}),
    "mlp on embeddings": ("mlp", (6,), {"filters": 5}),
    "mlp on pixels": ("mlp", (5, 4, 1), {"hidden": (6, 5, 4, 3)}),
}


def build(network, norm, **options):
    """A MAML in float64, with weights large enough for second derivatives to matter."""
    name, shape, settings = NETWORKS[network]
    model = backbones.build(name, shape, WAY, norm=norm, dtype="float64", **settings)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(np.array(variable) + 0.3 * rng.normal(size=variable.shape))
    options = maml.Options(**{"inner_lr": 0.1, "inner_steps": 2, "eval_steps": 1, **options})
    adapted = AdaptedNetwork(model, rates=lambda _: options.inner_lr, adapts=everything_but_norms)
    return maml.MAML(adapted, options, name="maml")


def episode(learner, seed=1):
    rng = np.random.default_rng(seed)
    shape = learner.network.model.input_shape[1:]
    return Episode(*(tf.constant(rng.random((WAY, n, *shape))) for n in (SHOT, QUERY)), 0, 0)


def gradients_of(learner, form, task):
    """The meta-gradient of one task, as an array per trained variable."""
    variables = [tf_variable(v) for v in learner.trainable_variables]

    def by_tape(task):
        with tf.GradientTape() as tape:
            loss = learner.training_loss(task).loss
        return tape.gradient(loss, variables, unconnected_gradients="zero")

    forms = {
        "eager": lambda: by_tape(task),
        "tf.function": lambda: tf.function(by_tape, autograph=False)(task),
        "as trained": lambda: by_training_step(learner, task),
    }
    return [np.array(g) for g in forms[form]()]


def by_training_step(learner, task):
    """What a step of the outer loop with rate 1 takes from the variables, on twice the same task."""
    before = [np.array(v) for v in learner.trainable_variables]
    step = make_train_step(learner, keras.optimizers.SGD(1.0), tf.Variable(0, dtype=tf.int64))
    step(Episode(*(tf.stack([part, part]) for part in task)))
    after = [np.array(v) for v in learner.trainable_variables]
    for variable, value in zip(learner.trainable_variables, before, strict=True):
        variable.assign(value)
    return [a - b for a, b in zip(before, after, strict=True)]


def slope(learner, task, directions):
    """Derivative of the training loss along directions in weight space, by central differences."""
    variables = learner.trainable_variables
    start = [np.array(v) for v in variables]
    losses = []
    for sign in (1, -1):
        for variable, value, direction in zip(variables, start, directions, strict=True):
            variable.assign(value + sign * STEP * direction)
        losses.append(float(learner.training_loss(task).loss))
    for variable, value in zip(variables, start, strict=True):
        variable.assign(value)
    return (losses[0] - losses[1]) / (2 * STEP)


def assert_slopes_agree(learner, form):
    task = episode(learner)
    gradients = gradients_of(learner, form, task)
    for seed in range(2):
        rng = np.random.default_rng(seed)
        directions = [rng.normal(size=v.shape) / np.sqrt(np.prod(v.shape)) for v in learner.trainable_variables]
        expected = slope(learner, task, directions)
        actual = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
        np.testing.assert_allclose(actual, expected, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("form", ["eager", "tf.function", "as trained"])
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("network", ["conv4 strided", "conv4 pooled", "mlp on embeddings"])
def test_the_meta_gradient_is_the_slope_of_the_training_loss(network, norm, form):
    assert_slopes_agree(build(network, norm), form)


@pytest.mark.parametrize("norm", ["batch", pytest.param("layer", marks=SLOW), pytest.param("none", marks=SLOW)])
@pytest.mark.parametrize("network", ["conv4 strided, patches", pytest.param("resnet", marks=SLOW), "mlp on pixels"])
def test_the_compiled_meta_gradient_of_other_networks_is_the_slope_too(network, norm):
    assert_slopes_agree(build(network, norm), "as trained")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["eager", "tf.function"])
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("network", ["conv4 strided, patches", "conv4 pooled, patches", "resnet", "mlp on pixels"])
def test_the_meta_gradient_of_other_networks_is_the_slope_in_other_forms_too(network, norm, form):
    assert_slopes_agree(build(network, norm), form)


@pytest.mark.parametrize("form", ["eager", pytest.param("as trained", marks=SLOW)])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_recomputing_inner_steps_gives_the_same_meta_gradient(norm, form):
    plain, recomputing = build("conv4 pooled", norm), build("conv4 pooled", norm, recompute=True)
    for a, b in zip(
        gradients_of(plain, form, episode(plain)), gradients_of(recomputing, form, episode(plain)), strict=True
    ):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)


def test_the_first_order_gradient_is_another_one():
    full, first = build("conv4 strided", "batch"), build("conv4 strided", "batch", first_order=True)
    a, b = (np.concatenate([g.ravel() for g in gradients_of(x, "eager", episode(x))]) for x in (full, first))
    assert np.linalg.norm(a - b) > 0.05 * np.linalg.norm(a)


def test_without_an_inner_rate_first_and_second_order_agree():
    pair = [build("conv4 strided", "batch", inner_lr=0.0, first_order=order) for order in (False, True)]
    a, b = (gradients_of(x, "eager", episode(x)) for x in pair)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-14)


def test_float32_kernels_give_the_gradient_of_the_written_out_float64_ones():
    exact = build("conv4 strided", "batch")
    task = episode(exact)
    expected = gradients_of(exact, "as trained", task)
    name, shape, settings = NETWORKS["conv4 strided"]
    model = backbones.build(name, shape, WAY, norm="batch", **settings)
    for ours, theirs in zip(model.trainable_variables, exact.network.model.trainable_variables, strict=True):
        ours.assign(theirs)
    adapted = AdaptedNetwork(model, rates=lambda _: 0.1, adapts=everything_but_norms)
    single = maml.MAML(adapted, maml.Options(inner_lr=0.1, inner_steps=2), name="maml")
    task = Episode(*(tf.cast(part, tf.float32) for part in task[:2]), 0, 0)
    for a, b in zip(gradients_of(single, "as trained", task), expected, strict=True):
        assert np.linalg.norm(a - b) < 1e-4 * max(np.linalg.norm(b), 1e-3)


def test_on_a_linear_model_the_full_gradient_is_the_first_order_one_times_the_transposed_jacobian():
    """theta' = theta - alpha A theta + b, so dL/dtheta = (1 - alpha A)^T dL/dtheta'; here A is the support Hessian.

    A softmax is not quadratic, so A is taken at theta, by finite differences of the support gradient.
    """
    alpha = 0.3
    model = backbones.build("mlp", (4,), WAY, hidden=(), dtype="float64")
    rng = np.random.default_rng(3)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))

    def learner(first_order):
        options = maml.Options(inner_lr=alpha, inner_steps=1, first_order=first_order)
        network = AdaptedNetwork(model, rates=lambda _: alpha, adapts=lambda _: True)
        return maml.MAML(network, options, name="maml")

    task = episode(learner(True))
    x = np.array(task.support).reshape(-1, 4)
    y = np.repeat(np.eye(WAY), SHOT, axis=0)
    features = np.hstack([x, np.ones((len(x), 1))])  # kernel and bias as one matrix

    def support_gradient(theta):
        logits = features @ theta.reshape(5, WAY)
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        return (features.T @ (p - y) / SHOT).ravel()  # summed over the set, divided by the shot

    theta = np.concatenate([np.array(v).ravel() for v in model.trainable_variables])
    eye = np.eye(len(theta))
    hessian = np.stack([(support_gradient(theta + 1e-6 * e) - support_gradient(theta - 1e-6 * e)) / 2e-6 for e in eye])
    flat = [np.concatenate([g.ravel() for g in gradients_of(learner(o), "as trained", task)]) for o in (True, False)]
    np.testing.assert_allclose(flat[1], (eye - alpha * hessian).T @ flat[0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("network", "norm"),
    [
        pytest.param("conv4 strided, patches", "batch", marks=SLOW),
        pytest.param("conv4 pooled, patches", "batch", marks=SLOW),
        ("mlp on embeddings", "layer"),
    ],
)
def test_tasks_that_share_every_kernel_have_the_gradients_of_tasks_side_by_side(network, norm):
    learner = build(network, norm, inner_steps=1)
    tasks = [episode(learner, seed) for seed in (1, 2)]
    batch = Episode(*(tf.stack(parts) for parts in zip(*tasks, strict=True)))
    update = make_task_update(learner)
    first, second = (tf.function(form, autograph=False)(update, batch) for form in (side_by_side, vectorized))
    np.testing.assert_allclose(second.loss, first.loss, rtol=1e-9)
    for a, b in zip(first.gradients, second.gradients, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-9)
