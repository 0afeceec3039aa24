"""Few-shot classifiers from unlabeled images: CACTUs (Hsu, Levine, Finn, ICLR 2019) in TensorFlow 2 and Keras 3.

Public names load on first use, so `import cactus_tf` alone is fast.
"""

import importlib
import logging
import os
import platform
import sys
from typing import Any

__version__ = "0.2.0.dev0"

_PUBLIC = {
    "datasets": ("cactus_tf.datasets", None),
    "embedders": ("cactus_tf.embedders", None),
    "partitioners": ("cactus_tf.partitioners", None),
    "augmentations": ("cactus_tf.augmentations", None),
    "backbones": ("cactus_tf.backbones", None),
    "learners": ("cactus_tf.learners", None),
    "episodes": ("cactus_tf.fewshot.episodes", "Episodes"),
    "meta_train": ("cactus_tf.fewshot.training", "meta_train"),
    "evaluate": ("cactus_tf.fewshot.evaluation", "evaluate"),
    "FewShotClassifier": ("cactus_tf.inference.classifier", "FewShotClassifier"),
    "types": ("cactus_tf.types", None),
    "contracts": ("cactus_tf.contracts", None),
    "InputError": ("cactus_tf.errors", "InputError"),
    "RunError": ("cactus_tf.errors", "RunError"),
}
__all__ = list(_PUBLIC)


def _ask_for_tensorflow() -> None:
    """Chooses the TensorFlow backend of Keras, and trainings of full length; Keras reads both when it is imported."""
    keras = sys.modules.get("keras")
    if keras is None:
        os.environ["KERAS_BACKEND"] = "tensorflow"
        for limit in ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH"):
            os.environ.pop(limit, None)
    elif keras.config.backend() != "tensorflow":
        raise ImportError(
            f"cactus_tf needs Keras on TensorFlow, and this process has loaded Keras on {keras.config.backend()}: "
            "import cactus_tf before keras, or set KERAS_BACKEND=tensorflow"
        )


def _ask_for_onednn() -> None:
    """Turns on oneDNN, unless the user has chosen; TensorFlow reads the choice when it is loaded.

    It does so itself only on processors with AVX-512, although convolutions and norms are up to twice as fast on the
    others, too (docs/benchmarks.md).
    """
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    elif "TF_ENABLE_ONEDNN_OPTS" not in os.environ and _lacks_avx512():
        logging.getLogger(__name__).warning(
            "TensorFlow was loaded before cactus_tf and uses its slower kernels, up to twice as slow in training: "
            "import cactus_tf first, or set TF_ENABLE_ONEDNN_OPTS=1"
        )


def _lacks_avx512() -> bool:
    """Whether TensorFlow leaves oneDNN off by default."""
    from cactus_tf.utils.machine import has_avx512

    return platform.machine() in ("x86_64", "AMD64") and not has_avx512()


_ask_for_tensorflow()
_ask_for_onednn()


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'cactus_tf' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    loaded = importlib.import_module(module)
    return getattr(loaded, attribute) if attribute else loaded


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
