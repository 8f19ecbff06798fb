"""Which reader makes which key of the batch: a new key is its reader and one line here."""

from __future__ import annotations

from collections.abc import Mapping

from vl_models.input.config import SourceSpec
from vl_models.input.readers.answers import ANSWER
from vl_models.input.readers.base import Reader
from vl_models.input.readers.images import IMAGE, IMAGE_2, IMAGE_VECTORS
from vl_models.input.readers.rows import ROW
from vl_models.input.readers.texts import LABEL_TEXTS, QUERIES

READERS: Mapping[str, Reader] = {
    "image": IMAGE,
    "image_2": IMAGE_2,
    "image_features": IMAGE_VECTORS,
    "token_ids": QUERIES,
    "token_continuation": QUERIES,  # of the drawn texts, as the tokeniser finds it
    "text_features": QUERIES,
    "answer": ANSWER,
}


def readers_of(spec: SourceSpec) -> tuple[Reader, ...]:
    """The readers of one source's rows, each once; later ones may replace what earlier ones made.

    Raises:
        ValueError: nothing reads one of the model's inputs.
    """
    unknown = sorted(set(spec.inputs) - set(READERS))
    if unknown:
        raise ValueError(
            f"`inputs` must be among {', '.join(READERS)}. Received: {', '.join(unknown)}"
        )
    readers = [READERS[key] for key in spec.inputs]
    if spec.source.texts == "labels":
        readers = [reader for reader in readers if reader is not QUERIES] + [LABEL_TEXTS]
    return (ROW, *dict.fromkeys(readers))
