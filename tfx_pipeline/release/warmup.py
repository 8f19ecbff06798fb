"""The warm-up requests that are shipped with exported towers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from serving.warmup import write_warmup
from tfx_pipeline.release.samples import sample_examples
from tfx_pipeline.release.signatures import read_signatures
from vl_models.export import IMAGE_TOWER, TEXT_TOWER

_BATCH_SIZES = (1, 4)  # graphs specialise on shapes: a single query, and a batch
# A twin of another signature, and what only the report asks for.
_COLD = ("serving_default", "text_attention")


def write_warmup_requests(towers_dir: Path, pattern: str) -> None:
    """Add warm-up requests to every tower that is there, made of real queries and images.

    Args:
      towers_dir: holds `image_tower/` and, for a system with texts, `text_tower/`.
      pattern: record files of Examples.
    """
    examples = sample_examples(pattern, max(_BATCH_SIZES))
    queries = [text for example in examples for text in example.queries[:1]]
    values: dict[str, dict[str, list[Any]]] = {
        TEXT_TOWER: {"query": queries, "features": [e.text_features for e in examples]},
        IMAGE_TOWER: {
            "image_bytes": [example.encoded for example in examples],
            "features": [example.image_features for example in examples],
        },
    }
    for tower in sorted(path.parent for path in towers_dir.glob("*_tower/saved_model.pb")):
        inputs = values[tower.name]
        requests = [
            (name, {signature.input_name: _array(inputs[signature.input_name][:size])})
            for name, signature in sorted(read_signatures(tower).items())
            if not name.startswith(_COLD) and inputs[signature.input_name]
            for size in _BATCH_SIZES
        ]
        write_warmup(tower, requests, tower.name)


def _array(values: list[Any]) -> Any:
    """Vectors as float32, what the signatures take; strings as they are."""
    return np.array(values, np.float32) if isinstance(values[0], tuple) else values
