"""Batch normalisation over the global batch."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from vl_models.distribution import global_sum, update_copies
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.state import add_state


class BatchNorm(ConfiguredLayer):
    """Normalise each channel by mean and variance of all places of all rows, then scale and shift.

    In training the statistics are of the batch on all replicas together, with gradient, so that the
    number of replicas changes nothing, and padding does not count. Keras' layer can do one or the
    other. All is float32; the moving variance is the unbiased one, as in PyTorch.
    Source: Ioffe & Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing
    Internal Covariate Shift", algorithms 1 and 2.

    Args:
        momentum: of the moving statistics: the share of them that stays; PyTorch's 0.1 is 0.9 here.
        epsilon: added to the variance.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape: Any) -> None:
        """Create scale and shift, and the moving statistics that no optimiser sees."""
        shape = (input_shape[-1],)
        float32 = {"dtype": "float32", "autocast": False}
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones", **float32)
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros", **float32)
        self.moving_mean = add_state(self, "moving_mean", shape, "zeros", "float32")
        self.moving_variance = add_state(self, "moving_variance", shape, "ones", "float32")

    def call(self, inputs: Any, valid: Any = None, training: bool = False) -> Any:
        """Normalise.

        Args:
            inputs: [B, ..., C].
            valid: bool [B, ...], False for padding, which is normalised but does not count.
            training: by the batch, whose statistics move the moving ones; else by these.

        Returns:
            The shape of the input, in the compute dtype.
        """
        x = tf.cast(inputs, tf.float32)
        if training:
            mean, variance = self._of_batch(x, valid)
        else:
            mean, variance = map(tf.convert_to_tensor, (self.moving_mean, self.moving_variance))
        scale = tf.math.rsqrt(variance + self.epsilon) * self.gamma
        return tf.cast((x - mean) * scale + self.beta, self.compute_dtype)

    def _of_batch(self, x: Any, valid: Any) -> tuple[Any, Any]:
        """Mean and variance float32 [C] of the global batch; the moving statistics follow."""
        flat = tf.reshape(x, [-1, x.shape[-1]])
        weight = tf.ones_like(flat[:, :1])
        if valid is not None:
            weight *= tf.reshape(tf.cast(valid, tf.float32), [-1, 1])
        count = global_sum(tf.reduce_sum(weight))
        mean = tf.math.divide_no_nan(global_sum(tf.reduce_sum(weight * flat, axis=0)), count)
        squares = tf.reduce_sum(weight * tf.square(flat - mean), axis=0)
        squares = global_sum(squares)
        moved = (mean, tf.math.divide_no_nan(squares, count - 1.0))
        for variable, new in zip((self.moving_mean, self.moving_variance), moved):
            value = self.momentum * tf.convert_to_tensor(variable) + (1.0 - self.momentum) * new
            update_copies(
                variable.value, lambda copy, value: copy.assign(value), tf.stop_gradient(value)
            )
        return mean, tf.math.divide_no_nan(squares, count)
