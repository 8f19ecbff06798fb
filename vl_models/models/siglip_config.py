"""Configuration of `SigLIP`; nothing here imports Keras."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import PositiveFloat

from vl_models.choices import PositivesMode
from vl_models.models.dual_encoder_config import DualEncoderConfig

if TYPE_CHECKING:
    from vl_models.input.config import DataFacts

PUBLISHED_BIAS = -10.0  # for a batch of 32,768: -ln(32,767) = -10.4


class SigLIPConfig(DualEncoderConfig):
    """Configuration of `SigLIP`.

    Attributes:
        system: "siglip".
        initial_temperature: of the published t' = ln 10.
        maximum_scale: bound of the inverse temperature.
        initial_bias: of the logits. None is -ln(N - 1) for a global batch of N images: one of a
            text's N pairs matches, and a pair of orthogonal embeddings is then given that
            probability. A model that is made without a training has the published -10, which is
            the same for N of 22,000; in a small batch, matches are lost in it.
        positives: what a known click beside the pairs is, see `pairwise_sigmoid_sums`.
        weigh_queries: whether a pair weighs in by its position-debiased clicks.
    """

    OWN_LOSSES: ClassVar[tuple[str, ...]] = ("sigmoid",)

    system: Literal["siglip"] = "siglip"
    initial_temperature: PositiveFloat = 0.1
    maximum_scale: PositiveFloat = 1000.0
    initial_bias: float | None = None
    positives: PositivesMode = "uniform"
    weigh_queries: bool = False

    @property
    def learns_from_click_graph(self) -> bool:
        """Whether batches must hold ``clicked_query_weight``."""
        return self.positives == "graph"

    def completed(self, facts: DataFacts) -> Self:
        """See `ModelConfig.completed`; the bias is that of the global batch."""
        values: dict[str, object] = {}
        if self.initial_bias is None and facts.global_batch is not None:
            values["initial_bias"] = -math.log(max(facts.global_batch - 1, 1))
        return super().completed(facts).with_values(**values)
