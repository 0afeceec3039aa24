"""The settings of DeepCluster, and those that follow from the number of images."""

from __future__ import annotations

import dataclasses

from cactus_tf.config.schema import option
from cactus_tf.errors import InputError

BATCH = 256  # the authors'
CLUSTERS = {"omniglot": 500, "miniimagenet": 500, "celeba": 1000}  # ours; the first two as many as CACTUs makes
_IMAGES_PER_CLUSTER, _CLUSTERS = 44, (10, 10_000)  # elsewhere: as on Omniglot, within bounds; the authors' k is 10,000
# Whitening needs many images per component. On the 1000 digits, k-means of consecutive epochs agrees by 0.33 with 256
# components and by 0.78 with 25. The paper's data sets have more than 40 for each of its 256.
_DIMS, _IMAGES_PER_DIM = 256, 40


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of DeepCluster; the defaults are the authors', with the crops of CACTUs."""

    network: str | None = option(
        None,
        "alexnet, vgg16 or conv4; default: conv4 (folder, or sides below 64), else alexnet",
        source="Caron et al. 2018; conv4: ours",
    )
    clusters: int | None = option(
        None,
        "pseudo-labels; default: 500 (omniglot, miniimagenet), 1000 (celeba), else images / 44",
        symbol="k",
        low=2,
        source="ours; Caron et al. 2018 on ImageNet: 10,000",
    )
    dims: int | None = option(
        None,
        "principal components to cluster and embed; default: 256, or images / 40 if that is less",
        low=1,
        source="Caron et al. 2018, code; fewer: ours",
    )
    batch: int | None = option(
        None,
        "images per step; default: 256, or a power of two that leaves 30 steps an epoch",
        low=2,
        source="Caron et al. 2018, code; fewer: ours",
    )
    rate: float = option(0.05, "learning rate of SGD, constant", low=0, source="Caron et al. 2018, code")
    momentum: float = option(
        0.9, "momentum of SGD; the head has none", low=0, high=0.999, source="Caron et al. 2018, code"
    )
    weight_decay: float = option(
        1e-5, "times the weight, added to its gradient", low=0, source="Caron et al. 2018, code"
    )
    dropout: float = option(
        0.5,
        "fraction of the inputs of fully connected layers to drop",
        low=0,
        high=0.99,
        source="Caron et al. 2018, code",
    )
    kmeans_iterations: int = option(20, "iterations of k-means", low=1, source="Caron et al. 2018, code")
    legacy_sampling: bool = option(
        False, "draw large clusters more often, as the authors' code does", source="Caron et al. 2018"
    )
    sobel: bool = option(True, "replace the images by their Sobel maps", source="Caron et al. 2018, scripts")
    side: int = option(
        64,
        "side of the crops; smaller images keep their size and are embedded whole",
        low=8,
        source="Hsu et al. 2019, appendix E.4",
    )
    crop_scale: float | None = option(
        None,
        "least area of a random crop, as a fraction; default: 0.08, or 0.5 for images below `side`",
        low=0.01,
        high=1,
        source="Caron et al. 2018, code; small images: ours",
    )
    flip: bool | None = option(
        None,
        "mirror half of the crops; default: only for color images",
        source="Caron et al. 2018, code; gray images: ours",
    )


def clusters_of(options: Options, images: int) -> int:
    """k: as given, or images / 44 within 10..10,000."""
    low, high = _CLUSTERS
    clusters = options.clusters or min(max(images // _IMAGES_PER_CLUSTER, low), high, images)
    if clusters > images:
        raise InputError(f"--deepcluster_clusters={clusters} is more than the {images} training images: lower it")
    return clusters


def dims_of(options: Options, images: int, units: int) -> int:
    """Number of principal components: as given, or min(256, images / 40), or as many as there are."""
    most = min(units, images - 1)
    if options.dims and options.dims > most:
        raise InputError(
            f"--deepcluster_dims={options.dims}: {images} images with {units} features have at most {most}: lower it"
        )
    return options.dims or min(_DIMS, max(images // _IMAGES_PER_DIM, 2), most)
