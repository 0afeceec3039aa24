"""Fuzzing by coverage: python tests/fuzz/atheris_fuzz.py READER [--inputs=100000] [--seconds=600] [--seed=1].

Needs atheris: pip install -e ".[fuzz]". It ends at the first finding, whose input it adds to tests/fuzz/corpus/READER.
Without coverage (--plain) it needs no atheris, goes on after a finding, and is several times as fast.
"""

import argparse
import collections
import hashlib
import importlib
import logging
import os
import random
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
MOST_MEMORY = 12 << 30  # bytes of addresses
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
LIBRARIES = ("tensorflow", "keras", "sklearn.cluster", "scipy.stats", "matplotlib", "PIL.Image")  # not instrumented


def main():
    """Fuzzes the reader of the command line."""
    options = _options()
    if options.plain:
        from fuzz import findings, readers

        _prepare(findings, options.reader)
        with readers.networks_made_once():
            _plain(findings, options)
        return
    import atheris

    for library in LIBRARIES:
        importlib.import_module(library)
    with atheris.instrument_imports(include=["cactus_tf"]):
        from fuzz import findings
    _prepare(findings, options.reader)
    _by_coverage(atheris, findings, options)


def _options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reader")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="without coverage")
    return parser.parse_args()


def _prepare(findings, reader):
    """Makes the whole inputs; from now on files are in memory, warnings are errors, and networks need no graphs."""
    from fuzz.readers import MEMORY

    if reader not in findings.READERS:
        raise SystemExit(f"unknown reader {reader}: choose from {', '.join(findings.READERS)}")
    logging.getLogger("cactus_tf").setLevel(logging.CRITICAL)
    tempfile.tempdir = MEMORY  # also those of the readers themselves
    findings.seeds_of(reader)
    if hasattr(os, "sched_setaffinity"):  # with one core, pictures are decoded without starting threads each time
        os.sched_setaffinity(0, {random.choice(sorted(os.sched_getaffinity(0)))})
    if reader in ("classifier", "run"):
        import tensorflow as tf

        tf.config.run_functions_eagerly(True)
    warnings.filterwarnings("error", append=True)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))  # what needs more must end in one line, too


def _by_coverage(atheris, findings, options):
    def mutate(content, most, seed):
        rng = random.Random(seed)
        if rng.random() < 0.3:
            return atheris.Mutate(content, most)
        return findings.mutation(options.reader, rng, content)[:most]

    with tempfile.TemporaryDirectory() as seeds:
        for i, content in enumerate(findings.seeds_of(options.reader)):
            Path(seeds, str(i)).write_bytes(content)
        corpus = findings.CORPUS / options.reader
        corpus.mkdir(parents=True, exist_ok=True)
        limits = [f"-runs={options.inputs}", f"-max_total_time={options.seconds}", f"-seed={options.seed}"]
        limits += [f"-timeout={3 * findings.SECONDS}", "-rss_limit_mb=8000", "-max_len=1000000"]
        arguments = [sys.argv[0], *limits, f"-artifact_prefix={corpus}/", seeds]
        atheris.Setup(arguments, lambda content: findings.check(options.reader, content), custom_mutator=mutate)
        atheris.Fuzz()


def _plain(findings, options):
    """Counts findings by error and line, and stores three inputs of each kind."""
    start, kinds, number = time.monotonic(), collections.Counter(), 0
    while number < options.inputs and time.monotonic() - start < options.seconds:
        content = findings.numbered(options.reader, number, options.seed)
        number += 1
        try:
            findings.check(options.reader, content)
        except findings.Finding as finding:
            kind = f"{type(finding.__cause__).__name__} {str(finding).rpartition('(')[2]}"
            kinds[kind] += 1
            if kinds[kind] <= 3:
                folder = findings.CORPUS / options.reader
                folder.mkdir(parents=True, exist_ok=True)
                (folder / hashlib.blake2b(content, digest_size=6).hexdigest()).write_bytes(content)
                sys.stdout.write(f"{number}: {finding}\n")
    seconds = time.monotonic() - start
    sys.stdout.write(f"{options.reader}: {number} inputs, {seconds:.0f} s, {sum(kinds.values())} findings {kinds}\n")


if __name__ == "__main__":
    main()
