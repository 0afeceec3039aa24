import contextlib

import pytest

from cactus_tf import learners
from cactus_tf.augmentations import affine
from cactus_tf.config import build_plan
from cactus_tf.config import flags as cli
from cactus_tf.pipeline import meta_training


class Events(contextlib.nullcontext):
    """Writes nothing."""

    def on_step(self, step, scalars):
        """Nothing."""


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """trained(flag, ...): the arguments that the outer loop gets for a command line."""

    def arguments(*flags):
        taken = {}
        monkeypatch.setattr(meta_training, "meta_train", lambda learner, tasks, **given: taken.update(given) or 0)
        run = build_plan.make(cli.parse(["--algo=protonets", *flags]))
        plan = run.learners[0]
        learner = learners.make(plan.name, plan.context((28, 28, 1)), plan.options)
        meta_training.train_one(plan, run.run, learner, None, tmp_path, Events(), None, None)
        return {**taken, "network": learner.encoder}

    return arguments


def test_the_flags_of_augmentation_reach_the_training_step(trained):
    flags = ["--augmentation=affine", "--affine_shear=0.7", "--augment_support=false", "--rotate_classes"]
    augment = trained(*flags)["augment"]
    assert (augment.support, augment.query, augment.rotate_classes) == (False, True, True)


def test_an_augmentation_has_its_own_settings(trained, monkeypatch):
    monkeypatch.setattr(affine, "build", lambda options: options)
    assert trained("--augmentation=affine", "--affine_shear=0.7")["augment"].image.shear == 0.7


def test_classes_can_be_turned_without_copies(trained):
    assert trained("--rotate_classes")["augment"].rotate_classes


def test_without_such_flags_nothing_is_augmented(trained):
    assert trained()["augment"] is None


def test_the_schedule_reaches_the_outer_loop(trained):
    given = trained("--outer_schedule=cosine", "--outer_warmup=3", "--steps=9")
    assert (given["outer_schedule"], given["outer_warmup"], given["steps"]) == ("cosine", 3, 9)


def test_options_for_a_gpu_reach_the_training(trained):
    plain, chosen = trained(), trained("--xla", "--images_on_device", "--precision=mixed_bfloat16")
    assert (plain["xla"], plain["images_on_device"]) == (False, False)
    assert (chosen["xla"], chosen["images_on_device"]) == (True, True)
    kinds = [taken["network"].get_layer("conv2").compute_dtype for taken in (plain, chosen)]
    assert kinds == ["float32", "bfloat16"]
