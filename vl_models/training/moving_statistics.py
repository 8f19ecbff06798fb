"""Moving statistics of batch normalisation over replicas.

Keras creates them without aggregation: under `strategy.run` every replica moves its own copy by
the statistics of its own part of the batch, and whatever reads the variable (a checkpoint, an
export, an evaluation) sees the first replica's. Here the copies are averaged after every update.
The moving averages being linear, this is the moving average of the replicas' mean statistics.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import keras
import tensorflow as tf

_NAMES = frozenset(
    ("moving_mean", "moving_variance", "moving_stddev", "renorm_mean", "renorm_stddev")
)


def moving_statistics(variables: Iterable[keras.Variable]) -> list[keras.Variable]:
    """Those of the variables that `keras.layers.BatchNormalization` moves in a forward pass."""
    return [v for v in variables if not v.trainable and v.name in _NAMES]


def average_over_replicas(statistics: Sequence[keras.Variable]) -> None:
    """Give every replica the mean of all copies; in replica context."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1 or not statistics:
        return
    copies = [tf.convert_to_tensor(variable.value) for variable in statistics]
    means = context.all_reduce(tf.distribute.ReduceOp.MEAN, copies)
    for variable, mean in zip(statistics, means):
        variable.assign(mean)
