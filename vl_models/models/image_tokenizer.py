"""A tokeniser of images: VQ-VAE, whose codes are what masked image modelling has to guess.

van den Oord et al., "Neural Discrete Representation Learning"; the codebook by moving averages as
in Razavi et al., "Generating Diverse High-Fidelity Images with VQ-VAE-2".
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import global_mean, global_sum
from vl_models.encoders.cnn_decoder import CNNDecoder
from vl_models.encoders.image_quantizer import ImageQuantizer
from vl_models.layers.pixel_norm import PixelNormalization
from vl_models.models.base import VisionLanguageModel
from vl_models.models.image_tokenizer_config import ImageTokenizerConfig


class ImageTokenizer(VisionLanguageModel):
    """Encoder, codes, decoder: equation 3 with moving averages in place of its second term.

    The reconstruction loss is the mean squared error of normalised pixels, the commitment loss
    β times that of the encoder's vectors against their codes. Images alone are read.

    Args:
        config: sizes and options.
    """

    config: ImageTokenizerConfig

    def __init__(self, config: ImageTokenizerConfig) -> None:
        super().__init__(config)
        image = config.image
        self.quantizer = ImageQuantizer(image, config.codebook, config.precision)
        self.decoder = CNNDecoder(
            image.widths,
            image.blocks,
            image.stem_stride,
            image.norm,
            image.activation,
            dtype=config.precision,
            name="image_decoder",
        )
        self.pixel_norm = PixelNormalization(
            image.mean, image.standard_deviation, dtype="float32", name="pixel_norm"
        )

    def build(self) -> None:
        """Create every variable; a second call changes nothing."""
        if self.decoder.built:
            return
        size = self.config.image_size
        self.quantizer.build(size)
        self.encode({"image": tf.zeros([1, size, size, 3], tf.uint8)}, training=False)

    def encode(self, batch: Batch, training: bool) -> Outputs:
        """Encode, quantise and decode; in training the codebook follows.

        Returns:
            ``image_latent`` and ``image_quantized`` float32 [B, h, w, D], ``image_code`` int32
            [B, h, w] and ``reconstruction`` float32 [B, H, W, 3], of this replica.
        """
        latents = self.quantizer.latents(batch["image"], training)
        found = self.quantizer.quantize(latents, batch.get("seed"), training)
        return {
            "image_latent": latents,
            "image_quantized": found["quantized"],
            "image_code": found["codes"],
            "reconstruction": self.decoder(found["quantized"]),
        }

    def own_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``reconstruction`` and ``commitment``, means over all numbers of the global batch."""
        wanted = tf.stop_gradient(self.pixel_norm(batch["image"]))
        codes = tf.stop_gradient(outputs["image_quantized"])
        commitment = global_mean(tf.math.squared_difference(outputs["image_latent"], codes))
        return {
            "reconstruction": global_mean(
                tf.math.squared_difference(outputs["reconstruction"], wanted)
            ),
            "commitment": self.config.commitment_weight * commitment,
        }

    def own_collapsed_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Return the variance about the mean image: the best if all images had the same codes."""
        pixels = self.pixel_norm(batch["image"])
        count = global_sum(tf.cast(tf.shape(pixels)[0], tf.float32))
        mean = global_sum(tf.reduce_sum(pixels, axis=0)) / count
        return {"reconstruction": global_mean(tf.math.squared_difference(pixels, mean))}

    def scalars(self) -> dict[str, tf.Tensor]:
        """Perplexity and used share of the codebook."""
        return {**super().scalars(), **self.quantizer.codebook.scalars()}

    def tokenize_image(self, batch: Batch) -> tf.Tensor:
        """Codes int32 [B, h, w] of the encoder's grid over each image."""
        return self.quantizer.tokenize(batch["image"])

    def reconstruct_image(self, batch: Batch) -> tf.Tensor:
        """Pixels uint8 [B, H, W, 3] that the decoder makes of the codes."""
        normalized = self.encode({"image": batch["image"]}, training=False)["reconstruction"]
        image = self.config.image
        mean = np.asarray(image.mean, np.float32)
        deviation = np.asarray(image.standard_deviation, np.float32)
        pixels = tf.clip_by_value(255.0 * (normalized * deviation + mean), 0.0, 255.0)
        return tf.cast(tf.round(pixels), tf.uint8)
