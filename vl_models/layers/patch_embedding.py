"""Images to token sequences: patches, class token, learned positions."""

from __future__ import annotations

from typing import Any

from keras import ops

from vl_models.layers import initializers
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.patches import patchify


class PatchEmbedding(ConfiguredLayer):
    """Project non-overlapping patches linearly, prepend a class token, add positions.

    The projection has no bias (CLIP). It is one matrix product: a convolution whose stride
    is its kernel size, but faster on CPUs; its kernel is the convolution's, reshaped to
    [patch · patch · channels, width].
    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", section 3.1.

    Args:
        patch_size: side of a patch in pixels; must divide height and width.
        width: width of a token.
        class_token: whether a learned vector precedes the patches.
        mask_token: whether patches can be masked: there is a learned vector for it.
    """

    def __init__(
        self,
        patch_size: int,
        width: int,
        class_token: bool = True,
        mask_token: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.patch_size = patch_size
        self.width = width
        self.class_token = class_token
        self.mask_token = mask_token

    def build(self, input_shape: Any) -> None:
        """Create kernel, class vector [width] and positions [tokens, width].

        Raises:
            ValueError: if the patch size does not divide the image.
        """
        _, height, width, channels = input_shape
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                "Height and width must be multiples of the patch size. "
                f"Received: image {height} x {width}, patch_size={self.patch_size}"
            )
        patches = (height // self.patch_size) * (width // self.patch_size)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.patch_size**2 * channels, self.width),
            initializer=initializers.uniform_fan_in(),
        )
        stddev = self.width**-0.5
        if self.class_token:
            self.class_vector = self.add_weight(
                name="class_vector", shape=(self.width,), initializer=initializers.normal(stddev)
            )
        if self.mask_token:
            self.mask_vector = self.add_weight(
                name="mask_vector", shape=(self.width,), initializer=initializers.normal(0.02)
            )
        self.positions = self.add_weight(
            name="positions",
            shape=(patches + int(self.class_token), self.width),
            initializer=initializers.normal(stddev),
        )

    def call(self, images: Any, masked: Any = None) -> Any:
        """Embed images [B, H, W, channels] as tokens [B, patches (+ 1), width].

        Where ``masked``, bool [B, patches], is True, the mask vector takes a patch's place
        (Bao et al., "BEiT: BERT Pre-Training of Image Transformers", section 2.3).
        """
        x = ops.matmul(patchify(images, self.patch_size), self.kernel)
        if masked is not None:
            x = ops.where(masked[:, :, None], ops.cast(self.mask_vector, x.dtype), x)
        if self.class_token:
            first = ops.broadcast_to(self.class_vector, (ops.shape(x)[0], 1, self.width))
            x = ops.concatenate([ops.cast(first, x.dtype), x], axis=1)
        return x + ops.cast(self.positions, x.dtype)
