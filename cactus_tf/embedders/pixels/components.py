"""The components of `pixels`, from all training images or from a random part that fits into memory."""

from __future__ import annotations

import logging

import numpy as np

from cactus_tf.embedders.pixels import whitening
from cactus_tf.errors import InputError
from cactus_tf.utils import seeds

log = logging.getLogger(__name__)

FITTED_BYTES = 512_000_000  # as float32: 163,265 images of 28x28, 6,046 of 84x84x3
_SQUARES = 4  # matrices of d x d float64 that whitening d numbers takes: d may be 4,000, and is 3,072 for 32x32x3
TRUNCATED = 256  # the size of DeepCluster's whitened embedding, which the paper clusters at 84x84x3


def flat(images: np.ndarray) -> np.ndarray:
    """[n, h, w, c] uint8 -> [n, h w c] float32 in [0, 1], row-major."""
    x = np.asarray(images).reshape(len(images), -1).astype(np.float32)
    x /= 255  # in place: there may be 512 MB of it
    return x


def principal(images: np.ndarray, dims: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean [d] and components [dims, d] of the images, or of a part of them that fits into memory."""
    from sklearn.decomposition import PCA

    part = some(images, dims, seed)
    _check_dims(dims, part)
    pca = PCA(dims, copy=False, random_state=_pca_seed(seed)).fit(flat(part))
    log.info("pixels: %d components hold %.1f%% of the variance", dims, 100 * pca.explained_variance_ratio_.sum())
    return pca.mean_, pca.components_


def whitened(images: np.ndarray, dims: int, seed: int) -> np.ndarray:
    """W [d, d], or its first components [dims, d], of the images; of large ones always components."""
    d = int(np.prod(images.shape[1:]))
    _check_dims(dims, images)
    if _SQUARES * 8 * d * d <= FITTED_BYTES:
        covariance = whitening.covariance(images)
        return whitening.principal(covariance, dims) if dims else whitening.zca(covariance)
    part = some(images, dims or TRUNCATED, seed)
    dims = dims or min(TRUNCATED, len(part), d)
    rows, share = whitening.truncated(whitening.normalized(part), dims, _pca_seed(seed))
    log.info(
        "pixels: images of %d numbers are too large to whiten whole; %d components are, with %.1f%% of the variance",
        d, dims, 100 * share,
    )  # fmt: skip
    return rows


def some(images: np.ndarray, dims: int, seed: int) -> np.ndarray:
    """All images, or a random part that fits into memory, in the order of the file; at least `dims` images."""
    most = max(dims, FITTED_BYTES // (4 * int(np.prod(images.shape[1:]))))
    if len(images) <= most:
        return images
    log.info("pixels: components of %d of the %d images", most, len(images))
    rng = np.random.default_rng(seeds.derive(seed, "pixels part"))
    return images[np.sort(rng.choice(len(images), most, replace=False))]


def _check_dims(dims: int, images: np.ndarray) -> None:
    most = min(len(images), int(np.prod(images.shape[1:])))
    if dims > most:
        raise InputError(f"pixels: {dims} components of {len(images)} images are at most {most}; lower --pixels_dims")


def _pca_seed(seed: int) -> int:
    return seeds.derive(seed, "pixels pca") & 0xFFFFFFFF  # scikit-learn takes 32 bits
