"""What the fusion systems have in common: embeddings of both modalities, and tasks."""

from __future__ import annotations

import abc
from typing import ClassVar

import numpy as np
import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.encoders.bert import BertEncoder
from vl_models.encoders.factory import build_image_encoder
from vl_models.encoders.towers import text_seeds
from vl_models.fusion.embedded import embedded_image, embedded_text
from vl_models.fusion.tokens import Fused, Tokens
from vl_models.layers.patches import hide_patches, patchify
from vl_models.layers.pixel_norm import PixelNormalization
from vl_models.layers.relative_position_bias import Modality
from vl_models.layers.type_vector import TypeVector
from vl_models.layers.visual_embedding import VisualEmbedding
from vl_models.layers.word_grounding import WordGrounding
from vl_models.models.base import VisionLanguageModel
from vl_models.models.fusion_config import FusionConfig
from vl_models.row_random import stream_seed
from vl_models.tasks.factory import build_fusion_tasks
from vl_models.tasks.fusion_config import GroundingConfig

_IMAGE, _ENCODER = 41, 42
# Of texts (kept apart, in `text_type`), images, and the second image of a pair (NLVR2).
_IMAGE_TYPES = 3


class FusionModel(VisionLanguageModel):
    """Embeds texts and images as sequences of one width; a joint encoder reads both.

    All it learns is in its tasks, and so is all that it can do: the task of matching brings
    `score_pairs`, that of contrast `encode_image` and `encode_text`.

    Args:
        config: sizes and tasks; ``vocabulary_size`` must be set.
        absolute_positions: whether texts and images have learned positions.
        mask_token: whether patches can be masked.
        maximum_patches: of an image in training.
        modality_types: whether texts and images get a learned vector that tells them apart.
        patches: whether images are embedded here, as patches or as an encoder's tokens.

    Attributes:
        FIRST_PATCH: place of the first patch in an image's sequence, behind its class token.

    Raises:
        ValueError: a size that is the data's is None.
    """

    FIRST_PATCH: ClassVar[int] = 1

    config: FusionConfig

    def __init__(
        self,
        config: FusionConfig,
        *,
        absolute_positions: bool,
        mask_token: bool,
        maximum_patches: int | None = None,
        modality_types: bool = True,
        patches: bool = True,
    ) -> None:
        if config.vocabulary_size is None:
            raise ValueError(
                "`vocabulary_size` must be set to the size of the vocabulary. "
                "Received: vocabulary_size=None"
            )
        super().__init__(config)
        precision = config.precision
        self.text_embedding = BertEncoder(
            config.vocabulary_size,
            config.width,
            depth=0,
            heads=config.heads,
            dropout=config.dropout,
            absolute_positions=absolute_positions,
            dtype=precision,
            name="text_embedding",
        )
        self.text_type = None
        if modality_types:
            self.text_type = TypeVector(dtype=precision, name="text_type")
        self.image_encoder = None
        if config.image is not None:
            self.image_encoder = build_image_encoder(config.image, "image_encoder", precision)
        self.pixel_norm = PixelNormalization(
            config.mean, config.standard_deviation, dtype=precision, name="pixel_norm"
        )
        self.grounding = None
        if grounding := config.task("grounding"):
            assert isinstance(grounding, GroundingConfig)
            self.grounding = WordGrounding(
                config.grid, grounding.dim, dtype=precision, name="word_grounding"
            )
        if patches:
            self.image_embedding = VisualEmbedding(
                config.width,
                config.grid,
                positions=absolute_positions or self.image_encoder is not None,
                types=_IMAGE_TYPES if modality_types else 0,
                mask_token=mask_token,
                maximum_tokens=maximum_patches,
                dtype=precision,
                name="image_embedding",
            )

    def add_tasks(self) -> None:
        """Create the tasks; what they bring becomes what the system can do."""
        self.tasks = build_fusion_tasks(self.config)
        self.take_abilities()

    def build(self) -> None:
        """Create every variable, under the strategy's scope; a second call changes nothing."""
        outputs = self.encode(self.zeros(), training=False)
        text, image = embedded_text(outputs), embedded_image(outputs)
        self.fuse(text, image)
        for task in self.tasks:
            task.build(self.config.width)
        for layer in self.layers:
            if not layer.built:
                layer.build(None)

    def encode(self, batch: Batch, training: bool) -> Outputs:
        """Embed what the batch holds.

        Returns:
            ``text_embedded`` [B·n, L, W] and ``image_embedded`` [B, N, W], the sequences before the
            first block, with ``text_embedded_mask`` and ``image_embedded_mask``; the keys of an
            absent modality are absent.
        """
        outputs: Outputs = {}
        if "token_ids" in batch:
            text = self.embed_text(batch, batch["token_ids"], training)
            outputs |= {"text_embedded": text.values, "text_embedded_mask": text.mask}
        if "image" in batch:
            image = self.embed_image(batch, training)
            outputs |= {"image_embedded": image.values, "image_embedded_mask": image.mask}
        return outputs

    def own_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Nothing; the losses are those of the tasks."""
        return {}

    def after_update(self) -> None:
        """Bring temperatures back between their bounds."""
        super().after_update()
        if self.grounding is not None:
            self.grounding.temperature.clamp()

    def embed_text(self, batch: Batch, token_ids: tf.Tensor, training: bool) -> Tokens:
        """Embed texts.

        Args:
            batch: ``text_mask`` and ``seed`` belong to the token ids.
            token_ids: int32 [B·n, L], those of the batch or a masked form of them.
            training: whether something is dropped.
        """
        seeds = text_seeds(batch, token_ids.shape[0]) if training else None
        mask = batch["text_mask"]
        # Without blocks, what the encoder gives is its embedding.
        x = self.text_embedding(token_ids, mask, seeds=seeds, training=training)["hidden"]
        return Tokens(x if self.text_type is None else self.text_type(x), mask)

    def embed_image(
        self,
        batch: Batch,
        training: bool,
        *,
        masked: tf.Tensor | None = None,
        key: str = "image",
        type_index: int = 1,
    ) -> Tokens:
        """Embed images.

        Args:
            batch: holds them, their extent and seeds.
            training: whether something is dropped or sampled.
            masked: bool [B, g²], patches to hide.
            key: of the batch.
            type_index: modality type; the second image of a pair has 2.
        """
        images, seeds = batch[key], batch.get("seed")
        if self.image_encoder is None:
            features = patchify(self.pixel_norm(images), self.config.patch_size)
        else:
            if masked is not None:
                images = hide_patches(images, masked, 255.0 * np.asarray(self.config.mean))
            own = None if seeds is None else stream_seed(seeds, _ENCODER)
            tokens = self.image_encoder(images, seeds=own, training=training)["tokens"]
            features = tokens[:, -(self.config.grid**2) :]  # without a class token
        extent = None
        if key == "image" and "image_extent" in batch:
            extent = tf.maximum(batch["image_extent"] // self.config.patch_size, 1)
        values, mask = self.image_embedding(
            features,
            extent=extent,
            masked=masked,
            seeds=None if seeds is None else stream_seed(seeds, _IMAGE),
            type_index=type_index,
            training=training,
        )
        return Tokens(values, mask)

    def fuse(
        self, text: Tokens, image: Tokens, seeds: tf.Tensor | None = None, training: bool = False
    ) -> Fused:
        """Read texts and images together; words are grounded before, if the system learns it.

        Args:
            text: of B texts, from `embed_text`.
            image: of B images, from `embed_image`.
            seeds: int32 [B, 2] of the pairs; needed to drop in training.
            training: whether something is dropped.
        """
        if self.grounding is not None:
            text = Tokens(
                self.grounding(text.values, image.values[:, self.FIRST_PATCH :]), text.mask
            )
        return self.encode_pairs(text, image, seeds, training)

    @abc.abstractmethod
    def encode_pairs(
        self, text: Tokens, image: Tokens, seeds: tf.Tensor | None, training: bool
    ) -> Fused:
        """Send texts and images through the joint encoder; arguments as in `fuse`."""

    @abc.abstractmethod
    def alone(
        self,
        tokens: Tokens,
        modality: Modality,
        seeds: tf.Tensor | None = None,
        training: bool = False,
        *,
        branches: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Read one modality by itself.

        Args:
            tokens: of images or of texts.
            modality: which of them.
            seeds: int32 [B, 2] of the rows; needed to drop in training.
            training: whether something is dropped.
            branches: whether the experts of pairs read it, too, in the blocks that have some.

        Returns:
            [B, S, W] of the modality's experts, and of those of pairs (None if these are not asked
            for, or there are none).
        """

    @abc.abstractmethod
    def pool_alone(self, values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """One vector of a modality's tokens by itself.

        Args:
            values: [B, S, W], from `alone`.
            mask: bool [B, S].

        Returns:
            [B, W].
        """

    def image_tokens(self, outputs: Outputs) -> Tokens:
        """Return what can be computed of images before there is a text.

        Args:
            outputs: of `encode` and the tasks so far.
        """
        return embedded_image(outputs)

    def fuse_batch(self, batch: Batch) -> Fused:
        """Read the texts and images of a batch together, row by row; nothing is dropped."""
        outputs = self.encode(batch, training=False)
        return self.fuse(embedded_text(outputs), embedded_image(outputs))

    def zeros(self) -> Batch:
        """Return a batch of one row of zeros."""
        size, length = self.config.image_size, self.config.max_length
        return {
            "image": tf.zeros([1, size, size, 3], tf.uint8),
            "token_ids": tf.zeros([1, length], tf.int32),
            "text_mask": tf.ones([1, length], tf.bool),
        }
