"""Karpathy's JSON of COCO, Flickr8k and Flickr30k: `images[].sentences[].raw`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tfx_pipeline.data.caption_files.caption import (
    Caption,
    Content,
    Problem,
    check_image,
    check_split,
    check_text,
)
from tfx_pipeline.data.caption_files.words import join_words
from tfx_pipeline.data.contract import Reason, Rejected
from tfx_pipeline.data.language import detect_language


def is_karpathy(content: Content) -> bool:
    """Whether the file has images with sentences."""
    images = content.json.get("images") if isinstance(content.json, dict) else None
    return isinstance(images, list) and any(
        isinstance(image, dict) and "filename" in image and "caption" not in image
        for image in images
    )


def read_karpathy(content: Content) -> Iterator[Caption | Rejected]:
    """Return the captions of Karpathy's JSON, its images counted from 1."""
    for row, record in enumerate(content.json["images"], 1):
        yield from _captions(content, row, record, f"images[{row - 1}]")


def _captions(content: Content, row: int, record: Any, where: str) -> Iterator[Caption | Rejected]:
    sentences = record.get("sentences") if isinstance(record, dict) else None
    if not isinstance(sentences, list) or not sentences:
        message = f"{where}: key 'sentences' is missing, or is no list with sentences"
        yield content.reject(row, Problem(Reason.MISSING_QUERY, message), record)
        return
    try:
        image = check_image(record.get("filename"), f"{where}: key 'filename'")
        if record.get("filepath"):
            image = f"{record['filepath']}/{image}"
        split = check_split(record.get("split"), where)
    except Problem as problem:
        yield content.reject(row, problem, record, len(sentences))
        return
    for index, sentence in enumerate(sentences):
        try:
            text = check_text(_text(sentence), f"{where}.sentences[{index}]: key 'raw'")
        except Problem as problem:
            yield content.reject(row, problem, {"filename": image, "sentence": sentence})
        else:
            yield Caption(image, text, detect_language(text), split, row)


def _text(sentence: Any) -> Any:
    """Return the sentence as it was written, or else its words."""
    if not isinstance(sentence, dict):
        return sentence
    words = sentence.get("tokens")
    if "raw" not in sentence and isinstance(words, list):
        return join_words(str(word) for word in words)
    return sentence.get("raw")
