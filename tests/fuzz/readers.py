"""Every reader of files that people give to the package, as a function of one file's bytes, and whole files to mutate.

A reader of a folder takes the name of one of its files, a line end, and the new content of that file. Digests and
checksums in the folder are made to fit, so that a changed file is not refused before it is read.
"""

import contextlib
import functools
import gzip
import io
import json
import os
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

import cactus_tf as ct
from cactus_tf import datasets, embedders, learners, plugins
from cactus_tf.config import command_flags, flagfiles, flags
from cactus_tf.config.declared import DECLARED
from cactus_tf.contracts import PartitionContext
from cactus_tf.datasets import mnist
from cactus_tf.datasets._io import user_pictures
from cactus_tf.datasets._io.entries import Entry
from cactus_tf.datasets.celeba import annotations
from cactus_tf.datasets.imagenet import features
from cactus_tf.datasets.miniimagenet import ravi, split_lists
from cactus_tf.embedders.precomputed import archives, named, tables
from cactus_tf.partitioners import cluster_files
from cactus_tf.report import comparison
from cactus_tf.runs import restoring
from cactus_tf.utils import arrays, files, sealed

SHAPE = (8, 8, 1)
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""A folder in memory: making and removing folders on a disk takes longer than reading most inputs."""
RUN = (
    "--algo=protonets,nearest_neighbours", "--embedder=pixels", "--pixels_dims=4", "--embedding_norm=centered",
    "--partitions=1", "--clusters=12", "--filters=2", "--steps=1", "--tasks_per_step=1", "--way=3",
    "--query=2",
    "--eval_ways=3", "--eval_shots=1", "--eval_query=2", "--eval_episodes=2", "--quiet",
)  # fmt: skip


class Reader(NamedTuple):
    """A reader.

    Attributes:
      seeds: whole inputs.
      read: calls the reader on an input, below an empty folder.
    """

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], object]


def _named(name, read):
    """A reader that gets the input as a file of this name."""

    def on_bytes(content, folder):
        path = folder / name
        path.write_bytes(content)
        return read(path)

    return on_bytes


# Data sets


def _idx_seeds():
    images = b"\0\0\x08\x03" + struct.pack(">3I", 2, 28, 28) + bytes(2 * 784)
    labels = b"\0\0\x08\x01" + struct.pack(">I", 2) + b"\3\7"
    return [images, labels, gzip.compress(images), gzip.compress(labels)]


def _read_idx(content, folder):
    """As the images, and as the labels, of MNIST."""
    images, labels, *_ = _idx_seeds()
    for parts in ((content, labels), (images, content)):
        paths = [folder / "images", folder / "labels"]
        for path, part in zip(paths, parts, strict=True):
            path.write_bytes(part)
        with contextlib.suppress(ct.InputError):
            mnist._labeled(*paths)


def _attribute_seeds():
    names, row = " ".join(annotations.ATTRIBUTES), " ".join(["-1", "1"] * 20)
    text = f"2\n{names}\n000001.jpg {row}\n000002.jpg  {row}\n"
    table = f"image_id,{names}\n000001.jpg {row}\n000002.jpg {row}\n".replace(" ", ",")
    return [text.encode(), table.encode(), "\ufeff".encode() + table.encode()]


def _read_annotations(content, folder):
    """As both lists, in both forms."""
    texts, parts = _attribute_seeds(), (b"000001.jpg 0\n000002.jpg 2\n", b"image_id,partition\n000001.jpg,0\n")
    for end, whole, part in (("txt", texts[0], parts[0]), ("csv", texts[1], parts[1])):
        (folder / f"fuzzed.{end}").write_bytes(content)
        (folder / f"attributes.{end}").write_bytes(whole)
        (folder / f"parts.{end}").write_bytes(part)
        for pair in (("fuzzed", "parts"), ("attributes", "fuzzed")):
            with contextlib.suppress(ct.InputError):
                annotations.read_annotations(*(folder / f"{name}.{end}" for name in pair))


def _split_list_seeds():
    wnid = ravi.CLASSES["train"][0]
    return [f"filename,label\n{wnid}00000001.jpg,{wnid}\n{wnid}_10026.JPEG,{wnid}\r\nx/y.jpg,{wnid}\n".encode()]


def _read_split_list(path):
    skipped = []
    images = split_lists.read(path, "train", skipped)
    entries = [Entry(str(path.parent), f"a/{image.stem}.jpg", 1) for image in images[:1]]
    return split_lists.by_class(images, split_lists.FilesByStem(entries, skipped), skipped)


# Pictures and archives of them


@functools.cache
def _pictures():
    rng = np.random.default_rng(0)
    color = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
    gray = color.convert("L")
    deep = Image.fromarray(rng.integers(0, 4096, (9, 12)).astype(np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = gray.convert("LA").convert("RGBA")
    made = [
        (color, "JPEG", {"exif": exif}), (gray, "JPEG", {"progressive": True}), (color, "PNG", {}), (deep, "PNG", {}),
        (gray.convert("P"), "PNG", {"transparency": 3}), (gray.convert("P"), "GIF", {"save_all": True,
        "append_images": [gray.convert("P")]}), (color, "BMP", {}), (gray.convert("1"), "BMP", {}),
        (clear, "WEBP", {"lossless": True}), (color, "WEBP", {}), (color, "TIFF", {"compression": "tiff_lzw"}),
        (deep, "TIFF", {}), (Image.fromarray(rng.random((9, 12), np.float32)), "TIFF", {}),
        (gray.convert("1"), "TIFF", {"compression": "group4"}), (color, "TIFF", {"compression": "jpeg"}),
    ]  # fmt: skip
    return [_saved(image, kind, **how) for image, kind, how in made]


def _saved(image, kind, **how):
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def _read_picture(path):
    return user_pictures.read_all("--query", path, datasets.picture_decoder("folder", SHAPE), SHAPE)


def _zip_seeds():
    png = _pictures()[2]
    members = {"a/1.png": png, "b/1.png": png, "b/\u00e9.png": png, "__MACOSX/._1.png": b"x", "a/n.txt": b"x"}
    return [_zipped(members, kind) for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)]


def _zipped(members, kind=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, kind)
    return file.getvalue()


def _read_zip(path):
    """Nothing may be written outside of the reader's own temporary folder."""
    decode = datasets.picture_decoder("folder", SHAPE)
    return user_pictures.read_classes("--support", path, decode, SHAPE)


# Arrays and tables


def _npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _npz(**stored):
    file = io.BytesIO()
    np.savez(file, **stored)
    return file.getvalue()


def _npy_seeds():
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    made = [rows, rows[0], np.asfortranarray(rows), np.array(["a", "b"]), np.array([b"a", b"b"]), np.zeros((0, 3))]
    pickled = b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    return [*map(_npy, made), _npy(np.zeros(3, np.uint8)), pickled.ljust(127) + b"\n\x80\x04N."]


def _read_npy(path):
    for mapped in (False, True):
        with contextlib.suppress(ct.InputError):
            arrays.read_array(path, mapped=mapped)
    with contextlib.suppress(ct.InputError):
        archives.plain_embeddings(path)
    return features.length([Entry(str(path.parent), path.name, path.stat().st_size)])


def _npz_seeds():
    names, z = np.array(["a/1.png", "b.png"]), np.eye(2, dtype=np.float32)
    x = np.zeros((2, 4, 4, 1), np.uint8)
    return [_npz(names=names, embeddings=z), _npz(names=names.astype("S"), embeddings=z), _npz(X=x, Z=z, Z_raw=z)]


def _read_npz(path):
    for read in (arrays.read_archive, tables.read, named.Named, archives.archived_embeddings):
        with contextlib.suppress(ct.InputError):
            read(path)
    with archives.archived_images(path) as images:
        return np.array(images)


def _csv_seeds():
    return [b"a/1.png,0.25,1e3\nb.png,-1,nan\n", b"file;0;1\n\"a;b\";1;2\n'c';3;4\n", b"\xef\xbb\xbfa.png\t1\t2\r\n"]


def _read_csv(path):
    return named.Named(path)


# Settings and small files of a user


_NAMES = np.array([b"a/x_1.JPEG", b"a/x_2.JPEG", b"b/y.png"])


def _read_clusters(path):
    partitions = cluster_files.build(2, 1, cluster_files.Options(str(path.parent)))
    return partitions(PartitionContext(3, names=_NAMES))[0].assignments(3)


def _flagfile_seeds():
    return [
        b"--algo=protonets,maml\n# note\n--shot = 1\n--eval_ways 5\n-way=5\n'--seed=3'\n",
        b"--dataset=celeba\n--recipe=paper\n--noquiet\n--clusters=20\n--rounds=2\n--round_steps=1\n--outer_lr=1e-3\n",
        "--workdir=\u00e9\n--embedder=deepcluster\n--deepcluster_clusters=10\n".encode("utf-16"),
    ]


def _words(path):
    """The arguments in a flagfile; none if some name code of the user's, or other files."""
    words = flagfiles.with_flagfiles([f"--flagfile={path}"])
    return [] if any("plugins" in word or "flagfile" in word for word in words) else words


def _read_flagfile(path):
    return command_flags.read_flags(_words(path), {"algo": "x", "shot": 1, "outer_lr": 0.1, "quiet": False})


def _read_settings(path):
    return flags.parse(_words(path), DECLARED)


# Folders: runs, classifiers, embedders


class _Folder:
    """A whole folder, made once in a process, of which one file at a time is another.

    Args:
      make: writes the folder.
      members: patterns of the files to change.
      read: the reader, of the folder and the name of the changed file.
    """

    def __init__(self, make, members, read):
        self._make, self._members, self._read = make, members, read

    @functools.cached_property
    def _root(self):
        self._temporary = tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY)
        root = Path(self._temporary.name)
        self._make(root)
        return root

    @functools.cached_property
    def _whole(self):
        paths = sorted({path for pattern in self._members for path in self._root.glob(pattern) if path.is_file()})
        return {path.relative_to(self._root).as_posix(): path.read_bytes() for path in paths}

    def seeds(self):
        """Every file as it is."""
        return [f"{name}\n".encode() + content for name, content in self._whole.items()]

    def read(self, content, folder):
        """Reads the folder with one file changed; one of another name changes the first file."""
        first, _, rest = content.partition(b"\n")
        name = first.decode("utf-8", "replace")
        name = name if name in self._whole else next(iter(self._whole))
        written = {name: _sealed(rest)}
        written |= self._checksums(name, written[name])
        for one, changed in written.items():
            (self._root / one).write_bytes(changed)
        try:
            return self._read(self._root, name)
        finally:
            for one in written:
                (self._root / one).write_bytes(self._whole[one])

    def _checksums(self, name, content):
        """The files with checksums of the changed one, made to fit it."""
        fitting = {}
        for record in self._whole:
            place, _, last = record.rpartition("/")
            own = name.removeprefix(f"{place}/") if place else name
            if last not in ("checksums.json", "classifier.json") or record == name:
                continue
            recorded = json.loads(self._whole[record])
            listed = recorded if last == "checksums.json" else recorded["files"]
            if own in listed and (not place or name.startswith(f"{place}/")):
                path = self._root / name
                path.write_bytes(content)
                listed[own] = files.whole_checksum(path)
                fitting[record] = _sealed(json.dumps(recorded).encode())
        return fitting


def _sealed(content):
    """JSON with a digest of what it is now."""
    try:
        value = json.loads(content)
        if isinstance(value, dict) and sealed.DIGEST in value:
            return json.dumps({**value, sealed.DIGEST: sealed.digest(value)}).encode()
    except (ValueError, RecursionError):
        pass
    return content


def _digits():
    images = datasets.load("digits").train
    return images.images[::25], images.partitions[0].assignments(len(images))[::25]


def _embedder():
    return embedders.build("pixels", dims=4, norm="centered")


def _make_embedder(root):
    _embedder().fit(_digits()[0]).save(root)


def _read_embedder(root, changed):
    embedder = _embedder().load(root)
    return embedder.transform(np.zeros((2, 28, 28, 1), np.uint8))


def _make_classifiers(root):
    images, labels = _digits()
    first = images[labels < 3], labels[labels < 3]
    learner = learners.build("protonets", image_shape=(28, 28, 1), filters=2)
    ct.FewShotClassifier(learner).fit(*first).save(root / "protonets")
    embedder = _embedder().fit(images)
    ct.FewShotClassifier(embedder=embedder).fit(first[0], np.array(["a", "b", "c"])[first[1]]).save(root / "embedded")


def _read_classifiers(root, changed):
    classifier = ct.FewShotClassifier.load(root / changed.split("/")[0])
    if hasattr(classifier, "classes_"):  # one that was saved before `fit` has nothing to predict
        classifier.predict(np.zeros((2, 28, 28, 1), np.uint8))


def _make_run(root):
    import tensorflow as tf

    from cactus_tf.main import main

    eagerly = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(False)  # tf.data warns of it
    try:
        assert main([*RUN, f"--workdir={root / 'runs/digits'}", f"--artifacts_dir={root / 'artifacts'}"]) == 0
    finally:
        tf.config.run_functions_eagerly(eagerly)


def _read_run(root, changed):
    run = root / "runs/digits"
    for name in ("protonets", "nearest_neighbours"):
        with contextlib.suppress(ct.InputError, ct.RunError):
            restored = restoring.restore(run, name)
            if restored.image_shape == (28, 28, 1) and restored.embedder is not None:
                restored.embedder.transform(np.zeros((2, 28, 28, 1), np.uint8))
    return restoring.training_images(run)


def _results_seeds():
    row = {
        "dataset": "digits", "split": "test", "algo": "protonets", "embedder": "pixels", "partitioner": "kmeans",
        "way": 5, "shot": 1, "accuracy": 0.5, "ci95": 0.01, "seed": 0, "options": {"steps": 3, "filters": 2},
    }  # fmt: skip
    content = {"rows": [row, {**row, "seed": 1}, {**row, "way": 3, "algo": "maml"}]}
    return [json.dumps({**content, sealed.DIGEST: sealed.digest(content)}).encode()]


def _read_results(content, folder):
    path = folder / "results.json"
    path.write_bytes(_sealed(content))
    compared = comparison.compare(comparison.read_rows(path))
    return [style(compared) for style in comparison.STYLES.values()]


_embedder_folder = _Folder(_make_embedder, ("*",), _read_embedder)
_classifier_folder = _Folder(_make_classifiers, ("**/*",), _read_classifiers)
_run_folder = _Folder(
    _make_run,
    (
        "runs/digits/config.json", "runs/digits/inputs.json", "runs/digits/*/checkpoints/*",
        "artifacts/embedder-*/**/*.*",
        "artifacts/embeddings-*/*.npy", "artifacts/embeddings-*/checksums.json", "artifacts/data-*/checksums.json",
    ),
    _read_run,
)  # fmt: skip

READERS = {
    "idx": Reader(_idx_seeds, _read_idx),
    "annotations": Reader(_attribute_seeds, _read_annotations),
    "split_lists": Reader(_split_list_seeds, _named("train.csv", _read_split_list)),
    "csv": Reader(_csv_seeds, _named("rows.csv", _read_csv)),
    "npy": Reader(_npy_seeds, _named("rows.npy", _read_npy)),
    "npz": Reader(_npz_seeds, _named("omniglot_4_train.npz", _read_npz)),
    "clusters": Reader(lambda: [b'{"x_1": 7, "x_2": 5, "y": -1}'], _named("train_k2.json", _read_clusters)),
    "flagfile": Reader(_flagfile_seeds, _named("flags.txt", _read_flagfile)),
    "settings": Reader(_flagfile_seeds, _named("flags.txt", _read_settings)),
    "results": Reader(_results_seeds, _read_results),
    "image": Reader(_pictures, _named("picture.png", _read_picture)),
    "zip": Reader(_zip_seeds, _named("pictures.zip", _read_zip)),
    "embedder": Reader(_embedder_folder.seeds, _embedder_folder.read),
    "classifier": Reader(_classifier_folder.seeds, _classifier_folder.read),
    "run": Reader(_run_folder.seeds, _run_folder.read),
}

FOLDERS = ("embedder", "classifier", "run")
"""Readers of folders, whose inputs begin with the name of a file."""


def read(name, content):
    """Calls a reader on an input in a temporary folder, in memory if there is one; errors are those of the reader."""
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY) as folder:
        return READERS[name].read(content, Path(folder))


@contextlib.contextmanager
def networks_made_once():
    """In its block, a network of the same kind, shape and settings is made once, and then gets its first weights again.

    Making them takes most of the time of `classifier` and `run`, and depends on nothing else in a file.
    """
    modules = [plugins.load("backbones", name) for name in plugins.names("backbones")]
    builds = [module.build for module in modules]
    for module, build in zip(modules, builds, strict=True):
        module.build = _remembered(build)
    try:
        yield
    finally:
        for module, build in zip(modules, builds, strict=True):
            module.build = build


def _remembered(build):
    made = {}

    def again(*given, **settings):
        key = repr((given, sorted(settings.items())))
        if "object at" in key or "<function" in key or "array(" in key:  # does not say what it is
            return build(*given, **settings)
        if key not in made:
            model = build(*given, **settings)
            if len(made) >= 8:
                del made[next(iter(made))]
            made[key] = model, model.get_weights()
        model, weights = made[key]
        model.set_weights(weights)
        return model

    return again
