"""Prefix Conditioning: the text encoder is told which source a text comes from.

Saito et al., "Prefix Conditioning Unifies Language and Label Supervision". No code of the
authors is public; where the paper leaves a choice, it is a key of the configuration.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Literal

import keras
import tensorflow as tf
from pydantic import PositiveInt

from vl_models.encoders.factory import AnyTextConfig, TextTransformerConfig, build_text_encoder
from vl_models.errors import UserError
from vl_models.layers.prefix_embedding import PrefixEmbedding
from vl_models.models.base import Batch
from vl_models.models.contrastive import ContrastiveConfig, ContrastiveDualEncoder


class PrefixConditioningConfig(ContrastiveConfig):
    """Configuration of `PrefixConditioning`.

    Attributes:
      system: "prefix_conditioning".
      text: a transformer: prefixes enter before its first block.
      sources: names of the data sources, in their order; the trainer sets them.
      prefix_length: learned vectors per source.
      test_prefix: name of the source whose prefix stands for all texts at test time; the first
        by default. The paper takes that of the captions, which cover more than classes do.
      loss: "unicl" counts rows of one label as positives of each other, "clip" does not.
    """

    system: Literal["prefix_conditioning"] = "prefix_conditioning"
    text: TextTransformerConfig = TextTransformerConfig(kind="transformer")
    sources: tuple[str, ...] | None = None
    prefix_length: PositiveInt = 1
    test_prefix: str | None = None
    loss: Literal["clip", "unicl"] = "unicl"


class PrefixConditioning(ContrastiveDualEncoder):
    """A contrastive dual encoder whose texts are preceded by vectors of their source.

    The image encoder does not know the source. With batches of one source each
    (``input.sampling: debiased``, section 3.3), nothing is gained by telling sources apart.

    Args:
      config: ``vocabulary_size`` and ``sources`` must be set.

    Raises:
      ValueError: one of the two is None.
      UserError: ``test_prefix`` is none of the sources.
    """

    config: PrefixConditioningConfig

    def __init__(self, config: PrefixConditioningConfig) -> None:
        if not config.sources:
            raise ValueError(
                "`sources` must be set to the names of the data sources. "
                f"Received: sources={config.sources}"
            )
        self.test_source = _test_source(config.sources, config.test_prefix)
        self.LABELS_MATCH = config.loss == "unicl"
        super().__init__(config)
        self.prefix_embedding = PrefixEmbedding(
            len(config.sources),
            config.prefix_length,
            config.text.width,
            dtype=config.precision,
            name="prefix_embedding",
        )

    @property
    def layers(self) -> Sequence[keras.layers.Layer]:
        """Both towers, the temperature and the prefixes."""
        return (*super().layers, self.prefix_embedding)

    @property
    def text_prefixes(self) -> tuple[str, ...]:
        """Names of the sources."""
        return tuple(self.config.sources or ())

    def text_attention(self, batch: Batch) -> tf.Tensor:
        """What the pooled text attends to in the last block, float32 [B, P + L]."""
        return self.text_encoder.pooled_attention(
            batch["token_ids"], batch["text_mask"], self._prefix(batch)
        )

    def _make_text_encoder(
        self, config: AnyTextConfig, vocabulary_size: int | None
    ) -> keras.layers.Layer:
        return build_text_encoder(
            config,
            vocabulary_size,
            "text_encoder",
            self.config.precision,
            prefix_length=self.config.prefix_length,
        )

    def _embed_text(self, batch: Batch, training: bool) -> tf.Tensor:
        encoded = self.text_encoder(
            batch["token_ids"], batch["text_mask"], self._prefix(batch), training=training
        )
        return self.text_projection(encoded["pooled"])

    def _prefix(self, batch: Batch) -> tf.Tensor:
        """Prefix [B·n, P, W] of every text: of its row's source, else of the test source."""
        texts = tf.shape(batch["token_ids"])[0]
        if "source_id" not in batch:
            return self.prefix_embedding(tf.fill([texts], self.test_source))
        source_id = batch["source_id"]
        rows = tf.maximum(tf.shape(source_id)[0], 1)  # an empty batch divides, too
        return self.prefix_embedding(tf.repeat(source_id, texts // rows))


def _test_source(sources: Sequence[str], name: str | None) -> int:
    """Index of the source whose prefix is used at test time."""
    if name is None:
        return 0
    if name not in sources:
        nearest = difflib.get_close_matches(name, sources, n=1, cutoff=0.0)[0]
        raise UserError(
            f"Key 'test_prefix' must be one of the sources {', '.join(sources)}; did you mean "
            f"'{nearest}'? Received: test_prefix={name!r}."
        )
    return sources.index(name)
