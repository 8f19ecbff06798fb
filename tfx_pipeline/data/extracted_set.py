"""A feature set out of clicks or captions: what exported towers make of images and texts."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfx_pipeline.data.feature_extraction import encode_batches
from tfx_pipeline.data.feature_set import SPLITS, FeatureSet, draw_splits
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.data.writers import read_records
from vl_models import features as f
from vl_models.errors import UserError
from vl_models.members import IMAGE_TOWER, TEXT_TOWER


@dataclasses.dataclass
class _Item:
    """An image of one split, or of all."""

    encoded: bytes
    labels: tuple[str, ...]
    split: str
    texts: dict[bytes, float] = dataclasses.field(default_factory=dict)  # to weight


def extract_feature_set(
    folder: DataFolder,
    towers: Mapping[str, Path],
    *,
    texts_per_image: int = 1,
    split_by_image: bool = False,
    val_share: float = 0.1,
    test_share: float = 0.2,
    seed: int = 1,
) -> FeatureSet:
    """Encode images and texts of a data folder, one row per pair of them.

    Args:
        folder: of clicks or captions; its Examples are built in a temporary folder.
        towers: what `find_towers` found; they take images and texts.
        texts_per_image: of an image's texts, as many of the heaviest ones become a row each.
        split_by_image: draw the splits anew, each image into one. Where queries were split, the
            same image is in several splits, which makes the test split of classes too easy.
        val_share: with ``split_by_image``.
        test_share: with ``split_by_image``.
        seed: with ``split_by_image``.

    Raises:
        UserError: the data cannot be read, or no image has a text.
    """
    from tfx_pipeline.evaluation.encode import Tower

    items = _read_items(folder, split_by_image)
    if split_by_image:
        drawn = draw_splits(np.full(len(items), "train", object), val_share, test_share, seed)
        for item, split in zip(items, drawn):
            item.split = str(split)
    image_tower = Tower(towers[IMAGE_TOWER], "encode_image")
    images = encode_batches(image_tower, [item.encoded for item in items])
    kept = [_heaviest(item.texts, texts_per_image) for item in items]
    texts = [text for own in kept for text in own]
    place = np.repeat(np.arange(len(items)), [len(own) for own in kept])
    names = tuple(sorted({label for item in items for label in item.labels}))
    label = np.array([np.isin(names, item.labels) for item in items])
    present = np.ones(len(texts), bool)
    return FeatureSet(
        image=images[place],
        text=encode_batches(Tower(towers[TEXT_TOWER], "encode_text"), texts),
        has_image=present,
        has_text=present,
        label=label[place],
        label_names=names,
        split=np.array([item.split for item in items], str)[place],
        text_label=np.zeros((len(texts), 0), bool),
        text_label_names=(),
    )


def _read_items(folder: DataFolder, merge_splits: bool) -> list[_Item]:
    """Images that have texts, sorted by id; one per split, or one of all splits."""
    from tfx_pipeline.data.examples import materialize_examples

    found: dict[tuple[str, str], _Item] = {}
    with tempfile.TemporaryDirectory() as temporary:
        built = materialize_examples(folder, Path(temporary), folder.example_config())
        for split in SPLITS:
            for values in _read(built.examples_dir / f"Split-{split}"):
                name = values[f.IMAGE_ID].bytes_list.value[0].decode("utf-8")
                labels = tuple(v.decode("utf-8") for v in values[f.LABEL_TEXT].bytes_list.value)
                encoded = values[f.IMAGE_ENCODED].bytes_list.value[0]
                key = (name, "" if merge_splits else split)
                item = found.setdefault(key, _Item(encoded, labels, split))
                texts = values[f.QUERY_TEXT].bytes_list.value
                weights = values[f.QUERY_WEIGHT].float_list.value or [1.0] * len(texts)
                for text, weight in zip(texts, weights):
                    item.texts[text] = item.texts.get(text, 0.0) + weight
    items = [found[key] for key in sorted(found) if found[key].texts]
    if not items:
        raise UserError(f"{folder.root}: no image has a text, so there is no pair to encode.")
    return items


def _read(split: Path) -> Iterator[Mapping[str, Any]]:
    for shard in sorted(split.glob("data_tfrecord-*")):
        for example in read_records(str(shard)):
            yield example.features.feature


def _heaviest(texts: Mapping[bytes, float], count: int) -> list[bytes]:
    """Texts by weight, those of equal weight by their bytes."""
    return sorted(texts, key=lambda text: (-texts[text], text))[:count]
