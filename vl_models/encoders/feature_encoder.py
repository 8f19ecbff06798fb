"""An encoder of precomputed feature vectors: standardisation and dense layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from vl_models.encoders.config import FeatureActivation
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.row_dropout import drop_units

# A feature that hardly varies in the train split would be blown up by what little it does.
_SMALLEST_DEVIATION = 1e-6


class FeatureEncoder(ConfiguredLayer):
    """(x - mean) / deviation, then dense layers, each with its activation.

    Mean and deviation are variables that no optimiser sees (0 and 1 until `adapt`): the
    exported tower takes raw features.

    Args:
        hidden_widths: widths of the dense layers; none leaves the standardised features.
        activation: of every dense layer.
        standardize: whether `adapt` takes effect.
        dropout: share of each hidden layer's units that is left out in training, drawn by the
            rows' seeds.
        input_dropout: the same of the standardised features.
    """

    reads_features = True  # not images or tokens, see vl_models.encoders.towers

    def __init__(
        self,
        hidden_widths: Sequence[int] = (),
        activation: FeatureActivation = "tanh",
        standardize: bool = True,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_widths = tuple(hidden_widths)
        self.activation = activation
        self.standardize = standardize
        self.dropout = dropout
        self.input_dropout = input_dropout

    def build(self, input_shape: Any) -> None:
        """Create statistics and dense layers for features of one width."""
        width = input_shape[-1]
        self.mean = self._statistic("mean", width, "zeros")
        self.deviation = self._statistic("deviation", width, "ones")
        self.dense = []
        for place, units in enumerate(self.hidden_widths):
            layer = keras.layers.Dense(
                units, activation=self.activation, dtype=self.dtype_policy, name=f"dense_{place}"
            )
            layer.build((None, width))
            self.dense.append(layer)
            width = units

    def call(
        self, features: Any, seeds: Any = None, training: bool | None = None
    ) -> dict[str, Any]:
        """Encode float [B, d].

        Args:
            features: raw, as they come.
            seeds: int32 [B, 2] of the rows; needed in training with dropout.
            training: whether units are dropped.

        Returns:
            ``hidden`` and ``tokens`` [B, 1, W], and ``pooled`` [B, W].

        Raises:
            ValueError: there is dropout, but no seeds to draw it by.
        """
        x = (ops.cast(features, "float32") - self.mean) / self.deviation
        x = ops.cast(x, self.compute_dtype)
        if training:
            x = drop_units(x, self.input_dropout, seeds, len(self.dense))
        for place, layer in enumerate(self.dense):
            x = layer(x)
            if training:
                x = drop_units(x, self.dropout, seeds, place)
        return {"hidden": x[:, None, :], "tokens": x[:, None, :], "pooled": x}

    def adapt(self, mean: np.ndarray, deviation: np.ndarray) -> None:
        """Take mean and standard deviation of the train split, float [d] each."""
        if self.standardize:
            self.mean.assign(mean)
            self.deviation.assign(np.where(deviation > _SMALLEST_DEVIATION, deviation, 1.0))

    def _statistic(self, name: str, width: int, initializer: str) -> Any:
        return self.add_weight(
            name=name,
            shape=(width,),
            initializer=initializer,
            trainable=False,
            dtype="float32",
            autocast=False,
        )
