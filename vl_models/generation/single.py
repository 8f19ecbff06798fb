"""One text per row: the most probable token every time, or a random one.

KerasHub's samplers are not used here. Its random ones keep their seed in a variable that every
call changes, so that a served model would have state and the same image another caption each time;
and none of its samplers knows least lengths, length penalties or repeated n-grams. Greedy search
and beam search without these are tested against KerasHub's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from vl_models.generation.config import CaptionConfig
from vl_models.generation.generated import Generated, Step
from vl_models.generation.rules import Rules
from vl_models.row_random import stream_seed, uniform

# Chooses of log-probabilities float32 [N, V], that of the token at a place + 1: int32 [N].
Choice = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def most_probable(log_probabilities: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """Choose greedily; of equal tokens the first."""
    return tf.argmax(log_probabilities, axis=1, output_type=tf.int32)


def random_choice(config: CaptionConfig, seeds: tf.Tensor) -> Choice:
    """Draw from the softmax of the logits over the temperature, cut to top k and top p.

    By the Gumbel-max trick, with noise of the rows' seeds: a text does not depend on the others.
    Sources: Fan et al., "Hierarchical Neural Story Generation", section 5.1 (top k); Holtzman et
    al., "The Curious Case of Neural Text Degeneration", section 3.1 (top p).

    Args:
        config: temperature, top k, top p.
        seeds: int32 [N, 2] of the rows.
    """

    def choose(log_probabilities: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
        scores = log_probabilities / config.temperature
        size = log_probabilities.shape[1]
        order = tf.argsort(scores, axis=1, direction="DESCENDING", stable=True)
        ordered = tf.gather(scores, order, batch_dims=1)
        kept = tf.range(size)[None] < (config.top_k or size)
        if config.top_p is not None:
            share = tf.nn.softmax(tf.where(kept, ordered, -tf.float32.max), axis=1)
            # Those before a token must not hold the share already.
            kept &= tf.cumsum(share, axis=1, exclusive=True) < config.top_p
        noise = uniform(stream_seed(seeds, place), tf.range(size))
        noisy = ordered - tf.math.log(-tf.math.log(noise))
        best = tf.argmax(tf.where(kept, noisy, -tf.float32.max), axis=1, output_type=tf.int32)
        return tf.gather(order, best, batch_dims=1)

    return choose


def write_one(
    step: Step,
    state: Any,
    rows: tf.Tensor,
    length: int,
    rules: Rules,
    config: CaptionConfig,
    choose: Choice,
) -> Generated:
    """Write one text per row, token by token, until all have ended.

    Args:
        step: scores the next token.
        state: before the first token.
        rows: B, int32 scalar.
        length: tokens of a text at most, the end token included.
        rules: what a text must not hold.
        config: length penalty.
        choose: the next token.
    """
    tokens = rules.tokens
    first = tf.fill([rows, 1], tokens.start)
    sequences = tf.concat([first, tf.fill([rows, length], tokens.padding)], axis=1)
    sequences = tf.ensure_shape(sequences, [None, length + 1])

    def more(place: Any, sequences: Any, done: Any, total: Any, count: Any, state: Any) -> Any:
        return (place < length) & ~tf.reduce_all(done)

    def write(place: Any, sequences: Any, done: Any, total: Any, count: Any, state: Any) -> Any:
        logits, state = step(sequences[:, place], place, state)
        own = tf.nn.log_softmax(tf.cast(logits, tf.float32))
        allowed = own + rules.penalties(sequences, place, own.shape[1])
        token = tf.where(done, tokens.padding, choose(allowed, place))
        added = tf.gather(own, tf.where(done, 0, token), batch_dims=1)
        total += tf.where(done, 0.0, added)
        count += tf.cast(~done, tf.float32)
        at = tf.range(length + 1)[None] == place + 1
        sequences = tf.where(at, token[:, None], sequences)
        return place + 1, sequences, done | (token == tokens.end), total, count, state

    zero = tf.zeros([rows])
    _, sequences, _, total, count, _ = tf.while_loop(
        more, write, (tf.constant(0), sequences, tf.zeros([rows], tf.bool), zero, zero, state)
    )
    return Generated(sequences, total / tf.pow(tf.maximum(count, 1.0), config.length_penalty))
