"""What a model can do beyond learning: one protocol per capability.

A system has the capabilities whose methods it defines. Export, evaluation and service ask
`isinstance(model, EncodesTexts)`, never which system it is. Batches are those of
`vl_models.batch`; nothing here runs in training mode.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import tensorflow as tf

from vl_models.batch import Batch
from vl_models.generation.generated import Generated


@runtime_checkable
class EncodesImages(Protocol):
    """Embeds images: member ``image_tower`` of a release."""

    def encode_image(self, batch: Batch) -> tf.Tensor:
        """Image embeddings, unit-norm float32 [B, D]."""
        ...


@runtime_checkable
class EncodesTexts(Protocol):
    """Embeds texts in the space of the images: member ``text_tower``."""

    def encode_text(self, batch: Batch) -> tf.Tensor:
        """Text embeddings, unit-norm float32 [B·n, D]."""
        ...


@runtime_checkable
class ScoresPairs(Protocol):
    """Reads an image and a text together: member ``reranker``."""

    def score_pairs(self, batch: Batch) -> tf.Tensor:
        """How well text i fits image i, float32 [B]; higher is better, any scale."""
        ...


@runtime_checkable
class ScoresImageTokens(ScoresPairs, Protocol):
    """Reads an image once for all texts: what member ``reranker`` keeps of a gallery.

    T and W are the same for all images, and known when the model is built.
    """

    def encode_image_tokens(self, batch: Batch) -> tf.Tensor:
        """What is read of an image before any text, float [B, T, W]."""
        ...

    def score_tokens(self, batch: Batch, tokens: tf.Tensor) -> tf.Tensor:
        """How well text i fits the image of tokens i, float32 [B]; higher is better, any scale.

        Args:
            batch: texts.
            tokens: of `encode_image_tokens`, float32 [B, T, W].
        """
        ...


@runtime_checkable
class Generates(Protocol):
    """Writes texts about images: member ``captioner``."""

    def generate(self, batch: Batch) -> Generated:
        """Token ids int32 [B, T] of a text for each image, and how probable it is, float32 [B]."""
        ...


@runtime_checkable
class HashesImages(Protocol):
    """Gives images binary codes."""

    def hash_image(self, batch: Batch) -> tf.Tensor:
        """Packed codes uint8 [B, bits / 8], see `vl_models.hashing.pack`."""
        ...


@runtime_checkable
class HashesTexts(Protocol):
    """Gives texts binary codes."""

    def hash_text(self, batch: Batch) -> tf.Tensor:
        """Packed codes uint8 [B·n, bits / 8], see `vl_models.hashing.pack`."""
        ...


@runtime_checkable
class ShowsTextAttention(Protocol):
    """Tells which tokens made a text's embedding."""

    def text_attention(self, batch: Batch) -> tf.Tensor:
        """Weight of each position, float32 [B, P + L]; prefixes come first, rows sum to 1."""
        ...


@runtime_checkable
class Answers(Protocol):
    """Answers questions about images from a closed set, its configuration's `answers`."""

    def answer(self, batch: Batch) -> tf.Tensor:
        """Scores float32 [B, A] of the A answers."""
        ...


@runtime_checkable
class ClassifiesImages(Protocol):
    """Tells images apart by classes that it has learnt, its configuration's `classes`."""

    def classify_image(self, batch: Batch) -> tf.Tensor:
        """Probability of each of the C classes, float32 [B, C]."""
        ...


@runtime_checkable
class TokenizesImages(Protocol):
    """Turns images into codes of a codebook: member ``image_tokenizer``."""

    def tokenize_image(self, batch: Batch) -> tf.Tensor:
        """Codes int32 [B, h, w] of a grid over each image."""
        ...


@runtime_checkable
class ReconstructsImages(Protocol):
    """Makes images of what it kept of them."""

    def reconstruct_image(self, batch: Batch) -> tf.Tensor:
        """Pixels uint8 [B, H, W, 3], of the size of ``image``."""
        ...
