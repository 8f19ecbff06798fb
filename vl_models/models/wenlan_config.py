"""Configuration of `WenLan`; nothing here imports Keras."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from vl_models.encoders.config import PatchPoolingConfig, TransformerPoolingConfig
from vl_models.models.dual_encoder_config import DualEncoderConfig
from vl_models.models.momentum_contrast_config import MomentumContrastConfig


class WenLanConfig(MomentumContrastConfig, DualEncoderConfig):
    """Configuration of `WenLan`.

    Attributes:
        projection: "mlp" (BriVL's FC-ReLU-FC) or "linear" (CLIP's).
        patch_pooling: regions of the image encoder's map instead of its pooled vector; needs
            ``tokens`` that form a square.
        text_pooling: a transformer over the text encoder's tokens instead of its pooled vector.
        learn_temperature: whether the temperature is learned, like CLIP's; published: False.
        maximum_scale: bound of the inverse of a learned temperature.
        batch_negatives: whether the other keys of the global batch are negatives too, known
            positives left out; published: False.
        batch_positives: whether known positives among those keys are targets too, sharing them
            evenly, instead of being left out; with "graph" by their weights, see `soft_positives`.
            Needs ``batch_negatives``. Published: False.
        neighbours: k of the multi-label form: queue entries among the k nearest of a pair by
            both modalities are positives too; 0 for none. Needs one text per image.
        queue_query_hashes: how many query hashes an image in the queue carries: its texts in the
            batch, then its known clicks.
        weigh_queries: whether a pair weighs in by its position-debiased clicks.
        label_smoothing: share of the target spread over all candidates; published: 0.
    """

    OWN_LOSSES: ClassVar[tuple[str, ...]] = ("image_to_text", "text_to_image")

    system: Literal["wenlan"] = "wenlan"
    projection: Literal["mlp", "linear"] = "mlp"
    patch_pooling: PatchPoolingConfig | None = None
    text_pooling: TransformerPoolingConfig | None = None
    learn_temperature: bool = False
    maximum_scale: PositiveFloat = 100.0
    batch_negatives: bool = False
    batch_positives: bool | Literal["graph"] = False
    neighbours: int = Field(default=0, ge=0)
    queue_query_hashes: PositiveInt = 16
    weigh_queries: bool = False
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)

    @property
    def learns_from_click_graph(self) -> bool:
        """Whether batches must hold ``clicked_query_weight``."""
        return self.batch_positives == "graph"

    @model_validator(mode="after")
    def _positives_are_of_the_batch(self) -> WenLanConfig:
        if self.batch_positives and not (self.batch_negatives and self.mask_known):
            raise ValueError("batch_positives needs batch_negatives and mask_known")
        if self.shared_projection:
            raise ValueError("shared_projection does not go with momentum encoders")
        if self.batch_positives and self.neighbours:
            raise ValueError("batch_positives and neighbours exclude each other")
        return self
