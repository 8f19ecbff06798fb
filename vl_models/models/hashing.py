"""What systems with binary codes share: embeddings and packed codes, both of relaxed codes."""

from __future__ import annotations

import abc

import tensorflow as tf

from vl_models.batch import Batch
from vl_models.hashing import direction, pack

IMAGE, TEXT = "image", "text"


class Hashes(abc.ABC):
    """The capabilities of a hashing system, by its relaxed codes."""

    @abc.abstractmethod
    def code(self, side: str, batch: Batch) -> tf.Tensor:
        """Relaxed codes of one side, "image" or "text": float32 [rows, c] in (-1, 1)."""

    def encode_image(self, batch: Batch) -> tf.Tensor:
        """Directions of the codes, unit-norm float32 [B, c]."""
        return direction(self.code(IMAGE, batch))

    def encode_text(self, batch: Batch) -> tf.Tensor:
        """Directions of the codes, unit-norm float32 [B·n, c]."""
        return direction(self.code(TEXT, batch))

    def hash_image(self, batch: Batch) -> tf.Tensor:
        """Packed codes, uint8 [B, c / 8]; see `vl_models.hashing.pack`."""
        return pack(self.code(IMAGE, batch))

    def hash_text(self, batch: Batch) -> tf.Tensor:
        """Packed codes, uint8 [B·n, c / 8]."""
        return pack(self.code(TEXT, batch))
