"""CoCa: a dual encoder that writes captions, from one forward pass.

Yu et al., "CoCa: Contrastive Captioners are Image-Text Foundation Models"; where the paper leaves
it open, as in open_clip.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import global_mean
from vl_models.encoders.towers import run_image_encoder, run_text_encoder, text_seeds
from vl_models.fusion.multimodal_decoder import MultimodalDecoder
from vl_models.generation.generated import Generated
from vl_models.generation.write import image_seeds, write_texts
from vl_models.layers.image_pooling import ImagePooling
from vl_models.models.clip import CLIP
from vl_models.models.coca_config import CoCaConfig

_DECODER = 101


class CoCa(CLIP):
    """Equation 4: the contrastive loss of the towers and the captioning loss of a decoder on them.

    The text tower is the lower half of the decoder; the upper half goes on with its words, in sight
    of the image's vectors.

    Args:
        config: sizes and options; ``vocabulary_size`` must be set.

    Raises:
        ValueError: a size that is the data's is None.
    """

    config: CoCaConfig

    def __init__(self, config: CoCaConfig) -> None:
        super().__init__(config)
        text, precision = config.text, config.precision
        assert config.vocabulary_size is not None
        self.image_pooling = ImagePooling(
            config.pooling,
            config.queries,
            text.width,
            config.pooler_heads,
            text.epsilon,
            dtype=precision,
            name="image_pooling",
        )
        self.decoder = MultimodalDecoder(
            config.vocabulary_size,
            text.width,
            config.decoder_depth,
            text.heads,
            text.mlp_ratio,
            text.activation,
            text.dropout,
            text.epsilon,
            tied=config.tie_logits,
            dtype=precision,
            name="decoder",
        )
        self.take_abilities()

    def build(self) -> None:
        """Create every variable, under the strategy's scope; a second call changes nothing."""
        if not self.decoder.built:
            outputs = self.encode(self.zeros(), training=False)
            for task in self.tasks:
                task.build(outputs["image_tokens"].shape[-1])
        super().build()

    def encode(self, batch: Batch, training: bool) -> Outputs:
        """Embed what the batch holds, and predict the words of its captions.

        Returns:
            ``image_embedding`` [B, D] and ``text_embedding`` [B·n, D], unit-norm float32;
            ``image_tokens`` [B, N, any width], all of the image encoder, and ``image_memory``
            [B, M, W], what captions are read off; with both modalities ``caption_logits`` float32
            [B·c, L - 1, V] of the first c texts of each image. The keys of an absent modality are
            absent.
        """
        outputs: Outputs = {}
        if "image" in batch:
            outputs |= self._read_images(batch, training)
        if "token_ids" in batch:
            read = run_text_encoder(self.text_encoder, batch, training)
            outputs["text_embedding"] = self.text_projection(read["pooled"])
            if "image" in batch:
                memory = outputs["image_memory"]
                rows = memory.shape[0]
                seeds = text_seeds(batch, batch["token_ids"].shape[0], _DECODER)
                words = self._captioned(read["hidden"], rows)
                outputs["caption_logits"] = self.decoder(
                    words[:, :-1],
                    tf.repeat(memory, words.shape[0] // rows, axis=0),
                    self._embeddings(),
                    seeds=None if seeds is None else self._captioned(seeds, rows),
                    training=training,
                )
        return outputs

    def own_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``contrastive`` and ``captioning``, both weighed; nothing if a modality is absent.

        The captioning loss is the mean cross-entropy of all tokens behind the first, padding left
        out.
        """
        losses = super().own_losses(batch, outputs)
        if "caption_logits" not in outputs:
            return losses
        rows = outputs["image_memory"].shape[0]
        targets = self._captioned(batch["token_ids"], rows)[:, 1:]
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, outputs["caption_logits"])
        mask = tf.cast(self._captioned(batch["text_mask"], rows)[:, 1:], tf.float32)
        return {
            "contrastive": self.config.contrastive_weight * losses["contrastive"],
            "captioning": self.config.captioning_weight * global_mean(entropy, mask),
        }

    def own_collapsed_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Return that of the contrast alone: a captioner may know words without images."""
        losses = super().own_collapsed_losses(batch, outputs)
        return {name: loss for name, loss in losses.items() if name == "contrastive"}

    def embed_image(self, batch: Batch, training: bool) -> tf.Tensor:
        """Return what the image tower makes of a batch, [B, D]."""
        return self._read_images(batch, training)["image_embedding"]

    def generate(self, batch: Batch, *, use_cache: bool = True) -> Generated:
        """Write a text about each image, as ``caption`` of the configuration says.

        Args:
            batch: ``image`` uint8 [B, H, W, 3].
            use_cache: whether keys and values of earlier words are kept; else every word computes
                all before it again, to the same end.
        """
        memory = self._read_images(batch, training=False)["image_memory"]
        rows = tf.shape(memory)[0]
        length = self.config.max_length - 1
        state, step = self._cached_step(memory, rows) if use_cache else self._step(memory, rows)
        return write_texts(
            step,
            state,
            rows,
            length,
            self.config.caption,
            self.config.caption_tokens,
            image_seeds(batch["image"]),
        )

    def _read_images(self, batch: Batch, training: bool) -> Outputs:
        read = run_image_encoder(self.image_encoder, batch, training)
        tokens = read["hidden"]
        pooled, memory = self.image_pooling(tokens, read["pooled"])
        return {
            "image_embedding": self.image_projection(pooled),
            "image_tokens": tokens,
            "image_memory": memory,
        }

    def _captioned(self, values: tf.Tensor, rows: int) -> tf.Tensor:
        """Of values [B·n, ...] of texts those of the first c texts of each of B images."""
        texts, count = values.shape[0] // rows, self.config.captioned_texts
        if count is None or count >= texts:
            return values
        by_row = tf.reshape(values, [rows, texts, *values.shape[1:]])
        return tf.reshape(by_row[:, :count], [rows * count, *values.shape[1:]])

    def _embeddings(self) -> tf.Tensor | None:
        return self.text_encoder.token_embedding if self.config.tie_logits else None

    def _cached_step(self, memory: tf.Tensor, rows: tf.Tensor) -> tuple[Any, Any]:
        """State and step with keys and values of earlier words."""
        text = self.config.text
        shape = [rows, text.heads, self.config.max_length, text.width // text.heads]

        def empty() -> tf.Tensor:
            zeros = tf.zeros(shape, memory.dtype)
            return tf.ensure_shape(zeros, [None, *(int(size) for size in shape[1:])])

        def caches(depth: int) -> tuple[tuple[tf.Tensor, tf.Tensor], ...]:
            return tuple((empty(), empty()) for _ in range(depth))

        state = (
            caches(text.depth),
            caches(self.config.decoder_depth),
            self.decoder.project(memory),
        )

        def step(token_ids: tf.Tensor, place: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
            lower, upper, image = state
            x, lower = self.text_encoder.step(token_ids, place, lower)
            logits, upper = self.decoder.step(x, place, upper, image, self._embeddings())
            return logits, (lower, upper, image)

        return state, step

    def _step(self, memory: tf.Tensor, rows: tf.Tensor) -> tuple[Any, Any]:
        """State and step that read the whole text again for each word."""
        length = self.config.max_length
        words = tf.ensure_shape(tf.zeros([rows, length], tf.int32), [None, length])

        def step(token_ids: tf.Tensor, place: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
            words, memory = state
            at = tf.range(length)[None]
            words = tf.where(at == place, token_ids[:, None], words)
            mask = tf.broadcast_to(at <= place, tf.shape(words))
            hidden = self.text_encoder(words, mask)["hidden"]
            logits = self.decoder(hidden, memory, self._embeddings())
            return logits[:, place], (words, memory)

        return (words, memory), step
