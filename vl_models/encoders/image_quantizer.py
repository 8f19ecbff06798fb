"""Images as grids of codes: a convolutional encoder and a codebook.

van den Oord et al., "Neural Discrete Representation Learning", section 3.1.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from vl_models.encoders.config import CNNConfig, CodebookConfig
from vl_models.encoders.factory import build_image_encoder
from vl_models.layers.codebook import Codebook
from vl_models.layers.owner import LayerOwner
from vl_models.row_random import stream_seed

# Of a row's randomness, see `vl_models.encoders.towers`.
_CODEBOOK = 41


class ImageQuantizer(LayerOwner):
    """Layers ``image_encoder``, ``code_projection`` and ``codebook``, the latter in float32.

    Args:
        image: the encoder; its stride must divide the side of the images.
        codebook: number and width of the codes, and how they follow the images.
        precision: dtype policy of encoder and projection.
    """

    def __init__(self, image: CNNConfig, codebook: CodebookConfig, precision: str) -> None:
        self.image_encoder = build_image_encoder(image, "image_encoder", precision)
        self.projection = keras.layers.Dense(codebook.dim, dtype=precision, name="code_projection")
        self.codebook = Codebook(**codebook.model_dump(), dtype="float32", name="codebook")
        self._stride = image.stride

    def build(self, image_size: int) -> None:
        """Create every variable, for square images of this side; a second call changes nothing."""
        if not self.codebook.built:
            self.codebook.build()
            self.latents(tf.zeros([1, image_size, image_size, 3], tf.uint8))

    def latents(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """What is quantised: uint8 [B, H, W, 3] to float32 [B, h, w, D]."""
        tokens = self.image_encoder(images, training=training)["tokens"]
        grid = [side // self._stride for side in images.shape[1:3]]
        projected = tf.cast(self.projection(tokens), tf.float32)
        return tf.reshape(projected, [-1, *grid, self.codebook.dim])

    def quantize(
        self, latents: tf.Tensor, seeds: tf.Tensor | None = None, training: bool = False
    ) -> dict[str, tf.Tensor]:
        """See `Codebook`; ``seeds`` int32 [B, 2] are those of the rows."""
        seeds = None if seeds is None else stream_seed(seeds, _CODEBOOK)
        return self.codebook(latents, seeds=seeds, training=training)

    def tokenize(self, images: tf.Tensor) -> tf.Tensor:
        """Codes of images: uint8 [B, H, W, 3] to int32 [B, h, w]."""
        return self.codebook.nearest(self.latents(images))
