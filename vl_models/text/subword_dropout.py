"""Subword regularisation: in training, words are sometimes split further, or unknown.

A vocabulary that holds every word of the training texts never shows its pieces in training, so
that texts with new words are encoded by embeddings that nobody has trained.
Sources: Hiraoka 2022, "MaxMatch-Dropout: Subword Regularization for WordPiece"; Provilkov et al.
2020, "BPE-Dropout".
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from vl_models.row_random import draw_uniform
from vl_models.text.tokenizer import TokenBatch
from vl_models.text.vocabulary import CONTINUATION_PREFIX, SPECIAL_TOKENS, UNKNOWN
from vl_models.text.wordpiece import WordPieceTokenizer

# Ways to split each token are drawn once: enough that its pieces are seen in many contexts.
_WAYS = 8
# Probability that a match is passed over for a shorter one. Small: new words are split by the
# longest matches, and those are to be trained.
_PASSED_OVER = 0.3
_EMPTY = -1


class SubwordDropout:
    """Replaces tokens by smaller ones that spell the same, and words by `[UNK]`, at random.

    Args:
        tokenizer: of the texts.
        split: probability that a token is split, where smaller pieces spell it.
        unknown: probability that a word becomes `[UNK]`.
    """

    def __init__(self, tokenizer: WordPieceTokenizer, split: float, unknown: float) -> None:
        self._tokenizer = tokenizer
        self._split, self._unknown = split, unknown
        self._ways = split_table(tokenizer.vocabulary)
        self._unknown_id = tokenizer.vocabulary.index(UNKNOWN)

    def __call__(self, tokens: Mapping[str, tf.Tensor], seeds: tf.Tensor) -> TokenBatch:
        """Change token ids; a graph function.

        Args:
            tokens: ``token_ids`` int32 [N, L] and ``text_mask`` bool [N, L].
            seeds: int32 [N, 2], all randomness of each text.

        Returns:
            The same keys and shapes; what no longer fits into L is cut off.
        """
        tokenizer, ids = self._tokenizer, tokens["token_ids"]
        inner = tokens["text_mask"] & (ids != tokenizer.start_id) & (ids != tokenizer.end_id)
        split, way, unknown = tf.split(draw_uniform(seeds, 3 * ids.shape[1]), 3, axis=1)
        # [N, L, S]: the token itself and nothing behind it, or one of its ways.
        ways = tf.gather_nd(
            tf.constant(self._ways), tf.stack([ids, tf.cast(way * _WAYS, tf.int32)], axis=-1)
        )
        whole = _alone(ids, self._ways.shape[-1])
        pieces = tf.where((split < self._split)[..., tf.newaxis], ways, whole)
        # A word is lost with all of its tokens; its first one becomes [UNK].
        continues = tokenizer.continuation_mask(ids) & inner
        word = tf.cumsum(tf.cast(~continues, tf.int32), axis=1) - 1
        lost = tf.gather(unknown, word, batch_dims=1) < self._unknown
        instead = tf.where(continues, _EMPTY, self._unknown_id)
        pieces = tf.where(lost[..., tf.newaxis], _alone(instead, self._ways.shape[-1]), pieces)
        kept = (pieces != _EMPTY) & inner[..., tf.newaxis]
        flat = [tf.shape(ids)[0], ids.shape[1] * self._ways.shape[-1]]
        return tokenizer.frame(
            tf.ragged.boolean_mask(tf.reshape(pieces, flat), tf.reshape(kept, flat))
        )


def split_table(vocabulary: Sequence[str]) -> np.ndarray:
    """Ways to spell each token by smaller ones, the same for the same vocabulary.

    The first way is that of greedy longest matches; the others pass over matches at random. A
    token that no smaller ones spell, such as a single character, has itself as its only way.

    Args:
        vocabulary: tokens in the order of their ids.

    Returns:
        int32 [V, 8, S]; ids, -1 padded, S of the longest way.
    """
    ids = {token: index for index, token in enumerate(vocabulary)}
    draw = random.Random(0)
    table = []
    for token in vocabulary:
        ways = [_way(token, ids, draw if number else None) for number in range(_WAYS)]
        table.append([way or [ids[token]] for way in ways])
    longest = max(len(way) for ways in table for way in ways)
    padded = [[way + [_EMPTY] * (longest - len(way)) for way in ways] for ways in table]
    return np.array(padded, np.int32)


def unused_tokens(vocabulary: Sequence[str], words: Iterable[str]) -> list[str]:
    """Tokens that no text holds, whole or split: nothing can train them.

    Args:
        vocabulary: tokens in the order of their ids.
        words: the distinct words of the texts, as `split_words` gives them.
    """
    ids = {token: index for index, token in enumerate(vocabulary)}
    used = np.zeros(len(vocabulary) + 1, bool)  # the last one is that of the padding
    for word in words:
        used[_matches(word, "", ids) or []] = True
    used[split_table(vocabulary)[used[:-1]].ravel()] = True
    return [
        token for token, here in zip(vocabulary, used) if not here and token not in SPECIAL_TOKENS
    ]


def _way(token: str, ids: Mapping[str, int], draw: random.Random | None) -> list[int] | None:
    """One way to spell a token by smaller ones, or None."""
    if token in SPECIAL_TOKENS:
        return None
    prefix = CONTINUATION_PREFIX if token.startswith(CONTINUATION_PREFIX) else ""
    text = token.removeprefix(prefix)
    return _matches(text, prefix, ids, longest=len(text) - 1, draw=draw)


def _matches(
    text: str,
    prefix: str,
    ids: Mapping[str, int],
    *,
    longest: int | None = None,
    draw: random.Random | None = None,
) -> list[int] | None:
    """Ids of the longest matches from the left, of at most ``longest`` characters each.

    Some are passed over at random with ``draw``, single characters never. None if there is a
    character that no token begins with.
    """
    matches: list[int] = []
    start = 0
    while start < len(text):
        lead = CONTINUATION_PREFIX if start else prefix
        end = len(text) if longest is None else min(len(text), start + longest)
        while end > start:
            found = ids.get(lead + text[start:end])
            passed_over = draw is not None and end > start + 1 and draw.random() < _PASSED_OVER
            if found is not None and not passed_over:
                break
            end -= 1
        else:
            return None
        matches.append(ids[lead + text[start:end]])
        start = end
    return matches


def _alone(ids: tf.Tensor, length: int) -> tf.Tensor:
    """Ids [N, L] with nothing behind them: [N, L, length]."""
    behind = [[0, 0], [0, 0], [0, length - 1]]
    return tf.pad(ids[..., tf.newaxis], behind, constant_values=_EMPTY)
