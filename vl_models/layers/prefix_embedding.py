"""Learned prefixes of texts, one per source of the data."""

from __future__ import annotations

from typing import Any

from keras import ops

from vl_models.layers import initializers
from vl_models.layers.configured import ConfiguredLayer


class PrefixEmbedding(ConfiguredLayer):
    """Look up the vectors that precede a text: P for each source.

    Source: Saito et al., "Prefix Conditioning Unifies Language and Label Supervision",
    section 3.2.

    Args:
        sources: number of sources.
        length: P, vectors per source.
        width: width of the text encoder's tokens.
    """

    def __init__(self, sources: int, length: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sources = sources
        self.length = length
        self.width = width

    def build(self, input_shape: Any = None) -> None:
        """Create the table [sources, P, width], N(0, 0.02²)."""
        self.table = self.add_weight(
            name="table",
            shape=(self.sources, self.length, self.width),
            initializer=initializers.normal(0.02),
        )

    def call(self, source_id: Any) -> Any:
        """Prefixes [B, P, width] of sources int32 [B]."""
        return ops.take(self.table, source_id, axis=0)
