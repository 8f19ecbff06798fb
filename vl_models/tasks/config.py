"""Configurations of tasks; nothing here imports Keras."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from vl_models.layers.reversal_schedule import ReversalSchedule
from vl_models.strict_config import StrictConfig


class BaseTaskConfig(StrictConfig):
    """What the configurations of all tasks share.

    Attributes:
        kind: which task.
        weight: of its loss.
    """

    kind: str
    weight: NonNegativeFloat = 1.0

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of a batch that the task reads, beside the model's."""
        return ()

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of its losses."""
        return (self.kind,)


class ModalityAdversaryConfig(BaseTaskConfig):
    """Configuration of `ModalityAdversary`.

    Attributes:
        kind: "modality_adversary".
        weight: of the loss; the towers get it times -λ.
        hidden_widths: widths of the classifier's layers.
        activation: between them; ACMR's released code has none.
        reversal: the schedule of λ.
    """

    kind: Literal["modality_adversary"] = "modality_adversary"
    hidden_widths: tuple[PositiveInt, ...] = (50,)
    activation: Literal["relu", "tanh", "linear"] = "relu"
    reversal: ReversalSchedule = ReversalSchedule()


class PairMarginConfig(BaseTaskConfig):
    """Configuration of `PairMargin`.

    Attributes:
        kind: "pair_margin".
        margin: m, in units of the distance; unit vectors are at most 2 apart.
    """

    kind: Literal["pair_margin"] = "pair_margin"
    margin: PositiveFloat = 1.0


class LabelClassifierConfig(BaseTaskConfig):
    """Configuration of `LabelClassifier`.

    Attributes:
        kind: "label_classifier".
        shared: one classifier for both modalities, or one for each: that of the texts learns
            ``text_label`` where the texts have a label set of their own.
        hidden_widths: widths of its layers before the scores.
    """

    kind: Literal["label_classifier"] = "label_classifier"
    shared: bool = True
    hidden_widths: tuple[PositiveInt, ...] = ()


class ImageClassifierConfig(BaseTaskConfig):
    """Configuration of `ImageClassifier`.

    Attributes:
        kind: "image_classifier".
        heads: attention heads of its pooler; must divide the image encoder's width.
    """

    kind: Literal["image_classifier"] = "image_classifier"
    heads: PositiveInt = 8


_OfEmbeddings = ModalityAdversaryConfig | PairMarginConfig | LabelClassifierConfig
TaskConfig = Annotated[_OfEmbeddings, Field(discriminator="kind")]
# Of systems that keep all tokens of an image.
AnyTaskConfig = Annotated[_OfEmbeddings | ImageClassifierConfig, Field(discriminator="kind")]
