"""What a reranker has read of a gallery's images: a file that is mapped, not loaded.

`image_tokens.npy`, float16 [N, T, W] in the order of the items: 16 KiB an image at most, of which a
query touches those of its candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from serving.errors import ServingError
from serving.index_description import REBUILD

TOKENS_FILE = "image_tokens.npy"
MOST_BYTES = 2**14  # of one image


def write_image_tokens(
    path: Path, count: int, pieces: Iterable[tuple[np.ndarray, np.ndarray]]
) -> tuple[int, int]:
    """Write tokens piece by piece to their rows.

    Args:
        path: a file that nobody reads yet.
        count: of images, N.
        pieces: rows int [n] and tokens float16 [n, T, W]; each row of N once.

    Returns:
        T and W.

    Raises:
        ServingError: rows that are missing, there twice or above N; tokens of another shape or
            dtype, or of more than 16 KiB.
    """
    mapped: np.memmap | None = None
    written = np.zeros(count, bool)
    for rows, tokens in pieces:
        if mapped is None:
            _check_shape(tokens)
            shape = (count, *tokens.shape[1:])
            mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
        if tokens.dtype != np.float16 or tokens.shape != (len(rows), *mapped.shape[1:]):
            raise ServingError(
                f"The image tokens of an index are float16 {['n', *mapped.shape[1:]]} for n rows. "
                f"Received: {tokens.dtype} {list(tokens.shape)} for {len(rows)} rows."
            )
        if len(rows) and (rows.max() >= count or written[rows].any()):
            raise ServingError(
                f"Each of the {count} images of an index has its tokens once. "
                f"Received: rows={rows.tolist()[:20]}."
            )
        mapped[rows] = tokens
        written[rows] = True
    if mapped is None or not written.all():
        missing = np.flatnonzero(~written)
        raise ServingError(
            f"{len(missing)} of {count} images have no tokens, the first is row {missing[0]}. Make "
            "them of the same gallery as the embeddings."
        )
    mapped.flush()
    return mapped.shape[1], mapped.shape[2]


def read_image_tokens(path: Path, shape: Sequence[int]) -> np.ndarray:
    """Map the tokens of an index, float16 [N, T, W].

    Raises:
        ServingError: no such file, or not of that shape.
    """
    try:
        tokens = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ServingError(f"{path} is not a readable NumPy file: {error}. {REBUILD}") from error
    if tokens.dtype != np.float16 or tokens.shape != tuple(shape):
        raise ServingError(
            f"The files of {path.parent} do not belong together: index.json and items.parquet say "
            f"image tokens float16 {list(shape)}, {path.name} holds {tokens.dtype} "
            f"{list(tokens.shape)}. {REBUILD}"
        )
    return tokens


def _check_shape(tokens: np.ndarray) -> None:
    if tokens.ndim != 3 or 2 * tokens[0].size > MOST_BYTES:
        raise ServingError(
            f"The tokens of one image are float16 [T, W] of at most {MOST_BYTES:,} bytes. "
            f"Received: shape={list(tokens.shape)}."
        )
