"""The reader of `answer`: how well each of the data's answers fits a row's question."""

from __future__ import annotations

import tensorflow as tf

from vl_models import features as f
from vl_models.input.config import SourceSpec
from vl_models.input.readers.base import Reader, Records, Rows


def _features(spec: SourceSpec) -> dict[str, object]:
    del spec
    return {
        f.ANSWER_TEXT: tf.io.RaggedFeature(tf.string),
        f.ANSWER_SCORE: tf.io.RaggedFeature(tf.float32),
    }


def _read(records: Records) -> Rows:
    """float32 [B, A]: scores of the known answers, 1 where an Example gives none, 0 elsewhere."""
    texts, scores = records.parsed[f.ANSWER_TEXT], records.parsed[f.ANSWER_SCORE]
    given, lengths = scores.row_lengths(), texts.row_lengths()
    message = "A record has not as many scores as answers"
    with tf.control_dependencies([records.check((given == 0) | (given == lengths), message)]):
        names = texts.to_tensor("")
    padded = scores.to_tensor(1.0, shape=tf.shape(names))
    matches = names[:, :, tf.newaxis] == tf.constant(records.spec.facts.data.answers)
    scores = tf.reduce_max(tf.where(matches, padded[:, :, tf.newaxis], 0.0), axis=1)
    return {"answer": tf.maximum(scores, 0.0)}  # of no answer in the whole batch it is -inf


ANSWER = Reader(_features, _read)
