"""Every image is a class of its own, and the images of a class are varied copies of it.

UMTRA (Khodadadeh et al. 2019) with MAML, ProtoCLR (Medina et al. 2020) with ProtoNets.
"""

from __future__ import annotations

from cactus_tf.contracts import PartitionContext, Partitioner, PartitionerInfo
from cactus_tf.types import InstancePartition, Partitions

INFO = PartitionerInfo(
    uses_embeddings=False, clusters_of_its_own=True, ignores_counts=lambda options: True, repeats_images=True
)


def build(clusters: int, partitions: int, options: None = None) -> Partitioner:
    """One partition, whatever k and P are: there is only one way to make every image a class."""

    def divide(context: PartitionContext) -> Partitions:
        return [InstancePartition(context.images)]

    return divide
