"""The warm-up requests that are shipped with exported towers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.warmup import write_warmup
from tfx_pipeline.release.samples import sample_examples

_BATCH_SIZES = (1, 4)  # graphs specialise on shapes: a single query, and a batch


def write_warmup_requests(towers_dir: Path, pattern: str) -> None:
    """Add warm-up requests to both towers, made of real queries and images.

    Args:
      towers_dir: holds `text_tower/` and `image_tower/`.
      pattern: record files of Examples.
    """
    examples = sample_examples(pattern, max(_BATCH_SIZES))
    texts = [example.queries[0] for example in examples]
    images = [example.encoded for example in examples]
    inputs: list[tuple[str, str, str, Sequence[Any]]] = [
        ("text_tower", "encode_text", "query", texts),
        ("image_tower", "encode_image", "image_bytes", images),
    ]
    for tower, signature, name, values in inputs:
        requests = [(signature, {name: values[:size]}) for size in _BATCH_SIZES]
        write_warmup(towers_dir / tower, requests, tower)
