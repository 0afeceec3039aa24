"""What counts as a finding: any error but the package's two, a warning, a long wait, much memory."""

import functools
import random
import resource
import time
import traceback
from pathlib import Path

from fuzz.mutations import mutated
from fuzz.readers import FOLDERS, READERS, read

from cactus_tf.errors import InputError, RunError

CORPUS = Path(__file__).parent / "corpus"
SECONDS, BYTES = 10, 1 << 30  # of one input


class Finding(Exception):  # noqa: N818
    """An input breaks a reader; says how."""


def check(name, content):
    """Raises `Finding` if a reader ends in any other way than with a result, an `InputError` or a `RunError`."""
    start, memory = time.process_time(), _peak()
    try:
        read(name, content)
    except (InputError, RunError) as error:
        if not str(error).strip():
            raise Finding(f"{name}: an error without a message") from error
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise Finding(f"{name}: {type(error).__name__}: {error!s:.300} ({last.filename}:{last.lineno})") from error
    seconds, taken = time.process_time() - start, _peak() - memory
    if seconds > SECONDS:
        raise Finding(f"{name}: takes {seconds:.0f} s")
    if taken > BYTES:
        raise Finding(f"{name}: takes {taken / 1e9:.1f} GB")


@functools.cache
def seeds_of(name):
    """Whole inputs of a reader."""
    return READERS[name].seeds()


def mutation(name, rng, content=None):
    """A mutation of a content, or of one of the whole inputs; of a folder's file, of what it holds."""
    seeds = seeds_of(name)
    content = rng.choice(seeds) if content is None else content
    if name not in FOLDERS:
        return mutated(rng, content, seeds)
    head, _, held = content.partition(b"\n")
    return head + b"\n" + mutated(rng, held, [other.partition(b"\n")[2] for other in seeds])


def numbered(name, number, seed=0):
    """The mutation of this number, always the same one."""
    return mutation(name, random.Random(f"{name} {seed} {number}"))


def _peak():
    """The most bytes of memory that this process has had."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
