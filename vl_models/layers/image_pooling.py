"""CoCa's two views of an image: vectors for a decoder to read, and one for retrieval."""

from __future__ import annotations

from typing import Any

from vl_models.layers.attentional_pooler import AttentionalPooler
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.layer_norm import LayerNorm


class ImagePooling(ConfiguredLayer):
    """Attentional poolers over an image's tokens: one for captions, one for the embedding.

    "cascade" pools the caption's vectors once more for the embedding (the paper's choice),
    "parallel" pools the tokens for both, "single" has one pooler, whose first vector is the
    embedding (open_clip's released models). "encoder" pools for captions alone; the embedding is
    of what the image encoder pools itself, which small encoders learn sooner.
    Source: Yu et al., "CoCa: Contrastive Captioners are Image-Text Foundation Models", section 3.2
    (attentional poolers); norms as in open_clip.

    Args:
        mode: "cascade", "parallel", "single" or "encoder".
        queries: vectors that an image is pooled to, for "single" the embedding included.
        width: of these vectors.
        heads: attention heads of the poolers; must divide the width.
        epsilon: of the layer normalisations.

    Raises:
        ValueError: another mode, or "single" with less than two queries.
    """

    MODES = ("cascade", "parallel", "single", "encoder")

    def __init__(
        self, mode: str, queries: int, width: int, heads: int, epsilon: float = 1e-5, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if mode not in self.MODES:
            modes = ", ".join(map(repr, self.MODES))
            raise ValueError(f"`mode` must be one of {modes}. Received: mode={mode!r}")
        if mode == "single" and queries < 2:
            raise ValueError(
                "A single pooler needs a query for the embedding and at least one for captions. "
                f"Received: queries={queries}"
            )
        self.mode = mode
        self.queries = queries
        self.width = width
        self.heads = heads
        self.epsilon = epsilon
        policy = self.dtype_policy

        def pooler(count: int, name: str) -> AttentionalPooler:
            return AttentionalPooler(
                count, width, heads, epsilon, residual=False, dtype=policy, name=name
            )

        self.pooler = pooler(queries, "pooler")
        self.contrastive_pooler = None
        if mode in ("cascade", "parallel"):
            self.contrastive_pooler = pooler(1, "contrastive_pooler")
        self.norm = LayerNorm(epsilon, dtype=policy, name="norm")

    def build(self, input_shape: Any) -> None:
        """Create the poolers for tokens [B, N, any width]."""
        pooled = (None, None, self.width)
        self.pooler.build(input_shape)
        self.norm.build(pooled if self.mode == "single" else input_shape)
        if self.contrastive_pooler is not None:
            self.contrastive_pooler.build(pooled if self.mode == "cascade" else input_shape)

    def call(self, tokens: Any, own: Any = None) -> tuple[Any, Any]:
        """Pool images.

        Args:
            tokens: [B, N, any width], the class token included if there is one.
            own: [B, any width], what the encoder pools itself; needed for "encoder".

        Returns:
            [B, width] ([B, any width] of "encoder"), and the vectors for captions, [B, M, width].
        """
        if self.mode == "single":
            x = self.norm(self.pooler(tokens))
            return x[:, 0], x[:, 1:]
        tokens = self.norm(tokens)
        memory = self.pooler(tokens)
        if self.contrastive_pooler is None:
            return own, memory
        pooled = self.contrastive_pooler(memory if self.mode == "cascade" else tokens)
        return pooled[:, 0], memory
