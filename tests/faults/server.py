"""Starts commands in forks of a process that has loaded the libraries already: `python server.py < requests`.

A request is a line of JSON: {"argv": [...], "place": FOLDER, "faults": {...}, "output": PATH, "environment": {...}}
starts `cactus_tf.main` in a folder and is answered by its process id; {"wait": ID} is answered by its exit code,
negative for a signal. Standard output and error of a command go to PATH.out and PATH.err. TensorFlow starts its threads
at the first operation, so a process that has only imported it can fork.
"""

import importlib
import json
import os
import sys

LOADED = (
    "cactus_tf.main", "cactus_tf.pipeline", "cactus_tf.report", "cactus_tf.embedders.acai",
    "cactus_tf.embedders.pixels", "cactus_tf.learners.maml", "cactus_tf.learners.protonets",
    "cactus_tf.partitioners.kmeans", "cactus_tf.augmentations.affine", "jinja2", "matplotlib.pyplot",
    "sklearn.manifold", "tensorboard.plugins.hparams.summary_v2", "tensorboard.plugins.projector",
)  # fmt: skip


def start(argv, place, faults, output, environment):
    """Forks; the child runs the command and ends."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    os.chdir(place)
    for name, descriptor in ((f"{output}.out", 1), (f"{output}.err", 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["main.py", *argv]
    os.environ.update(environment)
    import injected

    from cactus_tf.config.commands import run_process
    from cactus_tf.main import main

    injected.prepare(place, faults)
    try:
        run_process(main)
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code or 0)


def main():
    for name in LOADED:
        importlib.import_module(name)
    answers, os.environ["MPLBACKEND"] = os.fdopen(os.dup(1), "w"), "agg"
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = start(**request)
        answers.write(f"{answer}\n")
        answers.flush()


if __name__ == "__main__":
    main()
