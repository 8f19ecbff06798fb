"""Which classes a zero-shot classifier gets: the configured ones, or the data's labels."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

from vl_models.models.base import VisionLanguageModel
from vl_models.models.capabilities import EncodesImages, EncodesTexts
from vl_models.zero_shot import prefix_index
from vl_models.zero_shot_config import LABELS, ZeroShotConfig

_BATCH_SIZE = 256


def resolve_classes(
    config: ZeroShotConfig | None, model: VisionLanguageModel, pattern: str
) -> tuple[str, ...]:
    """Return the class names of an experiment, settled before anything is trained.

    Args:
        config: None for no classifier.
        model: its text prefixes are checked; one without texts has no classes.
        pattern: record files of the train split's Examples; read if the labels are the classes.

    Returns:
        The configured names, or the distinct label texts, sorted (of more than
        ``max_classes`` the commonest); nothing without a configuration or without labels.

    Raises:
        UserError: the model lacks the configured prefix.
    """
    if config is None or not {"image", "token_ids"} <= set(model.inputs):
        return ()
    if not (isinstance(model, EncodesTexts) and isinstance(model, EncodesImages)):
        return ()
    if config.prefix is not None:
        prefix_index(model, config.prefix)
    if config.classes != LABELS:
        return tuple(config.classes)
    counts = count_label_texts(pattern)
    if not counts:
        logging.info("The train split has no label text: no zero-shot classes.")
    if len(counts) > config.max_classes:
        logging.warning(
            "The train split has %d label texts; the %d commonest are the zero-shot classes "
            "(zero_shot.max_classes).",
            len(counts),
            config.max_classes,
        )
    # Of equally common ones the first by name, whatever the order of the files.
    commonest = sorted(counts, key=lambda name: (-counts[name], name))[: config.max_classes]
    return tuple(sorted(commonest))


def count_label_texts(pattern: str) -> Counter[str]:
    """In how many Examples of the record files (GZIP) each label text occurs."""
    import tensorflow as tf

    from vl_models import features
    from vl_models.input.untuned import untuned

    counts: Counter[str] = Counter()
    folder = Path(pattern).parent
    files = sorted(str(path) for path in folder.glob(Path(pattern).name))
    if not files:
        return counts
    spec = {features.LABEL_TEXT: tf.io.VarLenFeature(tf.string)}
    dataset = tf.data.TFRecordDataset(files, "GZIP").batch(_BATCH_SIZE)
    dataset = untuned(dataset.map(lambda batch: tf.io.parse_example(batch, spec)).prefetch(2))
    for batch in dataset:
        texts = batch[features.LABEL_TEXT].values.numpy()
        counts.update(text.decode("utf-8") for text in texts)
    return counts
