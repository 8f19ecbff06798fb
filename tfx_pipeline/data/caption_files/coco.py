"""COCO's captions JSON: `images` with ids and file names, `annotations` with captions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tfx_pipeline.data.caption_files.caption import (
    Caption,
    Content,
    Problem,
    check_image,
    check_keys,
    check_text,
)
from tfx_pipeline.data.contract import Reason, Rejected
from tfx_pipeline.data.language import detect_language


def is_coco(content: Content) -> bool:
    """Whether the file has images and annotations beside each other."""
    whole = content.json
    return isinstance(whole, dict) and all(
        isinstance(whole.get(key), list) for key in ("images", "annotations")
    )


def read_coco(content: Content) -> Iterator[Caption | Rejected]:
    """Return the captions of COCO's JSON, its annotations counted from 1."""
    images: dict[str, Any] = {}
    ambiguous = set()
    for image in content.json["images"]:
        if isinstance(image, dict) and image.get("id") is not None:
            key, name = str(image["id"]), image.get("file_name")
            if images.setdefault(key, name) != name:
                ambiguous.add(key)
    for row, record in enumerate(content.json["annotations"], 1):
        try:
            yield _caption(row, record, images, ambiguous, f"annotations[{row - 1}]")
        except Problem as problem:
            yield content.reject(row, problem, record)


def _caption(
    row: int, record: Any, images: dict[str, Any], ambiguous: set[str], where: str
) -> Caption:
    if not isinstance(record, dict):
        message = f"{where}: not an object with an image_id and a caption"
        raise Problem(Reason.MALFORMED_ROW, message)
    check_keys(record)
    key = record.get("image_id")
    if key is None or str(key) not in images:
        message = f"{where}: image_id {key!r} is not among the images."
        raise Problem(Reason.MISSING_IMAGE_ID, message)
    if str(key) in ambiguous:
        message = f"{where}: image_id {key!r} is that of several images"
        raise Problem(Reason.MISSING_IMAGE_ID, message)
    image = check_image(images[str(key)], f"{where}: the file_name of image_id {key!r}")
    text = check_text(record.get("caption"), f"{where}: key 'caption'")
    return Caption(image, text, detect_language(text), None, row)
