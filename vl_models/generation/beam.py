"""Beam search."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from vl_models.generation.config import CaptionConfig
from vl_models.generation.generated import Generated, Step
from vl_models.generation.rules import Rules

# Of places in the beam that hold no text: below everything that `Rules` adds.
_EMPTY = -1e12


def beam_search(
    step: Step, state: Any, rows: tf.Tensor, length: int, rules: Rules, config: CaptionConfig
) -> Generated:
    """Find a text of high log-probability / length^α per row.

    Of the 2 K best ways to go on with K texts, those that end are candidates, and the best K of the
    others go on. Texts that have not ended after ``length`` tokens are candidates, too. The search
    is over when no text that goes on can become better than the best candidate.
    Sources: Graves, "Sequence Transduction with Recurrent Neural Networks", section 3.4; length
    penalty as in open_clip's and Hugging Face's programs.

    Args:
        step: scores the next token.
        state: before the first token, of B rows.
        rows: B, int32 scalar.
        length: tokens of a text at most, the end token included.
        rules: what a text must not hold.
        config: K and α.
    """
    tokens, beams, alpha = rules.tokens, config.beams, config.length_penalty
    state = tf.nest.map_structure(lambda part: tf.repeat(part, beams, axis=0), state)
    first = tf.fill([rows, beams, 1], tokens.start)
    sequences = tf.concat([first, tf.fill([rows, beams, length], tokens.padding)], axis=2)
    sequences = tf.ensure_shape(sequences, [None, beams, length + 1])
    # One text to start with: K equal ones would go on alike.
    rank = tf.tile([[0.0, *[_EMPTY] * (beams - 1)]], [rows, 1])
    empty = tf.fill([rows], _EMPTY)
    beam = (sequences, rank, tf.zeros_like(rank), state)
    variables = (tf.constant(0), beam, (sequences[:, 0], empty, empty))

    def score(total: tf.Tensor, count: tf.Tensor | int) -> tf.Tensor:
        return total / tf.pow(tf.cast(count, tf.float32), alpha)

    def more(place: Any, beam: Any, best: Any) -> Any:
        # Log-probabilities only fall, and the penalty is mildest for the longest texts.
        reachable = score(tf.reduce_max(beam[1], axis=1), length)
        return (place < length) & tf.reduce_any(reachable > best[1])

    def search(place: Any, beam: Any, best: Any) -> Any:
        sequences, rank, total, state = beam
        flat = tf.reshape(sequences, [-1, length + 1])
        logits, state = step(flat[:, place], place, state)
        own = tf.nn.log_softmax(tf.cast(logits, tf.float32))
        size = own.shape[1]
        ranked = own + rules.penalties(flat, place, size) + tf.reshape(rank, [-1, 1])
        kept, way = tf.math.top_k(tf.reshape(ranked, [-1, beams * size]), 2 * beams)
        before, token = way // size, way % size
        own = tf.reshape(own, [-1, beams * size])
        totals = _taken(total, before) + _taken(own, way)
        at = tf.range(length + 1)[None, None] == place + 1
        grown = tf.where(at, token[:, :, None], _taken(sequences, before))
        ends = token == tokens.end

        # Against a rule a text has a low rank; its log-probability is the model's all the same.
        complete = (ends | (place + 1 == length)) & (kept > _EMPTY / 2)
        offered = tf.where(complete, score(kept, place + 1), _EMPTY)
        winner = tf.argmax(offered, axis=1, output_type=tf.int32)[:, None]
        offers = (grown, offered, score(totals, place + 1))
        challenge = [_taken(part, winner)[:, 0] for part in offers]
        better = challenge[1] > best[1]
        best = (
            tf.where(better[:, None], challenge[0], best[0]),
            *(tf.where(better, new, old) for new, old in zip(challenge[1:], best[1:])),
        )

        _, alive = tf.math.top_k(tf.where(ends, 2.0 * _EMPTY, kept), beams)
        source = _taken(before, alive) + tf.range(rows)[:, None] * beams
        source = tf.reshape(source, [-1])
        state = tf.nest.map_structure(lambda part: tf.gather(part, source), state)
        beam = (*(_taken(part, alive) for part in (grown, kept, totals)), state)
        return place + 1, beam, best

    # Gathers forget what does not change from word to word.
    shapes = tf.nest.map_structure(
        lambda part: tf.TensorShape([None, *part.shape[1:]]), variables[1:]
    )
    _, _, (text, _, best_score) = tf.while_loop(
        more, search, variables, shape_invariants=(tf.TensorShape([]), *shapes)
    )
    return Generated(text, best_score)


def _taken(values: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Values [B, N, ...] at the places int32 [B, M] of each row: [B, M, ...]."""
    return tf.gather(values, index, batch_dims=1)
