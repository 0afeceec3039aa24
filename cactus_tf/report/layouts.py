"""Embeddings as points of a plane: two principal components, or t-SNE of at most 50."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_COMPONENTS, _PERPLEXITY = 50, 30
_ITERATIONS = 500  # of t-SNE; 1000 take twice as long and lower its divergence by 1 to 2%
_SPREAD = 1e-4  # of the first layout of t-SNE, as in scikit-learn


class Layouts(NamedTuple):
    """Places of n embeddings.

    Attributes:
      tsne: [n, 2].
      pca: [n, 2] the first two principal components.
      explained: fraction of the variance that these two have.
    """

    tsne: np.ndarray
    pca: np.ndarray
    explained: float


def layouts(embeddings: np.ndarray) -> Layouts:
    """Places embeddings [n, dim], of which at least five differ, in the plane; always the same places.

    One thread: the order of the sums of several threads varies, and t-SNE amplifies rounding.
    """
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        pca = PCA(min(_COMPONENTS, *embeddings.shape), random_state=0)
        components = pca.fit_transform(embeddings)
        plane = _first_two(components)
        return Layouts(_tsne(components, plane), plane, float(pca.explained_variance_ratio_[:2].sum()))


def _tsne(components: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """[n, 2], begun at the first two components. Van der Maaten and Hinton 2008."""
    from sklearn.manifold import TSNE

    perplexity = min(_PERPLEXITY, (len(components) - 1) / 3)
    start = _SPREAD * plane / plane[:, 0].std()
    return np.asarray(TSNE(perplexity=perplexity, init=start, max_iter=_ITERATIONS).fit_transform(components))


def _first_two(components: np.ndarray) -> np.ndarray:
    """[n, 2]; the second is 0 where embeddings are single numbers."""
    plane = np.zeros((len(components), 2), components.dtype)
    plane[:, : components.shape[1]] = components[:, :2]
    return plane


def on_field(plane: np.ndarray, width: float, height: float, margin: float) -> np.ndarray:
    """[n, 2] -> [n, 2] in margin..1 - margin, fractions of a field's width and height; axes keep one scale."""
    low, high = plane.min(axis=0), plane.max(axis=0)
    field = np.array([width, height])
    scale = ((high - low) / field).max()
    return 0.5 + (1 - 2 * margin) * (plane - (low + high) / 2) / (scale * field)
