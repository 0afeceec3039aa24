"""MAML against numbers that the original code computed: golden files hold weights, meta-batches and outcomes."""

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from cactus_tf import backbones
from cactus_tf.fewshot.losses import fraction_correct, summed_loss
from cactus_tf.fewshot.training import adam, make_task_update, make_train_step
from cactus_tf.learners import maml
from cactus_tf.learners._adaptation.inner_loop import AdaptedNetwork
from cactus_tf.learners._adaptation.networks import everything_but_norms
from cactus_tf.types import Episode
from cactus_tf.utils.checkpoints import tf_variable

FOLDERS = [Path(__file__).parent / "golden", *map(Path, filter(None, [os.environ.get("CACTUS_GOLDEN_DIR")]))]
FILES = [path for folder in FOLDERS for path in sorted(folder.glob("maml_*.npz"))]
TOLERANCE = 1e-4  # relative norm per tensor; float32 sums of another order differ by about 1e-6
RATE = 1e-3
NORMS = {"batch_norm": "batch", "layer_norm": "layer", "None": "none", None: "none"}
CLIPPED = ("celeba", "miniimagenet", "imagenet")
# ReLU and max-pool decide between values that may be equal but for rounding, and a gradient jumps where one decision
# differs. Gradients thus have to agree at the recorded weights, or at weights that differ from them by rounding only.
NUDGE, DRAWS = 1e-7, 16


class Golden:
    """One golden file, and the learner that it describes."""

    def __init__(self, path):
        with np.load(path) as file:
            self.arrays = dict(file)
        config = json.loads(str(self.arrays["config"]))
        flags = config["flags"]
        self.way, self.eval_way = flags["num_classes_train"], flags["num_classes_val"]
        self.shot, self.eval_shot = flags["inner_update_batch_size_train"], flags["inner_update_batch_size_val"]
        self.query = flags["outer_update_batch_size"]
        self.norm = NORMS[flags.get("norm", "batch_norm")]
        self.clip = 10.0 if flags["dataset"] in CLIPPED else None
        self.shape = row_shape(config["dim"], flags)
        self.options = maml.Options(
            inner_lr=flags["update_lr"],
            inner_steps=flags["num_updates"],
            eval_steps=config["test_num_updates"],
            first_order=flags.get("stop_grad", False),
            clip=self.clip or np.inf,
        )
        model = build_model(self.shape, self.way, self.norm, flags)
        self.network = AdaptedNetwork(
            model,
            rates=lambda variable: self.options.inner_lr,
            adapts=everything_but_norms,
        )
        self.learner = maml.MAML(self.network, self.options, name="maml")
        self.steps = sum(name.endswith("/support_loss_before") and name.startswith("step") for name in self.arrays)

    def __getitem__(self, name):
        return self.arrays[name]

    def variables(self):
        """Name in the file -> our variable."""
        layers = [layer for layer in self.network.model.layers if hasattr(layer, "kernel")]
        norms = [layer for layer in self.network.model.layers if isinstance(layer, backbones.LAYERS)]
        convolutional = "conv1" in [layer.name for layer in layers]
        table = {}
        for i, layer in enumerate(layers, 1):
            kernel = f"conv{i}" if convolutional and layer.name != "head" else f"w{i}"
            table |= {kernel: layer.kernel, f"b{i}": layer.bias}
        for i, layer in enumerate(norms):
            number = i if convolutional or i == 0 else i + 1
            table |= {f"norm/model/{number}/beta": layer.beta}
            if hasattr(layer, "gamma"):
                table |= {f"norm/model/{number}/gamma": layer.gamma}
        return table

    def matter(self):
        """As `variables`, without biases in front of batch norm, whose recorded gradients are rounding."""
        last = max(int(n[1:]) for n in self.variables() if n[0] == "b" and n[1:].isdigit())
        inert = {f"b{i}" for i in range(1, last)} if self.norm == "batch" else set()
        return {n: v for n, v in self.variables().items() if n not in inert}

    def load(self, step, draw=0):
        """Weights as recorded before a step; draws from 1 on differ from them by rounding."""
        rng = np.random.default_rng(draw)
        for name, variable in self.variables().items():
            value = self[f"weight0/{name}" if step == 0 else f"step{step - 1}/weight_after/{name}"]
            variable.assign(value * (1 + (NUDGE * rng.normal(size=value.shape) if draw else 0)))

    def batch(self, group):
        """[tasks, way, per_class, ...] uint8 or, on embeddings, float32."""
        way = self.eval_way if group == "eval" else self.way
        parts = []
        for name in ("support", "query"):
            rows = self[f"{group}/{name}"]
            rows = rows.astype(np.float32) / 255 if len(self.shape) == 1 else rows
            parts.append(tf.constant(rows.reshape(len(rows), way, -1, *self.shape)))
        return Episode(*parts, *tf.zeros((2, len(parts[0])), tf.int64))

    def tasks(self, group):
        return [Episode(*parts) for parts in zip(*(tf.unstack(part) for part in self.batch(group)), strict=True)]

    def traces(self, group):
        """Means over the tasks: loss and accuracy of the support set before, of the queries after each step."""
        way = self.eval_way if group == "eval" else self.way
        found = []
        for task in self.tasks(group):
            support, query = (tf.reshape(rows, (-1, *self.shape)) for rows in (task.support, task.query))
            labels = [np.repeat(np.arange(way), len(rows) // way) for rows in (support, query)]
            trace = self.learner.trace(support, labels[0], query, way)
            before = trace.support[0]
            found.append(
                [
                    [summed_loss(before, labels[0], way), fraction_correct(before, labels[0])],
                    [[summed_loss(x, labels[1], way), fraction_correct(x, labels[1])] for x in trace.query[1:]],
                ]
            )
        support = np.mean([pair for pair, _ in found], axis=0)
        return support, np.mean([rows for _, rows in found], axis=0).T  # [2], [2, steps]

    def gradients(self, step, draw=0):
        """Our meta-gradient by name, from the recorded weights, by the function that training compiles."""
        self.load(step, draw)
        update = self.__dict__.setdefault("update", make_task_update(self.learner))
        parts = [update(task).gradients for task in self.tasks(f"step{step}")]
        means = [np.mean(values, axis=0) for values in zip(*parts, strict=True)]
        places = {id(tf_variable(v)): g for v, g in zip(self.learner.trainable_variables, means, strict=True)}
        return {name: places[id(tf_variable(variable))] for name, variable in self.matter().items()}


def row_shape(dim, flags):
    """Shape of a row: (dim,) on embeddings, else that of a square image, in color on the sets that have it."""
    if flags.get("on_encodings", False):
        return (dim,)
    channels = 3 if flags["dataset"] in CLIPPED else 1
    side = round((dim / channels) ** 0.5)
    assert side * side * channels == dim
    return (side, side, channels)


def build_model(shape, way, norm, flags):
    if flags.get("on_encodings", False):
        hidden = [flags["num_filters"]] * flags.get("num_hidden_layers", 2)
        return backbones.build("mlp", shape, way, hidden=hidden, norm=norm)
    if not flags.get("conv", True):
        return backbones.build("mlp", shape, way, norm=norm)
    return backbones.build(
        "conv4", shape, way, filters=flags["num_filters"], norm=norm, pooled=flags.get("max_pool", False)
    )


def relative_error(actual, expected):
    return np.linalg.norm(actual - expected) / max(np.linalg.norm(expected), 1e-30)


@pytest.fixture(scope="module", params=FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def golden(request):
    return Golden(request.param)


def test_golden_maml_files_exist():
    assert FILES


def test_golden_maml_every_recorded_tensor_has_a_variable_of_its_shape(golden):
    assert set(golden.variables()) == set(golden["names"])
    for name, variable in golden.variables().items():
        assert variable.shape == golden[f"weight0/{name}"].shape


def assert_traces_agree(golden, group):
    (loss, right), (losses, rights) = golden.traces(group)
    np.testing.assert_allclose(loss, golden[f"{group}/support_loss_before"], rtol=TOLERANCE)
    np.testing.assert_allclose(right, golden[f"{group}/support_accuracy_before"], rtol=1e-5)
    expected = golden[f"{group}/query_loss_after"]
    np.testing.assert_allclose(losses[: len(expected)], expected, rtol=TOLERANCE)
    np.testing.assert_allclose(rights[: len(expected)], golden[f"{group}/query_accuracy_after"], rtol=1e-5)


def test_golden_maml_losses_and_accuracies_after_each_inner_step(golden):
    for step in range(golden.steps):
        golden.load(step)
        assert_traces_agree(golden, f"step{step}")


def test_golden_maml_evaluation(golden):
    golden.load(golden.steps)
    assert_traces_agree(golden, "eval")


def test_golden_maml_meta_gradients(golden):
    for step in range(golden.steps):

        def errors(draw, step=step):
            ours = golden.gradients(step, draw)
            return {n: relative_error(g, golden[f"step{step}/meta_gradient/{n}"]) for n, g in ours.items()}

        first = errors(0)
        if max(first.values()) >= TOLERANCE:
            assert any(max(errors(draw).values()) < TOLERANCE for draw in range(1, DRAWS)), first


def test_golden_maml_optimizer_on_recorded_gradients(golden):
    names, variables = zip(*golden.matter().items(), strict=True)
    optimizer = adam(RATE)
    optimizer.build(variables)
    limit = golden.clip or np.inf
    for step in range(golden.steps):
        golden.load(step)
        recorded = [golden[f"step{step}/meta_gradient/{name}"].clip(-limit, limit) for name in names]
        optimizer.apply([tf.constant(g) for g in recorded], variables)
        for name, variable in golden.matter().items():
            expected = golden[f"step{step}/weight_after/{name}"]
            rounding = 2 * np.spacing(np.abs(expected))  # of the recorded weight and of ours
            assert (np.abs(np.array(variable) - expected) < TOLERANCE * RATE + rounding).all(), (step, name)


@pytest.mark.slow
def test_golden_maml_loss_and_clipping_of_the_compiled_training_step(golden):
    golden.load(0)
    before = {name: np.array(variable) for name, variable in golden.matter().items()}
    step = make_train_step(golden.learner, keras.optimizers.SGD(1.0), tf.Variable(0, dtype=tf.int64))
    result = step(golden.batch("step0"))
    expected = golden["step0/query_loss_after"][golden.options.inner_steps - 1]
    np.testing.assert_allclose(result.scalars["loss"], expected, rtol=TOLERANCE)
    limit = golden.clip or np.inf
    for name, variable in golden.matter().items():
        gradient = golden[f"step0/meta_gradient/{name}"].clip(-limit, limit)
        taken = before[name] - np.array(variable)
        rounding = np.linalg.norm(np.spacing(np.abs(before[name])))  # of the weight that it is taken from
        assert np.linalg.norm(taken - gradient) <= TOLERANCE * np.linalg.norm(gradient) + rounding, name
