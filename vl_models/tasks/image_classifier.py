"""Image classification by a pooler of its own over the tokens of an image encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import global_mean
from vl_models.errors import UserError
from vl_models.layers import initializers
from vl_models.layers.attentional_pooler import AttentionalPooler
from vl_models.tasks.base import Task
from vl_models.tasks.config import ImageClassifierConfig


class ImageClassifier(Task):
    """One learned query attends to the image's tokens; a linear map gives the classes' scores.

    With the encoder frozen (``train.frozen: [image_encoder/*, …]``) it learns the pooler alone. The
    loss is the softmax cross-entropy against the image's labels, all of one weight.
    Source: Yu et al., "CoCa: Contrastive Captioners are Image-Text Foundation Models", section 3.3
    (task-specific attentional poolers).

    Args:
        config: options.
        num_labels: classes of the data.

    Raises:
        UserError: the data have no labels.
    """

    config: ImageClassifierConfig

    def __init__(self, config: ImageClassifierConfig, num_labels: int | None) -> None:
        super().__init__(config)
        if num_labels is None:
            raise UserError(
                "model.tasks: image_classifier learns classes, and the data have none (label "
                "ids). Give the data labels, or take the task out."
            )
        self.num_labels = num_labels
        self.scores = keras.layers.Dense(
            num_labels, kernel_initializer=initializers.normal(0.02), name="image_classifier_scores"
        )
        self.pooler: AttentionalPooler | None = None

    def build(self, width: int) -> None:
        """Create pooler and scores for image tokens of this width."""
        if self.pooler is not None:
            return
        self.pooler = AttentionalPooler(
            1, width, self.config.heads, residual=False, name="image_classifier_pooler"
        )
        self.pooler.build((None, None, width))
        self.scores.build((None, width))

    def forward(self, model: Any, batch: Batch, outputs: Outputs, training: bool) -> Outputs:
        """Score the classes: ``class_logits`` float32 [B, C]; nothing without images."""
        if "image_tokens" not in outputs:
            return {}
        return {"class_logits": self._logits(outputs["image_tokens"])}

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``image_classifier``, the mean over images with a label; nothing without images."""
        if "class_logits" not in outputs or "label" not in batch:
            return {}
        label = batch["label"]
        count = tf.reduce_sum(label, axis=1)
        entropy = tf.nn.softmax_cross_entropy_with_logits(
            tf.math.divide_no_nan(label, count[:, None]), outputs["class_logits"]
        )
        loss = global_mean(entropy, tf.cast(count > 0.0, tf.float32))
        return {"image_classifier": self.config.weight * loss}

    def abilities(self, model: Any) -> Mapping[str, Callable[..., tf.Tensor]]:
        """``classify_image``: a probability for each class."""

        def classify_image(batch: Batch) -> tf.Tensor:
            images = {"image": batch["image"]}
            tokens = model.encode(images, training=False)["image_tokens"]
            return tf.nn.softmax(self._logits(tokens))

        return {"classify_image": classify_image}

    def _logits(self, tokens: tf.Tensor) -> tf.Tensor:
        assert self.pooler is not None
        return tf.cast(self.scores(self.pooler(tokens)[:, 0]), tf.float32)
