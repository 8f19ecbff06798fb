"""Readers of texts, drawn from the queries of an image or made of its labels."""

from __future__ import annotations

import tensorflow as tf

from vl_models import features as f
from vl_models.input.config import PADDING_HASH, SourceSpec
from vl_models.input.label_texts import draw_label_texts, fill_templates, label_ids
from vl_models.input.readers.base import Reader, Records, Rows, fingerprint
from vl_models.input.sampling import TEXT, draw_texts
from vl_models.row_random import stream_seed

_WEAK = b"weak"


def _query_features(spec: SourceSpec) -> dict[str, object]:
    specification: dict[str, object] = {
        f.QUERY_TEXT: tf.io.RaggedFeature(tf.string),
        f.QUERY_WEIGHT: tf.io.RaggedFeature(tf.float32),
    }
    if spec.facts.data.images is not None:
        specification[f.QUERY_IMAGES] = tf.io.RaggedFeature(tf.int64)
    if spec.source.weak_weight != 1.0:
        specification[f.QUERY_CORRELATION] = tf.io.RaggedFeature(tf.string)
    if "text_features" in spec.inputs:
        specification[f.QUERY_FEATURES] = tf.io.RaggedFeature(tf.float32)
    return specification


def _read_queries(records: Records) -> Rows:
    """Draw queries and everything that belongs to them."""
    parsed, source, shared = records.parsed, records.spec.source, records.spec.shared
    lengths = parsed[f.QUERY_TEXT].row_lengths()
    weighted = parsed[f.QUERY_WEIGHT].row_lengths()
    matching = (weighted == 0) | (weighted == lengths)
    checks = [
        records.check(lengths > 0, "A record has no text"),
        records.check(matching, "A record has not as many weights as texts"),
    ]
    with tf.control_dependencies(checks):
        lengths = tf.identity(lengths)
        texts = parsed[f.QUERY_TEXT].to_tensor("")  # [B, N]
    # Texts without weights all count alike.
    weights = parsed[f.QUERY_WEIGHT].to_tensor(1.0, shape=tf.shape(texts))
    factors = None
    if source.weak_weight != 1.0:
        factors = _correlation_factors(records, lengths, tf.shape(texts))
    count = records.texts_per_image
    text_seeds = stream_seed(records.seeds, TEXT)
    drawn = draw_texts(weights, lengths, count, text_seeds, shared.text_draw_power, factors)
    hashes = fingerprint(texts)

    def pick(values: tf.Tensor) -> tf.Tensor:
        """[B, N, …] to the drawn ones [B·n, …], image-major."""
        picked = tf.gather(values, drawn, batch_dims=1)
        return tf.reshape(picked, [records.size * count, *values.shape[2:]])

    counted = weights if factors is None else weights * factors
    batch: Rows = {"query_hash": pick(hashes), "query_weight": pick(counted)}
    if "token_ids" in records.spec.inputs:
        batch["texts"] = pick(texts)
    if "text_features" in records.spec.inputs:
        batch["text_features"] = pick(_text_features(records, lengths))
    if shared.max_clicked_queries:
        present = tf.sequence_mask(lengths, tf.shape(hashes)[1])
        batch |= _clicked(hashes, weights, present, _shares(records, present), records)
    return batch


def _label_features(spec: SourceSpec) -> dict[str, object]:
    return {
        **_query_features(spec),
        f.LABEL_ID: tf.io.RaggedFeature(tf.int64),
        f.LABEL_TEXT: tf.io.RaggedFeature(tf.string),
    }


def _read_labels(records: Records) -> Rows:
    """Texts made of one drawn label of each row, and everything that belongs to them."""
    parsed, source = records.parsed, records.spec.source
    lengths = parsed[f.LABEL_TEXT].row_lengths()
    given = parsed[f.LABEL_ID].row_lengths()
    matching = (given == 0) | (given == lengths)
    message = "A record has not as many label ids as label texts"
    with tf.control_dependencies([records.check(matching, message)]):
        labels = parsed[f.LABEL_TEXT].to_tensor("")
    filled = fill_templates(source.templates, labels)
    which, texts = draw_label_texts(filled, lengths, records.texts_per_image, records.seeds)
    texts = tf.reshape(texts, [records.size * records.texts_per_image])
    source_type = f.SOURCE_TYPES.index("label")
    batch: Rows = {
        "texts": texts,
        "query_hash": fingerprint(texts),
        "query_weight": tf.ones_like(texts, tf.float32),
        "source_type": tf.fill(tf.shape(records.rows), tf.constant(source_type, tf.int32)),
    }
    if source.use_labels:
        ids = label_ids(parsed[f.LABEL_ID], parsed[f.LABEL_TEXT])
        batch["label_id"] = tf.gather(ids, which, batch_dims=1)
    if records.spec.shared.max_clicked_queries:
        # Every text that the row's labels can make belongs to its image, before its queries.
        own = tf.repeat(
            tf.sequence_mask(lengths, tf.shape(labels)[1]), len(source.templates), axis=1
        )
        queries = parsed[f.QUERY_TEXT].to_tensor("")
        clicked = tf.sequence_mask(parsed[f.QUERY_TEXT].row_lengths(), tf.shape(queries)[1])
        weights = parsed[f.QUERY_WEIGHT].to_tensor(1.0, shape=tf.shape(queries))
        shares = _shares(records, clicked)
        batch |= _clicked(
            tf.concat(
                [tf.reshape(fingerprint(filled), tf.shape(own)), fingerprint(queries)], axis=1
            ),
            tf.concat([tf.fill(tf.shape(own), tf.float32.max), weights], axis=1),
            tf.concat([own, clicked], axis=1),
            # Nobody clicked for the texts of labels.
            None if shares is None else tf.concat([tf.zeros_like(own, tf.float32), shares], axis=1),
            records,
        )
    return batch


def _text_features(records: Records, lengths: tf.Tensor) -> tf.Tensor:
    """Features of all texts, float32 [B, N, width]."""
    features = records.parsed[f.QUERY_FEATURES]
    width = records.spec.facts.data.features["text_features"].width
    whole = records.check(
        features.row_lengths() == lengths * width,
        f"A record has not {width} features for each text",
    )
    with tf.control_dependencies([whole]):
        return tf.reshape(features.to_tensor(), [records.size, -1, width])


def _correlation_factors(records: Records, lengths: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """``weak_weight`` for queries of weak correlation, else 1: float32 [B, N]."""
    correlation = records.parsed[f.QUERY_CORRELATION]
    given = correlation.row_lengths()
    message = "A record has not as many correlations as texts"
    with tf.control_dependencies([records.check((given == 0) | (given == lengths), message)]):
        padded = correlation.to_tensor("", shape=shape)
    return tf.where(padded == _WEAK, records.spec.source.weak_weight, 1.0)


def _shares(records: Records, present: tf.Tensor) -> tf.Tensor | None:
    """Weights by idf of each image's queries, of unit norm, float32 [B, N]; None if not asked for.

    The inverse frequency of a query is ln(images / images clicked for it): what was clicked
    everywhere says nothing about an image. Sparck Jones 1972, "A Statistical Interpretation of
    Term Specificity and Its Application in Retrieval".
    """
    images = records.spec.facts.data.images
    if images is None:
        return None
    clicked = records.parsed[f.QUERY_IMAGES]
    given = clicked.row_lengths()
    matching = (given == 0) | (given == tf.reduce_sum(tf.cast(present, given.dtype), axis=1))
    message = "A record has not as many numbers of clicked images as texts"
    with tf.control_dependencies([records.check(matching, message)]):
        # Data without clicks does not count: then a text is of one image.
        frequency = clicked.to_tensor(1, shape=tf.shape(present))
    frequency = tf.cast(tf.clip_by_value(frequency, 1, images), tf.float32)
    inverse = tf.where(present, tf.math.log(float(images) / frequency), 0.0)
    return tf.math.divide_no_nan(inverse, tf.norm(inverse, axis=1, keepdims=True))


def _clicked(
    hashes: tf.Tensor,
    weights: tf.Tensor,
    present: tf.Tensor,
    shares: tf.Tensor | None,
    records: Records,
) -> Rows:
    """`clicked_query_hashes` of the heaviest present texts, padded with -1, and their shares."""
    count = records.spec.shared.max_clicked_queries
    hashes = tf.where(present, hashes, tf.constant(PADDING_HASH, tf.int64))
    weights = tf.where(present, weights, -float("inf"))
    order = tf.math.top_k(weights, tf.minimum(count, tf.shape(weights)[1])).indices

    def kept(values: tf.Tensor, padding: float) -> tf.Tensor:
        values = tf.gather(values, order, batch_dims=1)
        missing = count - tf.shape(values)[1]
        padded = tf.pad(values, [[0, 0], [0, missing]], constant_values=padding)
        return tf.ensure_shape(padded, [records.size, count])

    clicked: Rows = {"clicked_query_hashes": kept(hashes, PADDING_HASH)}
    if shares is not None:
        clicked["clicked_query_weight"] = kept(shares, 0.0)
    return clicked


QUERIES = Reader(_query_features, _read_queries)
LABEL_TEXTS = Reader(_label_features, _read_labels)
