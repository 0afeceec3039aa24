"""A golden file of MAML, and the learner that it describes, in float32 or float64."""

import json

import keras
import numpy as np
import tensorflow as tf

from cactus_tf import backbones
from cactus_tf.fewshot.losses import fraction_correct, summed_loss
from cactus_tf.fewshot.training import make_task_update, make_train_step
from cactus_tf.learners import maml
from cactus_tf.learners._adaptation.inner_loop import AdaptedNetwork
from cactus_tf.learners._adaptation.networks import everything_but_norms
from cactus_tf.types import Episode
from cactus_tf.utils.checkpoints import tf_variable

NORMS = {"batch_norm": "batch", "layer_norm": "layer", "None": "none", None: "none"}
CLIPPED = ("celeba", "miniimagenet", "imagenet")
NUDGE = 1e-7  # relative; float32 rounds a number by up to 6e-8 of it
DRAWS = 16  # of weights that differ by one such rounding; later ones differ by ten, as a sum of many products may
LONG_STEP = 2.0**20  # of plain gradient descent: the weights before it are then below the rounding of the gradient


class Golden:
    """The learner of a golden file, with the file's weights, tasks and outcomes.

    Args:
      arrays: of the file, by name.
      dtype: of the learner.
      steps: number of outer steps.
    """

    def __init__(self, arrays, dtype="float32", steps=1):
        self.arrays, self.dtype, self.steps = arrays, dtype, steps
        config = json.loads(str(self.arrays["config"]))
        flags = config["flags"]
        self.way, self.eval_way = flags["num_classes_train"], flags["num_classes_val"]
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
        self.network = AdaptedNetwork(
            build_model(self.shape, self.way, self.norm, flags, self.dtype),
            rates=lambda variable: self.options.inner_lr,
            adapts=everything_but_norms,
        )
        self.learner = maml.MAML(self.network, self.options, name="maml")
        self._update = make_task_update(self.learner)
        self._train_step = make_train_step(
            self.learner, keras.optimizers.SGD(LONG_STEP), tf.Variable(0, dtype=tf.int64)
        )

    @classmethod
    def read(cls, path):
        """From a file; float64/NAME.npz has what float64 gives with weights and tasks of NAME.npz one folder above."""
        own = load(path)
        steps = sum(name.endswith("/support_loss_before") and name.startswith("step") for name in own)
        if path.parent.name == "float64":
            return cls(load(path.parents[1] / path.name) | own, "float64", steps)
        return cls(own, "float32", steps)

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
        rng, nudge = np.random.default_rng(draw), NUDGE if draw <= DRAWS else 10 * NUDGE
        for name, variable in self.variables().items():
            value = self[f"weight0/{name}" if step == 0 else f"step{step - 1}/weight_after/{name}"]
            variable.assign((value * (1 + (nudge * rng.normal(size=value.shape) if draw else 0))).astype(np.float32))

    def batch(self, group):
        """[tasks, way, per_class, ...] in 0..1, divided in float32 as the original's were, in the learner's type.

        A compiled graph would multiply uint8 by 1 / 255, which rounds to another float32.
        """
        way = self.eval_way if group == "eval" else self.way
        parts = []
        for name in ("support", "query"):
            rows = (self[f"{group}/{name}"].astype(np.float32) / 255).astype(self.dtype)
            parts.append(tf.constant(rows.reshape(len(rows), way, -1, *self.shape)))
        return Episode(*parts, *tf.zeros((2, len(parts[0])), tf.int64))

    def tasks(self, group):
        return [Episode(*parts) for parts in zip(*(tf.unstack(part) for part in self.batch(group)), strict=True)]

    def trace(self, group):
        """[2, 1 + steps] means over the tasks: loss and accuracy of support before, of queries after each step."""
        way = self.eval_way if group == "eval" else self.way
        found = []
        for task in self.tasks(group):
            support, query = (tf.reshape(rows, (-1, *self.shape)) for rows in (task.support, task.query))
            labels = [np.repeat(np.arange(way), len(rows) // way) for rows in (support, query)]
            trace = self.learner.trace(support, labels[0], query, way)
            pairs = [(trace.support[0], labels[0]), *((logits, labels[1]) for logits in trace.query[1:])]
            found.append([[summed_loss(*pair, way), fraction_correct(*pair)] for pair in pairs])
        return np.mean(found, axis=0).T

    def recorded_trace(self, group):
        """As `trace`, from the file: the losses, and the accuracies, of as many steps as it has."""
        kinds = ("loss", "accuracy")
        return [np.append(self[f"{group}/support_{k}_before"], self[f"{group}/query_{k}_after"]) for k in kinds]

    def gradients(self, step, draw=0):
        """Our meta-gradient by name, from the recorded weights, by the function that training compiles."""
        self.load(step, draw)
        parts = [self._update(task).gradients for task in self.tasks(f"step{step}")]
        means = [np.mean(values, axis=0) for values in zip(*parts, strict=True)]
        places = {id(tf_variable(v)): g for v, g in zip(self.learner.trainable_variables, means, strict=True)}
        return {name: places[id(tf_variable(variable))] for name, variable in self.matter().items()}

    def recorded_gradients(self, step):
        return {name: self[f"step{step}/meta_gradient/{name}"] for name in self.matter()}

    def train(self, step, draw=0):
        """Loss and clipped meta-gradient by name of the compiled training step, from the recorded weights."""
        self.load(step, draw)
        before = {name: np.asarray(variable.value) for name, variable in self.matter().items()}
        loss = self._train_step(self.batch(f"step{step}")).scalars["loss"]
        return loss, {n: (before[n] - np.asarray(v.value)) / LONG_STEP for n, v in self.matter().items()}

    def recorded_training(self, step):
        limit = self.clip or np.inf
        loss = self[f"step{step}/query_loss_after"][self.options.inner_steps - 1]
        return loss, {name: g.clip(-limit, limit) for name, g in self.recorded_gradients(step).items()}


def load(path):
    with np.load(path) as file:
        return dict(file)


def row_shape(dim, flags):
    """Shape of a row: (dim,) on embeddings, else that of a square image, in color on the sets that have it."""
    if flags.get("on_encodings", False):
        return (dim,)
    channels = 3 if flags["dataset"] in CLIPPED else 1
    side = round((dim / channels) ** 0.5)
    assert side * side * channels == dim
    return (side, side, channels)


def build_model(shape, way, norm, flags, dtype):
    settings = {"norm": norm, "dtype": dtype}
    if flags.get("on_encodings", False):
        hidden = [flags["num_filters"]] * flags.get("num_hidden_layers", 2)
        return backbones.build("mlp", shape, way, hidden=hidden, **settings)
    if not flags.get("conv", True):
        return backbones.build("mlp", shape, way, **settings)
    return backbones.build(
        "conv4", shape, way, filters=flags["num_filters"], pooled=flags.get("max_pool", False), **settings
    )
