"""The trainer's data sources, as the experiment describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tfx_pipeline.config import InputOptions, SourceOptions
from vl_models.errors import UserError
from vl_models.input.examples import InputConfig
from vl_models.input.source import RecordSource, TextFunction, WeightFunction
from vl_models.models.base_config import ModelConfig

TRAIN, VALIDATION = "train", "val"

# Rows of a source → suffix of their split's folder, the one input that they have.
_UNPAIRED = {"images": ("-image-only", "image_features"), "texts": ("-text-only", "text_features")}


def split_pattern(examples: Path, split: str) -> str:
    """Pattern of the record files of one split of Examples."""
    return str(examples / f"Split-{split}" / "data_tfrecord-*")


def source_names(options: InputOptions) -> tuple[str, ...]:
    """Names of the sources in their order: index i is `source_id` i in a batch."""
    return tuple(source.name for source in options.sources)


def query_source(options: InputOptions) -> int:
    """Index of the first source of queries, or 0: what validation on queries counts as."""
    kinds = [source.texts for source in options.sources]
    return kinds.index("queries") if "queries" in kinds else 0


def train_sources(
    options: InputOptions,
    model: ModelConfig,
    examples: Path,
    text_fn: TextFunction | None,
    weight_fn: WeightFunction | None,
    labels: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[RecordSource]:
    """The sources of the train split, in their order.

    Args:
      options: of the experiment.
      model: says what a batch holds, and the images' size.
      examples: folder of the Examples.
      text_fn: tokenises drawn texts, of queries and of labels; None without tokens.
      weight_fn: rescales click weights.
      labels: names of the labels that batches tell, see `DataFacts`.

    Raises:
      UserError: no files, or texts of labels for a model that reads no texts.
    """
    sources = []
    for source in options.sources:
        if source.texts == "labels" and "token_ids" not in model.inputs:
            raise UserError(
                f"Source '{source.name}' makes texts of labels, but the system '{model.system}' "
                "reads no texts. Take it out of input.sources."
            )
        own = source.model_dump(exclude={"name", "share", "rows"})
        own["inputs"] = model.inputs
        split = TRAIN
        if source.rows != "pairs":
            suffix, key = _UNPAIRED[source.rows]
            _check_unpaired(source, model, examples / f"Split-{TRAIN}{suffix}")
            own["inputs"], split = (key,), TRAIN + suffix
        config = _input_config(options, model, {**own, **labels})
        pattern = split_pattern(examples, split)
        sources.append(
            RecordSource(source.name, [pattern], config, text_fn, weight_fn, source.share)
        )
    return sources


def validation_source(
    options: InputOptions,
    model: ModelConfig,
    examples: Path,
    text_fn: TextFunction | None,
    weight_fn: WeightFunction | None,
    labels: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> RecordSource:
    """The queries of the val split, neither augmented nor shuffled."""
    own = SourceOptions().model_dump(exclude={"name", "share", "rows"})
    own |= {"inputs": model.inputs, "augment": False, "shuffle": False, **labels}
    config = _input_config(options, model, own)
    return RecordSource(
        VALIDATION, [split_pattern(examples, VALIDATION)], config, text_fn, weight_fn
    )


def _input_config(options: InputOptions, model: ModelConfig, own: dict[str, object]) -> InputConfig:
    shared = options.model_dump(exclude={"sampling", "sources"})
    widths = {
        key: getattr(model, key.removesuffix("_features")).width
        for key in model.inputs
        if key.endswith("_features")
    }
    size = {"image_size": model.image_size}
    return InputConfig.model_validate({**shared, **own, **size, **widths})


def _check_unpaired(source: SourceOptions, model: ModelConfig, folder: Path) -> None:
    """Raise UserError if the system learns nothing of single modalities, or there are no rows."""
    if not model.LEARNS_UNPAIRED:
        raise UserError(
            f"Source '{source.name}' has rows of {source.rows} alone, of which the system "
            f"'{model.system}' learns nothing. Take it out of input.sources, or take 'tfnh'."
        )
    if not any(folder.glob("data_tfrecord-*")):
        raise UserError(
            f"Source '{source.name}': the data have no rows of {source.rows} alone in the train "
            "split. Make them with `vlsearch data features … --allow-missing`, or take the source "
            "out of input.sources."
        )
