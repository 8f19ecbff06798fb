"""Tasks of one pass over pairs: some are no pairs, and in all something is hidden.

SOHO and FLAVA send the same masked sequences through the joint encoder for all their losses. Which
texts are read with which images and what is hidden is the model's to say (`pretraining_pass`); the
first task that asks has it made, and the others find it in the outputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import global_mean, global_sum
from vl_models.fusion.embedded import embedded_image, has_pairs, pair_seeds
from vl_models.fusion.tokens import Tokens
from vl_models.layers.prediction_head import PredictionHead
from vl_models.tasks.base import Task
from vl_models.tasks.fusion_config import ITMConfig, MLMConfig, MMMConfig, MVMConfig
from vl_models.tasks.image_codes import fitting_tokenizer
from vl_models.tasks.itm import ImageTextMatching

if TYPE_CHECKING:
    from vl_models.models.fusion_config import FusionConfig

_PASS = 30


class SharesPass(Protocol):
    """A model whose tasks share a pass."""

    def pretraining_pass(self, batch: Batch, outputs: Outputs, training: bool) -> Outputs:
        """Read P drawn pairs, masked.

        Returns:
            ``pass_pooled`` [P, W]; ``pass_text`` [P, L, W], ``pass_words`` bool [P, L], the hidden
            ones, ``pass_word_ids`` int32 [P, L], what all are, and ``pass_word_mask`` bool [P, L];
            ``pass_image`` [P, N, W] without a class token, ``pass_cells`` bool [P, N] and
            ``pass_codes`` int32 [P, N] likewise;
            ``pass_labels`` float32 [P], 1 = a pair, ``pass_weights`` float32 [P], 0 = does not
            count, and ``pass_positive`` float32 [P], the pairs whose words and patches are to be
            guessed.
        """
        ...


def shared_pass(model: Any, batch: Batch, outputs: Outputs, training: bool) -> Outputs:
    """Return what the pass adds to the outputs: nothing if it is there, or without pairs."""
    if "pass_pooled" in outputs or not has_pairs(outputs):
        return {}
    return model.pretraining_pass(batch, outputs, training)


def positive_rows(labels: tf.Tensor) -> tf.Tensor:
    """Weights of rows by their labels: pairs alone; all rows where the batch has no pair.

    Source: Singh et al., "FLAVA: A Foundational Language And Vision Alignment Model", published
    program.

    Args:
        labels: float32 [P], 1 = a pair.
    """
    pairs = global_sum(tf.reduce_sum(labels))
    return tf.where(pairs > 0.0, labels, tf.ones_like(labels))


def hidden_loss(
    head: Any, tokens: tf.Tensor, hidden: tf.Tensor, wanted: tf.Tensor, weights: tf.Tensor
) -> tf.Tensor:
    """Mean cross-entropy at hidden places.

    Args:
        head: makes logits [M, K] of tokens [M, W].
        tokens: [P, L, W].
        hidden: bool [P, L].
        wanted: int32 [P, L], what stood there.
        weights: float32 [P] of the rows.
    """
    logits = tf.cast(head(tf.boolean_mask(tokens, hidden)), tf.float32)
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.boolean_mask(wanted, hidden), logits
    )
    rows = tf.broadcast_to(weights[:, None], tf.shape(hidden))
    return global_mean(entropy, tf.boolean_mask(rows, hidden))


class SharedMatching(ImageTextMatching):
    """Matching (kind "itm") on the shared pass; what it can do afterwards is the same.

    Sources: Huang et al., "Seeing Out of tHe bOx" (SOHO), section 3.4; Singh et al., "FLAVA",
    section 3.2.

    Args:
        config: options.
        model: configuration of the system.
    """

    config: ITMConfig

    def forward(self, model: Any, batch: Batch, outputs: Outputs, training: bool) -> Outputs:
        """Score the pairs: ``itm_logits`` float32 [P, 2]; nothing if a modality is absent."""
        if not has_pairs(outputs):
            return {}
        added = shared_pass(model, batch, outputs, training)
        found = {**outputs, **added}
        pooled = found["pass_pooled"]
        if not self.config.masked:
            pooled = self._as_they_are(model, batch, found, training)
        return {
            **added,
            "itm_logits": tf.cast(self.head(pooled), tf.float32),
            "itm_labels": found["pass_labels"],
            "itm_weights": found["pass_weights"],
        }

    def _as_they_are(self, model: Any, batch: Batch, found: Outputs, training: bool) -> tf.Tensor:
        """Read the same pairs with nothing hidden: [P, W]."""
        image = embedded_image(found)
        times = found["pass_labels"].shape[0] // image.values.shape[0]
        seeds = [pair_seeds(batch, _PASS + place) for place in range(times)]
        texts = {"text_mask": found["pass_word_mask"], "seed": tf.concat(seeds, axis=0)}
        text = model.embed_text(texts, found["pass_word_ids"], training)
        images = Tokens(tf.tile(image.values, [times, 1, 1]), tf.tile(image.mask, [times, 1]))
        return model.fuse(text, images, texts["seed"] if training else None, training).pooled


class SharedMaskedWords(Task):
    """Hidden words (kind "mlm") of the shared pass, by their embeddings or by a head.

    Source: Huang et al., "Seeing Out of tHe bOx" (SOHO), section 3.4 and its published program,
    where the logits are products with the word embeddings.

    Args:
        config: options.
        model: configuration of the system.
    """

    config: MLMConfig

    def __init__(self, config: MLMConfig, model: FusionConfig) -> None:
        super().__init__(config)
        self.head: PredictionHead | None = None
        if not config.tied:
            assert model.vocabulary_size is not None
            self.head = PredictionHead(
                model.vocabulary_size, dtype=model.precision, name="mlm_head"
            )

    def forward(self, model: Any, batch: Batch, outputs: Outputs, training: bool) -> Outputs:
        """Make the pass, if it is the first to ask, and keep the embeddings."""
        if not has_pairs(outputs):
            return {}
        added = shared_pass(model, batch, outputs, training)
        return {**added, "word_embeddings": model.text_embedding.token_embedding}

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``mlm``; nothing if a modality is absent."""
        if "word_embeddings" not in outputs:
            return {}

        def by_embeddings(tokens: tf.Tensor) -> tf.Tensor:
            table = tf.cast(tf.convert_to_tensor(outputs["word_embeddings"]), tokens.dtype)
            return tf.matmul(tokens, table, transpose_b=True)

        loss = hidden_loss(
            self.head or by_embeddings,
            outputs["pass_text"],
            outputs["pass_words"],
            outputs["pass_word_ids"],
            outputs["pass_positive"],
        )
        return {"mlm": self.config.weight * loss}


class MaskedVisual(Task):
    """Which entry of the visual dictionary hidden cells had: cosines with all of them.

    The dictionary gets no gradient. Where nothing is hidden the loss is 0.
    Source: Huang et al., "Seeing Out of tHe bOx" (SOHO), section 3.4 (masked visual modelling).

    Args:
        config: options.
        model: configuration of the system.
    """

    config: MVMConfig

    def __init__(self, config: MVMConfig, model: FusionConfig) -> None:
        super().__init__(config)

    def forward(self, model: Any, batch: Batch, outputs: Outputs, training: bool) -> Outputs:
        """Make the pass, if it is the first to ask."""
        return shared_pass(model, batch, outputs, training)

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``mvm``; nothing if a modality is absent."""
        if "pass_image" not in outputs:
            return {}
        dictionary = tf.math.l2_normalize(tf.stop_gradient(outputs["dictionary"]), axis=1)

        def by_cosine(tokens: tf.Tensor) -> tf.Tensor:
            unit = tf.math.l2_normalize(tf.cast(tokens, tf.float32), axis=1)
            return tf.matmul(unit, dictionary, transpose_b=True) / self.config.temperature

        loss = hidden_loss(
            by_cosine,
            outputs["pass_image"],
            outputs["pass_cells"],
            outputs["pass_codes"],
            outputs["pass_positive"],
        )
        return {"mvm": self.config.weight * loss}


class MaskedMultimodal(Task):
    """Hidden words and hidden patches of the shared pass, each from both modalities.

    Source: Singh et al., "FLAVA: A Foundational Language And Vision Alignment Model", section 3.2
    (masked multimodal modeling).

    Args:
        config: options.
        model: configuration of the system.

    Raises:
        UserError: there is no image tokeniser in that place, or one with another grid.
    """

    config: MMMConfig

    def __init__(self, config: MMMConfig, model: FusionConfig) -> None:
        super().__init__(config)
        self.tokenizer = fitting_tokenizer("mmm", config.tokenizer, model)
        assert model.vocabulary_size is not None
        precision = model.precision
        self.text_head = PredictionHead(
            model.vocabulary_size, dtype=precision, name="mmm_text_head"
        )
        self.image_head = PredictionHead(
            self.tokenizer.codes, dtype=precision, name="mmm_image_head"
        )

    def forward(self, model: Any, batch: Batch, outputs: Outputs, training: bool) -> Outputs:
        """Make the pass, if it is the first to ask, and the codes of the images.

        Returns:
            What the pass adds, and ``mmm_codes`` int32 [P, N].
        """
        if not has_pairs(outputs):
            return {}
        added = shared_pass(model, batch, outputs, training)
        codes = self.tokenizer.tokenize(batch["image"])
        return {**added, "mmm_codes": tf.reshape(codes, [-1, self.tokenizer.grid**2])}

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``mmm_text`` and ``mmm_image``; nothing if a modality is absent."""
        if "mmm_codes" not in outputs:
            return {}
        rows, weight = outputs["pass_positive"], self.config.weight
        words = hidden_loss(
            self.text_head,
            outputs["pass_text"],
            outputs["pass_words"],
            outputs["pass_word_ids"],
            rows,
        )
        patches = hidden_loss(
            self.image_head,
            outputs["pass_image"],
            outputs["pass_cells"],
            outputs["mmm_codes"],
            rows,
        )
        return {"mmm_text": weight * words, "mmm_image": weight * patches}
