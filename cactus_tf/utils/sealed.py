"""JSON objects that are read back: sealed with a digest of their content, so that a changed byte is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cactus_tf.errors import InputError
from cactus_tf.utils import files

DIGEST = "digest"
"""The entry that holds the digest of all others; objects of earlier releases lack it and are not checked."""


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON object with its digest, atomically."""
    files.write_json(path, {**content, DIGEST: digest(content)})


def read(path: Path, remedy: str) -> dict[str, Any]:
    """The object that `write` wrote, without its digest.

    Args:
      path: the file.
      remedy: what the user can do, for the message.

    Raises:
      InputError: it is damaged, is not an object, or differs from what was written.
    """
    content = read_unchecked(path, remedy)
    if not is_whole(content):
        raise InputError(f"{path} is damaged or was changed, as its digest shows: {remedy}")
    return {name: value for name, value in content.items() if name != DIGEST}


def read_unchecked(path: Path, remedy: str) -> dict[str, Any]:
    """The object with its digest, which may differ.

    Raises:
      InputError: it is not a JSON object.
    """
    content = files.read_json(path, remedy)
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged: it holds no JSON object; {remedy}")
    return content


def is_whole(content: Mapping[str, Any]) -> bool:
    """Whether an object has the content that was written, as far as it has a digest."""
    return DIGEST not in content or content[DIGEST] == digest(content)


def digest(content: Mapping[str, Any]) -> str:
    """32 hexadecimal digits that change when an entry other than the digest does; the order does not matter."""
    others = {name: value for name, value in content.items() if name != DIGEST}
    canonical = json.dumps(json.loads(json.dumps(others)), sort_keys=True)
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()
