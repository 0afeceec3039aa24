"""One linear map of embeddings, an adapter, which starts as the identity or as their principal components."""

from __future__ import annotations

import math

import keras
import numpy as np

from cactus_tf.backbones._layers import keras_seed
from cactus_tf.backbones._norms import NormFactory
from cactus_tf.contracts import BackboneInfo
from cactus_tf.errors import InputError
from cactus_tf.utils.seeds import derive

INFO = BackboneInfo(consumes="embeddings", as_wide_as_input=True, arguments=frozenset({"rows"}))

_ROWS, _DIM = 100_000, 4096  # most embeddings that components are found from, most numbers of a covariance: for memory


def build(
    image_shape: tuple[int, ...],
    out: int | None = None,
    *,
    filters: int | None = None,
    norm: str | NormFactory = "none",
    seed: int = 0,
    dtype: str = "float32",
    rows: np.ndarray | None = None,
) -> keras.Model:
    """f(x) = W x, without bias, norm or activation; then the features, or a linear head.

    Args:
      image_shape: (dim,) of embeddings, or (height, width, channels), which are flattened row-major.
      out: number of logits; None for the features.
      filters: numbers of f(x); None takes dim. W starts as the identity if that is dim, else as a random map with
        orthogonal rows or columns, which keeps lengths on the space that it does not drop.
      norm: not used.
      seed: of the random map, and of the head: normal of standard deviation 0.01, truncated at twice that.
      dtype: of weights and activations.
      rows: [n, dim] embeddings, whose first principal components the rows of W start as instead.

    Returns:
      A Keras model from [n, *image_shape] to [n, filters] or [n, out]; layers linear and head.

    Raises:
      InputError: image_shape is empty, or there are fewer rows or numbers than principal components.
    """
    dim = math.prod(image_shape) if image_shape else 0
    if not dim:
        raise InputError(f"image_shape is {tuple(image_shape)}: linear takes (dim,) or (height, width, channels)")
    inputs = keras.Input(image_shape, dtype=dtype)
    x = keras.layers.Flatten(dtype=dtype)(inputs) if len(image_shape) > 1 else inputs
    adapter = keras.layers.Dense(filters or dim, use_bias=False, name="linear", dtype=dtype)
    x = adapter(x)
    width = filters or dim
    adapter.set_weights([_start(dim, width, seed) if rows is None else principal_components(rows, width, seed)])
    if out is not None:
        small = keras.initializers.TruncatedNormal(0.0, 0.01, keras_seed(derive(seed, "head"), "kernel"))
        x = keras.layers.Dense(out, kernel_initializer=small, name="head", dtype=dtype)(x)
    return keras.Model(inputs, x, name="linear")


def principal_components(rows: np.ndarray, width: int, seed: int) -> np.ndarray:
    """The first principal components of embeddings, as columns of length 1 at right angles.

    Args:
      rows: [n, dim].
      width: number of components.
      seed: of the rows that are taken from more than 100,000, and of the search where it is random.

    Returns:
      [dim, width] float32.

    Raises:
      InputError: there are fewer rows or numbers than components.
    """
    from sklearn.decomposition import PCA

    if width > min(rows.shape):
        raise InputError(
            f"--protonets_start=pca: {len(rows)} embeddings of {rows.shape[1]} numbers have no {width} principal "
            f"components: set --filters={min(rows.shape)} or less"
        )
    rng = np.random.default_rng(derive(seed, "principal components"))
    if len(rows) > _ROWS:
        rows = rows[np.sort(rng.choice(len(rows), _ROWS, replace=False))]
    exact = rows.shape[1] <= min(len(rows), _DIM)
    solver = "covariance_eigh" if exact else "auto"
    pca = PCA(width, svd_solver=solver, random_state=int(rng.integers(2**31))).fit(np.asarray(rows, np.float32))
    return pca.components_.T.astype(np.float32)


def _start(dim: int, width: int, seed: int) -> np.ndarray:
    """[dim, width] float32: the identity, or a random matrix with orthogonal rows or columns."""
    if dim == width:
        return np.eye(dim, dtype=np.float32)
    rng = np.random.default_rng(derive(seed, "linear"))
    orthogonal = np.linalg.qr(rng.normal(size=(max(dim, width), min(dim, width))))[0]
    return (orthogonal if dim > width else orthogonal.T).astype(np.float32)
