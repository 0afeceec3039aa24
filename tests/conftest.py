"""Fixtures for all tests: real data and golden numbers where the environment names them, tiny runs elsewhere."""

import importlib
import logging
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from absl import logging as absl_logging
from hypothesis import settings

from cactus_tf import plugins

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # the tests' networks are too small to share among threads
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as under nohup; the programs that tests start would ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)


settings.register_profile("untimed", deadline=None)  # busy machines are slow now and then
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def data_folder():
    """The folder with real Omniglot and MNIST files."""
    folder = os.environ.get("CACTUS_DATA_DIR")
    if not folder:
        pytest.skip("CACTUS_DATA_DIR does not name a folder with the real data")
    return Path(folder)


@pytest.fixture
def noise():
    """[120, 28, 28, 1] uint8 images of pure noise."""
    return np.random.default_rng(0).integers(0, 256, (120, 28, 28, 1), np.uint8)


@pytest.fixture
def plugin_folder(tmp_path):
    """An empty plug-in folder; what is added from it is forgotten after the test."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    yield folder
    forget_plugins(folder)


def forget_plugins(folder):
    """As in a process that has not imported the plug-ins of this folder."""
    plugins._added.clear()
    for family in plugins.FAMILIES:
        package = importlib.import_module(f"cactus_tf.{family}")
        place = str(folder.resolve() / family)
        if place in package.__path__:
            package.__path__.remove(place)
        for name, module in list(sys.modules.items()):
            if name.startswith(f"{package.__name__}.") and str(module.__file__).startswith(place):
                sys.modules.pop(name)
                vars(package).pop(name.rpartition(".")[2], None)


@pytest.fixture(autouse=True)
def fresh_logging():
    """Takes back what a command set up for the program's messages."""
    yield
    reset_logging()


def reset_logging():
    """As before any command."""
    logger = logging.getLogger("cactus_tf")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)
    absl_logging.set_verbosity(absl_logging.WARNING)


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """The folder of a short run on digits: ProtoNets, MAML of 4 ways, nearest neighbours on 8 components of pixels."""
    from cactus_tf.main import main

    place = tmp_path_factory.mktemp("digits_run")
    lengths = ["--steps=30", "--partitions=1", "--clusters=12", "--filters=4", "--tasks_per_step=1", "--way=4"]
    maml = ["--maml_inner_steps=1", "--maml_eval_steps=3"]
    algo = ["--algo=protonets,maml,nearest_neighbours", "--embedder=pixels", "--pixels_dims=8", "--eval_ways=4"]
    places = [f"--workdir={place / 'runs' / 'digits'}", f"--artifacts_dir={place / 'artifacts'}", "--quiet"]
    assert main([*algo, *lengths, *maml, *places, "--query=2", "--stage=train"]) == 0
    reset_logging()  # the first test that takes this run may look at messages
    return place / "runs" / "digits"
