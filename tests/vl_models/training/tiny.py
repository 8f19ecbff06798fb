"""A real, tiny system and tiny record files: a linear dual encoder over 4x4 images."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from vl_models import features as f
from vl_models.distribution import all_gather, global_mean
from vl_models.input.config import (
    DataFacts,
    FeatureStatistics,
    InputConfig,
    InputFacts,
    SourceConfig,
    SourceSpec,
)
from vl_models.input.source import RecordSource
from vl_models.models.base import VisionLanguageModel

SIZE, VOCABULARY, LENGTH = 4, 50, 6


def tokenize(texts):
    """string [N] to hashed words."""
    words = tf.strings.split(texts).to_tensor("", shape=[None, LENGTH])
    ids = tf.strings.to_hash_bucket_fast(words, VOCABULARY)
    return {"token_ids": tf.cast(ids, tf.int32), "text_mask": words != ""}


def tokenize_words(texts):
    """The same with the flags of tokens that continue a word; here none does."""
    tokens = tokenize(texts)
    return {**tokens, "token_continuation": tf.zeros_like(tokens["text_mask"])}


class LinearDualEncoder(VisionLanguageModel):
    """Contrastive loss over linear towers, a label term, a modality head, and one counter."""

    inputs = ("image", "token_ids")
    loss_names = ("contrastive", "adversary")

    def __init__(self, width=8, nan_after=None):
        self.width = width
        self.nan_after = nan_after
        initializer = keras.initializers.RandomNormal(stddev=0.1, seed=1)
        self.image_tower = keras.layers.Dense(
            width, name="image_tower", kernel_initializer=initializer, bias_initializer=initializer
        )
        self.text_tower = keras.layers.Embedding(
            VOCABULARY, width, name="text_tower", embeddings_initializer=initializer
        )
        self.head = keras.layers.Dense(1, name="modality_head", kernel_initializer=initializer)
        self.temperature = Scalar(name="temperature")

    def build(self):
        self.image_tower.build([None, SIZE * SIZE * 3])
        self.text_tower.build([None, LENGTH])
        self.head.build([None, self.width])
        self.temperature.build(None)

    def encode_image(self, batch):
        pixels = tf.cast(batch["image"], tf.float32) / 255.0
        noise = tf.map_fn(
            lambda seed: tf.random.stateless_normal([SIZE * SIZE * 3], seed, stddev=0.1),
            batch["seed"],
            fn_output_signature=tf.float32,
        )
        flat = tf.reshape(pixels, [-1, SIZE * SIZE * 3]) + noise
        return tf.nn.l2_normalize(tf.cast(self.image_tower(flat), tf.float32), axis=-1)

    def encode_text(self, batch):
        mask = tf.cast(batch["text_mask"], tf.float32)[..., tf.newaxis]
        embedded = tf.cast(self.text_tower(batch["token_ids"]), tf.float32)
        pooled = tf.reduce_sum(embedded * mask, axis=1)
        return tf.nn.l2_normalize(pooled, axis=-1)

    def encode(self, batch, training):
        return {"image": self.encode_image(batch), "text": self.encode_text(batch)}

    def own_losses(self, batch, outputs):
        images, texts = all_gather(outputs["image"]), all_gather(outputs["text"])
        per_image = tf.shape(texts)[0] // tf.shape(images)[0]
        logits = self.temperature.scale * tf.matmul(images, texts[::per_image], transpose_b=True)
        contrastive = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(tf.range(tf.shape(logits)[0]), logits)
        )
        if self.nan_after is not None:
            bad = self.temperature.counter.value >= self.nan_after
            contrastive += tf.where(bad, float("nan"), 0.0)
        logit_i, logit_t = self.head(outputs["image"])[:, 0], self.head(outputs["text"])[:, 0]
        adversary = global_mean(tf.nn.softplus(-logit_i)) + global_mean(tf.nn.softplus(logit_t))
        return {"contrastive": contrastive, "adversary": adversary}

    def after_step(self, batch, outputs):
        self.temperature.counter.assign_add(1.0)

    def after_update(self):
        scale = self.temperature.scale
        scale.assign(tf.minimum(scale.value, 20.0))

    def scalars(self):
        return {"temperature": 1.0 / self.temperature.scale}

    def get_config(self):
        return {"width": self.width, "nan_after": self.nan_after}


class Scalar(keras.layers.Layer):
    """The logit scale, and how many forward passes there were."""

    def build(self, shape):
        self.scale = self.add_weight(name="logit_scale", initializer=keras.initializers.Constant(5))
        self.counter = self.add_weight(
            name="counter",
            trainable=False,
            initializer="zeros",
            aggregation="only_first_replica",
        )


def write_records(folder, shards=3, per_shard=7, queries=3, with_images=True, features=None):
    """Record files as ClickExampleGen names them; returns the file pattern.

    ``features(number)`` gives a record other features: names to lists of bytes, int or float.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    number = 0
    for shard in range(shards):
        path = folder / f"data_tfrecord-{shard:05d}-of-{shards:05d}.gz"
        with tf.io.TFRecordWriter(str(path), options) as writer:
            for _ in range(per_shard):
                record = _example(number, queries, rng, with_images)
                for name, values in (features(number) if features else {}).items():
                    record.features.feature[name].CopyFrom(feature_of(values))
                writer.write(record.SerializeToString())
                number += 1
    return str(folder / "data_tfrecord-*.gz")


def _example(number, queries, rng, with_images):
    image = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)

    def texts(values):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    def integers(values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    feature = {
        f.IMAGE_ID: texts([b"image-%d" % number]),
        f.QUERY_TEXT: texts([b"image %d text %d" % (number, q) for q in range(queries)]),
        f.QUERY_WEIGHT: tf.train.Feature(
            float_list=tf.train.FloatList(value=[float(q + 1) for q in range(queries)])
        ),
        f.IMAGE_CLICKS_TOTAL: integers([number + 1]),
        f.LABEL_ID: integers([number % 3]),
        f.SOURCE_TYPE: texts([b"caption"]),
    }
    if with_images:
        feature[f.IMAGE_ENCODED] = texts([tf.io.encode_png(image).numpy()])
    return tf.train.Example(features=tf.train.Features(feature=feature))


def feature_of(values):
    """A tf.Feature of a list of bytes, int or float; empty lists are absent values."""
    if values and isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if values and isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return (
        tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        if values
        else (tf.train.Feature())
    )


def spec(name="clicks", weight=1.0, **settings):
    """A source's specification of flat settings; those named like features give their widths."""
    widths = {k: settings.pop(k) for k in ("image_features", "text_features") if k in settings}
    features = {
        k: FeatureStatistics(np.zeros(width), np.ones(width)) for k, width in widths.items()
    }
    data = DataFacts(**_taken(settings, DataFacts, features=features))
    sizes = {"image_sizes": {"image": settings.pop("image_size", SIZE)}}
    facts = InputFacts(**_taken(settings, InputFacts, data=data, **sizes))
    own = {key: settings.pop(key) for key in SourceConfig.model_fields if key in settings}
    own = {"use_labels": True, "image_draw_power": None, **own}
    return SourceSpec(SourceConfig(name=name, share=weight, **own), InputConfig(**settings), facts)


def _taken(settings, kind, **values):
    names = {field.name for field in dataclasses.fields(kind)}
    return values | {key: settings.pop(key) for key in names if key in settings}


def source(pattern, name="clicks", weight=1.0, text_fn=tokenize, **config):
    """A record source of the tiny files."""
    settings = {"augment": False, "max_clicked_queries": 4, **config}
    return RecordSource(spec(name, weight, **settings), [pattern], text_fn)
