"""Downloads by tensorflow-datasets."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from cactus_tf.errors import InputError
from cactus_tf.utils import progress

BATCH = 512  # examples; bounds the memory of full-size images
RETRIES = 4  # about 3 seconds; the library's 10 wait 5 minutes where there is no network
_LONGEST = 200  # letters of an error message of the library


def batches(name: str, split: str, remedy: str, undecoded: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """The examples of one split, downloaded on first use, in batches in the order of the files.

    Args:
      name: of the data set in tensorflow-datasets.
      split: its name there.
      remedy: what the user can do instead of downloading.
      undecoded: features that stay the bytes of their files; TensorFlow's JPEG pixels differ from Pillow's.

    Yields:
      Arrays [at most 512, ...] by feature name, a dictionary of them where a feature is one.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    builder = _prepared(name, remedy)
    decoders = {feature: tfds.decode.SkipDecoding() for feature in undecoded}
    data = builder.as_dataset(split=split, decoders=decoders or None).batch(BATCH).prefetch(1)
    bar = progress.Bar(tfds.as_numpy(data), desc=f"{name} {split}", unit="batch")
    try:
        yield from bar
    except tf.errors.OpError as error:
        raise InputError(f"{builder.data_dir} is damaged ({_brief(error)}): delete this folder, or {remedy}") from error


def _prepared(name: str, remedy: str) -> Any:
    """The builder of a downloaded data set."""
    import tensorflow_datasets as tfds

    try:
        with _few_retries(), contextlib.redirect_stdout(sys.stderr):
            builder = tfds.builder(name)
            builder.download_and_prepare()
    except Exception as error:  # of requests, TensorFlow, the file system or the library itself
        raise InputError(f"{name} could not be downloaded ({_brief(error)}): try again, or {remedy}") from error
    return builder


@contextlib.contextmanager
def _few_retries() -> Iterator[None]:
    """Fewer retries while downloading, without a warning for each, and no progress bars off a terminal."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import downloader

    retries, requests = downloader.MAX_RETRIES, logging.getLogger("urllib3")
    downloader.MAX_RETRIES, level = RETRIES, requests.level
    requests.setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        yield
    finally:
        downloader.MAX_RETRIES = retries
        requests.setLevel(level)


def _brief(error: BaseException) -> str:
    """An error in one line of bounded length."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
