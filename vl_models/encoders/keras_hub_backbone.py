"""Any backbone of KerasHub as an image or text encoder, by class name or from a preset here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from vl_models.encoders.presets import find_preset
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.masked_mean import masked_mean
from vl_models.layers.pixel_norm import PixelNormalization


def _create_backbone(
    backbone: str | None, arguments: Mapping[str, Any], preset: str | None, policy: Any
) -> keras.Model:
    """Construct a randomly initialised backbone, or load a preset that is on this machine.

    Raises:
        ValueError: unless exactly one of ``backbone`` and ``preset`` is given and exists.
        UserError: the preset is not here.
    """
    import keras_hub  # Slow to import, and only needed here.

    if (backbone is None) == (preset is None):
        raise ValueError(
            "Exactly one of `backbone` and `preset` is needed. "
            f"Received: backbone={backbone!r}, preset={preset!r}"
        )
    if preset is not None:
        folder = str(find_preset(preset))
        return keras_hub.models.Backbone.from_preset(folder, dtype=policy, **arguments)
    backbone_class = getattr(keras_hub.models, str(backbone), None)
    if not (
        isinstance(backbone_class, type) and issubclass(backbone_class, keras_hub.models.Backbone)
    ):
        raise ValueError(
            "`backbone` must be the name of a backbone class of keras_hub.models, "
            f"for example 'ResNetBackbone'. Received: backbone={backbone!r}"
        )
    return backbone_class(dtype=policy, name="backbone", **arguments)


class _KerasHubEncoder(ConfiguredLayer):
    """What image and text encoders share: construction, variables, configuration."""

    def __init__(
        self,
        backbone: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        preset: str | None = None,
        pooling: str = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if pooling not in ("cls", "mean"):
            raise ValueError(f"`pooling` must be 'cls' or 'mean'. Received: pooling={pooling!r}")
        self.backbone_name = backbone
        self.arguments = dict(arguments or {})
        self.preset = preset
        self.pooling = pooling
        # A backbone's variables carry no prefix of their own: two towers would collide.
        with keras.name_scope(self.name), keras.name_scope("backbone"):
            self.backbone = _create_backbone(backbone, self.arguments, preset, self.dtype_policy)

    def build(self, input_shape: Any) -> None:
        """Nothing to do: a backbone is built when it is constructed."""

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; the attribute of this one's name is the layer made of it."""
        return {**super().get_config(), "backbone": self.backbone_name}


class KerasHubImageEncoder(_KerasHubEncoder):
    """An image backbone of KerasHub with pixel normalisation before and pooling after.

    Args:
        backbone: class name in `keras_hub.models`, for example "ResNetBackbone".
        arguments: constructor arguments of the backbone.
        preset: folder or name of a preset, instead of ``backbone``; see `find_preset`.
        pooling: "cls" (first token) or "mean" (of positions).
        mean: channel means of the pixels, as shares of 255.
        standard_deviation: channel standard deviations, as shares of 255.
    """

    def __init__(
        self,
        backbone: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        preset: str | None = None,
        pooling: str = "mean",
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        standard_deviation: Sequence[float] = (0.5, 0.5, 0.5),
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone, arguments, preset, pooling, **kwargs)
        self.mean = tuple(mean)
        self.standard_deviation = tuple(standard_deviation)
        self.pixel_norm = PixelNormalization(
            self.mean, self.standard_deviation, dtype=self.dtype_policy, name="pixel_norm"
        )

    def call(self, images: Any, seeds: Any = None, training: bool = False) -> dict[str, Any]:
        """Encode images.

        Args:
            images: uint8 or float [B, H, W, 3], values 0…255.
            seeds: unused; a backbone draws its own dropout.
            training: mode of the backbone (dropout, batch normalisation).

        Returns:
            ``hidden`` and ``tokens`` [B, L, W], the same here, and ``pooled`` [B, W].
        """
        features = self.backbone(self.pixel_norm(images), training=training)
        if len(features.shape) == 4:
            _, height, width, channels = features.shape
            features = ops.reshape(features, (-1, height * width, channels))
        pooled = features[:, 0] if self.pooling == "cls" else ops.mean(features, axis=1)
        return {"hidden": features, "tokens": features, "pooled": pooled}


class KerasHubTextEncoder(_KerasHubEncoder):
    """A text backbone of KerasHub (BERT, RoBERTa, …) with pooling after.

    Args:
        backbone: class name in `keras_hub.models`, for example "BertBackbone".
        arguments: constructor arguments of the backbone.
        preset: folder or name of a preset, instead of ``backbone``; see `find_preset`.
        pooling: "cls" (first token) or "mean" (of the tokens).
    """

    def call(
        self, token_ids: Any, text_mask: Any, seeds: Any = None, training: bool = False
    ) -> dict[str, Any]:
        """Encode texts.

        Args:
            token_ids: int32 [B, L].
            text_mask: bool [B, L], True = token, False = padding.
            seeds: unused; a backbone draws its own dropout.
            training: mode of the backbone.

        Returns:
            ``hidden`` and ``tokens`` [B, L, W], the same here, and ``pooled`` [B, W].
        """
        inputs = {"token_ids": token_ids, "padding_mask": ops.cast(text_mask, "int32")}
        if any(tensor.name == "segment_ids" for tensor in self.backbone.inputs):
            inputs["segment_ids"] = ops.zeros_like(token_ids)
        features = self.backbone(inputs, training=training)
        if isinstance(features, Mapping):
            features = features["sequence_output"]
        encoded = {"hidden": features, "tokens": features}
        if self.pooling == "cls":
            return {**encoded, "pooled": features[:, 0]}
        return {**encoded, "pooled": masked_mean(features, text_mask)}
