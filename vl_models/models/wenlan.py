"""WenLan (BriVL): two towers, their momentum encoders, and two queues, wired crosswise.

Huo et al., "WenLan: Bridging Vision and Language by Large-Scale Multi-Modal Pre-Training";
Fei et al., "Towards artificial general intelligence via a multimodal foundation model".
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import Any

import keras
import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import all_gather, global_mean
from vl_models.encoders.config import PatchPoolingConfig, TransformerPoolingConfig
from vl_models.encoders.towers import encode_images, encode_texts, image_input
from vl_models.errors import UserError
from vl_models.layers.momentum_encoder import MomentumEncoder
from vl_models.layers.multi_scale_patch_pooling import MultiScalePatchPooling
from vl_models.layers.pair_queues import PairQueues
from vl_models.layers.projection_head import ProjectionHead
from vl_models.layers.shuffled_batch import (
    encode_in_groups,
    encode_shuffled,
    has_batch_statistics,
)
from vl_models.layers.temperature import Temperature
from vl_models.layers.transformer_pooling import TransformerPooling
from vl_models.losses.collapsed import with_equal_logits
from vl_models.losses.positives import PairHashes, known_positives, own_pairs, positives_of
from vl_models.losses.queue import (
    Negatives,
    mutual_neighbours,
    queue_cross_entropy,
    queue_logits,
)
from vl_models.models.dual_encoder import DualEncoder, Layers
from vl_models.models.wenlan_config import WenLanConfig


class WenLan(DualEncoder):
    """Image queries against text keys and the text queue, and the other way round.

    Every text of the batch is a pair with its image: image i is a query once for each of its n
    texts, and the text queue gets all B·n text keys. The image queue gets every image once.
    Both losses count once each (sum, no half).

    Args:
        config: sizes and options; ``vocabulary_size`` must be set.

    Raises:
        ValueError: if ``config.vocabulary_size`` is None.
    """

    config: WenLanConfig

    def __init__(self, config: WenLanConfig) -> None:
        head: Any = None
        if config.projection == "mlp":
            head = functools.partial(ProjectionHead, config.embedding_dim, dtype=config.precision)
        super().__init__(config, projection=head)
        self.image_pooling = _image_pooling(config.patch_pooling, config.precision)
        self.text_pooling = _text_pooling(config.text_pooling, config.precision)
        self.momentum_image = MomentumEncoder(self.image_layers, config.momentum)
        self.momentum_text = MomentumEncoder(self.text_layers, config.momentum)
        self.queues = PairQueues(
            config.queue_size, config.embedding_dim, config.queue_query_hashes, config.warm_up
        )
        self.temperature = None
        if config.learn_temperature:
            self.temperature = Temperature(
                config.temperature,
                maximum_scale=config.maximum_scale,
                dtype="float32",
                name="temperature",
            )
        self._has_batch_statistics = False

    @property
    def image_layers(self) -> Layers:
        """Encoder, pooling of its map's regions if configured, projection."""
        return self.image_encoder, *self.image_pooling, self.image_projection

    @property
    def text_layers(self) -> Layers:
        """Encoder, pooling of its tokens if configured, projection."""
        return self.text_encoder, *self.text_pooling, self.text_projection

    def build(self) -> None:
        """Create every variable; a second call changes nothing."""
        super().build()
        self._has_batch_statistics = has_batch_statistics(self.image_layers)
        self.momentum_image.build()
        self.momentum_text.build()

    def encode(self, batch: Batch, training: bool) -> Outputs:
        """Embed what the batch holds; keys only if it holds both modalities.

        Returns:
            ``image_embedding`` and ``image_key_embedding`` [B, D], ``text_embedding`` and
            ``text_key_embedding`` [B·n, D] of this replica, unit-norm float32; the keys without
            gradient.
        """
        outputs = super().encode(batch, training)
        if {"image_embedding", "text_embedding"} <= outputs.keys():
            outputs |= self._embed_keys(batch, training)
        return outputs

    def own_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``image_to_text`` and ``text_to_image``; nothing if a modality is absent."""
        if not {"image_key_embedding", "text_key_embedding"} <= outputs.keys():
            return {}
        config, scale = self.config, self.logit_scale()
        images, texts = outputs["image_embedding"], outputs["text_embedding"]
        image_keys, text_keys = outputs["image_key_embedding"], outputs["text_key_embedding"]
        per_image = texts.shape[0] // images.shape[0]
        excluded_texts, excluded_images = self.queues.excluded(
            batch, images.shape[0], texts.shape[0], config.mask_known
        )
        to_text = [Negatives(self.queues.text.entries(), excluded_texts)]
        to_image = [Negatives(self.queues.image.entries(), excluded_images)]
        text_positives = image_positives = self._neighbours(
            image_keys, text_keys, excluded_texts | excluded_images
        )
        if config.batch_negatives:
            own = PairHashes.of_batch(batch, images.shape[0], texts.shape[0])
            everyone = own.gathered()
            columns = self._batch_columns(own, everyone)
            text_excluded, text_targets = (tf.repeat(x, per_image, axis=0) for x in columns)
            image_excluded, image_targets = map(tf.transpose, self._batch_columns(everyone, own))
            if config.batch_positives:
                text_positives = self._behind_queue(text_targets)
                image_positives = self._behind_queue(image_targets)
            to_text.append(Negatives(all_gather(text_keys), text_excluded))
            to_image.append(Negatives(all_gather(image_keys), image_excluded))
        weights = batch["query_weight"] if config.weigh_queries else None

        def loss(
            query: tf.Tensor,
            key: tf.Tensor,
            negatives: list[Negatives],
            positives: tf.Tensor | None,
        ) -> tf.Tensor:
            rows = queue_cross_entropy(
                queue_logits(query, key, negatives, scale),
                positives,
                share=bool(config.batch_positives),
                label_smoothing=config.label_smoothing,
            )
            return global_mean(rows, weights)

        # Image i is a query once for each of its texts, and a key for each of them.
        queries, keys = (tf.repeat(x, per_image, axis=0) for x in (images, image_keys))
        return {
            "image_to_text": loss(queries, text_keys, to_text, text_positives),
            "text_to_image": loss(texts, keys, to_image, image_positives),
        }

    def own_collapsed_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Return ln(1 + K), K the negatives that are not masked."""
        return self.own_losses(batch, with_equal_logits(outputs))

    def after_step(self, batch: Batch, outputs: Outputs) -> None:
        """Put the keys of the global batch into the queues."""
        super().after_step(batch, outputs)
        if not {"image_key_embedding", "text_key_embedding"} <= outputs.keys():
            return
        self.queues.enqueue(batch, outputs["image_key_embedding"], outputs["text_key_embedding"])

    def after_update(self) -> None:
        """Bound the temperature, then move the momentum encoders towards the towers."""
        super().after_update()
        if self.temperature is not None:
            self.temperature.clamp()
        self.momentum_image.update()
        self.momentum_text.update()

    def after_warm_start(self, loaded: Collection[str]) -> None:
        """Copy loaded weights to the momentum encoders, unless these were loaded too."""
        super().after_warm_start(loaded)
        self.momentum_image.synchronise(loaded)
        self.momentum_text.synchronise(loaded)

    def scalars(self) -> dict[str, tf.Tensor]:
        """Temperature, momentum, age of the queues' oldest entries and their filled shares."""
        return {
            **super().scalars(),
            "temperature": 1.0 / self.logit_scale(),
            "momentum": tf.constant(self.config.momentum),
            **self.queues.scalars(),
        }

    def logit_scale(self) -> tf.Tensor:
        """Factor from cosines to logits, a float32 scalar."""
        if self.temperature is None:
            return tf.constant(1.0 / self.config.temperature)
        return self.temperature.scale()

    def _batch_columns(self, images: PairHashes, texts: PairHashes) -> tuple[tf.Tensor, tf.Tensor]:
        """Which text keys of a batch are no negatives of an image, and how much they are targets.

        Returns:
            bool and float32 [I, T]; own pairs are class 0 already, so they are no targets here.
        """
        config, pairs = self.config, own_pairs(images, texts)
        if not config.batch_positives:
            known = known_positives if config.mask_known else own_pairs
            return known(images, texts), tf.zeros_like(pairs, tf.float32)
        positives = positives_of(config.batch_positives)(images, texts)
        return pairs, tf.where(pairs, 0.0, tf.cast(positives, tf.float32))

    def _behind_queue(self, columns: tf.Tensor) -> tf.Tensor:
        """Columns of the batch's keys, with those of the queue before them."""
        return tf.pad(columns, [[0, 0], [self.config.queue_size, 0]])

    def _neighbours(
        self, image_keys: tf.Tensor, text_keys: tf.Tensor, excluded: tf.Tensor
    ) -> tf.Tensor | None:
        """Further positives in both queues, bool [B, K + batch negatives]."""
        if self.config.neighbours == 0:
            return None
        if image_keys.shape[0] != text_keys.shape[0]:
            raise UserError(
                "model.neighbours needs queues that hold the same pairs, so one text per image: "
                f"set train.texts_per_image to 1, or neighbours to 0. Received: "
                f"{image_keys.shape[0]} images with {text_keys.shape[0]} texts."
            )
        positives = mutual_neighbours(
            self.queues.image(image_keys),
            self.queues.text(text_keys),
            excluded,
            self.config.neighbours,
        )
        if self.config.batch_negatives:
            others = tf.shape(all_gather(image_keys))[0]
            positives = tf.pad(positives, [[0, 0], [0, others]])
        return positives

    def embed_image(self, batch: Batch, training: bool) -> tf.Tensor:
        """Return what the image tower makes of a batch, [B, D]; in training by virtual devices."""
        if not (training and self._has_batch_statistics):
            return encode_images(self.image_layers, batch, training)
        key = image_input(self.image_encoder)
        return encode_in_groups(
            lambda images: encode_images(self.image_layers, {key: images}, training),
            batch[key],
            self.config.virtual_devices,
        )

    def _embed_keys(self, batch: Batch, training: bool) -> Outputs:
        image_layers = self.momentum_image.layers
        if training and self._has_batch_statistics:
            key = image_input(self.image_encoder)
            image_keys = encode_shuffled(
                lambda images: tf.stop_gradient(encode_images(image_layers, {key: images}, True)),
                batch[key],
                batch["seed"],
                self.config.virtual_devices,
            )
        else:
            image_keys = tf.stop_gradient(encode_images(image_layers, batch, training))
        text_keys = encode_texts(self.momentum_text.layers, batch, training)
        return {
            "image_key_embedding": image_keys,
            "text_key_embedding": tf.stop_gradient(text_keys),
        }


def _image_pooling(config: PatchPoolingConfig | None, dtype: str) -> Layers:
    """Layers ``image_regions`` and ``image_pooling``; none without a configuration."""
    if config is None:
        return ()
    regions = MultiScalePatchPooling(
        config.grids, config.samples, dtype=dtype, name="image_regions"
    )
    return regions, _transformer_pooling(config, dtype, "image_pooling")


def _text_pooling(config: TransformerPoolingConfig | None, dtype: str) -> Layers:
    """Layer ``text_pooling``; none without a configuration."""
    return () if config is None else (_transformer_pooling(config, dtype, "text_pooling"),)


def _transformer_pooling(
    config: TransformerPoolingConfig, dtype: str, name: str
) -> keras.layers.Layer:
    return TransformerPooling(config.depth, config.heads, config.mlp_ratio, dtype=dtype, name=name)
