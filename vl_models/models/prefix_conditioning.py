"""Prefix Conditioning: the text encoder is told which source a text comes from.

Saito et al., "Prefix Conditioning Unifies Language and Label Supervision". No code of the
authors is public; where the paper leaves a choice, it is a key of the configuration.
"""

from __future__ import annotations

import tensorflow as tf

from vl_models.batch import Batch
from vl_models.encoders.towers import encode_texts
from vl_models.layers.prefix_embedding import PrefixEmbedding
from vl_models.models.clip import CLIP
from vl_models.models.prefix_conditioning_config import PrefixConditioningConfig


class PrefixConditioning(CLIP):
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
        self.test_source = config.test_source
        super().__init__(config, prefix_length=config.prefix_length)
        self.prefix_embedding = PrefixEmbedding(
            len(config.sources),
            config.prefix_length,
            config.text.width,
            dtype=config.precision,
            name="prefix_embedding",
        )

    @property
    def text_prefixes(self) -> tuple[str, ...]:
        """Names of the sources."""
        return tuple(self.config.sources or ())

    def text_attention(self, batch: Batch) -> tf.Tensor:
        """Return what the pooled text attends to in the last block, float32 [B, P + L]."""
        return self.text_encoder.pooled_attention(
            batch["token_ids"], batch["text_mask"], self._prefix(batch)
        )

    def embed_text(self, batch: Batch, training: bool) -> tf.Tensor:
        """Return what the text tower makes of a batch, [B·n, D]."""
        return encode_texts(self.text_layers, batch, training, self._prefix(batch))

    def _prefix(self, batch: Batch) -> tf.Tensor:
        """Prefix [B·n, P, W] of every text: of its row's source, else of the test source."""
        texts = tf.shape(batch["token_ids"])[0]
        if "source_id" not in batch:
            return self.prefix_embedding(tf.fill([texts], self.test_source))
        source_id = batch["source_id"]
        rows = tf.maximum(tf.shape(source_id)[0], 1)  # an empty batch divides, too
        return self.prefix_embedding(tf.repeat(source_id, texts // rows))
