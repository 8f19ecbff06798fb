"""What generators take and make."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import tensorflow as tf


class Generated(NamedTuple):
    """Texts that a model has written.

    Attributes:
        token_ids: int32 [B, T]: start token, text, end token if it was reached, padding.
        score: float32 [B], log-probability / length^α of the text (`CaptionConfig`).
    """

    token_ids: tf.Tensor
    score: tf.Tensor


class Step(Protocol):
    """Scores the next token of N texts.

    The state is a structure of tensors whose first dimension is N: rows are taken out of it and
    repeated as the search goes on.
    """

    def __call__(self, token_ids: tf.Tensor, place: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        """Take the token at a place, int32 [N]; return logits float32 [N, V] and the new state."""
        ...
