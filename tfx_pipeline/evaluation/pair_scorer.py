"""An exported reranker, called as the server calls it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from vl_models.errors import UserError
from vl_models.members import (
    ENCODE_IMAGE_TOKENS,
    IMAGE_BYTES,
    QUERY,
    SCORE,
    SCORE_TOKENS,
    TOKENS,
)

# Importing TF Text registers the ops of tokenisers inside the SavedModels.
_TOKENIZER_OPS = tf_text


class PairScorer:
    """The signatures of a member ``reranker``.

    Args:
        path: SavedModel folder.
        batch_size: rows of one call.

    Raises:
        UserError: its ``score`` takes something else than queries and images.
    """

    def __init__(self, path: Path, batch_size: int):
        # The signatures' variables live as long as the loaded object does.
        self._loaded: Any = tf.saved_model.load(str(path))
        self._signatures = self._loaded.signatures
        self._batch_size = batch_size
        inputs = self._signatures[SCORE].structured_input_signature[1]
        if set(inputs) != {QUERY, IMAGE_BYTES}:
            raise UserError(
                f"{path}: a reranker is measured with queries and images. "
                f"Received: inputs={sorted(inputs)}"
            )

    @property
    def reads_apart(self) -> bool:
        """Whether it reads images apart from texts."""
        return ENCODE_IMAGE_TOKENS in self._signatures

    def of_images(
        self, texts: Sequence[str], images: Sequence[bytes], rows: np.ndarray
    ) -> np.ndarray:
        """Score text i with the encoded image ``rows[i]``, float32 [B]."""
        return self._in_batches(
            len(texts),
            lambda part: self._signatures[SCORE](
                **{
                    QUERY: tf.constant(texts[part]),
                    IMAGE_BYTES: tf.constant([images[row] for row in rows[part]]),
                }
            )["score"],
        )

    def read(self, images: Sequence[bytes]) -> np.ndarray:
        """Read encoded images apart from texts: tokens float16 [N, T, W]."""
        return self._in_batches(
            len(images),
            lambda part: self._signatures[ENCODE_IMAGE_TOKENS](
                **{IMAGE_BYTES: tf.constant(images[part])}
            )[TOKENS],
        )

    def of_tokens(self, texts: Sequence[str], tokens: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Score text i with the tokens ``tokens[rows[i]]``, float32 [B]."""
        return self._in_batches(
            len(texts),
            lambda part: self._signatures[SCORE_TOKENS](
                **{QUERY: tf.constant(texts[part]), TOKENS: tf.constant(tokens[rows[part]])}
            )["score"],
        )

    def _in_batches(self, count: int, call: Callable[[slice], tf.Tensor]) -> np.ndarray:
        starts = range(0, count, self._batch_size)
        return np.concatenate([call(slice(at, at + self._batch_size)).numpy() for at in starts])


def median_seconds(call: Callable[[int], Any], times: int) -> float:
    """Median time of calls with the numbers 0, 1, … after one that warms up."""
    call(0)
    taken = []
    for number in range(times):
        started = time.perf_counter()
        call(number)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))
