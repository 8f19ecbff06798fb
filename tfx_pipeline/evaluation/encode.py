"""Encoding queries and gallery images with the exported towers, as the server would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from tfx_pipeline.evaluation.gallery import read_batches
from vl_models.errors import UserError

# Importing TF Text registers the ops of tokenisers inside the SavedModels.
_TOKENIZER_OPS = tf_text

_NORM_TOLERANCE = 1e-3


class Tower:
    """One exported tower: a signature from raw input (or features) to unit-norm embeddings.

    Args:
        path: SavedModel folder.
        signature: ``encode_text`` or ``encode_image``.

    Raises:
        UserError: no SavedModel there, or it lacks the signature.
    """

    OUTPUT = "embedding"

    def __init__(self, path: str | Path, signature: str):
        if not (Path(path) / "saved_model.pb").is_file():
            raise UserError(f"There is no SavedModel here. Received: path={str(path)!r}")
        # The signature's variables live as long as the loaded object does.
        self._loaded: Any = tf.saved_model.load(str(path))
        available = sorted(self._loaded.signatures)
        if signature not in available:
            raise UserError(
                f"{path}: the SavedModel has no signature {signature}. "
                f"Received: signatures={available}"
            )
        self._path = path
        self._encode = self._loaded.signatures[signature]
        inputs = self._encode.structured_input_signature[1]
        outputs = self._encode.structured_outputs
        if len(inputs) != 1 or self.OUTPUT not in outputs:
            raise UserError(
                f"{path}: signature {signature} must have one input and the output "
                f"'{self.OUTPUT}'. "
                f"Received: inputs={sorted(inputs)}, outputs={sorted(outputs)}"
            )
        self._input_name, specification = next(iter(inputs.items()))
        self._dtype = specification.dtype

    def encode(self, raw: Sequence[str] | Sequence[bytes] | np.ndarray) -> np.ndarray:
        """Encode strings or bytes [B], or feature vectors [B, d], to float32[B, D].

        Raises:
            UserError: an embedding is not of unit norm (which includes NaN).
        """
        values = np.asarray(self._outputs(raw), np.float32)
        norms = np.linalg.norm(values, axis=-1)
        wrong = np.flatnonzero(~(np.abs(norms - 1) <= _NORM_TOLERANCE))
        if len(wrong):
            raise UserError(
                f"{self._path}: embeddings must have norm 1; "
                f"{len(wrong)} of {len(norms)} in a batch do not. "
                f"Received: norm={norms[wrong[0]]}"
            )
        return values

    def _outputs(self, raw: Sequence[str] | Sequence[bytes] | np.ndarray) -> tf.Tensor:
        return self._encode(**{self._input_name: tf.constant(raw, self._dtype)})[self.OUTPUT]


class HashTower(Tower):
    """One exported tower's hash codes, by its signature ``hash_text`` or ``hash_image``."""

    OUTPUT = "code"

    def encode(self, raw: Sequence[str] | Sequence[bytes] | np.ndarray) -> np.ndarray:
        """Packed codes uint8[B, bits / 8] of what the signature takes."""
        return np.asarray(self._outputs(raw), np.uint8)


def encode_queries(
    tower: Tower, queries: Sequence[str] | np.ndarray, batch_size: int
) -> np.ndarray:
    """Embeddings float32[Q, D] of the queries (or of features [Q, d]), in order."""
    starts = range(0, len(queries), batch_size)
    return np.concatenate([tower.encode(queries[at : at + batch_size]) for at in starts])


def encode_gallery(
    tower: Tower, gallery_dir: str | Path, batch_size: int, keep: Collection[str] | None = None
) -> tuple[list[str], np.ndarray]:
    """Ids and embeddings float32[N, D] of the gallery's images.

    Args:
        tower: the image tower.
        gallery_dir: folder of the gallery.
        batch_size: images per call.
        keep: encode these ids only; None encodes all.

    Raises:
        UserError: no gallery, nothing left of it, or an id twice.
    """
    all_ids: list[str] = []
    blocks: list[np.ndarray] = []
    for ids, images in read_batches(gallery_dir, batch_size):
        kept = [row for row, name in enumerate(ids) if keep is None or name in keep]
        if kept:
            all_ids.extend(ids[row] for row in kept)
            blocks.append(tower.encode(images[kept]))
    if not blocks:
        raise UserError(
            f"The gallery holds no image to search in. Received: gallery_dir={str(gallery_dir)!r}"
        )
    (commonest, occurrences), *_ = Counter(all_ids).most_common(1)
    if occurrences > 1:
        raise UserError(
            f"{gallery_dir}: the gallery must hold every image once. "
            f"Received: image/id={commonest!r} {occurrences} times"
        )
    return all_ids, np.concatenate(blocks)
