"""Checks of settings against the data, before any work begins."""

import numpy as np
import pytest

from cactus_tf.config import build_plan, flags
from cactus_tf.errors import InputError
from cactus_tf.pipeline import preflight
from cactus_tf.types import ImageSet, Splits


def check(*argv, shape=(28, 28, 1), number=200):
    images = ImageSet(np.zeros((number, *shape), np.uint8))
    plan = build_plan.make(flags.parse(["--algo=protonets", "--query=4", *argv]))
    preflight.check_sizes(plan, Splits(images, images, images))


def test_a_class_of_copies_takes_one_image():
    instances = ["--partitioner=instances", "--augmentation=affine"]
    check("--way=60", *instances)
    with pytest.raises(InputError, match="an episode of protonets takes 201 images, and there are 200"):
        check("--way=201", *instances)
    with pytest.raises(InputError, match="an episode of protonets takes 300 images, and there are 200"):
        check("--way=60", "--clusters=60")


def test_only_square_images_are_turned_by_a_quarter():
    check("--rotate_classes")
    with pytest.raises(InputError, match="--rotate_classes needs square images, and these are 20x28: leave it out"):
        check("--rotate_classes", shape=(20, 28, 1))


def test_the_first_rounds_k_is_not_asked_of_partitioners_that_do_not_use_it():
    check("--partitioner=instances", "--augmentation=affine", "--clusters=500")
    check("--rounds=2", "--first_partitioner=instances", "--augmentation=affine", "--clusters=500")
    with pytest.raises(InputError, match="--clusters=500 is more than the 200 training images"):
        check("--clusters=500")
