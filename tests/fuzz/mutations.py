"""Mutations of whole files: blind ones of their bytes, and ones that know JSON, zip, gzip, PNG and text."""

import gzip
import io
import json
import re
import struct
import warnings
import zipfile
import zlib

NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
TOKENS = (
    b"0", b"-1", b"1e999", b"NaN", b"-Infinity", b"99999999999999999999999999", b"9" * 5000, b"null", b"true", b"[]",
    b"{}", b'""', b'"../../x"', b'"/etc/passwd"', b"\x00", b"\xff\xfe", b"\n", b"\r", b",", b"=", b"'", b'"', b"\\",
    b"%s{0}", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"[" * 3000, b"(" * 300, b"<script>", b"O", b"|O", b"<U9", b"True",
    "\u0660\u00b2".encode(), "\u0130\u212a".encode(), b"--flagfile=x", b"--plugins=", b"__class__", b"1_0", b"0x10",
)  # fmt: skip
VALUES = (
    None, True, False, 0, -1, 1, 2, 3, 2**16, 2**31, 2**64, 10**400, -(10**400), 0.5, -0.5, float("nan"), float("inf"),
    "", "x", "../x", "/etc/passwd", "C:\\x", "\x00", "\ud800", "a\nb", "\x1b[2J", "<script>", "O", "U99999", "i8", "f4",
    [], [[]], [0], [1, 1], [-1], [2**40, 2**40], [None], ["x"], {}, {"x": 1}, {"": {}},
)  # fmt: skip


def mutated(rng, content, others):
    """One to four mutations of a content; `others` are contents to take pieces from."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        content = _once(rng, content, others)
    return content


def _once(rng, content, others):
    inner = _structure(content)
    if inner is not None and rng.random() < 0.75:
        return inner(rng, content, others)
    return rng.choice(_BLIND)(rng, content, others)


def _structure(content):
    """The mutation that knows this kind of content; None if none does."""
    if content[:1] in (b"{", b"["):
        return _json
    if content[:2] == b"PK":
        return _zip
    if content[:2] == b"\x1f\x8b":
        return _gzip
    if content[:4] == b"\x89PNG":
        return _png
    return None if b"\x00" in content[:200] and content[:6] != b"\x93NUMPY" else _text


def _flip(rng, content, others):
    if not content:
        return b"\x00"
    place, changed = rng.randrange(len(content)), bytearray(content)
    changed[place] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _truncate(rng, content, others):
    return content[: rng.randrange(len(content) + 1)]


def _range(rng, content):
    start = rng.randrange(len(content) + 1)
    return start, min(len(content), start + rng.choice((1, 2, 4, 8, 64, len(content) // 2)))


def _delete(rng, content, others):
    start, end = _range(rng, content)
    return content[:start] + content[end:]


def _repeat(rng, content, others):
    start, end = _range(rng, content)
    return content[:start] + content[start:end] * rng.choice((2, 3, 20)) + content[end:]


def _splice(rng, content, others):
    other = rng.choice(others)
    start, end = _range(rng, other)
    place, after = _range(rng, content)
    return content[:place] + other[start:end] + content[rng.choice((place, after)) :]


def _number(rng, content, others):
    packed = struct.pack(rng.choice("<>") + "Q", rng.choice(NUMBERS))
    number = packed[: rng.choice((1, 2, 4, 8))] if rng.random() < 0.5 else packed[-rng.choice((1, 2, 4, 8)) :]
    near = min(len(content), 64) if rng.random() < 0.5 else len(content)  # headers stand at the beginning
    place = rng.randrange(near + 1)
    return content[:place] + number + content[place + len(number) * (rng.random() < 0.8) :]


def _token(rng, content, others):
    start, end = _range(rng, content)
    return content[:start] + rng.choice(TOKENS) + content[rng.choice((start, end)) :]


_BLIND = (_flip, _flip, _truncate, _delete, _repeat, _splice, _number, _number, _token)


def _text(rng, content, others):
    """Another number, word or line."""
    pieces = re.split(rng.choice((rb"(-?\d+)", rb"(\w+)", rb"([^\n]*\n)", rb"([,:=(){}\[\]'\"])")), content[:20000])
    place = rng.randrange(len(pieces))
    pieces[place] = rng.choice((rng.choice(TOKENS), b"", pieces[rng.randrange(len(pieces))], pieces[place] * 2))
    return b"".join(pieces) + content[20000:]


def _json(rng, content, others):
    """Another value at one place of the tree, or one entry less, or two places exchanged."""
    try:
        tree = [json.loads(content)]
    except (ValueError, RecursionError):
        return _text(rng, content, others)
    places = _places(tree)
    parent, key = rng.choice(places)
    how = rng.random()
    if how < 0.15 and parent is not tree:
        del parent[key]
    elif how < 0.3:
        other, at = rng.choice(places)
        parent[key] = json.loads(json.dumps(other[at]))
    elif how < 0.4 and isinstance(parent, dict):
        parent[rng.choice(("x", "", "\n", "../x", "format", "class_name"))] = parent.pop(key)
    else:
        parent[key] = rng.choice(VALUES)
    return json.dumps(tree[0]).encode()


def _places(tree):
    """(container, key) of every value."""
    found, waiting = [], [tree]
    while waiting:
        container = waiting.pop()
        keys = range(len(container)) if isinstance(container, list) else list(container)
        for key in keys:
            found.append((container, key))
            if isinstance(container[key], list | dict):
                waiting.append(container[key])
    return found


def _zip(rng, content, others):
    """An archive with one member or name mutated, and its checksum right."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except Exception:  # damaged by an earlier mutation
        return rng.choice(_BLIND)(rng, content, others)
    if not members:
        return rng.choice(_BLIND)(rng, content, others)
    place = rng.randrange(len(members))
    name, inside = members[place]
    how = rng.random()
    if how < 0.7:
        members[place] = name, mutated(rng, inside, [member for _, member in members])
    elif how < 0.85:
        members[place] = rng.choice(("", "/", "../x.png", "/x.png", "a//b.png", "x", "names.npy", "c/\udcff.png",
                                     "C:\\x.png", "a\\..\\..\\b.png", ".npy", "x" * 300 + ".png")), inside  # fmt: skip
    elif how < 0.95:
        members.insert(place, (name.upper() if rng.random() < 0.5 else name + "/", inside))
    else:
        del members[place]
    return _packed(members, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def _packed(members, compression):
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(file, "w", compression) as archive:
        for name, inside in members:  # names may repeat
            info = zipfile.ZipInfo("x")
            info.filename, info.compress_type = name.encode("utf-8", "replace").decode(), compression
            archive.writestr(info, inside)
    return file.getvalue()


def _gzip(rng, content, others):
    try:
        return gzip.compress(mutated(rng, gzip.decompress(content), others))
    except Exception:  # damaged by an earlier mutation
        return rng.choice(_BLIND)(rng, content, others)


def _png(rng, content, others):
    """A chunk mutated, with its checksum right."""
    chunks, place = [], 8
    while place + 12 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        chunks.append([content[place + 4 : place + 8], content[place + 8 : place + 8 + length]])
        place += 12 + length
    if not chunks:
        return rng.choice(_BLIND)(rng, content, others)
    chosen = rng.choice(chunks)
    if chosen[0] == b"IDAT" and rng.random() < 0.5:
        try:
            chosen[1] = zlib.compress(rng.choice(_BLIND)(rng, zlib.decompress(chosen[1]), others))
        except zlib.error:
            return rng.choice(_BLIND)(rng, content, others)
    else:
        chosen[rng.random() < 0.85] = rng.choice(_BLIND)(rng, chosen[1], others)
        chosen[0] = (chosen[0] + b"tEXt")[:4]
    parts = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return content[:8] + b"".join(parts)
