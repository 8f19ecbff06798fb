"""SOHO's visual dictionary: cells beside the entries that are nearest to them."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from vl_models.layers import initializers
from vl_models.layers.batch_norm import BatchNorm
from vl_models.layers.codebook import Codebook
from vl_models.layers.configured import ConfiguredLayer


class VisualDictionary(ConfiguredLayer):
    """Quantise cells by a codebook that follows them, and mix both.

    The entry q goes through a linear map. "plain" adds it to the cell x; "gated" weighs both by a
    softmax of two maps of them, g₀ q + g₁ x, as the published pretraining does.
    Source: Huang et al., "Seeing Out of tHe bOx" (SOHO), section 3.2, and its published program.

    Args:
        size: K, number of entries.
        width: W, of a cell and of an entry.
        mix: "gated" or "plain".
        decay: see `Codebook`.
        keep_unused: see `Codebook`.
        restart_below: see `Codebook`.
        look_up_updated: see `Codebook`; True as published.

    Raises:
        ValueError: another mix.
    """

    def __init__(
        self,
        size: int,
        width: int,
        mix: str = "gated",
        decay: float = 0.99,
        keep_unused: bool = True,
        restart_below: float = 0.0,
        look_up_updated: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if mix not in ("gated", "plain"):
            raise ValueError(f"`mix` must be 'gated' or 'plain'. Received: mix={mix!r}")
        self.size = size
        self.width = width
        self.mix = mix
        self.decay = decay
        self.keep_unused = keep_unused
        self.restart_below = restart_below
        self.look_up_updated = look_up_updated
        self.codebook = Codebook(
            size,
            width,
            decay,
            keep_unused,
            look_up_updated,
            restart_below,
            dtype="float32",
            name="codebook",
        )

    def build(self, input_shape: Any) -> None:
        """Create codebook, linear map and gate."""
        policy, width = self.dtype_policy, self.width
        self.codebook.build()
        self.line = keras.layers.Dense(
            width, kernel_initializer=initializers.normal(0.02), dtype=policy, name="line"
        )
        self.line.build((None, width))
        if self.mix == "gated":
            self.gate = keras.layers.Dense(
                2, kernel_initializer=initializers.normal(0.02), dtype=policy, name="gate"
            )
            self.gate_norm = BatchNorm(dtype=policy, name="gate_norm")
            self.gate.build((None, 2 * width))
            self.gate_norm.build((None, None, 2))

    def call(
        self, cells: Any, valid: Any = None, seeds: Any = None, training: bool = False
    ) -> dict[str, Any]:
        """Quantise and mix; in training the codebook follows the cells first.

        Args:
            cells: [B, N, W].
            valid: bool [B, N], False for padding, which nothing follows.
            seeds: int32 [B, 2] of the rows, by which codes are restarted.
            training: whether the codebook follows.

        Returns:
            ``cells`` [B, N, W], mixed; ``codes`` int32 [B, N], number of the nearest entry;
            ``dictionary`` float32 [K, W], the entries that were looked up.
        """
        found = self.codebook(cells, valid=valid, seeds=seeds, training=training)
        entries = self.line(ops.cast(found["quantized"], cells.dtype))
        if self.mix == "plain":
            mixed = cells + entries
        else:
            gate = self.gate(ops.concatenate([entries, cells], axis=-1))
            gate = self.gate_norm(gate, valid=valid, training=training)
            share = ops.cast(tf.nn.softmax(tf.cast(gate, tf.float32)), cells.dtype)
            mixed = share[..., :1] * entries + share[..., 1:] * cells
        return {"cells": mixed, "codes": found["codes"], "dictionary": found["table"]}
