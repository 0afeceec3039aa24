"""Flagfiles: a flag per line, as people's editors save them."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from cactus_tf.errors import InputError
from cactus_tf.utils.paths import expanded

_FLAG = re.compile(r"--?flagfile(?:=(.*))?", re.DOTALL)
_SETTING = re.compile(r"(--?\w+)(?:\s*=\s*|\s+)(.*)")
_MARKS = {  # UTF-32 first: its mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip


def with_flagfiles(argv: Sequence[str]) -> list[str]:
    """The arguments with the lines of each flagfile in the place of --flagfile=FILE.

    Raises:
      InputError: a flagfile that cannot be read.
    """
    return list(_arguments(iter(argv), ()))


def _arguments(words: Iterator[str], readers: tuple[Path, ...]) -> Iterator[str]:
    """The arguments; `readers` are the flagfiles that include these words, the innermost last."""
    for word in words:
        match = _FLAG.fullmatch(word)
        if match is None:
            yield word
            if word == "--":  # nothing after it is a flag
                yield from words
            continue
        name = next(words, None) if match[1] is None else match[1].strip()
        if name is None:
            raise InputError("--flagfile names no file: write --flagfile=FILE")
        if name:
            path = _found(name, readers)
            yield from _arguments(iter(_lines(path)), (*readers, path))


def _found(name: str, readers: tuple[Path, ...]) -> Path:
    """The flagfile of this name, in the current folder or else beside the flagfile that includes it."""
    path = expanded(name, "--flagfile")
    if readers and not os.path.exists(path):  # unlike Path, os.path takes names that are too long
        path = readers[-1].parent / path
    if not os.path.isfile(path):
        inside = f", which {readers[-1]} includes" if readers else ""
        raise InputError(
            f"--flagfile={name}{inside}: {'not a file' if os.path.exists(path) else 'there is no such file'}"
        )
    if path in readers:
        raise InputError(f"--flagfile={name}: this flagfile includes itself; delete that line")
    return path


def _lines(path: Path) -> list[str]:
    """One argument for each line that is neither empty nor a comment."""
    lines = (line.strip() for line in re.split("\r\n|\r|\n", _text(path)))
    return [_argument(line) for line in lines if line and not line.startswith(("#", "//"))]


def _text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark."""
    try:
        data = path.read_bytes()
        encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
        text = data.decode(encoding)
    except OSError as error:
        raise InputError(f"--flagfile={path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"--flagfile={path} is not UTF-8 text (line {line}): save it as UTF-8") from error
    if "\0" in text:
        raise InputError(f"--flagfile={path} is not UTF-8 text, perhaps UTF-16 without its mark: save it as UTF-8")
    return text


def _argument(line: str) -> str:
    """--name=value from a line with quotes around the value or the whole, or with spaces in place of "="."""
    line = _unquoted(line)
    match = _SETTING.fullmatch(line)
    return f"{match[1]}={_unquoted(match[2])}" if match else line


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
