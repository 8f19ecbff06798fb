"""Configuration of `ACMR`; nothing here imports Keras."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveFloat, model_validator

from vl_models.models.common_space_config import CommonSpaceConfig
from vl_models.tasks.config import LabelClassifierConfig, ModalityAdversaryConfig, TaskConfig


class ACMRConfig(CommonSpaceConfig):
    """Configuration of `ACMR`, as in the paper.

    The released code differs: one hinge per batch, no gradient of the adversary in the towers,
    and a label classifier that is never trained. `reference_demo` does as it does, to compare.

    Attributes:
        system: "acmr".
        triplet_weight: α of equation 6; the paper searches it, per data set, in [0.01, 100].
        margin: μ of equations 4 and 5.
        push_weight: λ of equations 4 and 5.
        weight_norms: factor of the sum of the Frobenius norms of the towers' matrices
            (equation 7, where it is 1 beside sums over the batch, which are means here).
        tasks: the label classifier, with β as its weight, and the modality adversary.
        reference_demo: the released code's behaviour on features, for tests alone: ``triplet`` is
            `batch_hinge`, with its own margin and weight and the negatives that are hardest by raw
            features; the adversary gives the towers no gradient; the label classifier stays as it
            was initialised. There, the label classifier weighs 100.
    """

    OWN_LOSSES: ClassVar[tuple[str, ...]] = ("triplet", "weight_norms")
    NEEDS_LABELS: ClassVar[bool] = True

    system: Literal["acmr"] = "acmr"
    triplet_weight: NonNegativeFloat = 1.0
    margin: PositiveFloat = 1.0
    push_weight: NonNegativeFloat = 0.05
    weight_norms: NonNegativeFloat = 0.0
    tasks: tuple[TaskConfig, ...] = (
        LabelClassifierConfig(),
        ModalityAdversaryConfig(),
    )
    reference_demo: bool = False

    @model_validator(mode="after")
    def _demo_has_features(self) -> ACMRConfig:
        if self.reference_demo and {self.image.kind, self.text.kind} != {"features"}:
            raise ValueError("reference_demo needs features on both sides")
        return self
