"""Packaging of cactus-tf."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="cactus-tf",
    version="0.1.0",
    description="Few-shot classifiers from unlabelled images: CACTUs in TensorFlow 2 and Keras 3",
    long_description=Path(__file__).with_name("README.md").read_text(),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["cactus_tf", "cactus_tf.*"]),
    package_data={"cactus_tf.report": ["*.html"]},
    python_requires=">=3.11,<3.14",
    install_requires=[
        "tensorflow>=2.21",
        "keras>=3.15",
        "numpy>=2.4",
        "scikit-learn>=1.9",
        "absl-py>=2.5",
        "tensorboard>=2.21",
        "tensorflow-datasets>=4.9.10",
        "importlib_resources>=7.1",  # tensorflow-datasets 4.9.10 needs it to download and does not declare it
        "matplotlib>=3.11",  # pictures of a run
        "jinja2>=3.1",  # report.html
        "Pillow>=13.0",  # image decoding
        "tqdm>=4.70",  # progress bars
        "scipy>=1.17",
        "threadpoolctl>=3.8",  # scikit-learn's own way to limit threads
    ],
    extras_require={
        "test": ["pytest>=9.2", "hypothesis>=6.170", "pytest-xdist>=3.8"],  # a test at a time uses one core
        "onnx": ["tf2onnx>=1.17", "onnxruntime>=1.32"],  # python -m cactus_tf.export --format=onnx
    },
    entry_points={
        "console_scripts": [
            "cactus-tf = cactus_tf.main:main",
            "cactus-tf-predict = cactus_tf.predict:main",
            "cactus-tf-export = cactus_tf.export:main",
        ]
    },
)
