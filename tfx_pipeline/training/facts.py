"""What the train split's Examples decide about a model: widths of features, and classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfx_pipeline.training.sources import TRAIN, split_pattern
from vl_models import features as f
from vl_models.input.config import DataFacts
from vl_models.input.feature_facts import class_names, feature_statistics
from vl_models.input.records import find_shards
from vl_models.models.base_config import ModelConfig
from vl_models.text.tokenizer import Tokenizer

_FEATURES = {"image_features": f.IMAGE_FEATURES, "text_features": f.QUERY_FEATURES}


def read_data_facts(
    model: ModelConfig, sources: Sequence[str], examples: Path, tokenizer: Tokenizer | None
) -> DataFacts:
    """Return what a model must know of its data before it is built.

    Args:
        model: says what it reads and learns from; vectors and labels are else not looked at.
        sources: names of the data sources, in their order.
        examples: folder of the Examples; read once for each kind of fact that is needed.
        tokenizer: None if no texts are read.

    Raises:
        UserError: vectors of different widths, or no Examples.
    """
    shards = find_shards([split_pattern(examples, TRAIN)])
    classes, text_classes = class_names(shards) if model.learns_from_labels else ((), ())
    return DataFacts(
        vocabulary_size=None if tokenizer is None else tokenizer.vocabulary_size,
        sources=tuple(sources),
        features={
            key: feature_statistics(shards, _FEATURES[key])
            for key in model.inputs
            if key in _FEATURES
        },
        classes=classes,
        text_classes=text_classes,
    )
