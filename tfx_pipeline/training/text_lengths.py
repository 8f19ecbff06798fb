"""How many texts are longer than the text tower reads."""

from __future__ import annotations

import copy
import itertools
import logging
from pathlib import Path

import tensorflow as tf

from tfx_pipeline.data.writers import read_records
from tfx_pipeline.training.sources import TRAIN, split_pattern
from vl_models import features
from vl_models.errors import UserError
from vl_models.text.tokenizer import Tokenizer

_SAMPLE = 10_000  # texts: enough for a share, and a second's work


def check_text_lengths(tokenizer: Tokenizer, examples: Path, max_fraction: float | None) -> None:
    """Log the share of train texts that `max_length` cuts, once they are tokenised.

    Args:
        tokenizer: of the model.
        examples: folder with `Split-train/`, of which the first 10,000 texts are looked at.
        max_fraction: more fail; None: they never do.

    Raises:
        UserError: more texts are cut than that.
    """
    files = sorted(tf.io.gfile.glob(split_pattern(examples, TRAIN)))
    records = itertools.chain.from_iterable(map(read_records, files))
    found = (
        text for r in records for text in r.features.feature[features.QUERY_TEXT].bytes_list.value
    )
    texts = list(itertools.islice(found, _SAMPLE))
    if not texts:
        return
    longer = copy.copy(tokenizer)
    longer.max_length = tokenizer.max_length + 1  # what fills this as well would be cut
    cut = tf.reduce_all(longer.tokenize(tf.constant(texts))["text_mask"], axis=1).numpy()
    if not cut.any():
        return
    example = texts[int(cut.argmax())].decode()
    message = (
        f"{cut.sum():,} of {len(cut):,} train texts ({cut.mean():.1%}) are cut by model.max_length="
        f"{tokenizer.max_length}, e.g. {example[:100]!r}. Raise it if their ends matter."
    )
    if max_fraction is not None and cut.mean() > max_fraction:
        raise UserError(
            f"{message} (data.checks.max_cut_fraction is {max_fraction:g}; null lets the run go on "
            "with a warning.)"
        )
    logging.getLogger(__name__).warning("%s", message)
