"""SOHO: a convolutional map, a dictionary of what is in it, and one transformer with the words.

Huang et al., "Seeing Out of tHe bOx: End-to-End Pre-Training for Vision-Language Representation
Learning".
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import all_gather, replica_index
from vl_models.fusion.embedded import pair_seeds
from vl_models.fusion.single_stream import SingleStreamEncoder
from vl_models.fusion.tokens import Fused, Tokens
from vl_models.layers.cell_embedding import CellEmbedding
from vl_models.layers.extent import within
from vl_models.layers.grid_neck import GridNeck
from vl_models.layers.masked_mean import masked_mean
from vl_models.layers.relative_position_bias import Modality
from vl_models.layers.visual_dictionary import VisualDictionary
from vl_models.losses.negatives import draw_several
from vl_models.models.fusion_model import FusionModel
from vl_models.models.soho_config import SOHOConfig
from vl_models.row_random import draw_uniform, stream_seed
from vl_models.tasks.fusion_config import CONTINUATION, ITMConfig, MLMConfig, MVMConfig
from vl_models.tasks.itm import negative_logits
from vl_models.tasks.masked_words import hide_words, mask_token
from vl_models.tasks.matching import Mismatches
from vl_models.tasks.shared_pass import positive_rows

_DICTIONARY, _REPLACED, _OTHERS, _WORDS, _PLACE, _CELLS = 121, 122, 123, 124, 125, 126
_PASS = 20


class SOHO(FusionModel):
    """Words and cells of an image in one post-norm transformer; it scores pairs and answers.

    Args:
        config: sizes and tasks; ``vocabulary_size`` must be set.

    Raises:
        ValueError: a size that is the data's is None.
    """

    FIRST_PATCH = 0  # there is no class token

    config: SOHOConfig

    def __init__(self, config: SOHOConfig) -> None:
        super().__init__(
            config, absolute_positions=True, mask_token=True, modality_types=False, patches=False
        )
        precision = config.precision
        self.neck = GridNeck(
            config.width, config.pool, config.convolve_first, dtype=precision, name="neck"
        )
        self.dictionary: VisualDictionary | None = None
        if config.dictionary is not None:
            self.dictionary = VisualDictionary(
                width=config.width,
                mix=config.mix,
                **config.dictionary.model_dump(),
                dtype=precision,
                name="visual_dictionary",
            )
        self.cell_embedding = CellEmbedding(config.epsilon, dtype=precision, name="cell_embedding")
        self.encoder = SingleStreamEncoder(
            config.width,
            config.depth,
            config.heads,
            config.mlp_ratio,
            config.dropout,
            config.drop_path,
            config.epsilon,
            config.initializer_range,
            pre_norm=False,
            has_pooler=False,
            dtype=precision,
            name="encoder",
        )
        self.add_tasks()

    def encode(self, batch: Batch, training: bool) -> Outputs:
        """Embed what the batch holds; in training the dictionary follows the images first.

        Returns:
            See `FusionModel.encode`; with images also ``image_cells`` [B, N, W], the cells before
            positions, and where there is a dictionary ``image_codes`` int32 [B, N] and
            ``dictionary`` float32 [K, W].
        """
        texts = {key: value for key, value in batch.items() if not key.startswith("image")}
        outputs = super().encode(texts, training)
        if "image" in batch:
            read = self._read(batch, training)
            cells = Tokens(read["image_cells"], read["image_mask"])
            outputs |= {name: value for name, value in read.items() if name != "image_mask"}
            placed = self.cell_embedding(cells.values, valid=self._grid(cells.mask))
            outputs |= {"image_embedded": placed, "image_embedded_mask": cells.mask}
        return outputs

    def embed_image(
        self,
        batch: Batch,
        training: bool,
        *,
        masked: tf.Tensor | None = None,
        key: str = "image",
        type_index: int = 1,
    ) -> Tokens:
        """See `FusionModel`; there are no modality types."""
        read = self._read(batch, training, key)
        mask = read["image_mask"]
        values = self.cell_embedding(read["image_cells"], valid=self._grid(mask), masked=masked)
        return Tokens(values, mask)

    def encode_pairs(
        self, text: Tokens, image: Tokens, seeds: tf.Tensor | None, training: bool
    ) -> Fused:
        """See `FusionModel`."""
        return self.encoder(text, image, seeds=seeds, training=training)

    def alone(
        self,
        tokens: Tokens,
        modality: Modality,
        seeds: tf.Tensor | None = None,
        training: bool = False,
        *,
        branches: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """See `FusionModel`; a modality by itself is what its embedding gives."""
        return tokens.values, None

    def pool_alone(self, values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """See `FusionModel`; the mean of all tokens."""
        return masked_mean(values, mask)

    def scalars(self) -> dict[str, tf.Tensor]:
        """Perplexity and used share of the dictionary, beside what the tasks log."""
        if self.dictionary is None:
            return super().scalars()
        return {**super().scalars(), **self.dictionary.codebook.scalars()}

    def pretraining_pass(self, batch: Batch, outputs: Outputs, training: bool) -> Outputs:
        """See `SharesPass`: each image with its true sentences and others', one below the other."""
        rows, config = outputs["image_embedded"].shape[0], self.config
        chosen, labels, weights = self._sentences(batch, outputs, rows)
        texts = {
            key: tf.gather(all_gather(batch[key]), chosen)
            for key in ("token_ids", "text_mask", CONTINUATION)
            if key in batch
        }
        seeds = [pair_seeds(batch, _PASS + place) for place in range(config.sentences)]
        texts["seed"] = tf.concat(seeds, axis=0)
        token_ids, words = texts["token_ids"], tf.zeros_like(texts["text_mask"])
        masking = config.task("mlm")
        if isinstance(masking, MLMConfig):
            own = stream_seed(texts["seed"], _WORDS)
            mask_id = mask_token("mlm", config)
            token_ids, words = hide_words(texts, own, masking, mask_id, config.vocabulary_size)
        cells = Tokens(
            tf.tile(outputs["image_cells"], [config.sentences, 1, 1]),
            tf.tile(outputs["image_embedded_mask"], [config.sentences, 1]),
        )
        codes, hidden = self._hidden_cells(batch, outputs, cells.mask, texts["seed"])
        placed = self.cell_embedding(cells.values, valid=self._grid(cells.mask), masked=hidden)
        fused = self.fuse(
            self.embed_text(texts, token_ids, training),
            Tokens(placed, cells.mask),
            texts["seed"] if training else None,
            training,
        )
        return {
            "pass_pooled": fused.pooled,
            "pass_text": fused.text.values,
            "pass_words": words,
            "pass_word_ids": texts["token_ids"],
            "pass_word_mask": texts["text_mask"],
            "pass_image": fused.image.values,
            "pass_cells": hidden,
            "pass_codes": codes,
            "pass_labels": labels,
            "pass_weights": weights,
            "pass_positive": positive_rows(labels) if config.positives_only else weights,
        }

    def _sentences(
        self, batch: Batch, outputs: Outputs, rows: int
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Places of the sentences in the global batch, int32 [S · B]; labels; weights."""
        config = self.config
        texts = outputs["text_embedded"].shape[0] // rows
        matching = config.task("itm")
        mismatches = Mismatches.of_batch(batch, rows, getattr(matching, "exclude_known", True))
        logits = None
        if isinstance(matching, ITMConfig):
            _, logits = negative_logits(matching, batch, outputs, mismatches)
        seeds = stream_seed(batch["seed"], _OTHERS)
        others, found = draw_several(mismatches.texts, seeds, config.sentences, logits)
        drawn = draw_uniform(stream_seed(batch["seed"], _REPLACED), config.sentences)
        first = (replica_index() * rows + tf.range(rows)) * texts
        chosen, labels, weights = [], [], []
        for place in range(config.sentences):
            spare = min(place, others.shape[1] - 1)
            other = texts * others[:, spare]
            there = found[:, spare]
            if config.exact_sentences:
                replaced = tf.fill([rows], place >= config.true_sentences)
                weight = ~replaced | there
            else:
                share = 1.0 - config.true_sentences / config.sentences
                replaced = (drawn[:, place] < share) & there
                weight = tf.ones([rows], tf.bool)
            chosen.append(tf.where(replaced, other, first + place % texts))
            labels.append(1.0 - tf.cast(replaced, tf.float32))
            weights.append(tf.cast(weight, tf.float32))
        return tuple(tf.concat(part, axis=0) for part in (chosen, labels, weights))  # type: ignore

    def _hidden_cells(
        self, batch: Batch, outputs: Outputs, valid: tf.Tensor, seeds: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Codes int32 [P, N] of all cells, and which are hidden, bool [P, N].

        One place is drawn for the whole batch; all cells of an image that have the code of the cell
        there are hidden, for each sentence with the task's probability. Images of other shapes than
        the square have the place at the same share of height and width.
        """
        task = self.config.task("mvm")
        if not isinstance(task, MVMConfig):
            return tf.zeros(tf.shape(valid), tf.int32), tf.zeros_like(valid)
        codes, grid = outputs["image_codes"], self.config.grid
        own = self._grid(outputs["image_embedded_mask"])
        place = draw_uniform(stream_seed(all_gather(batch["seed"])[:1], _PLACE), 2)[0]
        rows = tf.reduce_sum(tf.cast(tf.reduce_any(own, axis=2), tf.float32), axis=1)
        columns = tf.reduce_sum(tf.cast(tf.reduce_any(own, axis=1), tf.float32), axis=1)
        index = tf.cast(place[0] * rows, tf.int32) * grid + tf.cast(place[1] * columns, tf.int32)
        code = tf.gather(codes, index, batch_dims=1)
        same = (codes == code[:, None]) & outputs["image_embedded_mask"]
        times = self.config.sentences
        drawn = draw_uniform(stream_seed(seeds, _CELLS), 1) < task.probability
        return tf.tile(codes, [times, 1]), tf.tile(same, [times, 1]) & drawn

    def _read(self, batch: Batch, training: bool, key: str = "image") -> Outputs:
        """Cells of images: ``image_cells``, ``image_mask`` bool [B, N], codes and dictionary."""
        config = self.config
        images, extent = batch[key], None
        grid = (config.grid, config.grid)
        valid = tf.ones([tf.shape(images)[0], *grid], tf.bool)
        options: dict[str, Any] = {"training": training}
        if key == "image" and "image_extent" in batch:
            extent = batch["image_extent"]
            stride = config.image.stride * config.pool
            valid = within(-(-extent // stride), grid)
            if config.image.kind == "resnet":
                options["extent"] = extent
        assert self.image_encoder is not None
        tokens = self.image_encoder(images, **options)["tokens"]
        side = config.image_size // config.image.stride
        maps = tf.reshape(tokens, [-1, side, side, tokens.shape[-1]])
        cells = self.neck(maps, valid=valid, training=training)
        cells = tf.reshape(cells, [-1, config.grid**2, config.width])
        mask = tf.reshape(valid, [-1, config.grid**2])
        if self.dictionary is None:
            return {"image_cells": cells, "image_mask": mask}
        seeds = stream_seed(batch["seed"], _DICTIONARY) if "seed" in batch else None
        found = self.dictionary(cells, valid=mask, seeds=seeds, training=training)
        return {
            "image_cells": found["cells"],
            "image_mask": mask,
            "image_codes": found["codes"],
            "dictionary": found["dictionary"],
        }

    def _grid(self, mask: tf.Tensor) -> tf.Tensor:
        """A mask bool [B, N] of cells as bool [B, g, g]."""
        return tf.reshape(mask, [-1, self.config.grid, self.config.grid])
