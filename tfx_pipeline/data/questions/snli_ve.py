"""SNLI-VE: JSON lines of a hypothesis that an image entails, contradicts, or neither."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tfx_pipeline.data.caption_files.caption import Content, Problem, check_image, check_text
from tfx_pipeline.data.contract import Reason, Rejected
from tfx_pipeline.data.questions.question import Question
from tfx_pipeline.data.questions.records import line_records

ANSWERS = ("contradiction", "entailment", "neutral")
_IMAGE_KEYS = ("Flickr30K_ID", "Flickr30kID", "Flikr30kID", "image")


def read_snli_ve(contents: Sequence[Content]) -> Iterator[Question | Rejected]:
    """Return the hypotheses of SNLI-VE.

    The image is under `Flickr30K_ID`, without its suffix, or `image`; the hypothesis is
    `sentence2`. A `gold_label` of "-" says that the annotators did not agree: the row is rejected.
    Source: Xie et al., "Visual Entailment: A Novel Task for Fine-Grained Image Understanding".
    """
    for content in contents:
        yield from line_records(content, _question)


def _question(file: str, row: int, record: dict[str, Any]) -> Question:
    text = check_text(record.get("sentence2"), "sentence2")
    key = next((key for key in _IMAGE_KEYS if record.get(key) is not None), _IMAGE_KEYS[0])
    value = record.get(key)
    image = check_image(str(value) if isinstance(value, int) else value, key)
    label = record.get("gold_label")
    if label == "-":
        raise Problem(Reason.NO_AGREEMENT, "gold_label is -: the annotators did not agree")
    if label not in ANSWERS:
        message = f"gold_label must be one of {', '.join(ANSWERS)}. Received: {str(label)[:80]!r}"
        raise Problem(Reason.MISSING_ANSWER, message)
    return Question(
        str(record.get("pairID", f"{file}#{row}")), text, ((image,),), ((label, 1.0),), file, row
    )
