"""What the train split's Examples decide about a model: widths of features, and classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.modules.sources import TRAIN, source_names, split_pattern
from vl_models import features as f
from vl_models.input.feature_facts import class_names, feature_statistics
from vl_models.input.records import find_shards
from vl_models.models.base_config import DataFacts, ModelConfig
from vl_models.text.tokenizer import Tokenizer

_FEATURES = {"image_features": f.IMAGE_FEATURES, "text_features": f.QUERY_FEATURES}


@dataclass(frozen=True)
class CompletedModel:
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
) -> CompletedModel:
    """Fill in what the configuration leaves to the data.

    Args:
      config: the experiment.
      examples: folder of the Examples; read once for each kind of fact that is needed.
      tokenizer: None if no texts are read.

    Raises:
      UserError: vectors of different widths, or no Examples.
    """
    model = config.model
    shards = find_shards([split_pattern(examples, TRAIN)])
    widths, statistics = {}, {}
    for key in model.inputs:
        if key in _FEATURES:
            found = feature_statistics(shards, _FEATURES[key])
            widths[key] = found.width
            statistics[key] = (found.mean, found.deviation)
    labels: dict[str, tuple[str, ...]] = {}
    if model.learns_from_labels:
        labels["classes"], labels["text_classes"] = class_names(shards)
    completed = model.completed(
        DataFacts(
            vocabulary_size=None if tokenizer is None else tokenizer.vocabulary_size,
            widths=widths,
            num_labels=len(labels.get("classes", ())) or None,
            num_text_labels=len(labels.get("text_classes", ())) or None,
            sources=tuple(source_names(config.input)),
        )
    )
    return CompletedModel(completed, statistics, labels)
