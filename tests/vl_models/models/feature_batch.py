"""A batch of class-structured features, and configurations that read it."""

import numpy as np
import tensorflow as tf

CLASSES, IMAGE_WIDTH, TEXT_WIDTH = 3, 6, 5
SIDES = {
    "image": {"kind": "features", "width": IMAGE_WIDTH, "hidden_widths": [8]},
    "text": {"kind": "features", "width": TEXT_WIDTH, "hidden_widths": [7]},
    "num_labels": CLASSES,
}


def feature_batch(rows=6, texts=1, seed=0):
    """``texts`` texts per image; classes 0, 1, 2, 0, …"""
    generator = np.random.default_rng(seed)
    classes = np.arange(rows) % CLASSES
    keys = np.arange(rows * texts)
    return {
        "image_features": tf.constant(generator.normal(size=(rows, IMAGE_WIDTH)), tf.float32),
        "text_features": tf.constant(generator.normal(size=(rows * texts, TEXT_WIDTH)), tf.float32),
        "label": tf.one_hot(classes, CLASSES),
        "label_id": tf.constant(classes, tf.int32),
        "image_id_hash": tf.range(rows, dtype=tf.int64),
        "query_hash": tf.constant(keys + 100, tf.int64),
        "query_weight": tf.ones([rows * texts]),
        "row": tf.range(rows, dtype=tf.int64),
        "seed": tf.zeros([rows, 2], tf.int32),
    }
