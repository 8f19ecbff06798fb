"""The trainer's data sources over folders of Examples."""

from __future__ import annotations

from pathlib import Path

from vl_models.errors import UserError
from vl_models.input.config import InputConfig, InputFacts, SourceConfig, SourceSpec
from vl_models.input.source import RecordSource, TextFunction, TokenFunction, WeightFunction
from vl_models.models.base_config import ModelConfig

TRAIN, VALIDATION = "train", "val"

# Rows of a source → suffix of the split's folder of Examples that have nothing else.
_SINGLE = {"images": "-image-only", "texts": "-text-only"}


def split_pattern(examples: Path, split: str) -> str:
    """Pattern of the record files of one split of Examples."""
    return str(examples / f"Split-{split}" / "data_tfrecord-*")


def train_sources(
    options: InputConfig,
    facts: InputFacts,
    model: ModelConfig,
    examples: Path,
    text_fn: TextFunction | None = None,
    weight_fn: WeightFunction | None = None,
    token_fn: TokenFunction | None = None,
) -> list[RecordSource]:
    """Return the sources of the train split, in their order.

    Rows of images or texts alone are the Examples that have nothing else, where there are some;
    of data with pixels and words, else the images or texts of the pairs.

    Args:
        options: how to draw.
        facts: what the model reads, and of the data.
        model: says what it can learn of.
        examples: folder of the Examples.
        text_fn: tokenises drawn texts, of queries and of labels; None without tokens.
        weight_fn: rescales click weights.
        token_fn: changes tokens at random.

    Raises:
        UserError: no files, or rows or texts of which the model learns nothing.
    """
    sources = []
    for source in options.sources:
        if source.texts == "labels" and "token_ids" not in model.inputs:
            raise UserError(
                f"Source '{source.name}' makes texts of labels, but the system '{model.system}' "
                "reads no texts. Take it out of input.sources."
            )
        pattern = _train_pattern(source, model, examples)
        spec = SourceSpec(source, options, facts)
        sources.append(RecordSource(spec, [pattern], text_fn, weight_fn, token_fn))
    return sources


def validation_source(
    options: InputConfig,
    facts: InputFacts,
    examples: Path,
    text_fn: TextFunction | None = None,
    weight_fn: WeightFunction | None = None,
) -> RecordSource:
    """Return the queries of the val split, neither augmented nor shuffled."""
    plain = options.model_copy(update={"augment": False, "shuffle": False})
    spec = SourceSpec(SourceConfig(name=VALIDATION), plain, facts)
    return RecordSource(spec, [split_pattern(examples, VALIDATION)], text_fn, weight_fn)


def _train_pattern(source: SourceConfig, model: ModelConfig, examples: Path) -> str:
    """Return the files of a source's rows.

    Raises:
        UserError: the system learns nothing of single modalities, or there are no rows.
    """
    if source.rows == "pairs":
        return split_pattern(examples, TRAIN)
    if not model.learns_unpaired:
        raise UserError(
            f"Source '{source.name}' has rows of {source.rows} alone, of which the system "
            f"'{model.system}' learns nothing. Take it out of input.sources, or take 'tfnh'."
        )
    single = TRAIN + _SINGLE[source.rows]
    if any((examples / f"Split-{single}").glob("data_tfrecord-*")):
        return split_pattern(examples, single)
    if model.reads_features:
        raise UserError(
            f"Source '{source.name}': the data have no rows of {source.rows} alone in the train "
            "split. Make them with `vlsearch data features … --allow-missing`, or take the source "
            "out of input.sources."
        )
    return split_pattern(examples, TRAIN)
