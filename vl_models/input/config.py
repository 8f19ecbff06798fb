"""What an experiment says about its input, and what else decides about rows; no TensorFlow here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pydantic

from vl_models.choices import ImageFit
from vl_models.errors import UserError
from vl_models.generation.config import CaptionTokens
from vl_models.strict_config import StrictConfig

if TYPE_CHECKING:
    import numpy as np

Sampling = Literal["debiased", "mixed", "round_robin"]

IMAGE_INPUTS = ("image", "image_2", "image_features")
TEXT_INPUTS = ("token_ids", "text_features", "token_continuation")
# Hashes are not negative, so that this can pad.
PADDING_HASH = -1


class SourceConfig(StrictConfig):
    """One data source: what the texts of the train split's rows are, and how they are drawn.

    With ``texts: labels`` a text is one of ``templates`` filled with one of the image's
    `label/text`; images without one are not part of the source. ``rows`` of images or texts alone
    hold the keys of one modality. ``use_labels`` decides whether rows carry their class, by which
    UniCL makes positives: by default only where the text names the class. A query says more than
    the class of its image ("red car", not "car"), so rows of queries would become positives of
    texts that do not describe them.

    ``image_draw_power`` p draws an image in proportion to its clicks ** p, once per epoch on
    average, and `image_log_q` is the log share of that; None takes each image once, and
    `image_log_q` is the log share of the clicks. ``weak_weight`` is a factor on draws and weights
    of queries of weak correlation. With ``similar_images`` a batch is made of images that were
    clicked for the same queries, other ones in every epoch: hard negatives for matching.
    """

    name: str = pydantic.Field(default="queries", pattern=r"^[a-z][a-z0-9_]*$")
    texts: Literal["queries", "labels"] = "queries"
    rows: Literal["pairs", "images", "texts"] = "pairs"
    share: pydantic.PositiveFloat = 1.0  # of the batches, or of the rows if mixed; relative
    templates: tuple[str, ...] = pydantic.Field(default=("{}",), min_length=1)
    use_labels: bool = False  # with texts: labels True
    image_draw_power: pydantic.NonNegativeFloat | None = 0.0
    weak_weight: pydantic.NonNegativeFloat = 1.0
    similar_images: bool = False

    @pydantic.model_validator(mode="before")
    @classmethod
    def _labelled_if_of_labels(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("texts") == "labels":
            return {"use_labels": True, **values}
        return values

    @pydantic.field_validator("templates")
    @classmethod
    def _one_place(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            if template.count("{}") != 1:
                raise ValueError(f"a template needs '{{}}' exactly once; {template!r} has not")
        return templates

    @pydantic.model_validator(mode="after")
    def _fits_texts(self) -> SourceConfig:
        if self.texts == "queries" and self.templates != ("{}",):
            raise ValueError("templates are for texts: labels")
        if self.texts == "labels" and self.rows != "pairs":
            raise ValueError("texts: labels is for rows: pairs")
        if self.texts == "labels" and self.weak_weight != 1.0:
            raise ValueError("weak_weight is for texts: queries")
        return self


class InputConfig(StrictConfig):
    """How the trainer draws from the Examples: the section `input` of an experiment.

    A batch is of one source, drawn by share (``sampling`` "debiased") or taking turns as often as
    its share says ("round_robin"), or of all, rows by share ("mixed"). Texts
    are drawn by click weight ** ``text_draw_power``: 1 by weight, 0 evenly.
    ``max_clicked_queries`` is how many known clicks a row tells beside the drawn texts; 0 leaves
    out `clicked_query_hashes`, and with it what ``positives: graph`` needs.

    ``augment`` makes random images of the stored ones, as ``augmentation`` says: "crop" takes
    squares of a random share ``crop_scale`` of the shorter side, by default 0.9 to 1; the others
    are presets of `vl_models.input.augmentations`. Without it images are the centre squares. For a
    model with ``image_fit: pad`` it is a part of that share of both sides, by default all of
    them. Served images show the mean share, see `crop_share`. ``views`` 2 makes `image_2` a second,
    independent augmentation of the same stored image. ``shuffle_shards`` files are read side by
    side and share one shuffle buffer; without ``shuffle`` records come in their order.
    """

    sampling: Sampling = "debiased"
    sources: tuple[SourceConfig, ...] = (SourceConfig(),)
    text_draw_power: pydantic.NonNegativeFloat = 1.0
    max_clicked_queries: pydantic.NonNegativeInt = 16
    augment: bool = True
    augmentation: Literal["crop", "moco_v1", "moco_v2"] = "crop"
    crop_scale: tuple[float, float] | None = None
    views: Literal[1, 2] = 1
    shuffle: bool = True
    shuffle_shards: pydantic.PositiveInt = 4

    @pydantic.field_validator("sources")
    @classmethod
    def _unique_names(cls, sources: tuple[SourceConfig, ...]) -> tuple[SourceConfig, ...]:
        if not sources:
            raise ValueError("at least one source is needed")
        names = [source.name for source in sources]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"names of sources must differ; repeated: {', '.join(repeated)}")
        return sources

    @pydantic.field_validator("crop_scale")
    @classmethod
    def _shares(cls, scale: tuple[float, float] | None) -> tuple[float, float] | None:
        if scale is not None and not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError("crop_scale is two shares in (0, 1], the smaller one first")
        return scale

    @pydantic.model_validator(mode="after")
    def _similar_images_are_shuffled(self) -> InputConfig:
        if not self.shuffle and any(source.similar_images for source in self.sources):
            raise ValueError(
                "similar_images reorders records, and shuffle: false keeps their order"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _one_kind_of_crop(self) -> InputConfig:
        if self.augmentation != "crop" and self.crop_scale is not None:
            raise ValueError(f"crop_scale is for augmentation 'crop', not '{self.augmentation}'")
        return self

    def crop_bounds(self, fit: ImageFit) -> tuple[float, float]:
        """Smallest and largest share of an image's shorter side that training shows."""
        if not self.augment or self.augmentation != "crop":
            return 1.0, 1.0  # presets choose an area of their own, and are evaluated on the whole
        return self.crop_scale or ((0.9, 1.0) if fit == "crop" else (1.0, 1.0))

    def crop_share(self, fit: ImageFit) -> float:
        """Share of the shorter side that training shows on average, and serving always."""
        return sum(self.crop_bounds(fit)) / 2.0

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names of the sources in their order: index i is `source_id` i in a batch."""
        return tuple(source.name for source in self.sources)

    @property
    def query_source(self) -> int:
        """Index of the first source of queries, or 0: what validation on queries counts as."""
        kinds = [source.texts for source in self.sources]
        return kinds.index("queries") if "queries" in kinds else 0

    @property
    def label_templates(self) -> list[str]:
        """Templates that label texts are filled into, each once; none without such a source."""
        kept = (source.templates for source in self.sources if source.texts == "labels")
        return list(dict.fromkeys(template for templates in kept for template in templates))


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean and standard deviation of a feature vector over the Examples, float64[d] each."""

    mean: np.ndarray
    deviation: np.ndarray

    @property
    def width(self) -> int:
        """Length of a feature vector, d."""
        return len(self.mean)


@dataclass(frozen=True)
class DataFacts:
    """What data and batches decide about a model.

    Attributes:
        vocabulary_size: number of token ids; None if no texts are read.
        sources: names of the data sources, in their order.
        features: of each key of precomputed vectors, as "image_features", that is read.
        classes: names of the columns of `label`; without any there is none.
        text_classes: those of `text_label`, where the texts have a label set of their own.
        answers: those of `answer`.
        mask_id: the token that hides a word; None if the vocabulary has none.
        caption_tokens: what writing a text takes; None if no texts are read.
        mean_crop_share: share of an image's shorter side that training shows on average.
        images: number of Examples of the train split, for the inverse frequencies of its queries
            in `clicked_query_weight`; None leaves that out.
        total_clicks: sum of `image/clicks_total` over the images; without it `image_log_q` of
            records as they are is off by a constant, which a softmax over images does not see.
        global_batch: rows of a batch over all replicas; None if the model is not trained.
    """

    vocabulary_size: int | None = None
    sources: tuple[str, ...] = ()
    features: Mapping[str, FeatureStatistics] = dataclasses.field(default_factory=dict)
    classes: tuple[str, ...] = ()
    text_classes: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    mask_id: int | None = None
    caption_tokens: CaptionTokens | None = None
    mean_crop_share: float = 1.0
    images: int | None = None
    total_clicks: float | None = None
    global_batch: int | None = None


@dataclass(frozen=True)
class InputFacts:
    """What the model reads of a batch, and the data behind it.

    Attributes:
        inputs: batch keys.
        image_sizes: sides in pixels to which each crop is resized, by key of the batch; "image",
            which every crop is chosen for, is always there.
        image_fit: squares cut out of images ("crop"), or whole images with a margin ("pad").
        crop_share: share of the sides that images show where nothing is drawn at random.
        data: facts of the data.
    """

    inputs: tuple[str, ...] = ("image", "token_ids")
    image_sizes: Mapping[str, int] = dataclasses.field(default_factory=lambda: {"image": 224})
    image_fit: ImageFit = "crop"
    crop_share: float = 1.0
    data: DataFacts = DataFacts()


@dataclass(frozen=True)
class SourceSpec:
    """Everything that decides what the rows of one source hold.

    Attributes:
        source: the source's own part of the configuration.
        shared: the section that all sources share.
        facts: of the model and the data.

    Raises:
        UserError: they do not fit together.
    """

    source: SourceConfig
    shared: InputConfig
    facts: InputFacts

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem is not None:
            raise UserError(f"Source '{self.source.name}': {problem}.")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The model's keys that rows have: all of pairs, else those of one modality."""
        kinds = {"images": IMAGE_INPUTS, "texts": TEXT_INPUTS}
        kept = kinds.get(self.source.rows, self.facts.inputs)
        return tuple(key for key in self.facts.inputs if key in kept)

    def _problem(self) -> str | None:
        inputs, shared = self.inputs, self.shared
        if self.facts.data.images is not None and not shared.max_clicked_queries:
            return "positives: graph needs max_clicked_queries of 1 or more"
        if not inputs:
            return f"the model reads nothing of rows: {self.source.rows}"
        for name in ("image_features", "text_features"):
            if name in inputs and name not in self.facts.data.features:
                return f"input '{name}' needs its width, key '{name}'"
        if self.source.texts == "labels" and "text_features" in inputs:
            return "texts of labels have no precomputed 'text_features'"
        if shared.views == 2 and "image" not in self.facts.inputs:
            return "views: 2 are views of the input 'image', which is not asked for"
        if self.facts.image_fit == "pad" and shared.augment and shared.augmentation != "crop":
            return (
                f"augmentation: {shared.augmentation} is of squares, but the model has image_fit: "
                "pad; take augmentation: crop, or image_fit: crop"
            )
        return None
