"""What the configurations of all systems share; nothing here imports Keras."""

from __future__ import annotations

from typing import Self

from pydantic import Field, PositiveInt

from vl_models.data_facts import DataFacts
from vl_models.precision import Precision
from vl_models.strict_config import StrictConfig


class ModelConfig(StrictConfig):
    """Configuration of a system, beside what is its own.

    Attributes:
      system: name of the system in the registry.
      image_size: side of the input in pixels.
      max_length: L, tokens of a text, special ones included.
      vocabulary_size: number of token ids; the trainer sets it to that of the vocabulary.
      precision: dtype policy of the towers; embeddings and losses are float32 always. "auto"
        is what the machine is made for, see `resolve_precision`.
    """

    system: str
    image_size: PositiveInt = 64
    max_length: int = Field(default=24, ge=3)
    vocabulary_size: PositiveInt | None = None
    precision: Precision = "float32"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of a batch that the system reads; tokens come with their mask."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it reads")

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of all losses that the system may have; a batch without their input lacks some."""
        raise NotImplementedError(f"{type(self).__name__} does not name its losses")

    @property
    def reads_features(self) -> bool:
        """Whether both sides read precomputed vectors."""
        return {"image_features", "text_features"} <= set(self.inputs)

    @property
    def learns_from_labels(self) -> bool:
        """Whether batches must hold ``label``."""
        return False

    @property
    def learns_unpaired(self) -> bool:
        """Whether there is something to learn from batches of one modality alone."""
        return False

    def completed(self, facts: DataFacts) -> Self:
        """The configuration with what is the data's.

        Raises:
          UserError: the data do not give what the system needs.
        """
        return self.with_values(vocabulary_size=facts.vocabulary_size)

    def with_values(self, **values: object) -> Self:
        """The configuration with other values, validated like those of a file."""
        return type(self).model_validate({**dict(self), **values})
