"""ProtoNets from the equations, in NumPy and float64, with the gradient worked out by hand.

Snell et al. 2017, eq. 1 and 2, on four blocks of convolution, batch norm (Ioffe and Szegedy 2015, alg. 1), 2x2 max-pool
and ReLU. Nothing here comes from the package or from TensorFlow.
"""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

EPSILON, MOMENTUM = 1e-5, 0.1
IMAGES = (0, 1, 2)  # the axes of statistics


class Weights(NamedTuple):
    """Of one block: kernel [3, 3, in, out]; bias, gamma and beta [out]."""

    kernel: np.ndarray
    bias: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray


def protonets(blocks, support, query):
    """Loss, gradients, and the statistics of every batch norm.

    Args:
      blocks: `Weights` of each.
      support, query: [way, shot, h, w, c] and [way, query, h, w, c] float64 in 0..1.

    Returns:
      The mean cross-entropy of the queries; `Weights` of gradients for each block; (mean, unbiased variance) of each.
    """
    way, shot = support.shape[:2]
    x = np.concatenate([part.reshape(-1, *part.shape[2:]) for part in (support, query)])
    backward, statistics = [], []
    for weights in blocks:
        x, back, batch = block(x, weights)
        backward.append(back)
        statistics.append(batch)
    features = x.reshape(len(x), -1)
    loss, g_support, g_query = episode_loss(features[: way * shot].reshape(way, shot, -1), features[way * shot :])
    g = np.concatenate([g_support.reshape(way * shot, -1), g_query]).reshape(x.shape)
    gradients = []
    for back in reversed(backward):
        g, of_block = back(g)
        gradients.insert(0, of_block)
    return loss, gradients, statistics


def episode_loss(support, query):
    """-(1/m) sum_i log softmax_k(-|x_i - c_k|^2)[y_i] of features, and its gradients in them."""
    way, shot = support.shape[:2]
    labels = np.repeat(np.arange(way), len(query) // way)
    difference = query[:, None] - support.mean(axis=1)  # [m, way, dim]
    logits = -(difference**2).sum(axis=-1)
    logits -= logits.max(axis=1, keepdims=True)
    log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    g = (np.exp(log_softmax) - np.eye(way)[labels]) / len(query)  # in the logits
    g = -2 * difference * g[..., None]
    g_support = np.repeat(-g.sum(axis=0)[:, None] / shot, shot, axis=1)
    return -log_softmax[np.arange(len(query)), labels].mean(), g_support, g.sum(axis=1)


def block(x, weights):
    """[n, h, w, in] -> [n, h / 2, w / 2, out]; the function from its gradient to those of x and the weights."""
    patches = windows(x)
    y = np.tensordot(patches, weights.kernel, 3) + weights.bias
    count, deviation = y[..., 0].size, np.sqrt(y.var(IMAGES) + EPSILON)
    normalized = (y - y.mean(IMAGES)) / deviation
    pooled, unpool = max_pool(weights.gamma * normalized + weights.beta)

    def backward(g):
        g = unpool(g * (pooled > 0))
        g_gamma, g_beta = (g * normalized).sum(IMAGES), g.sum(IMAGES)
        g = weights.gamma / deviation * (g - g_beta / count - normalized * g_gamma / count)
        g_kernel = np.tensordot(patches, g, (IMAGES, IMAGES))
        g_x = np.tensordot(windows(g), weights.kernel[::-1, ::-1].swapaxes(2, 3), 3)
        return g_x, Weights(g_kernel, g.sum(IMAGES), g_gamma, g_beta)

    return np.maximum(pooled, 0), backward, (y.mean(IMAGES), y.var(IMAGES, ddof=1))


def windows(x):
    """[n, h, w, c] -> [n, h, w, 3, 3, c]: the 3x3 window around every position, zero outside the image."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return sliding_window_view(padded, (3, 3), (1, 2)).transpose(0, 1, 2, 4, 5, 3)


def max_pool(x):
    """Maxima of 2x2 windows, an odd last row and column left out; the function from their gradient to that of x."""
    n, h, w, c = x.shape
    tiles = x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c)
    tiles = tiles.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // 2, w // 2, 4, c)
    chosen = tiles.argmax(axis=3)[..., None, :] == np.arange(4)[:, None]

    def backward(g):
        spread = (g[:, :, :, None] * chosen).reshape(n, h // 2, w // 2, 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
        return np.pad(spread.reshape(n, h // 2 * 2, w // 2 * 2, c), ((0, 0), (0, h % 2), (0, w % 2), (0, 0)))

    return tiles.max(axis=3), backward
