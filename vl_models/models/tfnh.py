"""TFNH: one network hashes pairs, images alone and texts alone, the missing half being zeros.

Hu et al., "Triplet Fusion Network Hashing for Unpaired Cross-Modal Retrieval". The released code
has the graph term with the opposite sign and rectifies the classifiers' scores; not so here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import all_gather, global_mean
from vl_models.encoders.config import FeatureEncoderConfig
from vl_models.encoders.feature_encoder import FeatureEncoder
from vl_models.errors import UserError
from vl_models.hashing import direction
from vl_models.layers.classifier import Classifier
from vl_models.layers.gradient_reversal import GradientReversal
from vl_models.layers.unnormalized_projection import UnnormalizedProjection
from vl_models.losses.graph import feature_neighbours, laplacian_penalty
from vl_models.losses.labels import label_cross_entropy, shares_label
from vl_models.models.base import VisionLanguageModel
from vl_models.models.base_config import require_labels
from vl_models.models.hashing import IMAGE, TEXT, Hashes
from vl_models.models.tfnh_config import TFNHConfig
from vl_models.row_random import stream_seed

PAIRED = "paired"
_STREAMS = {PAIRED: 51, IMAGE: 52, TEXT: 53}  # of the rows' randomness


class TFNH(Hashes, VisionLanguageModel):
    """A fusion network over [image; text], a label classifier, and two data classifiers.

    Of a batch of pairs all three streams are made: the pairs, their images alone and their
    texts alone. A batch of one modality (unpaired data) makes one stream.

    Raises:
        UserError: the data have no labels.
        ValueError: the widths of the features are not set.
    """

    config: TFNHConfig

    def __init__(self, config: TFNHConfig) -> None:
        classes = require_labels(config.system, config.num_labels)
        if config.image.width is None or config.text.width is None:
            raise ValueError(
                "`width` of both sides must be set to that of the data's features. Received: "
                f"image={config.image.width}, text={config.text.width}"
            )
        super().__init__(config)
        self.image_encoder = _standardiser(config.image, "image_encoder")
        self.text_encoder = _standardiser(config.text, "text_encoder")
        self.fusion = FeatureEncoder(
            config.hidden_widths,
            "relu",
            standardize=False,
            dropout=config.dropout,
            input_dropout=config.input_dropout,
            dtype="float32",
            name="fusion",
        )
        self.hash_layer = UnnormalizedProjection(
            config.embedding_dim, "tanh", dtype="float32", name="hash_layer"
        )
        width = config.classifier_hidden_width or max(1, config.embedding_dim // 2)
        self.label_classifier = Classifier(
            classes, (width,), dtype="float32", name="label_classifier"
        )
        self.reversal = GradientReversal(config.reversal, name="reversal")
        self.data_classifiers = {
            side: Classifier(2, (64, 32), dtype="float32", name=f"{side}_data_classifier")
            for side in (IMAGE, TEXT)
        }

    def build(self) -> None:
        """Create every variable; a second call changes nothing."""
        if self.fusion.built:
            return
        image, text = self.config.image.width, self.config.text.width
        assert image is not None and text is not None
        self.image_encoder.build((None, image))
        self.text_encoder.build((None, text))
        self.fusion.build((None, image + text))
        self.hash_layer.build((None, (self.config.hidden_widths or (image + text,))[-1]))
        for classifier in (self.label_classifier, *self.data_classifiers.values()):
            classifier.build((None, self.config.embedding_dim))
        self.reversal.build()

    def adapt(self, statistics: Mapping[str, tuple[Any, Any]]) -> None:
        """See `VisionLanguageModel.adapt`."""
        for modality, encoder in self._encoders().items():
            if modality in statistics:
                encoder.adapt(*statistics[modality])

    def encode(self, batch: Batch, training: bool) -> Outputs:
        """Codes of the streams that the batch makes.

        Returns:
            ``paired_code``, ``image_code``, ``text_code`` [B, c] in (-1, 1), and unit-norm
            ``image_embedding`` and ``text_embedding``; float32. A row has one text.

        Raises:
            UserError: several texts per image.
        """
        outputs: Outputs = {}
        features = {m: batch[m] for m in self.inputs if m in batch}
        if len({tensor.shape[0] for tensor in features.values()}) > 1:
            raise UserError("System 'tfnh' takes one text per image: set train.texts_per_image: 1.")
        seeds = batch.get("seed")
        if len(features) == 2:
            outputs["paired_code"] = self._code(features, seeds, PAIRED, training)
        for side in (IMAGE, TEXT):
            modality = f"{side}_features"
            if modality in features:
                alone = {modality: features[modality]}
                code = self._code(alone, seeds, side, training)
                outputs |= {f"{side}_code": code, f"{side}_embedding": direction(code)}
        return outputs

    def own_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``label``, ``graph`` and, where there are pairs, ``data_classifiers``."""
        config = self.config
        streams = [side for side in (PAIRED, IMAGE, TEXT) if f"{side}_code" in outputs]
        label, graph = tf.constant(0.0), tf.constant(0.0)
        for side in streams:
            code = outputs[f"{side}_code"]
            label += self._label_loss(code, batch["label"]) / len(streams)
            graph += self._graph(side, batch, code) / len(streams)
        losses = {"label": config.label_weight * label, "graph": graph}
        if PAIRED in streams:
            total = tf.constant(0.0)
            for side, classifier in self.data_classifiers.items():
                # A mean over both kinds of codes, so a classifier at chance costs μ ln 2.
                for code, kind in ((outputs["paired_code"], 0), (outputs[f"{side}_code"], 1)):
                    scores = classifier(self.reversal(code))
                    kinds = tf.fill(tf.shape(scores)[:1], kind)
                    rows = tf.nn.sparse_softmax_cross_entropy_with_logits(kinds, scores)
                    total += 0.5 * global_mean(rows)
            losses["data_classifiers"] = config.adversarial_weight * total
        return losses

    def before_training(self, instances: int) -> None:
        """Tell the reversal's schedule how long the training is."""
        self.reversal.start(instances)

    def after_step(self, batch: Batch, outputs: Outputs) -> None:
        """Count the instances for the reversal's schedule."""
        self.reversal.count(tf.shape(all_gather(batch["row"]))[0])

    def scalars(self) -> dict[str, tf.Tensor]:
        """λ of the reversal."""
        return {"data_classifiers/lambda": tf.convert_to_tensor(self.reversal.strength())}

    def code(self, side: str, batch: Batch) -> tf.Tensor:
        """See `Hashes.code`: those of [x, 0] or [0, t]."""
        key = f"{side}_features"
        return self._code({key: batch[key]}, None, side, training=False)

    def _code(
        self, features: Mapping[str, tf.Tensor], seeds: Any, stream: str, training: bool
    ) -> tf.Tensor:
        """Codes [B, c] of what is there; zeros, the mean, stand for what is not."""
        rows = tf.shape(next(iter(features.values())))[0]
        halves = [
            encoder(features[modality])["pooled"]
            if modality in features
            else tf.zeros([rows, encoder.mean.shape[0]])
            for modality, encoder in self._encoders().items()
        ]
        own = None if seeds is None else stream_seed(seeds, _STREAMS[stream])
        fused = self.fusion(tf.concat(halves, axis=1), own, training=training)["pooled"]
        return self.hash_layer(fused)

    def _label_loss(self, code: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """½ ‖y - P(code)‖² or the cross-entropy, the mean over the global batch."""
        scores = self.label_classifier(code)
        if self.config.label_loss == "cross_entropy":
            return global_mean(*label_cross_entropy(scores, labels))
        return global_mean(0.5 * tf.reduce_sum(tf.square(scores - labels), axis=1))

    def _graph(self, side: str, batch: Batch, code: tf.Tensor) -> tf.Tensor:
        """β tr(Fᵀ (D - W) F) / b² of the global batch."""
        if side == PAIRED:
            labels = all_gather(batch["label"])
            weights = tf.cast(shares_label(labels, labels), tf.float32)
        else:
            encoder = self._encoders()[f"{side}_features"]
            features = encoder(all_gather(batch[f"{side}_features"]))["pooled"]
            weights = feature_neighbours(features, self.config.neighbour_share)
        codes = all_gather(code)
        size = tf.cast(tf.shape(codes)[0], tf.float32)
        beta = self.config.graph_weights[(PAIRED, IMAGE, TEXT).index(side)]
        return beta * laplacian_penalty(codes, weights) / tf.square(size)

    def _encoders(self) -> dict[str, FeatureEncoder]:
        return {"image_features": self.image_encoder, "text_features": self.text_encoder}


def _standardiser(config: FeatureEncoderConfig, name: str) -> FeatureEncoder:
    return FeatureEncoder(
        config.hidden_widths, config.activation, config.standardize, dtype="float32", name=name
    )
