"""The reader of what every row has: who it is, how often it is drawn, and its labels."""

from __future__ import annotations

import tensorflow as tf

from vl_models import features as f
from vl_models.input.config import SourceSpec
from vl_models.input.label_texts import NO_LABEL, label_ids, label_names
from vl_models.input.readers.base import Reader, Records, Rows, fingerprint, multi_hot


def _features(spec: SourceSpec) -> dict[str, object]:
    specification: dict[str, object] = {
        f.IMAGE_ID: tf.io.FixedLenFeature([], tf.string, ""),
        f.IMAGE_CLICKS_TOTAL: tf.io.FixedLenFeature([], tf.int64, 0),
        f.SOURCE_TYPE: tf.io.FixedLenFeature([], tf.string, f.SOURCE_TYPES[0]),
    }
    if spec.source.use_labels or spec.facts.data.classes:
        specification[f.LABEL_ID] = tf.io.RaggedFeature(tf.int64)
        specification[f.LABEL_TEXT] = tf.io.RaggedFeature(tf.string)
    if spec.facts.data.text_classes:
        specification[f.TEXT_LABEL_TEXT] = tf.io.RaggedFeature(tf.string)
    return specification


def _read(records: Records) -> Rows:
    parsed, source = records.parsed, records.spec.source
    return {
        "row": records.rows,
        "seed": records.seeds,
        "image_id_hash": fingerprint(parsed[f.IMAGE_ID]),
        "source_type": _source_type(parsed[f.SOURCE_TYPE], source.rows),
        "image_log_q": _image_log_q(records),
        **_labels(records),
    }


def _source_type(names: tf.Tensor, rows: str) -> tf.Tensor:
    """Indices into `features.SOURCE_TYPES`, int32 [B]: the record's, or that of single rows."""
    if rows != "pairs":
        single = f.SOURCE_TYPES.index({"images": "image_only", "texts": "text_only"}[rows])
        return tf.fill(tf.shape(names), tf.constant(single, tf.int32))
    known = tf.constant(f.SOURCE_TYPES)
    return tf.argmax(names[:, tf.newaxis] == known, axis=1, output_type=tf.int32)


def _image_log_q(records: Records) -> tf.Tensor:
    """Log share of the draws, or of the clicks; an image without clicks counts as one with one."""
    clicks = records.parsed[f.IMAGE_CLICKS_TOTAL]
    log_clicks = tf.math.log(tf.cast(tf.maximum(clicks, 1), tf.float32))
    power, total = records.spec.source.image_draw_power, records.spec.facts.data.total_clicks
    if power is not None:
        return log_clicks * power
    return log_clicks - tf.math.log(tf.constant(1.0 if total is None else total, tf.float32))


def _labels(records: Records) -> Rows:
    """label_id int32 [B] (the first, -1 = none), label and text_label as far as asked for."""
    parsed, data = records.parsed, records.spec.facts.data
    batch: Rows = {"label_id": tf.fill([records.size], tf.constant(NO_LABEL, tf.int32))}
    if records.spec.source.use_labels:
        batch["label_id"] = label_ids(parsed[f.LABEL_ID], parsed[f.LABEL_TEXT])[:, 0]
    if data.classes:
        names = label_names(parsed[f.LABEL_ID], parsed[f.LABEL_TEXT])
        batch["label"] = multi_hot(names, data.classes)
    if data.text_classes:
        names = parsed[f.TEXT_LABEL_TEXT].to_tensor("")
        batch["text_label"] = multi_hot(names, data.text_classes)
    return batch


ROW = Reader(_features, _read)
