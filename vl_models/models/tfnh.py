"""TFNH: one network hashes pairs, images alone and texts alone, the missing half being zeros.

Hu et al., "Triplet Fusion Network Hashing for Unpaired Cross-Modal Retrieval". The released code
has the graph term with the opposite sign and rectifies the classifiers' scores; not so here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import tensorflow as tf
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator

from vl_models.distribution import all_gather, global_mean
from vl_models.encoders.factory import FeatureEncoderConfig
from vl_models.encoders.feature_encoder import FeatureEncoder
from vl_models.errors import UserError
from vl_models.hashing import direction, pack
from vl_models.layers.classifier import Classifier
from vl_models.layers.gradient_reversal import GradientReversal
from vl_models.layers.reversal_schedule import ReversalSchedule
from vl_models.layers.unnormalized_projection import UnnormalizedProjection
from vl_models.losses.graph import feature_neighbours, laplacian_penalty
from vl_models.losses.same_class import shares_label
from vl_models.models.base import Batch, ModelConfig, Outputs, VisionLanguageModel
from vl_models.row_random import stream_seed
from vl_models.tasks.label_classifier import label_cross_entropy

PAIRED, IMAGE, TEXT = "paired", "image", "text"
_STREAMS = {PAIRED: 51, IMAGE: 52, TEXT: 53}  # of the rows' randomness


class TFNHConfig(ModelConfig):
    """Configuration of `TFNH`.

    Attributes:
      system: "tfnh".
      embedding_dim: c, bits of the codes; a multiple of 8.
      image: the image features; only standardisation, no hidden layers.
      text: the text features, likewise.
      hidden_widths: widths of the fusion network before its codes.
      dropout: of the fusion network's hidden layers.
      input_dropout: of the features.
      classifier_hidden_width: width of the label classifier's hidden layer; c / 2 by default.
      label_loss: of the label classifier; the code's least squares learn many classes slowly.
      label_weight: α.
      adversarial_weight: μ.
      graph_weights: β of the paired, image-only and text-only graph terms.
      neighbour_share: of the largest distance: what is nearer is a neighbour among features.
      reversal: how strongly the fusion network works against the data classifiers.
      num_labels: classes of the data; the trainer sets it.
    """

    system: Literal["tfnh"] = "tfnh"
    embedding_dim: PositiveInt = 64
    image: FeatureEncoderConfig = FeatureEncoderConfig(kind="features")
    text: FeatureEncoderConfig = FeatureEncoderConfig(kind="features")
    hidden_widths: tuple[PositiveInt, ...] = (1024, 512)
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    input_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    classifier_hidden_width: PositiveInt | None = None
    label_loss: Literal["least_squares", "cross_entropy"] = "least_squares"
    label_weight: NonNegativeFloat = 1.0
    adversarial_weight: NonNegativeFloat = 2.0
    graph_weights: tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat] = (0.1, 0.3, 0.3)
    neighbour_share: PositiveFloat = 0.05
    reversal: ReversalSchedule = ReversalSchedule(kind="constant")
    num_labels: PositiveInt | None = None

    @field_validator("embedding_dim")
    @classmethod
    def _whole_bytes(cls, bits: int) -> int:
        if bits % 8:
            raise ValueError("bits of a hash code come in bytes: a multiple of 8")
        return bits

    @field_validator("image", "text")
    @classmethod
    def _not_encoded(cls, features: FeatureEncoderConfig) -> FeatureEncoderConfig:
        if features.hidden_widths:
            raise ValueError("features enter the fusion network as they are: no hidden layers here")
        return features

    @property
    def inputs(self) -> tuple[str, ...]:
        """Features of both sides."""
        return "image_features", "text_features"

    @property
    def learns_from_labels(self) -> bool:
        """Always."""
        return True

    @property
    def learns_unpaired(self) -> bool:
        """Always."""
        return True


class TFNH(VisionLanguageModel):
    """A fusion network over [image; text], a label classifier, and two data classifiers.

    Of a batch of pairs all three streams are made: the pairs, their images alone and their
    texts alone. A batch of one modality (unpaired data) makes one stream.

    Raises:
      UserError: the data have no labels.
      ValueError: the widths of the features are not set.
    """

    config: TFNHConfig

    def __init__(self, config: TFNHConfig) -> None:
        if config.num_labels is None:
            raise UserError(
                "System 'tfnh' learns from classes, and the data have none (label ids). Give the "
                "data labels, or take a system that needs none, for example 'ucal'."
            )
        if config.image.width is None or config.text.width is None:
            raise ValueError(
                "`width` of both sides must be set to that of the data's features. Received: "
                f"image={config.image.width}, text={config.text.width}"
            )
        self.config = config
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
            config.num_labels, (width,), dtype="float32", name="label_classifier"
        )
        self.reversal = GradientReversal(config.reversal, name="reversal")
        self.data_classifiers = {
            side: Classifier(2, (64, 32), dtype="float32", name=f"{side}_data_classifier")
            for side in (IMAGE, TEXT)
        }

    @property
    def layers(self) -> Sequence[keras.layers.Layer]:
        """Everything that has variables."""
        return (
            self.image_encoder,
            self.text_encoder,
            self.fusion,
            self.hash_layer,
            self.label_classifier,
            self.reversal,
            *self.data_classifiers.values(),
        )

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
        layers: list[keras.layers.Layer] = [
            self.label_classifier,
            self.reversal,
            *self.data_classifiers.values(),
        ]
        for layer in layers:
            layer.build((None, self.config.embedding_dim))

    def adapt(self, statistics: Mapping[str, tuple[Any, Any]]) -> None:
        """See `DualEncoder.adapt`."""
        for modality, encoder in self._encoders().items():
            if modality in statistics:
                encoder.adapt(*statistics[modality])

    def forward(self, batch: Batch, training: bool) -> Outputs:
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

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
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

    def encode_image(self, batch: Batch) -> tf.Tensor:
        """Directions of the codes of [x, 0], unit-norm float32 [B, c]."""
        return direction(self._single(IMAGE, batch))

    def encode_text(self, batch: Batch) -> tf.Tensor:
        """Directions of the codes of [0, t], unit-norm float32 [B, c]."""
        return direction(self._single(TEXT, batch))

    def hash_image(self, batch: Batch) -> tf.Tensor:
        """Packed codes of [x, 0], uint8 [B, c / 8]; see `vl_models.hashing.pack`."""
        return pack(self._single(IMAGE, batch))

    def hash_text(self, batch: Batch) -> tf.Tensor:
        """Packed codes of [0, t], uint8 [B, c / 8]."""
        return pack(self._single(TEXT, batch))

    def get_config(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return self.config.model_dump(mode="json")

    def _single(self, side: str, batch: Batch) -> tf.Tensor:
        modality = f"{side}_features"
        return self._code({modality: batch[modality]}, None, side, training=False)

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
