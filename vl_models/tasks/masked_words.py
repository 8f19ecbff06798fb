"""Which tokens of a text are to be guessed, and what stands in their place.

Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", section 3.1; whole words as in the authors' later release and in ViLT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from vl_models.errors import UserError
from vl_models.row_random import draw_uniform
from vl_models.tasks.fusion_config import CONTINUATION, MLMConfig, MMMConfig
from vl_models.tasks.wpa import inner_tokens

if TYPE_CHECKING:
    from vl_models.models.fusion_config import FusionConfig

# Of the tokens that are to be guessed: shares that become the mask token, and another token.
_MASKED, _REPLACED = 0.8, 0.1


def mask_token(kind: str, model: FusionConfig) -> int:
    """Return the token that hides words.

    Raises:
        UserError: the vocabulary has none, and a task of this kind needs it.
    """
    if model.mask_id is None:
        raise UserError(
            f"model.tasks: {kind} needs a vocabulary with a mask token, such as WordPiece's "
            f"[MASK]; this one has none. Take {kind} out, or set vocabulary.kind: wordpiece."
        )
    return model.mask_id


def mask_words(
    token_ids: tf.Tensor,
    text_mask: tf.Tensor,
    continuation: tf.Tensor,
    maskable: tf.Tensor,
    seeds: tf.Tensor,
    *,
    mask_id: int,
    candidates: Sequence[int] | np.ndarray,
    rate: float = 0.15,
    whole_words: bool = True,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Choose words to be guessed and hide most of them.

    Words of a text are taken in a random order until at least ``round(rate · maskable tokens)``
    tokens are chosen, and one word at least. Of the chosen tokens 80 % become the mask token,
    10 % a random candidate and 10 % stay, each by itself.

    Args:
        token_ids: int32 [B, L].
        text_mask: bool [B, L], True = token, False = padding.
        continuation: bool [B, L], True where a token continues the word of the one before it.
        maskable: bool [B, L], True where a token may be chosen: not for special tokens. Padding
            never is.
        seeds: int32 [B, 2], all randomness of each row.
        mask_id: the mask token.
        candidates: ids of the ordinary tokens, one of which takes a replaced token's place.
        rate: share of the maskable tokens that are to be guessed.
        whole_words: whether the tokens of a word are chosen together; else each by itself.

    Returns:
        The ids with chosen tokens hidden, int32 [B, L], and True where a token was chosen,
        bool [B, L].

    Raises:
        ValueError: no candidates, or a rate outside [0, 1].
    """
    candidates = np.asarray(candidates, np.int32)
    if candidates.size == 0 or not 0.0 <= rate <= 1.0:
        raise ValueError(
            "`candidates` must not be empty and `rate` must lie in [0, 1]. "
            f"Received: {candidates.size} candidates, rate={rate}"
        )
    maskable &= text_mask
    words = _words(maskable, continuation, whole_words)
    order, fate, other = tf.split(draw_uniform(seeds, 3 * token_ids.shape[1]), 3, axis=1)
    chosen = _choose(maskable, words, order, rate)
    replacement = tf.gather(candidates, tf.cast(other * candidates.size, tf.int32))
    hidden = tf.where(fate < _MASKED, mask_id, replacement)
    return tf.where(chosen & (fate < _MASKED + _REPLACED), hidden, token_ids), chosen


def _words(maskable: tf.Tensor, continuation: tf.Tensor, whole_words: bool) -> tf.Tensor:
    """Number of the word that each token belongs to, int32 [B, L]."""
    if not whole_words:
        return tf.broadcast_to(tf.range(maskable.shape[1]), tf.shape(maskable))
    # What follows a special token or padding continues nothing.
    follows = tf.pad(maskable[:, :-1], [[0, 0], [1, 0]])
    starts = ~(continuation & maskable & follows)
    return tf.cumsum(tf.cast(starts, tf.int32), axis=1) - 1


def _choose(maskable: tf.Tensor, words: tf.Tensor, order: tf.Tensor, rate: float) -> tf.Tensor:
    """True for the words that come first in ``order`` [B, L] until enough tokens are chosen."""
    key = tf.gather(order, words, batch_dims=1)
    earlier = key[:, None, :] < key[:, :, None]
    # Equal keys are rare, but must not make one word of two.
    earlier |= (key[:, None, :] == key[:, :, None]) & (words[:, None, :] < words[:, :, None])
    before = tf.math.count_nonzero(earlier & maskable[:, None, :], axis=2, dtype=tf.int32)
    wanted = [max(round(rate * tokens), 1) for tokens in range(maskable.shape[1] + 1)]
    tokens = tf.math.count_nonzero(maskable, axis=1, keepdims=True, dtype=tf.int32)
    return maskable & (before < tf.gather(tf.constant(wanted), tokens))


def hide_words(
    texts: Mapping[str, tf.Tensor],
    seeds: tf.Tensor,
    config: MLMConfig | MMMConfig,
    mask_id: int,
    vocabulary: int | None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """See `mask_words`: as a task's configuration says, of all words between first and last token.

    Args:
        texts: ``token_ids``, ``text_mask`` and ``token_continuation`` of a batch, [B, L] each.
        seeds: int32 [B, 2], all randomness of each text.
        config: of the task.
        mask_id: the mask token.
        vocabulary: V; of all its tokens one may take a hidden one's place.
    """
    assert vocabulary is not None  # the trainer has set it
    return mask_words(
        texts["token_ids"],
        texts["text_mask"],
        texts[CONTINUATION],
        inner_tokens(texts["text_mask"]),
        seeds,
        mask_id=mask_id,
        candidates=np.arange(vocabulary),
        rate=config.rate,
        whole_words=config.whole_words,
    )
