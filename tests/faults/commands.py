"""Commands that faults befall: tiny runs on the bundled digits, started by the server."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
from PIL import Image

from cactus_tf import datasets

FOLDER = Path(__file__).parent
SHORT = [
    "--partitions=2", "--clusters=12", "--way=3", "--query=2", "--filters=2", "--steps=6", "--tasks_per_step=1",
    "--eval_ways=3", "--eval_shots=1", "--eval_query=2", "--eval_episodes=4", "--novalidation", "--workdir=run",
    "--artifacts_dir=artifacts",
]  # fmt: skip
ACAI = [*SHORT, "--embedder=acai", "--embedder_steps=6", "--acai_depth=2", "--acai_batch=8", "--algo=protonets,maml",
        "--maml_inner_steps=1", "--maml_eval_steps=2"]  # fmt: skip
ROUNDS = [*SHORT, "--algo=protonets", "--rounds=2", "--first_partitioner=instances", "--augmentation=affine",
          "--round_clusters=12", "--round_steps=6"]  # fmt: skip
PIXELS = [*SHORT, "--embedder=pixels", "--pixels_dims=6", "--algo=protonets"]
WORKERS = [*PIXELS, "--tasks_per_step=2", "--distribute=multiworker", "--worker_timeout=60"]
LONGEST = 300.0
"""Seconds after which a command counts as hanging."""


def write_pictures(folder):
    """Writes three test images of each of two digits to folders named by the class."""
    data = datasets.load("digits").test
    for c in range(2):
        (folder / str(c)).mkdir(parents=True)
        for i in data.partitions[0].cluster(c)[:3]:
            Image.fromarray(np.asarray(data.images[i, :, :, 0])).save(folder / str(c) / f"{i}.png")


class Server:
    """The process that starts commands, with one thread in TensorFlow."""

    def __init__(self):
        threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        paths = os.pathsep.join([str(FOLDER.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, str(FOLDER / "server.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, **threads, "PYTHONPATH": paths},
        )  # fmt: skip

    def ask(self, **request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, place, argv, *, output=None, environment=None, **faults):
        """Starts a command in a folder; what it prints goes to files beside it, or to those of this name."""
        output = str(output or place)
        request = {"argv": argv, "place": str(place), "faults": faults, "output": output}
        return Command(self, place, self.ask(**request, environment=environment or {}), output)

    def run(self, place, argv, **faults):
        """(exit code, standard output, standard error) of a command."""
        return self.start(place, argv, **faults).wait()

    def close(self):
        self._process.communicate()


class Command:
    """A started command."""

    def __init__(self, server, place, number, output):
        self._server, self.place, self._number, self._output = server, Path(place), number, output
        self._alarm = threading.Timer(LONGEST, self.kill)
        self._alarm.start()

    def kill(self):
        """Kills its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._number, signal.SIGKILL)

    def wait(self):
        """(exit code, standard output, standard error)."""
        code = self._server.ask(wait=self._number)
        self._alarm.cancel()
        return code, *(Path(f"{self._output}.{name}").read_text(errors="replace") for name in ("out", "err"))
