"""What the configurations of all systems share; nothing here imports Keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, PositiveInt

from vl_models.choices import ImageFit
from vl_models.errors import UserError
from vl_models.precision import Precision
from vl_models.strict_config import StrictConfig

if TYPE_CHECKING:
    from vl_models.input.config import DataFacts


class ModelConfig(StrictConfig):
    """Configuration of a system, beside what is its own.

    Attributes:
        system: name of the system in the registry.
        image_size: side of the input in pixels.
        image_fit: whether images are cut to squares ("crop"), or keep their ratio of sides and get
            a margin of zeros ("pad"); batches then hold ``image_extent``.
        crop_share: share of an image's shorter side that the centre square spans in evaluation and
            serving (of both sides with "pad"); the trainer sets it to the mean share of training.
        max_length: L, tokens of a text, special ones included.
        vocabulary_size: number of token ids; the trainer sets it to that of the vocabulary.
        precision: dtype policy of the towers; embeddings and losses are float32 always. "auto"
            is what the machine is made for, see `resolve_precision`.
        OWN_LOSSES: names of the system's losses, without those of its tasks.
        NEEDS_LABELS: whether the system learns nothing from data without labels.
        LEARNS_UNPAIRED: whether it learns something from batches of one modality alone.
    """

    OWN_LOSSES: ClassVar[tuple[str, ...]] = ()
    NEEDS_LABELS: ClassVar[bool] = False
    LEARNS_UNPAIRED: ClassVar[bool] = False

    system: str
    image_size: PositiveInt = 64
    image_fit: ImageFit = "crop"
    crop_share: float | None = Field(default=None, gt=0.0, le=1.0)
    max_length: int = Field(default=24, ge=3)
    vocabulary_size: PositiveInt | None = None
    precision: Precision = "float32"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of a batch that the system reads; tokens come with their mask."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it reads")

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of all losses that it may have; a batch without their input lacks some."""
        return self.OWN_LOSSES

    @property
    def reads_features(self) -> bool:
        """Whether both sides read precomputed vectors."""
        return {"image_features", "text_features"} <= set(self.inputs)

    @property
    def image_sizes(self) -> Mapping[str, int]:
        """Sides in pixels of each image of a batch, by key: "image" and further sizes of it."""
        return {"image": self.image_size}

    @property
    def learns_from_labels(self) -> bool:
        """Whether batches must hold ``label``."""
        return self.NEEDS_LABELS

    @property
    def learns_unpaired(self) -> bool:
        """Whether it learns something from batches of one modality alone."""
        return self.LEARNS_UNPAIRED

    @property
    def learns_answers(self) -> bool:
        """Whether batches must hold ``answer``."""
        return False

    @property
    def learns_from_click_graph(self) -> bool:
        """Whether batches must hold ``clicked_query_weight``."""
        return False

    @property
    def served_crop_share(self) -> float:
        """`crop_share`; the whole shorter side where nothing is said."""
        return 1.0 if self.crop_share is None else self.crop_share

    def completed(self, facts: DataFacts) -> Self:
        """Return the configuration with what is the data's.

        Raises:
            UserError: the data do not give what the system needs.
        """
        values: dict[str, object] = {}
        if facts.vocabulary_size is not None:
            values["vocabulary_size"] = facts.vocabulary_size
        if self.crop_share is None:
            values["crop_share"] = facts.mean_crop_share
        return self.with_values(**values)

    def with_values(self, **values: object) -> Self:
        """Return the configuration with other values, validated like those of a file."""
        return type(self).model_validate({**dict(self), **values})


def require_labels(system: str, num_labels: int | None) -> int:
    """Return the number of classes that a system needs.

    Raises:
        UserError: the data have none.
    """
    if num_labels is None:
        raise UserError(
            f"System '{system}' learns from classes, and the data have none (label ids). "
            "Give the data labels, or take a system that needs none, for example 'ucal'."
        )
    return num_labels
