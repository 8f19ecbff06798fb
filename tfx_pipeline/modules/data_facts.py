"""What the train split's Examples decide about a model: widths of features, and classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.modules.sources import TRAIN, source_names, split_pattern
from vl_models import features as f
from vl_models.input.feature_facts import class_names, feature_statistics
from vl_models.input.records import find_shards
from vl_models.models.base import ModelConfig
from vl_models.text.tokenizer import Tokenizer

_FEATURES = {"image_features": f.IMAGE_FEATURES, "text_features": f.QUERY_FEATURES}


@dataclass(frozen=True)
class DataFacts:
    """A configuration that a model can be made of, and what else it takes from the data.

    Attributes:
      model: with vocabulary size, widths, number of classes and sources filled in.
      statistics: key of features → (mean, standard deviation), float64[d] each.
      labels: names of the labels, if the system learns from them: ``classes`` and, where the texts
        have a label set of their own, ``text_classes``.
    """

    model: ModelConfig
    statistics: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_data_facts(
    config: ExperimentConfig, examples: Path, tokenizer: Tokenizer | None
) -> DataFacts:
    """Fill in what the configuration leaves to the data.

    Args:
      config: the experiment.
      examples: folder of the Examples; read once for each kind of fact that is needed.
      tokenizer: None if no texts are read.

    Raises:
      UserError: vectors of different widths, or no Examples.
    """
    model = config.model
    settings: dict[str, Any] = {}
    if tokenizer is not None:
        settings["vocabulary_size"] = tokenizer.vocabulary_size
    if "sources" in type(model).model_fields:
        settings["sources"] = source_names(config.input)
    statistics = {}
    shards = find_shards([split_pattern(examples, TRAIN)])
    for key in model.inputs:
        if key in _FEATURES:
            found = feature_statistics(shards, _FEATURES[key])
            statistics[key] = (found.mean, found.deviation)
            side = key.removesuffix("_features")
            settings[side] = getattr(model, side).model_copy(update={"width": found.width})
    labels: dict[str, tuple[str, ...]] = {}
    if model.learns_from_labels:
        labels["classes"], labels["text_classes"] = class_names(shards)
        settings["num_labels"] = len(labels["classes"]) or None
        if "num_text_labels" in type(model).model_fields:
            settings["num_text_labels"] = len(labels["text_classes"]) or None
    return DataFacts(model.model_copy(update=settings), statistics, labels)
