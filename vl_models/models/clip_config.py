"""Configuration of `CLIP` and of what ALIGN, UniCL and Prefix Conditioning share with it.

Nothing here imports Keras.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat

from vl_models.choices import GatherForm, PositivesMode
from vl_models.models.dual_encoder_config import DualEncoderConfig


class ContrastiveConfig(DualEncoderConfig):
    """Options of the softmax over the batch.

    Attributes:
        initial_temperature: CLIP's 0.07.
        maximum_scale: bound of the inverse temperature; CLIP's 100.
        label_smoothing: share of the target spread over the batch; ALIGN's 0.1.
        positives: what a known click beside the pairs is: a target ("uniform"), left out of
            the softmax ("hide") or a negative ("pairs", CLIP); with "graph" pairs that nobody has
            clicked are targets too, as far as their images were clicked for the same queries, see
            `soft_positives`.
        gather: how the batch is put together over replicas, see `losses/gathered.py`.
        correct_sampling: the logQ correction where images are the candidates; for sources that
            draw images by their clicks (``image_draw_power``).
        weigh_queries: whether a pair weighs in by its position-debiased clicks.
    """

    OWN_LOSSES: ClassVar[tuple[str, ...]] = ("contrastive",)

    initial_temperature: PositiveFloat = 0.07
    maximum_scale: PositiveFloat = 100.0
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    positives: PositivesMode = "uniform"
    gather: GatherForm = "global"
    correct_sampling: bool = False
    weigh_queries: bool = False

    @property
    def learns_from_click_graph(self) -> bool:
        """Whether batches must hold ``clicked_query_weight``."""
        return self.positives == "graph"

    @property
    def labels_match(self) -> bool:
        """Whether rows of one label are positives of each other."""
        return False


class CLIPConfig(ContrastiveConfig):
    """Configuration of `CLIP`; as published with ``positives: pairs``."""

    system: Literal["clip"] = "clip"
