"""Whitening of pixels, the embedding of the paper's ablation that clusters raw images (Hsu et al. 2019, section 4).

After Coates and Ng 2012, "Learning feature representations with k-means": z = W x of contrast-normalized images x,
not centered, where W = U diag(1 / sqrt(S + 1e-5)) U^T for the eigenvectors U and eigenvalues S of their covariance.
"""

from __future__ import annotations

import numpy as np

CONTRAST, EPSILON = 10.0, 1e-5  # of the authors' code; CONTRAST is for pixels in 0..255
_CHUNK = 1024  # images normalized at once


def normalized(images: np.ndarray) -> np.ndarray:
    """x = (x - mean(x)) / sqrt(var(x) + 10) over each image's own numbers.

    Args:
      images: [n, h, w, c] uint8.

    Returns:
      [n, h w c] float32, row-major; zeros for a uniform image.
    """
    x = np.asarray(images).reshape(len(images), -1).astype(np.float32)
    x -= x.mean(axis=1, keepdims=True)  # in place: there may be 512 MB of it
    x /= np.sqrt(np.einsum("ij,ij->i", x, x) / x.shape[1] + CONTRAST)[:, None]
    return x


def covariance(images: np.ndarray) -> np.ndarray:
    """[d, d] float64 covariance (over n - 1) of normalized images, [n, h, w, c] uint8, read in chunks."""
    d = int(np.prod(images.shape[1:]))
    total, products = np.zeros(d), np.zeros((d, d))
    for start in range(0, len(images), _CHUNK):
        x = normalized(images[start : start + _CHUNK]).astype(np.float64)
        total += x.sum(axis=0)
        products += x.T @ x
    products -= np.outer(total, total / len(images))
    products /= max(1, len(images) - 1)
    return products


def zca(products: np.ndarray) -> np.ndarray:
    """[d, d] float32 W = U diag(1 / sqrt(S + 1e-5)) U^T of a covariance [d, d], which is overwritten."""
    from scipy.linalg import eigh

    variances, vectors = eigh(products, overwrite_a=True)
    return ((vectors * scales(variances)) @ vectors.T).astype(np.float32)


def principal(products: np.ndarray, dims: int) -> np.ndarray:
    """[dims, d] float32 diag(1 / sqrt(S + 1e-5)) U^T of the largest eigenvalues of a covariance [d, d], largest first.

    For dims = d, `zca` is a rotation of it, so distances are the same.
    """
    from scipy.linalg import eigh

    d = len(products)
    variances, vectors = eigh(products, overwrite_a=True, subset_by_index=[d - dims, d - 1])
    return (vectors * scales(variances)).T[::-1].astype(np.float32)


def truncated(x: np.ndarray, dims: int, seed: int) -> tuple[np.ndarray, float]:
    """`principal` of the covariance of normalized images, by a randomized search that does not form the covariance.

    Halko, Martinsson, Tropp 2011, "Finding structure with randomness"; scikit-learn's.

    Args:
      x: [n, d] float32, overwritten.
      dims: at most min(n, d).
      seed: of the search.

    Returns:
      [dims, d] float32, and the fraction of the variance that these components hold.
    """
    from sklearn.decomposition import PCA

    pca = PCA(dims, copy=False, svd_solver="randomized", random_state=seed).fit(x)
    scaled = pca.components_ * scales(pca.explained_variance_)[:, None]
    return scaled.astype(np.float32), float(pca.explained_variance_ratio_.sum())


def scales(variances: np.ndarray) -> np.ndarray:
    """1 / sqrt(S + 1e-5); rounding can make a variance negative."""
    return 1 / np.sqrt(np.maximum(variances, 0) + EPSILON)
