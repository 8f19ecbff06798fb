"""SSAH: a network of labels teaches an image and a text network their features and hash codes.

Li et al., "Self-Supervised Adversarial Hashing Networks for Cross-Modal Retrieval". The released
code minimises the squared gap of the two terms of the likelihood, and its adversarial term never
reaches the networks; here both are as the paper has them.
"""

from __future__ import annotations

import functools

import keras
import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import all_gather, global_mean
from vl_models.encoders.towers import (
    image_input,
    run_image_encoder,
    run_text_encoder,
    text_input,
)
from vl_models.hashing import direction, sign
from vl_models.layers.classifier import Classifier
from vl_models.layers.labelled_bank import LabelledBank
from vl_models.layers.unnormalized_projection import UnnormalizedProjection
from vl_models.losses.labels import labels_of, shares_label
from vl_models.losses.pair_likelihood import half_product, pair_likelihood
from vl_models.models.base_config import require_labels
from vl_models.models.dual_encoder import DualEncoder
from vl_models.models.hashing import IMAGE, TEXT, Hashes
from vl_models.models.ssah_config import SSAHConfig

LABEL = "label"

# Products of features start near 0, as with the published initialisation.
_STDDEV = 0.01


class SSAH(Hashes, DualEncoder):
    """Label network, image network, text network, and two discriminators.

    Each network gives semantic features, a hash layer (tanh) and label scores. Losses are one
    per network and one for the discriminators; `configs/ssah.yaml` alternates over them, each
    phase with its own variables.

    Raises:
        UserError: the data have no labels.
    """

    config: SSAHConfig

    def __init__(self, config: SSAHConfig) -> None:
        classes = require_labels(config.system, config.num_labels)
        hash_layer = functools.partial(
            UnnormalizedProjection, config.embedding_dim, "tanh", dtype="float32"
        )
        super().__init__(config, projection=hash_layer)
        self.label_encoder = Classifier(
            config.feature_dim,
            (config.label_hidden_width,),
            stddev=_STDDEV,
            dtype="float32",
            name="label_encoder",
        )
        self.features = {
            side: Classifier(
                config.feature_dim, stddev=_STDDEV, dtype="float32", name=f"{side}_features"
            )
            for side in (IMAGE, TEXT)
        }
        self.label_hash = hash_layer(name="label_hash")
        self.scores = {
            side: Classifier(classes, dtype="float32", name=f"{side}_scores")
            for side in (LABEL, IMAGE, TEXT)
        }
        self.discriminators = {
            side: Classifier(1, (512, 256), dtype="float32", name=f"{side}_discriminator")
            for side in (IMAGE, TEXT)
        }
        widths = {"features": config.feature_dim, "hash": config.embedding_dim}
        self.bank = LabelledBank(
            config.bank_size, widths, classes, dtype="float32", name="label_bank"
        )

    def build(self) -> None:
        """Create every variable; a second call changes nothing."""
        if self.bank.built:
            return
        width = self.config.feature_dim
        self.label_encoder.build((None, require_labels(self.config.system, self.config.num_labels)))
        layers: list[keras.layers.Layer] = [
            self.label_hash,
            *self.scores.values(),
            *self.discriminators.values(),
        ]
        for layer in layers:
            layer.build((None, width))
        super().build()

    def encode(self, batch: Batch, training: bool) -> Outputs:
        """Features, codes and label scores of what the batch holds.

        Returns:
            For each of "image", "text" and, with labels, "label": ``<side>_features`` [B, S],
            ``<side>_code`` [B, c] in (-1, 1), ``<side>_scores`` [B, C]; and the unit-norm
            ``image_embedding`` and ``text_embedding``. Float32.
        """
        outputs: Outputs = {}
        if image_input(self.image_encoder) in batch:
            outputs |= self._outputs(IMAGE, self._features(IMAGE, batch, training))
        if text_input(self.text_encoder) in batch:
            outputs |= self._outputs(TEXT, self._features(TEXT, batch, training))
        if "label" in batch:
            features = tf.nn.relu(self.label_encoder(batch["label"]))
            outputs |= self._outputs(LABEL, features)
        return outputs

    def own_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``label_network``, ``image_network``, ``text_network`` and ``discriminators``."""
        if "label_features" not in outputs:
            return {}
        own = {name: all_gather(outputs[f"label_{name}"]) for name in ("features", "code")}
        labels = all_gather(batch["label"])
        everyone = tf.ones(tf.shape(labels)[:1])
        losses = {
            "label_network": self._network(
                LABEL, batch, outputs, own["features"], own["code"], labels, everyone
            )
        }
        discriminators = []
        for side in (IMAGE, TEXT):
            if f"{side}_features" not in outputs:
                continue
            # Rows of this batch are compared with the label network as it is now, too.
            loss = self._network(
                side,
                batch,
                outputs,
                tf.concat([self.bank.read("features"), tf.stop_gradient(own["features"])], 0),
                tf.concat([self.bank.read("hash"), tf.stop_gradient(own["code"])], 0),
                tf.concat([self.bank.read("label"), labels], 0),
                tf.concat([self.bank.usable(), everyone], 0),
            )
            real = self.discriminators[side](outputs["label_features"])
            fake = self.discriminators[side](outputs[f"{side}_features"])
            deceived = global_mean(_binary(fake, 1.0))
            losses[f"{side}_network"] = loss + self.config.adversarial_weight * deceived
            discriminators += [global_mean(_binary(real, 1.0)), global_mean(_binary(fake, 0.0))]
        if discriminators:
            losses["discriminators"] = tf.add_n(discriminators)
        return losses

    def after_step(self, batch: Batch, outputs: Outputs) -> None:
        """Put the label network's outputs into the bank."""
        super().after_step(batch, outputs)
        if "label_features" in outputs:
            self.bank.write(
                {
                    "features": all_gather(outputs["label_features"]),
                    "hash": all_gather(outputs["label_code"]),
                    "label": all_gather(batch["label"]),
                }
            )

    def code(self, side: str, batch: Batch) -> tf.Tensor:
        """See `Hashes.code`."""
        embed = self.embed_image if side == IMAGE else self.embed_text
        return embed(batch, training=False)

    def embed_image(self, batch: Batch, training: bool) -> tf.Tensor:
        """Relaxed codes of the images, [B, c]."""
        return self._hash_layer(IMAGE)(self._features(IMAGE, batch, training))

    def embed_text(self, batch: Batch, training: bool) -> tf.Tensor:
        """Relaxed codes of the texts, [B·n, c]."""
        return self._hash_layer(TEXT)(self._features(TEXT, batch, training))

    def _features(self, side: str, batch: Batch, training: bool) -> tf.Tensor:
        """Semantic features float32 [B, S] of one side."""
        if side == IMAGE:
            encoded = run_image_encoder(self.image_encoder, batch, training)
        else:
            encoded = run_text_encoder(self.text_encoder, batch, training)
        return tf.nn.relu(self.features[side](encoded["pooled"]))

    def _hash_layer(self, side: str) -> keras.layers.Layer:
        return {LABEL: self.label_hash, IMAGE: self.image_projection, TEXT: self.text_projection}[
            side
        ]

    def _outputs(self, side: str, features: tf.Tensor) -> Outputs:
        code = self._hash_layer(side)(features)
        outputs = {
            f"{side}_features": features,
            f"{side}_code": code,
            f"{side}_vector": code,  # what tasks read
            f"{side}_scores": self.scores[side](features),
        }
        return outputs if side == LABEL else {**outputs, f"{side}_embedding": direction(code)}

    def _network(
        self,
        side: str,
        batch: Batch,
        outputs: Outputs,
        features: tf.Tensor,
        codes: tf.Tensor,
        labels: tf.Tensor,
        usable: tf.Tensor,
    ) -> tf.Tensor:
        """α J1 + γ J2 + β J3 + η J4 of one network against rows of the label network."""
        config = self.config
        own_labels = labels_of(batch, outputs[f"{side}_features"].shape[0])
        same = shares_label(own_labels, labels)
        weights = tf.broadcast_to(usable[None, :], tf.shape(same))
        if config.balance_pairs:
            weights *= _balance(same, weights)
        code = outputs[f"{side}_code"]
        target = tf.stop_gradient(sign(_consensus(outputs, code.shape[0])))
        j1 = pair_likelihood(half_product(outputs[f"{side}_features"], features), same)
        j2 = pair_likelihood(half_product(code, codes), same)
        j3 = tf.reduce_mean(tf.square(code - target), axis=1)
        j4 = tf.nn.sigmoid_cross_entropy_with_logits(own_labels, outputs[f"{side}_scores"])
        return (
            config.feature_weight * global_mean(j1, weights)
            + config.hash_weight * global_mean(j2, weights)
            + config.quantization_weight * global_mean(j3)
            + config.label_weight * global_mean(j4)
        )


def _balance(same: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Factors [B, K] that give pairs of one class, in sum, as much weight as all others."""
    positive = tf.cast(same, tf.float32)
    share = global_mean(positive, weights)
    return tf.math.divide_no_nan(positive, share) + tf.math.divide_no_nan(
        1.0 - positive, 1.0 - share
    )


def _consensus(outputs: Outputs, rows: int) -> tf.Tensor:
    """Sum of the codes of all networks, [rows, c]: an item's texts are repeated or averaged."""
    total = tf.constant(0.0)
    for side in (LABEL, IMAGE, TEXT):
        code = outputs.get(f"{side}_code")
        if code is None:
            continue
        if code.shape[0] > rows:
            code = tf.reduce_mean(tf.reshape(code, [rows, -1, code.shape[1]]), axis=1)
        total += tf.repeat(code, rows // code.shape[0], axis=0)
    return total


def _binary(scores: tf.Tensor, target: float) -> tf.Tensor:
    """Cross-entropy of a discriminator's raw scores [B, 1], float32 [B]."""
    targets = tf.fill(tf.shape(scores), target)
    return tf.nn.sigmoid_cross_entropy_with_logits(targets, scores)[:, 0]
