"""Zero-shot classification: class names in templates, encoded as texts, are the classifier.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
section 3.1.4: each filled template is encoded and normalised, the mean of a class is
normalised again, and the logits are scale · cosine. UniCL and Prefix Conditioning classify
the same way; the latter's classes are encoded with one of its text prefixes.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from vl_models.batch import Batch
from vl_models.errors import UserError
from vl_models.models.base import VisionLanguageModel
from vl_models.models.capabilities import EncodesTexts
from vl_models.text.tokenizer import Tokenizer
from vl_models.zero_shot_config import SLOT, ZeroShotConfig, check_distinct

_BATCH_SIZE = 256


@dataclasses.dataclass(frozen=True)
class ZeroShotClassifier:
    """A linear classifier over image embeddings, made of texts.

    Attributes:
        classes: C names.
        embeddings: float32 [C, D], unit norm.
        scale: the model's inverse temperature.
        top_k: how many classes `classify` returns, at most C.
        templates: the ensemble that made the embeddings.
        prefix: the text prefix that made them; None is the model's default.
    """

    classes: tuple[str, ...]
    embeddings: np.ndarray
    scale: float
    top_k: int
    templates: tuple[str, ...]
    prefix: str | None = None

    def classify(self, image_embedding: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the likeliest classes of images, a graph function.

        Args:
            image_embedding: float32 [B, D], unit norm.

        Returns:
            ``classes`` string [B, k], the likeliest first, and ``scores`` float32 [B, k]: their
            part of the softmax of scale · cosine over all classes.
        """
        scores = tf.nn.softmax(
            self.scale * tf.matmul(image_embedding, self.embeddings, transpose_b=True)
        )
        best = tf.math.top_k(scores, self.top_k)
        return {"classes": tf.gather(tf.constant(self.classes), best.indices), "scores": best[0]}

    def to_json(self) -> dict[str, Any]:
        """Everything but the embeddings, as plain values."""
        return {
            "classes": list(self.classes),
            "templates": list(self.templates),
            "top_k": self.top_k,
            "prefix": self.prefix,
            "scale": self.scale,
        }


def fill_templates(classes: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every name in every template, C·T texts; those of one class are neighbours."""
    return [template.replace(SLOT, name) for name in classes for template in templates]


def class_embeddings(text_embeddings: np.ndarray, templates: int) -> np.ndarray:
    """Average the templates of each class: normalise, mean, normalise again.

    Args:
        text_embeddings: float32 [C·T, D] of `fill_templates`, of any norm.
        templates: T.

    Returns:
        float32 [C, D], unit norm.
    """
    width = text_embeddings.shape[1]
    by_class = np.asarray(text_embeddings, np.float64).reshape(-1, templates, width)
    return _unit(_unit(by_class).mean(axis=1)).astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(norms, 1e-12)


def build_classifier(
    model: VisionLanguageModel,
    tokenizer: Tokenizer,
    config: ZeroShotConfig,
    classes: Sequence[str],
) -> ZeroShotClassifier:
    """Encode the classes with the text tower.

    Args:
        model: built, with a text tower.
        tokenizer: the one that the model was trained with.
        config: templates, prefix and k; its ``classes`` are not looked at.
        classes: C names.

    Raises:
        UserError: no class, a class twice, or a prefix that the model does not have.
    """
    try:
        check_distinct("class names", classes)
    except ValueError as error:
        raise UserError(f"zero_shot.classes: {error}. Received: {len(classes)} classes.") from None
    assert isinstance(model, EncodesTexts)
    source_id = None if config.prefix is None else prefix_index(model, config.prefix)
    texts = fill_templates(classes, config.templates)
    encoded = [
        model.encode_text(
            text_batch(tokenizer, tf.constant(texts[at : at + _BATCH_SIZE]), source_id)
        ).numpy()
        for at in range(0, len(texts), _BATCH_SIZE)
    ]
    if config.top_k > len(classes):
        logging.info(
            "zero_shot.top_k is %d and there are %d classes: all are returned.",
            config.top_k,
            len(classes),
        )
    return ZeroShotClassifier(
        classes=tuple(classes),
        embeddings=class_embeddings(np.concatenate(encoded), len(config.templates)),
        scale=logit_scale(model),
        top_k=min(config.top_k, len(classes)),
        templates=config.templates,
        prefix=config.prefix,
    )


def prefix_index(model: VisionLanguageModel, prefix: str) -> int:
    """Return the ``source_id`` that chooses a text prefix.

    Raises:
        UserError: the model has no such prefix.
    """
    if prefix not in model.text_prefixes:
        names = ", ".join(model.text_prefixes) or "none"
        raise UserError(
            f"zero_shot.prefix: the model has no such text prefix; it has: {names}. "
            f"Received: prefix={prefix!r}"
        )
    return model.text_prefixes.index(prefix)


def text_batch(
    tokenizer: Tokenizer, texts: tf.Tensor, source_id: int | None = None
) -> dict[str, tf.Tensor]:
    """Return a batch of texts for `encode_text`: string [B] → token ids, mask, and the prefix."""
    return with_source({**tokenizer.tokenize(texts)}, source_id)  # type: ignore[dict-item]


def with_source(batch: Batch, source_id: int | None) -> dict[str, tf.Tensor]:
    """The batch of texts, with the prefix that ``source_id`` chooses; None is the default."""
    if source_id is None:
        return dict(batch)
    rows = tf.shape(next(iter(batch.values())))[0]
    return {**batch, "source_id": tf.fill([rows], source_id)}


def logit_scale(model: VisionLanguageModel) -> float:
    """Return the inverse of the temperature that the model logs; 1 if it has none."""
    temperature = model.scalars().get("temperature")
    return 1.0 if temperature is None else 1.0 / float(temperature)
