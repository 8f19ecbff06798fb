"""What queries' embeddings attend to, under each text prefix of the exported text tower."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfx_pipeline.evaluation.examples import choose_random
from tfx_pipeline.evaluation.result import AttentionMap, AttentionStrip
from tfx_pipeline.evaluation.zero_shot import text_prefixes
from vl_models.members import TEXT_ATTENTION, with_prefix

_LANGUAGES = ("en", "zh")


def attention_maps(
    text_tower: str | Path,
    queries: Sequence[str],
    languages: Sequence[str],
    count: int,
    seed: int,
) -> tuple[AttentionMap, ...]:
    """Attention of a few queries, English and Chinese in turns where there are such.

    Args:
        text_tower: SavedModel; without ``text_attention_<prefix>`` there are no maps.
        queries: to choose from.
        languages: one per query.
        count: how many to choose.
        seed: of the choice.
    """
    prefixes = text_prefixes(text_tower, TEXT_ATTENTION)
    if not prefixes:
        return ()
    rows = np.flatnonzero([language in _LANGUAGES for language in languages])
    chosen = choose_random(languages, rows if len(rows) else np.arange(len(queries)), count, seed)
    if not chosen:
        return ()
    texts = [queries[row] for row in chosen]
    loaded = tf.saved_model.load(str(text_tower))
    strips = {
        prefix: _strips(loaded.signatures[with_prefix(TEXT_ATTENTION, prefix)], prefix, texts)
        for prefix in prefixes
    }
    return tuple(
        AttentionMap(text, languages[row], tuple(strips[prefix][at] for prefix in prefixes))
        for at, (row, text) in enumerate(zip(chosen, texts))
    )


def _strips(
    signature: tf.types.experimental.GenericFunction, prefix: str, texts: Sequence[str]
) -> list[AttentionStrip]:
    """One strip per text; the padding behind it is left out."""
    answer = signature(query=tf.constant(list(texts)))
    result = []
    for tokens, weights in zip(answer["tokens"].numpy(), answer["weights"].numpy()):
        kept = [row for row, token in enumerate(tokens) if token]
        result.append(
            AttentionStrip(
                prefix,
                tuple(tokens[row].decode("utf-8") for row in kept),
                tuple(float(weights[row]) for row in kept),
            )
        )
    return result
