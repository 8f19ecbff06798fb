"""What the train split's Examples decide about a model: widths of features, classes, answers."""

from __future__ import annotations

from pathlib import Path

from tfx_pipeline.training.sources import TRAIN, split_pattern
from vl_models import features as f
from vl_models.input.config import DataFacts, InputConfig
from vl_models.input.feature_facts import answer_names, class_names, feature_statistics
from vl_models.input.records import count_records, find_shards
from vl_models.models.base_config import ModelConfig
from vl_models.text.tokenizer import Tokenizer

_FEATURES = {"image_features": f.IMAGE_FEATURES, "text_features": f.QUERY_FEATURES}


def read_data_facts(
    model: ModelConfig, options: InputConfig, examples: Path, tokenizer: Tokenizer | None
) -> DataFacts:
    """Return what a model must know of its data before it is built.

    Args:
        model: says what it reads and learns from; vectors and labels are else not looked at.
        options: names the data sources and says how images are cut out.
        examples: folder of the Examples; read once for each kind of fact that is needed.
        tokenizer: None if no texts are read.

    Raises:
        UserError: vectors of different widths, or no Examples.
    """
    shards = find_shards([split_pattern(examples, TRAIN)])
    images = count_records(shards) if model.learns_from_click_graph else None
    classes, text_classes = class_names(shards) if model.learns_from_labels else ((), ())
    return DataFacts(
        vocabulary_size=None if tokenizer is None else tokenizer.vocabulary_size,
        mask_id=None if tokenizer is None else tokenizer.mask_id,
        caption_tokens=None if tokenizer is None else tokenizer.caption_tokens,
        sources=options.source_names,
        mean_crop_share=options.crop_share(model.image_fit),
        features={
            key: feature_statistics(shards, _FEATURES[key])
            for key in model.inputs
            if key in _FEATURES
        },
        classes=classes,
        text_classes=text_classes,
        answers=answer_names(shards) if model.learns_answers else (),
        images=images,
    )
