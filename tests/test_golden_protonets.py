"""ProtoNets against numbers that the original PyTorch code computed: golden files hold weights, tasks and outcomes.

On the same weights and tasks, in float64, also against the equations in NumPy.
"""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from golden_files import golden_files, golden_id, relative_error
from protonets_oracle import MOMENTUM, Weights, protonets

from cactus_tf import backbones
from cactus_tf.fewshot.training import adam, make_task_update, make_train_step
from cactus_tf.learners.protonets import ProtoNets
from cactus_tf.types import Episode

FILES = golden_files("protonets_*.npz")
TOLERANCE = 1e-4  # relative norm per tensor; float32 sums of another order differ by about 1e-6
RATE, BETA_2, EPSILON = 1e-3, 0.999, 1e-8
# A channel of the last block that is positive everywhere shifts all features alike, so the gradient of its beta is
# zero; about 1e-8 of rounding is recorded, which Adam turns into steps of its rate. Other gradients are far larger.
ROUNDING_GRADIENT = 1e-6
# ReLU and max-pool decide between values that may be equal but for rounding, and a gradient jumps by up to 1e-2 where
# one decision differs; PyTorch in float32 and in float64 differ so, too. Gradients thus have to agree at the recorded
# weights or at weights next to them, which decides such ties again and changes a gradient by far less than TOLERANCE.
NUDGE, DRAWS = 1e-6, 32


class Golden:
    """One golden file and the learner it describes."""

    def __init__(self, path, dtype="float32"):
        with np.load(path) as file:
            self.arrays = dict(file)
        self.config = json.loads(str(self.arrays["config"]))
        shape, filters = self["step0/support"].shape[2:], self.config["f"]
        self.learner = ProtoNets(backbones.build("conv4", shape, filters=filters, dtype=dtype))
        self.steps = sum(name.endswith("/loss") and name.startswith("step") for name in self.arrays)

    def __getitem__(self, name):
        return self.arrays[name]

    def variables(self):
        """Name in the file -> our variable."""
        table = {}
        for b in range(4):
            conv, norm = (self.learner.encoder.get_layer(f"{kind}{b + 1}") for kind in ("conv", "norm"))
            table |= {f"encoder.{b}.0.weight": conv.kernel, f"encoder.{b}.0.bias": conv.bias}
            table |= {f"encoder.{b}.1.weight": norm.gamma, f"encoder.{b}.1.bias": norm.beta}
            table |= {f"encoder.{b}.1.running_mean": norm.running_mean}
            table |= {f"encoder.{b}.1.running_var": norm.running_variance}
        return table

    def trained(self):
        """As `variables`, those that are trained and matter: a bias in front of batch norm is left out."""
        return {n: v for n, v in self.variables().items() if v.trainable and not n.endswith(".0.bias")}

    def load_state_before(self, step, draw=0):
        """Weights and running averages as recorded before a step; draws from 1 on nudge the weights."""
        rng = np.random.default_rng(draw)
        start = {"running_mean": 0.0, "running_var": 1.0}
        for name, variable in self.variables().items():
            key = f"weight0/{name}" if step == 0 else f"step{step - 1}/weight_after/{name}"
            known = self.arrays.get(key)
            value = np.full(variable.shape, start[name.rsplit(".")[-1]]) if known is None else ours(known)
            nudge = NUDGE * rng.normal(size=value.shape) if draw and variable.trainable else 0
            variable.assign(value * (1 + nudge))

    def episode(self, step):
        return Episode(tf.constant(self[f"{step}/support"]), tf.constant(self[f"{step}/query"]), *tf.zeros(2))

    def weights_after(self, step, name):
        """Recorded weights after a step, as if its Adam had been Keras'.

        PyTorch's adds epsilon after the bias correction of the second moment v, Keras' before it, which divides epsilon
        by sqrt(1 - beta_2^t): steps differ where gradients are not far above 1e-8. The recorded gradients tell v.
        """
        v, t = 0.0, step + 1
        for s in range(t):
            v = BETA_2 * v + (1 - BETA_2) * self[f"step{s}/gradient/{name}"].astype(np.float64) ** 2
        correction = np.sqrt(1 - BETA_2**t)
        root = np.sqrt(v) / correction
        before = self[f"step{step - 1}/weight_after/{name}" if step else f"weight0/{name}"].astype(np.float64)
        taken = self[f"step{step}/weight_after/{name}"] - before
        return ours(before + taken * (root + EPSILON) / (root + EPSILON / correction))

    def determined(self, step, name):
        """Where the recorded gradients up to a step are more than rounding."""
        return np.any([np.abs(ours(self[f"step{s}/gradient/{name}"])) > ROUNDING_GRADIENT for s in range(step + 1)], 0)

    def weight_error(self, step, name):
        """Relative error of a weight after a step, where it is determined."""
        counts = self.determined(step, name)
        return relative_error(np.array(self.variables()[name])[counts], self.weights_after(step, name)[counts])

    def loss_and_gradients(self, step, draw=0):
        """Our loss, accuracy and gradients by name, from the recorded weights; updates the running averages."""
        self.load_state_before(step, draw)
        with tf.GradientTape() as tape:
            loss, metrics = self.learner.training_loss(self.episode(f"step{step}"))
        names, variables = zip(*self.variables().items(), strict=True)
        trainable = [(n, v) for n, v in zip(names, variables, strict=True) if v.trainable]
        gradients = tape.gradient(loss, [v.value for _, v in trainable])
        return loss, metrics["accuracy"], dict(zip([n for n, _ in trainable], gradients, strict=True))


def ours(array):
    """PyTorch's kernels [out, in, 3, 3] as TensorFlow's [3, 3, in, out]; other arrays as they are."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def assert_some_draw_agrees(errors):
    """Holds the errors by name to the tolerance at the recorded weights, or else at one of several points nearby."""
    first = errors(0)
    if max(first.values()) >= TOLERANCE:
        assert any(max(errors(draw).values()) < TOLERANCE for draw in range(1, DRAWS)), first


@pytest.fixture(scope="module", params=FILES, ids=golden_id)
def golden(request):
    return Golden(request.param)


def test_golden_files_exist():
    assert FILES


def test_golden_losses_and_accuracies(golden):
    for step in range(golden.steps):
        loss, accuracy, _ = golden.loss_and_gradients(step)
        np.testing.assert_allclose(loss, golden[f"step{step}/loss"], rtol=TOLERANCE)
        np.testing.assert_allclose(accuracy, golden[f"step{step}/accuracy"], rtol=1e-6)


def test_golden_gradients(golden):
    for step in range(golden.steps):

        def errors(draw, step=step):
            gradients = golden.loss_and_gradients(step, draw)[2]
            return {n: relative_error(gradients[n], ours(golden[f"step{step}/gradient/{n}"])) for n in golden.trained()}

        assert_some_draw_agrees(errors)


def test_golden_optimizer_on_recorded_gradients(golden):
    names, variables = zip(*golden.trained().items(), strict=True)
    optimizer = adam(RATE)
    optimizer.build(variables)
    for step in range(golden.steps):
        golden.load_state_before(step)
        optimizer.apply([tf.constant(ours(golden[f"step{step}/gradient/{name}"])) for name in names], variables)
        for name, variable in golden.trained().items():
            expected = golden.weights_after(step, name)
            rounding = 2 * np.spacing(np.abs(expected).astype(np.float32))  # of the recorded weight and of ours
            assert (np.abs(np.array(variable) - expected) < TOLERANCE * RATE + rounding).all(), (step, name)


def test_golden_weights_after_compiled_training_steps(golden):
    optimizer = adam(RATE)
    train_step = make_train_step(golden.learner, optimizer, tf.Variable(0, dtype=tf.int64))
    for step in range(golden.steps):
        batch = Episode(*(part[None] for part in golden.episode(f"step{step}")))
        moments = [np.array(v) for v in optimizer.variables]

        def errors(draw, step=step, batch=batch, moments=moments):
            golden.load_state_before(step, draw)
            for variable, value in zip(optimizer.variables, moments, strict=True):
                variable.assign(value)
            loss = train_step(batch).scalars["loss"]
            np.testing.assert_allclose(loss, golden[f"step{step}/loss"], rtol=TOLERANCE)
            return {name: golden.weight_error(step, name) for name in golden.trained()}

        assert_some_draw_agrees(errors)


def test_golden_running_statistics(golden):
    for step in range(golden.steps):
        golden.loss_and_gradients(step)
        for name, variable in golden.variables().items():
            if not variable.trainable:
                expected = golden[f"step{step}/weight_after/{name}"]
                assert relative_error(np.array(variable), expected) < TOLERANCE, (step, name)


def test_golden_evaluation_with_running_statistics(golden):
    golden.load_state_before(golden.steps)
    support, query = golden["eval/support"], golden["eval/query"]
    way, shot = support.shape[:2]
    labels = np.repeat(np.arange(way), query.shape[1])
    rows = [images.reshape(-1, *images.shape[2:]) for images in (support, query)]
    logits = np.array(golden.learner.classify(rows[0], np.repeat(np.arange(way), shot), rows[1], way), np.float64)
    log_softmax = logits - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True))
    log_softmax -= logits.max(1, keepdims=True)
    np.testing.assert_allclose(-log_softmax[np.arange(len(labels)), labels].mean(), golden["eval/loss"], rtol=TOLERANCE)
    np.testing.assert_allclose((logits.argmax(1) == labels).mean(), golden["eval/accuracy"], rtol=1e-6)


EXACT = 1e-9  # relative norm, in float64


class InFloat64(Golden):
    """A golden file's learner in float64, and the equations on the same weights and tasks."""

    def __init__(self, path):
        super().__init__(path, "float64")
        self.update = make_task_update(self.learner)

    def episode(self, step):
        """In 0..1: a compiled graph would multiply uint8 by 1 / 255, which rounds to another float32."""
        rows = ((self[f"{step}/{part}"].astype(np.float32) / 255).astype(np.float64) for part in ("support", "query"))
        return Episode(*map(tf.constant, rows), *tf.zeros(2))

    def expected(self, step):
        """Loss, and by name the gradients and the running averages after the step."""
        self.load_state_before(step)
        before = {name: np.asarray(variable.value) for name, variable in self.variables().items()}
        kinds = ("0.weight", "0.bias", "1.weight", "1.bias")
        blocks = [Weights(*(before[f"encoder.{b}.{kind}"] for kind in kinds)) for b in range(4)]
        support, query = (np.asarray(part) for part in self.episode(f"step{step}")[:2])
        loss, gradients, statistics = protonets(blocks, support, query)
        averages = {}
        for b, pair in enumerate(statistics):
            for name, new in zip(("running_mean", "running_var"), pair, strict=True):
                name = f"encoder.{b}.1.{name}"
                averages[name] = (1 - MOMENTUM) * before[name] + MOMENTUM * new
        names = [f"encoder.{b}.{kind}" for b in range(4) for kind in kinds]
        return loss, dict(zip(names, (g for block in gradients for g in block), strict=True)), averages


@pytest.fixture(scope="module", params=FILES, ids=golden_id)
def in_float64(request):
    return InFloat64(request.param)


def compiled(golden, step):
    golden.load_state_before(step)
    loss, _, gradients = golden.update(golden.episode(f"step{step}"))
    places = {id(v): gradient for v, gradient in zip(golden.learner.trainable_variables, gradients, strict=True)}
    return loss, {name: places[id(variable)] for name, variable in golden.trained().items()}


def eager(golden, step):
    loss, _, gradients = golden.loss_and_gradients(step)
    return loss, gradients


def trained(golden, step):
    """The gradient is the change of the weights in a step of plain descent, so long that they are small beside it."""
    rate = 2.0**20
    train = golden.__dict__.setdefault(
        "train", make_train_step(golden.learner, keras.optimizers.SGD(rate), tf.Variable(0, dtype=tf.int64))
    )
    golden.load_state_before(step)
    before = {name: np.asarray(variable.value) for name, variable in golden.trained().items()}
    loss = train(Episode(*(part[None] for part in golden.episode(f"step{step}")))).scalars["loss"]
    return loss, {n: (before[n] - np.asarray(v.value)) / rate for n, v in golden.trained().items()}


@pytest.mark.parametrize("compute", [eager, compiled, trained])
def test_golden_protonets_equal_the_equations_in_float64(in_float64, compute):
    for step in range(in_float64.steps):
        loss, gradients, averages = in_float64.expected(step)
        ours, ours_by_name = compute(in_float64, step)
        np.testing.assert_allclose(ours, loss, rtol=EXACT)
        for name in in_float64.trained():
            assert relative_error(ours_by_name[name], gradients[name]) < EXACT, (step, name)
        for name, average in averages.items():
            assert relative_error(np.asarray(in_float64.variables()[name].value), average) < EXACT, (step, name)
