"""The rows of a batch that one replica of a strategy trains on."""

from __future__ import annotations

import tensorflow as tf


def own(rows: tf.Tensor) -> tf.Tensor:
    """[n, ...] of the whole batch -> [n / replicas, ...] of this replica; all of them without a strategy.

    Noise is drawn for the whole batch and then divided like the images, so that a row's noise does not depend on the
    number of replicas. Row i and row n - 1 - i, which ACAI mixes, come to the same replica, to places i and m - 1 - i
    of its m rows. So n must be a multiple of twice the replicas.
    """
    replica = tf.distribute.get_replica_context()
    number = replica.num_replicas_in_sync
    if number == 1:
        return rows
    parts, place = tf.reshape(rows, (2 * number, -1, *rows.shape[1:])), replica.replica_id_in_sync_group
    return tf.concat([parts[place], parts[2 * number - 1 - place]], axis=0)
