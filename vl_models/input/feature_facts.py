"""What training must know of its Examples before it builds a model: widths, statistics, classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from vl_models import features as f
from vl_models.errors import UserError
from vl_models.input.config import FeatureStatistics
from vl_models.input.label_texts import label_names
from vl_models.input.records import read_records

_BATCH = 1024


def feature_statistics(shards: Sequence[str], feature: str) -> FeatureStatistics:
    """Read the vectors of all Examples once.

    Args:
        shards: record files.
        feature: `IMAGE_FEATURES`, or `QUERY_FEATURES`, where an Example may hold several vectors.

    Raises:
        UserError: an Example without the feature, or with another width than the first one.
    """
    width, count = 0, 0
    mean = squares = np.zeros(0)
    specification = {
        feature: tf.io.RaggedFeature(tf.float32),
        f.QUERY_TEXT: tf.io.RaggedFeature(tf.string),
        f.IMAGE_ID: tf.io.FixedLenFeature([], tf.string, ""),
    }
    for records in read_records(shards).batch(_BATCH):
        parsed = tf.io.parse_example(records, specification)
        lengths = parsed[feature].row_lengths().numpy()
        if feature == f.QUERY_FEATURES:
            lengths = lengths // np.maximum(parsed[f.QUERY_TEXT].row_lengths().numpy(), 1)
        width = width or int(lengths[0])
        wrong = np.flatnonzero((lengths != width) | (lengths == 0))
        if len(wrong):
            name = parsed[f.IMAGE_ID][wrong[0]].numpy().decode("utf-8")
            raise UserError(
                f"The Example of image '{name}' has {lengths[wrong[0]]} values of {feature}, "
                f"others have {width}: all vectors must be equally wide. Build the Examples of "
                "features of one kind, with `vlsearch data features` or extract-features."
            )
        values = parsed[feature].flat_values.numpy().reshape(-1, width).astype(np.float64)
        # Chan's update of mean and squares by a batch: no cancellation at large means.
        total = count + len(values)
        mean, squares = (mean, squares) if count else (np.zeros(width), np.zeros(width))
        difference = values.mean(axis=0) - mean
        squares += np.square(values - values.mean(axis=0)).sum(axis=0)
        squares += np.square(difference) * count * len(values) / total
        mean, count = mean + difference * len(values) / total, total
    if count == 0:
        raise UserError("There is no Example to learn from: the train split is empty.")
    return FeatureStatistics(mean, np.sqrt(squares / count))


def class_names(shards: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the distinct labels of all Examples, sorted by name.

    Returns:
        Label texts, or else ids in digits; and the label texts of the texts' own system, if any.
    """
    specification = {
        f.LABEL_ID: tf.io.RaggedFeature(tf.int64),
        f.LABEL_TEXT: tf.io.RaggedFeature(tf.string),
        f.TEXT_LABEL_TEXT: tf.io.RaggedFeature(tf.string),
    }
    names: tuple[set[bytes], set[bytes]] = set(), set()
    for records in read_records(shards).batch(_BATCH):
        parsed = tf.io.parse_example(records, specification)
        found = label_names(parsed[f.LABEL_ID], parsed[f.LABEL_TEXT])
        names[0].update(np.unique(found.numpy()).tolist())
        names[1].update(np.unique(parsed[f.TEXT_LABEL_TEXT].flat_values.numpy()).tolist())
    labels, text_labels = (
        tuple(sorted(name.decode("utf-8") for name in found if name)) for found in names
    )
    return labels, text_labels


def answer_names(shards: Sequence[str]) -> tuple[str, ...]:
    """Return the distinct answers of all Examples, sorted by name."""
    specification = {f.ANSWER_TEXT: tf.io.RaggedFeature(tf.string)}
    names: set[bytes] = set()
    for records in read_records(shards).batch(_BATCH):
        parsed = tf.io.parse_example(records, specification)
        names.update(np.unique(parsed[f.ANSWER_TEXT].flat_values.numpy()).tolist())
    return tuple(sorted(name.decode("utf-8") for name in names))
