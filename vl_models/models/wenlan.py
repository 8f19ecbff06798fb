"""WenLan (BriVL): two towers, their momentum encoders, and two queues, wired crosswise.

Huo et al., "WenLan: Bridging Vision and Language by Large-Scale Multi-Modal Pre-Training";
Fei et al., "Towards artificial general intelligence via a multimodal foundation model".
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import keras
import tensorflow as tf
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from vl_models.distribution import all_gather, global_mean
from vl_models.encoders.towers import (
    PatchPoolingConfig,
    TransformerPoolingConfig,
    encode_images,
    encode_texts,
    image_input,
    image_pooling_layers,
    text_pooling_layers,
)
from vl_models.errors import UserError
from vl_models.layers.momentum_encoder import MomentumEncoder
from vl_models.layers.pair_queues import PairQueues
from vl_models.layers.projection_head import ProjectionHead
from vl_models.layers.shuffled_batch import (
    encode_in_groups,
    encode_shuffled,
    has_batch_statistics,
)
from vl_models.layers.temperature import Temperature
from vl_models.losses.positives import PairHashes, known_positives, own_pairs
from vl_models.losses.queue import (
    Negatives,
    mutual_neighbours,
    queue_cross_entropy,
    queue_logits,
)
from vl_models.models.base import Batch, Outputs
from vl_models.models.dual_encoder import DualEncoder, DualEncoderConfig
from vl_models.models.momentum_contrast import MomentumContrastConfig


class WenLanConfig(MomentumContrastConfig, DualEncoderConfig):
    """Configuration of `WenLan`.

    Attributes:
      projection: "mlp" (BriVL's FC-ReLU-FC) or "linear" (CLIP's).
      patch_pooling: regions of the image encoder's map instead of its pooled vector; needs
        ``tokens`` that form a square.
      text_pooling: a transformer over the text encoder's tokens instead of its pooled vector.
      learn_temperature: whether the temperature is learned, like CLIP's; published: False.
      maximum_scale: bound of the inverse of a learned temperature.
      batch_negatives: whether the other keys of the global batch are negatives too, known
        positives left out; published: False.
      batch_positives: whether known positives among those keys are targets too, sharing them
        evenly, instead of being left out; needs ``batch_negatives``. Published: False.
      neighbours: k of the multi-label form: queue entries among the k nearest of a pair by
        both modalities are positives too; 0 for none. Needs one text per image.
      queue_query_hashes: how many query hashes an image in the queue carries: its texts in the
        batch, then its known clicks.
      weigh_queries: whether a pair weighs in by its position-debiased clicks.
      label_smoothing: share of the target spread over all candidates; published: 0.
    """

    system: Literal["wenlan"] = "wenlan"
    projection: Literal["mlp", "linear"] = "mlp"
    patch_pooling: PatchPoolingConfig | None = None
    text_pooling: TransformerPoolingConfig | None = None
    learn_temperature: bool = False
    maximum_scale: PositiveFloat = 100.0
    batch_negatives: bool = False
    batch_positives: bool = False
    neighbours: int = Field(default=0, ge=0)
    queue_query_hashes: PositiveInt = 16
    weigh_queries: bool = False
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _positives_are_of_the_batch(self) -> WenLanConfig:
        if self.batch_positives and not (self.batch_negatives and self.mask_known):
            raise ValueError("batch_positives needs batch_negatives and mask_known")
        if self.shared_projection:
            raise ValueError("shared_projection does not go with momentum encoders")
        if self.batch_positives and self.neighbours:
            raise ValueError("batch_positives and neighbours exclude each other")
        return self


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
        super().__init__(config)
        self._image_pooling = image_pooling_layers(config.patch_pooling, config.precision)
        self._text_pooling = text_pooling_layers(config.text_pooling, config.precision)
        self.momentum_image = MomentumEncoder(self._image_layers, config.momentum)
        self.momentum_text = MomentumEncoder(self._text_layers, config.momentum)
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
    def layers(self) -> Sequence[keras.layers.Layer]:
        """Towers, their momentum encoders, queues, and the temperature if it is learned."""
        return (
            *self._image_layers,
            *self._text_layers,
            *self.momentum_image.layers,
            *self.momentum_text.layers,
            *self.queues.layers,
            *self.task_layers,
            *(() if self.temperature is None else (self.temperature,)),
        )

    def build(self) -> None:
        """Create every variable; a second call changes nothing."""
        if self._built:
            return
        super().build()
        self._has_batch_statistics = has_batch_statistics(self._image_layers)
        self.momentum_image.build()
        self.momentum_text.build()

    def forward(self, batch: Batch, training: bool) -> Outputs:
        """Embed what the batch holds; keys only if it holds both modalities.

        Returns:
          ``image_embedding`` and ``image_key_embedding`` [B, D], ``text_embedding`` and
          ``text_key_embedding`` [B·n, D] of this replica, unit-norm float32; the keys without
          gradient.
        """
        outputs = super().forward(batch, training)
        if {"image_embedding", "text_embedding"} <= outputs.keys():
            outputs |= self._embed_keys(batch, training)
        return outputs

    def system_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
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
            known = known_positives if config.mask_known else own_pairs
            excluded = tf.repeat(known(own, everyone), per_image, axis=0)
            if config.batch_positives:
                pairs = tf.repeat(own_pairs(own, everyone), per_image, axis=0)
                text_positives = self._behind_queue(excluded & ~pairs)
                excluded = pairs
            to_text.append(Negatives(all_gather(text_keys), excluded))
            excluded = tf.transpose(known(everyone, own))
            if config.batch_positives:
                pairs = tf.transpose(own_pairs(everyone, own))
                image_positives = self._behind_queue(excluded & ~pairs)
                excluded = pairs
            to_image.append(Negatives(all_gather(image_keys), excluded))
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
                share=config.batch_positives,
                label_smoothing=config.label_smoothing,
            )
            return global_mean(rows, weights)

        # Image i is a query once for each of its texts, and a key for each of them.
        queries, keys = (tf.repeat(x, per_image, axis=0) for x in (images, image_keys))
        return {
            "image_to_text": loss(queries, text_keys, to_text, text_positives),
            "text_to_image": loss(texts, keys, to_image, image_positives),
        }

    def after_step(self, batch: Batch, outputs: Outputs) -> None:
        """Put the keys of the global batch into the queues."""
        super().after_step(batch, outputs)
        if not {"image_key_embedding", "text_key_embedding"} <= outputs.keys():
            return
        self.queues.enqueue(batch, outputs["image_key_embedding"], outputs["text_key_embedding"])

    def after_update(self) -> None:
        """Bound the temperature, then move the momentum encoders towards the towers."""
        if self.temperature is not None:
            self.temperature.clamp()
        self.momentum_image.update()
        self.momentum_text.update()

    def after_warm_start(self, loaded: Collection[str]) -> None:
        """Copy loaded weights to the momentum encoders, unless these were loaded too."""
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

    def _embed_image(self, batch: Batch, training: bool) -> tf.Tensor:
        groups = self.config.virtual_devices if training and self._has_batch_statistics else 1
        return encode_in_groups(
            lambda images: encode_images(self._image_layers, images, training),
            batch[image_input(self.image_encoder)],
            groups,
        )

    def _embed_text(self, batch: Batch, training: bool) -> tf.Tensor:
        return encode_texts(self._text_layers, batch, training)

    def _embed_keys(self, batch: Batch, training: bool) -> Outputs:
        def encode(images: tf.Tensor) -> tf.Tensor:
            keys = encode_images(self.momentum_image.layers, images, training)
            return tf.stop_gradient(keys)

        images = batch[image_input(self.image_encoder)]
        if training and self._has_batch_statistics:
            groups = self.config.virtual_devices
            image_keys = encode_shuffled(encode, images, batch["seed"], groups)
        else:
            image_keys = encode(images)
        text_keys = encode_texts(self.momentum_text.layers, batch, training)
        return {
            "image_key_embedding": image_keys,
            "text_key_embedding": tf.stop_gradient(text_keys),
        }

    def _projection(self, name: str) -> keras.layers.Layer:
        if self.config.projection == "linear":
            return super()._projection(name)
        return ProjectionHead(self.config.embedding_dim, dtype=self.config.precision, name=name)

    @property
    def _image_layers(self) -> tuple[keras.layers.Layer, ...]:
        return self.image_encoder, *self._image_pooling, self.image_projection

    @property
    def _text_layers(self) -> tuple[keras.layers.Layer, ...]:
        return self.text_encoder, *self._text_pooling, self.text_projection
