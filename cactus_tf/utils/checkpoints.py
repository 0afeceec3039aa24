"""Checkpoints of a training: the newest states, each complete or not there at all."""

import hashlib
import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from cactus_tf.errors import InputError, RunError
from cactus_tf.utils import files

log = logging.getLogger(__name__)

_NAME = "step"
_FILES = re.compile(rf"{_NAME}-(\d{{1,18}})\.(index|data-.+)")
_VALUE = ".ATTRIBUTES/VARIABLE_VALUE"  # how TensorFlow ends the name of a tensor
_LIST_LINE = re.compile(
    r'(all_)?model_checkpoint_paths?: "[^"\\]+"|(all_model_checkpoint|last_preserved)_timestamps?: [0-9.e+]+'
)


class Checkpoints:
    """The last two states of a training, in `folder`; without a folder nothing is written.

    Args:
      variables: all that must be restored, including those of optimizers, which must be built.
      step: the variable, among them or not, that counts the finished steps.
      folder: of this training alone; created if missing.
      identity: settings that the state depends on, as JSON values.

    Raises:
      InputError: the folder holds a training with other settings.
    """

    def __init__(
        self,
        variables: Sequence[keras.Variable],
        step: keras.Variable | tf.Variable,
        folder: Path | None,
        identity: Mapping[str, Any] | None = None,
    ):
        self._step, self._folder = step, folder
        self._variables = [tf_variable(v) for v in variables]
        self._saved: int | None = None
        self._manager = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            _claim(folder / "fit.json", identity or {})
            _remove_half_written(folder)
            _mend_list(folder)
            self._checkpoint = tf.train.Checkpoint(step=tf_variable(step), variables=self._variables)
            self._manager = tf.train.CheckpointManager(self._checkpoint, str(folder), 2, checkpoint_name=_NAME)

    def restore(self) -> int:
        """Restores the newest readable state and returns its step; 0, with nothing changed, if there is none."""
        for path in self._newest_first():
            if _readable(path):
                self._checkpoint.restore(path).assert_existing_objects_matched().expect_partial()
                self._saved = int(self._step.numpy())
                return self._saved
            log.warning("checkpoint %s is damaged; resuming from an older one, or from the start", path)
        return 0

    def save(self) -> None:
        """Saves the current state, unless it is saved already.

        Raises:
          RunError: a weight is NaN or infinite, or the file cannot be written; earlier checkpoints remain.
        """
        step = int(self._step.numpy())
        if step in (0, self._saved):
            return
        if not all(_finite(v) for v in self._variables):
            raise RunError(f"weights are NaN or infinite after step {step}; {self.status()}; lower the rate")
        if self._manager:
            for path in (self._folder or Path()).glob(f"{_NAME}-{step}.*"):
                files.make_way(path)
            try:
                self._manager.save(checkpoint_number=step)
            except tf.errors.OpError as error:
                reason = error.message.rsplit(";", 1)[-1].split("[")[0].strip()
                raise RunError(
                    f"cannot write a checkpoint to {self._folder} ({reason}); {self.status()}: free some space"
                ) from error
            self._saved = step

    def status(self) -> str:
        """Which checkpoint there is, in words."""
        if self._saved is None:
            return "no checkpoint yet"
        return f"the checkpoint of step {self._saved} is in {self._folder}"

    def _newest_first(self) -> list[str]:
        return _newest_first(self._folder) if self._folder else []


def load_newest(variables: Sequence[keras.Variable], folder: Path) -> int:
    """Assigns the newest readable state to variables, and changes nothing in the folder.

    Args:
      variables: the first ones that the state was saved from, in their order.
      folder: of a training.

    Returns:
      The step of that state; 0, with nothing changed, if there is none.

    Raises:
      InputError: the state belongs to other variables.
    """
    damaged = []
    for path in _newest_first(folder):
        if not _readable(path):
            damaged.append(path)
            continue
        reader = tf.train.load_checkpoint(path)
        shapes, names = reader.get_variable_to_shape_map(), [f"variables/{i}/{_VALUE}" for i in range(len(variables))]
        if [shapes.get(name) for name in names] != [list(v.shape) for v in variables]:
            raise InputError(f"checkpoint {path} belongs to another network, made by another version: train again")
        if damaged:  # an error, which is shown with --quiet, too: the answers are not those of the newest weights
            log.error("checkpoint %s is damaged: using the older weights of step %d", damaged[0], _step(path))
        for variable, name in zip(variables, names, strict=True):
            variable.assign(reader.get_tensor(name))
        return _step(path)
    return 0


def newest_digest(folder: Path) -> str | None:
    """A digest of the numbers of the newest state, not of the bytes of its files; None if there is no readable one."""
    for path in filter(_readable, _newest_first(folder)):
        reader, digest = tf.train.load_checkpoint(path), hashlib.blake2b(digest_size=16)
        for name in sorted(n for n in reader.get_variable_to_shape_map() if n.startswith("variables/")):
            digest.update(name.encode() + reader.get_tensor(name).tobytes())
        return digest.hexdigest()
    return None


def newest_files(folder: Path) -> list[Path]:
    """The files of the newest state in the folder of a training; none if there is no state."""
    newest = _newest_first(folder)[:1]
    return sorted(path for state in newest for path in folder.glob(f"{Path(state).name}.*"))


def size(folder: Path) -> int:
    """The bytes of the largest state in the folder of a training; 0 if there is none."""
    return max((path.stat().st_size for path in folder.glob(f"{_NAME}-*.data-*")), default=0)


def _newest_first(folder: Path) -> list[str]:
    """Checkpoints of which any file is there, so that one that lost a file counts as damaged."""
    names = (_FILES.fullmatch(path.name) for path in folder.glob(f"{_NAME}-*"))
    return [str(folder / f"{_NAME}-{step}") for step in sorted({int(name[1]) for name in names if name}, reverse=True)]


def _step(path: str) -> int:
    return int(path.rsplit("-", 1)[1])


def _claim(path: Path, identity: Mapping[str, Any]) -> None:
    saved = files.read_json_if_whole(path, dict, {}) or identity
    differing = [f"{name} {saved.get(name)}, now {now}" for name, now in identity.items() if saved.get(name) != now]
    if differing:
        raise InputError(f"{path.parent} holds a fit with {'; '.join(differing)}: choose another folder or delete it")
    files.write_json(path, identity)


def _remove_half_written(folder: Path) -> None:
    """Removes what TensorFlow left of a checkpoint when it was killed while writing or removing it."""
    for path in folder.glob(f"{_NAME}-*_temp"):
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(f"{_NAME}-*.tempstate*"):
        path.unlink()
    whole = [_step(path.stem) for path in folder.glob(f"{_NAME}-*.index") if _FILES.fullmatch(path.name)]
    for path in folder.glob(f"{_NAME}-*.data-*"):
        name = _FILES.fullmatch(path.name)
        if name and int(name[1]) < max(whole, default=0) and int(name[1]) not in whole and path.is_file():
            path.unlink()  # of no use without its index, which TensorFlow removes first


def _mend_list(folder: Path) -> None:
    """Writes TensorFlow's list of the checkpoints again if it is damaged or gone, as after a power cut, or if a killed
    process left a checkpoint that is not in it, which TensorFlow would never remove."""
    path, names = folder / "checkpoint", [Path(one).name for one in reversed(_newest_first(folder))]
    listed = _listed(path)
    if listed == names or not (names or path.exists()):
        return
    if listed is None:
        log.warning("%s is missing or damaged; listing the checkpoints again", path)
    files.remove(path)
    lines = "".join(f'all_model_checkpoint_paths: "{n}"\nall_model_checkpoint_timestamps: 1.0\n' for n in names)
    if names:
        files.write_text(path, f'model_checkpoint_path: "{names[-1]}"\n{lines}')


def _listed(path: Path) -> list[str] | None:
    """The names in a list of checkpoints that TensorFlow reads without an error or a message; None in others."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    if not lines or not all(map(_LIST_LINE.fullmatch, lines)):
        return None
    return [line.split('"')[1] for line in lines if line.startswith("all_model_checkpoint_paths")]


def tf_variable(variable: keras.Variable | tf.Variable) -> tf.Variable:
    """The tf.Variable behind a Keras variable."""
    return variable if isinstance(variable, tf.Variable) else variable.value


def _readable(path: str) -> bool:
    """Reads every tensor, which verifies the checksums, so that a damaged state is never half restored."""
    try:
        reader = tf.train.load_checkpoint(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, LookupError, ValueError, RuntimeError, SystemError):  # the reader fails in many ways
        return False
    return True


def _finite(variable: tf.Variable) -> bool:
    return not variable.dtype.is_floating or bool(tf.reduce_all(tf.math.is_finite(variable)))
