"""Features from exported towers: Examples of pixels and words to Examples of vectors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfx_pipeline.data.writers import record_writer, shard_name, write_bytes
from tfx_pipeline.fingerprint import fingerprint_file, fingerprint_text
from vl_models import features as f
from vl_models.errors import UserError
from vl_models.members import IMAGE_TOWER, TEXT_TOWER

if TYPE_CHECKING:
    from tfx_pipeline.evaluation.encode import Tower

_BOTH = (IMAGE_TOWER, TEXT_TOWER)
_DONE = "extracted.json"
_BATCH = 64


def find_towers(path: str | Path) -> dict[str, Path]:
    """Folders of `image_tower` and `text_tower` of a release, a training run or a folder of both.

    Args:
        path: a release root or the output folder of `vlsearch run` (its current release), a run
            folder of `vlsearch train`, or a folder that holds the two SavedModels.

    Raises:
        UserError: there are none.
    """
    from serving.release import RELEASE_FILE, Release
    from tfx_pipeline.release.place import SERVING_DIR

    root = Path(path)
    if (root / SERVING_DIR / RELEASE_FILE).is_file():
        root = root / SERVING_DIR
    if (root / RELEASE_FILE).is_file():
        versions = Release.load(root).models
        found = {name: root / name / str(version) for name, version in versions.items()}
    else:
        inside = root / "towers"
        found = {tower: (inside if inside.is_dir() else root) / tower for tower in _BOTH}
    missing = [t for t in _BOTH if not (found.get(t, root) / "saved_model.pb").is_file()]
    if missing:
        raise UserError(
            f"{root}: no SavedModel of {' and '.join(missing)} here. Name a release root, a run "
            "folder of `vlsearch train`, or a folder that holds image_tower/ and text_tower/."
        )
    return {tower: found[tower].resolve() for tower in _BOTH}


def fingerprint_towers(towers: Mapping[str, Path]) -> str:
    """Return a key of the graphs and weights of what `find_towers` found."""
    return fingerprint_text(
        *(
            fingerprint_file(file)
            for tower in towers.values()
            for file in sorted(tower.rglob("*"))
            if file.is_file() and "assets.extra" not in file.parts
        )
    )


def extract_examples(examples: Path, towers: Mapping[str, Path], out: Path) -> None:
    """Write the Examples of all splits anew, with features in the place of images.

    `image/features` is the image tower's embedding of `image/encoded`, which is left out;
    `query/features` holds the text tower's of every `query/text`, one after the other. Examples of
    images alone or texts alone get those of what they have.

    Args:
        examples: folder with `Split-<split>/`.
        towers: what `find_towers` found; they take images and texts.
        out: gets `Split-<split>/`; what is there of the same Examples and towers is taken.

    Raises:
        UserError: an Example without an image that is not one of a text alone.
    """
    from tfx_pipeline.evaluation.encode import Tower

    key = fingerprint_text(str(examples.resolve()), fingerprint_towers(towers))
    done = out / _DONE
    if done.is_file() and json.loads(done.read_text(encoding="utf-8"))["key"] == key:
        return
    shutil.rmtree(out, ignore_errors=True)
    image_tower = Tower(towers[IMAGE_TOWER], "encode_image")
    text_tower = Tower(towers[TEXT_TOWER], "encode_text")
    for split in sorted(examples.glob("Split-*")):
        shards = sorted(split.glob("data_tfrecord-*"))
        for place, shard in enumerate(shards):
            target = out.resolve() / split.name / shard_name(place, len(shards))
            with record_writer(str(target)) as writer:
                for record in _extracted(shard, image_tower, text_tower):
                    writer.write(record)
    write_bytes(str(done.absolute()), json.dumps({"key": key}).encode())


def _extracted(shard: Path, image_tower: Tower, text_tower: Tower) -> Iterator[bytes]:
    """Return serialised Examples of one shard, a batch of them encoded at a time."""
    import tensorflow as tf

    from vl_models.input.untuned import untuned

    records = untuned(tf.data.TFRecordDataset(str(shard), "GZIP").batch(_BATCH))
    for batch in records.as_numpy_iterator():
        parsed = [tf.train.Example.FromString(record) for record in batch]
        shown = [_image(e.features.feature) for e in parsed if not _is_text_alone(e)]
        images = iter(encode_batches(image_tower, shown))
        texts = [list(e.features.feature[f.QUERY_TEXT].bytes_list.value) for e in parsed]
        encoded = encode_batches(text_tower, [text for own in texts for text in own])
        ends = np.cumsum([len(own) for own in texts])[:-1]
        for example, vectors in zip(parsed, np.split(encoded, ends)):
            values = example.features.feature
            if not _is_text_alone(example):
                del values[f.IMAGE_ENCODED]
                values[f.IMAGE_FEATURES].float_list.value[:] = next(images)
            values[f.QUERY_FEATURES].float_list.value[:] = vectors.ravel()
            yield example.SerializeToString(deterministic=True)


def encode_batches(tower: Tower, raw: Sequence[str] | Sequence[bytes]) -> np.ndarray:
    """Embeddings float32 [N, D] of texts or images, in batches; [0, 0] of nothing."""
    starts = range(0, len(raw), _BATCH)
    blocks = [tower.encode(raw[start : start + _BATCH]) for start in starts]
    return np.concatenate(blocks) if blocks else np.zeros((0, 0), np.float32)


def _is_text_alone(example: Any) -> bool:
    values = example.features.feature
    # Looking a key up in a map of protobuf adds it.
    return f.SOURCE_TYPE in values and values[f.SOURCE_TYPE].bytes_list.value[:] == [b"text_only"]


def _image(values: Any) -> bytes:
    stored = values[f.IMAGE_ENCODED].bytes_list.value
    if not stored:
        name = values[f.IMAGE_ID].bytes_list.value[0].decode()
        raise UserError(
            f"The Example '{name}' has no image, so no features can be made of it. Build the "
            "Examples anew from data with images."
        )
    return stored[0]
