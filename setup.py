"""Packaging of cactus-tf."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
PACKAGE = (ROOT / "cactus_tf/__init__.py").read_text(encoding="utf-8")
VERSION = re.search(r'^__version__ = "(.+)"$', PACKAGE, re.MULTILINE)
assert VERSION, "cactus_tf/__init__.py states no version"

setup(
    name="cactus-tf",
    version=VERSION[1],
    description="Few-shot classifiers from unlabeled images: CACTUs in TensorFlow 2 and Keras 3",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    classifiers=[
        "Operating System :: POSIX :: Linux",  # tested; nothing in the package rules out macOS and Windows
        "Operating System :: MacOS",
        "Operating System :: Microsoft :: Windows",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
    ],
    packages=find_packages(include=["cactus_tf", "cactus_tf.*"]),
    package_data={"cactus_tf": ["py.typed"], "cactus_tf.report": ["*.html"]},
    python_requires=">=3.11",
    install_requires=[  # the lowest versions that pass: .ci/lowest.txt
        "tensorflow>=2.18",
        "keras>=3.6",
        "numpy>=2.0",
        "scikit-learn>=1.6",
        "absl-py>=2.1",
        "tensorboard>=2.18",
        "tensorflow-datasets>=4.9.7",
        "importlib_resources>=6.4",  # tensorflow-datasets needs it to download and does not declare it
        "matplotlib>=3.9",  # pictures of a run
        "jinja2>=3.1",  # report.html
        "Pillow>=10.1",  # image decoding
        "tqdm>=4.66",  # progress bars
        "scipy>=1.13",
        "filelock>=3.30",  # locks of run folders and artifacts on every operating system
        "threadpoolctl>=3.5",  # scikit-learn's own way to limit threads
    ],
    extras_require={
        "test": ["pytest>=8.0", "hypothesis>=6.100", "pytest-xdist>=3.5"],  # a test at a time uses one core
        "fuzz": ["atheris>=3.0"],  # tests/fuzz/atheris_fuzz.py
        "docs": ["mkdocs-material>=9.6", "mkdocstrings[python]>=0.29", "ruff"],
        "tflite": ["ai-edge-litert>=2.3"],  # python -m cactus_tf.export --format=tflite, to read the result back
        "onnx": ["tf2onnx>=1.17", "onnxruntime>=1.32"],  # python -m cactus_tf.export --format=onnx
        "hub": ["keras-hub>=0.24"],  # --pretrained_model=dinov2_small and other presets of keras-hub
    },
    entry_points={
        "console_scripts": [
            "cactus-tf = cactus_tf.main:command",
            "cactus-tf-predict = cactus_tf.predict:command",
            "cactus-tf-suggest = cactus_tf.suggest:command",
            "cactus-tf-export = cactus_tf.export:command",
            "cactus-tf-table = cactus_tf.table:command",
        ]
    },
)
