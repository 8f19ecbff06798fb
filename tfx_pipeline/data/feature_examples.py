"""Examples of precomputed features: the counterpart of `examples.py` for data without images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfx_pipeline.data.feature_set import SPLITS, FeatureSet
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.data.writers import make_example, record_writer, shard_name, write_bytes
from tfx_pipeline.fingerprint import fingerprint_code, fingerprint_text
from vl_models import features as f


def materialize_feature_examples(folder: DataFolder, out: Path) -> str:
    """Build `examples/` of a data folder of features; cached like those of clicks.

    Args:
        folder: of kind `features`.
        out: gets `examples/` and `built.json`.

    Returns:
        A key of data and code, by which a training knows its data again.

    Raises:
        UserError: the features cannot be read.
    """
    path = folder.feature_file
    data = FeatureSet.load(path)
    status = path.stat()
    stamp = (str(path), str(status.st_size), str(status.st_mtime_ns), folder.name)
    key = fingerprint_text(*stamp, fingerprint_code("tfx_pipeline/data"))
    done = out / "built.json"
    if done.is_file() and json.loads(done.read_text("utf-8"))["key"] == key:
        return key
    done.unlink(missing_ok=True)
    shutil.rmtree(out / "examples", ignore_errors=True)
    counts = write_feature_examples(data, out.resolve() / "examples", folder.name)
    write_bytes(str(done.absolute()), json.dumps({"key": key, "summary": counts}).encode())
    return key


def write_feature_examples(data: FeatureSet, examples: Path, source_name: str) -> dict[str, int]:
    """Write one Example per row with both modalities, and the others beside them.

    ``Split-<split>/`` holds the pairs, ``Split-<split>-image-only/`` and ``-text-only/`` the
    rows that lack a modality, where there are some.

    Args:
        data: the rows.
        examples: folder that gets the splits' folders.
        source_name: becomes `source/name`.

    Returns:
        Number of Examples by folder.
    """
    counts = {}
    kinds = {
        "": (data.has_image & data.has_text, "click"),
        "-image-only": (data.has_image & ~data.has_text, "image_only"),
        "-text-only": (~data.has_image & data.has_text, "text_only"),
    }
    for split in SPLITS:
        for suffix, (chosen, source_type) in kinds.items():
            rows = np.flatnonzero(chosen & (data.split == split))
            if len(rows) == 0 and suffix:
                continue
            name = f"Split-{split}{suffix}"
            counts[name] = len(rows)
            with record_writer(str(examples / name / shard_name(0, 1))) as writer:
                for row in rows:
                    example = _example(data, int(row), source_type, source_name)
                    writer.write(example.SerializeToString(deterministic=True))
    return counts


def _example(data: FeatureSet, row: int, source_type: str, source_name: str) -> Any:
    name = f"{row:08d}".encode()
    values: dict[str, Sequence[bytes] | Sequence[int] | Sequence[float]] = {
        f.IMAGE_ID: [name],
        f.SOURCE_TYPE: [source_type.encode()],
        f.SOURCE_NAME: [source_name.encode()],
        f.LABEL_TEXT: _names(data.label_names, data.label[row]),
    }
    if data.has_image[row]:
        values[f.IMAGE_FEATURES] = data.image[row].tolist()
    if data.has_text[row]:
        values[f.QUERY_TEXT] = [name]
        values[f.QUERY_FEATURES] = data.text[row].tolist()
        if data.text_label_names:
            values[f.TEXT_LABEL_TEXT] = _names(data.text_label_names, data.text_label[row])
    return make_example(values)


def _names(names: Sequence[str], chosen: np.ndarray) -> list[bytes]:
    return [name.encode() for name, here in zip(names, chosen) if here]
