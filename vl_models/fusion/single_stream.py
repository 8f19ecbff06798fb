"""One transformer over the tokens of text and image, side by side."""

from __future__ import annotations

from typing import Any

from vl_models.fusion.sequence_encoder import SequenceEncoder
from vl_models.fusion.tokens import Fused, Tokens, fused, side_by_side
from vl_models.layers.pooler import Pooler


class SingleStreamEncoder(SequenceEncoder):
    """Blocks over [text; image], a last norm if they are pre-norm, and a vector of the pair.

    Sources: Kim et al., "ViLT: Vision-and-Language Transformer Without Convolution or Region
    Supervision", section 3.1 (pre-norm); Huang et al., "Seeing Out of tHe bOx" (SOHO), section 3.3
    (post-norm, without pooler).
    Arguments as in `SequenceEncoder`, and:

    Args:
        has_pooler: whether the vector of the pair is the text's first token through a `Pooler`;
            else that token as it is.
    """

    def __init__(self, *sizes: Any, has_pooler: bool = True, **kwargs: Any) -> None:
        super().__init__(*sizes, **kwargs)
        self.has_pooler = has_pooler
        self.pooler = None
        if has_pooler:
            self.pooler = Pooler(self.initializer_range, dtype=self.dtype_policy, name="pooler")

    def build(self, input_shape: Any = None) -> None:
        """Create the variables of blocks, norm and pooler."""
        super().build()
        if self.pooler is not None:
            self.pooler.build((None, None, self.width))

    def call(  # type: ignore[override]
        self, text: Tokens, image: Tokens, seeds: Any = None, training: bool = False
    ) -> Fused:
        """Encode pairs.

        Args:
            text: tokens of B texts.
            image: tokens of B images.
            seeds: int32 [B, 2] of the pairs; needed to drop in training.
            training: whether something is dropped.

        Returns:
            Tokens of both after the last norm, and the vector of the pair.
        """
        both = side_by_side(text, image)
        x = self.encode(both.values, both.mask, seeds=seeds, training=training)["tokens"]
        return fused(x, text, image, x[:, 0] if self.pooler is None else self.pooler(x))
