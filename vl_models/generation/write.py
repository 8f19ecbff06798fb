"""Writing texts as a configuration says."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from vl_models.generation.beam import beam_search
from vl_models.generation.config import CaptionConfig, CaptionTokens
from vl_models.generation.generated import Generated, Step
from vl_models.generation.rules import Rules
from vl_models.generation.single import Choice, most_probable, random_choice, write_one
from vl_models.row_random import stream_seed


def write_texts(
    step: Step,
    state: Any,
    rows: tf.Tensor,
    length: int,
    config: CaptionConfig,
    tokens: CaptionTokens,
    seeds: tf.Tensor,
) -> Generated:
    """Write a text per row.

    Args:
        step: scores the next token.
        state: of B rows, before the first token.
        rows: B, int32 scalar.
        length: tokens of a text that the model has positions for, the end token included.
        config: how to write.
        tokens: of the vocabulary.
        seeds: int32 [B, 2] of the rows, for random texts.
    """
    length = length if config.max_length is None else min(length, config.max_length)
    rules = Rules.of(config, tokens)
    if config.method == "beam":
        return beam_search(step, state, rows, length, rules, config)
    choose: Choice = most_probable
    if config.method == "sample":
        choose = random_choice(config, stream_seed(seeds, config.seed))
    return write_one(step, state, rows, length, rules, config, choose)


def image_seeds(images: tf.Tensor) -> tf.Tensor:
    """Seeds int32 [B, 2] that are the same for the same pixels, uint8 [B, H, W, 3]."""
    pixels = tf.reshape(images, [tf.shape(images)[0], -1])
    return tf.bitcast(tf.reshape(tf.fingerprint(pixels), [-1, 2, 4]), tf.int32)
