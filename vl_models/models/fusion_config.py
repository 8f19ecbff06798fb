"""What the configurations of fusion systems share; nothing here imports Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from vl_models.encoders.config import Channels, GridEncoderConfig
from vl_models.models.base_config import ModelConfig
from vl_models.tasks.fusion_config import (
    ANSWERING,
    MOST_TOKEN_NUMBERS,
    FusionTaskConfig,
    ITMConfig,
    order_problem,
)

if TYPE_CHECKING:
    from vl_models.input.config import DataFacts


class FusionConfig(ModelConfig):
    """Configuration of a system that reads an image and a text together.

    Its losses and what it can do are those of its tasks.

    Attributes:
        width: W, width of a token.
        depth: number of blocks.
        heads: attention heads; must divide the width.
        mlp_ratio: hidden width of the MLPs over the width.
        patch_size: side of a patch in pixels, where there is no image encoder apart.
        image: an image encoder whose tokens take the place of patches; None for linear patches, as
            published.
        dropout: rate on the text's embedding, and where the system has it, on residual branches.
        drop_path: probability that a row skips a branch of the last block.
        epsilon: of the joint encoder's layer normalisations; the published programs have 1e-6, the
            ports of Hugging Face 1e-12.
        initializer_range: standard deviation of the joint encoder's kernels at the start; 0.02 is
            published for widths from 768 on, and small encoders learn sooner with more.
        mean: channel means of the pixels, as shares of 255.
        standard_deviation: channel standard deviations, as shares of 255.
        tasks: what is learnt, in order; each kind at most once.
        mask_id: the token that hides a word; the trainer sets it.
        answers: answers of the data, for tasks that learn such; likewise.
        KINDS: tasks that the system can learn.
        UNPAIRED_TASKS: of those, the ones that learn from one modality alone.
        SHARED_PASS: whether matching and masked words of pairs are learnt in one pass.
        MATCHING_BIAS: whether the two scores of matching have a bias.
    """

    KINDS: ClassVar[tuple[str, ...]] = ()
    UNPAIRED_TASKS: ClassVar[tuple[str, ...]] = ()
    SHARED_PASS: ClassVar[bool] = False
    MATCHING_BIAS: ClassVar[bool] = True

    width: PositiveInt = 192
    depth: PositiveInt = 4
    heads: PositiveInt = 3
    mlp_ratio: PositiveFloat = 4.0
    patch_size: PositiveInt = 8
    image: GridEncoderConfig | None = None
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    drop_path: float = Field(default=0.0, ge=0.0, lt=1.0)
    epsilon: PositiveFloat = 1e-6
    initializer_range: PositiveFloat = 0.02
    mean: Channels = (0.5, 0.5, 0.5)
    standard_deviation: Channels = (0.5, 0.5, 0.5)
    tasks: tuple[FusionTaskConfig, ...] = Field(min_length=1)
    mask_id: int | None = None
    answers: tuple[str, ...] = ()

    @property
    def grid(self) -> int:
        """Patches on a side of the image."""
        return self.image_size // self._stride

    @property
    def _stride(self) -> int:
        return self.patch_size if self.image is None else self.image.stride

    @property
    def inputs(self) -> tuple[str, ...]:
        """Images and texts, and what the tasks read beside them."""
        keys = ("image", "token_ids", *(key for task in self.tasks for key in task.inputs))
        return tuple(dict.fromkeys(keys))

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Those of the tasks."""
        return tuple(name for task in self.tasks for name in task.loss_names)

    @property
    def learns_unpaired(self) -> bool:
        """Whether a task learns from one modality alone."""
        return any(task.kind in self.UNPAIRED_TASKS for task in self.tasks)

    @property
    def learns_answers(self) -> bool:
        """Whether batches must hold ``answer``."""
        return any(task.kind in ANSWERING for task in self.tasks)

    @property
    def learns_from_click_graph(self) -> bool:
        """Whether batches must hold ``clicked_query_weight``."""
        return any(
            getattr(task, "positives", None) == "graph"
            or getattr(task, "negatives", None) == "similar"
            for task in self.tasks
        )

    def task(self, kind: str) -> FusionTaskConfig | None:
        """Return the task of a kind, or None."""
        return next((task for task in self.tasks if task.kind == kind), None)

    @field_validator("tasks")
    @classmethod
    def _fitting_tasks(cls, tasks: tuple[FusionTaskConfig, ...]) -> tuple[FusionTaskConfig, ...]:
        kinds = [task.kind for task in tasks]
        if repeated := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
            raise ValueError(f"each kind of task once; repeated: {', '.join(repeated)}")
        if foreign := [kind for kind in kinds if kind not in cls.KINDS]:
            raise ValueError(
                f"the system has no task {', '.join(foreign)}; it has {', '.join(cls.KINDS)}"
            )
        if problem := order_problem(tasks):
            raise ValueError(problem)
        return tasks

    @model_validator(mode="after")
    def _heads_divide_width(self) -> FusionConfig:
        if self.width % self.heads:
            raise ValueError(
                f"width must be a multiple of heads, here width={self.width}, heads={self.heads}"
            )
        return self

    @model_validator(mode="after")
    def _patches_tile_the_image(self) -> FusionConfig:
        if self.image_size % self._stride:
            raise ValueError(
                "image_size must be a multiple of the patches' side, here "
                f"image_size={self.image_size}, {self._stride} pixels a patch"
            )
        return self

    @model_validator(mode="after")
    def _patches_worth_grounding(self) -> FusionConfig:
        if self.image is None and self.task("grounding"):
            raise ValueError(
                "grounding needs an image encoder apart (model.image): words are compared with "
                "patches before these are fused, and linear patches show nothing yet"
            )
        return self

    @model_validator(mode="after")
    def _images_can_be_stored(self) -> FusionConfig:
        matching = self.task("itm")
        if not (isinstance(matching, ITMConfig) and matching.store_tokens):
            return self
        if self.image is None:
            raise ValueError("store_tokens needs an image encoder apart (model.image)")
        if self.task("token_scoring"):
            raise ValueError("store_tokens or the task token_scoring: an index keeps one of both")
        tokens = self.grid**2 + 1
        if tokens * self.width > MOST_TOKEN_NUMBERS:
            raise ValueError(
                f"store_tokens keeps at most {MOST_TOKEN_NUMBERS} numbers of an image, here "
                f"{tokens} tokens · width {self.width}; take the task token_scoring"
            )
        return self

    def completed(self, facts: DataFacts) -> Self:
        """Return the configuration with vocabulary, mask token and answers."""
        values: dict[str, object] = {}
        if facts.mask_id is not None:
            values["mask_id"] = facts.mask_id
        if self.learns_answers and facts.answers:
            values["answers"] = facts.answers
        return super().completed(facts).with_values(**values)
