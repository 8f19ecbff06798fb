"""NLVR2: JSON lines of a sentence about two images, true or false."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tfx_pipeline.data.caption_files.caption import Content, Problem, check_text
from tfx_pipeline.data.contract import Reason, Rejected
from tfx_pipeline.data.questions.question import Question
from tfx_pipeline.data.questions.records import line_records

ANSWERS = ("false", "true")


def read_nlvr2(contents: Sequence[Content]) -> Iterator[Question | Rejected]:
    """Return the sentences of NLVR2.

    `identifier` is `dev-850-0-0`: a pair of images `dev-850-0-img0`, `dev-850-0-img1`, and the
    number of the sentence. `label` is True or False.
    Source: Suhr et al., "A Corpus for Reasoning About Natural Language Grounded in Photographs".
    """
    for content in contents:
        yield from line_records(content, _question)


def _question(file: str, row: int, record: dict[str, Any]) -> Question:
    text = check_text(record.get("sentence"), "sentence")
    identifier = record.get("identifier")
    pair = identifier.rpartition("-")[0] if isinstance(identifier, str) else ""
    if not pair:
        message = f"identifier must be like dev-850-0-0. Received: {str(identifier)[:80]!r}"
        raise Problem(Reason.MISSING_IMAGE_ID, message)
    label = str(record.get("label")).lower()
    if label not in ANSWERS:
        message = f"label must be True or False. Received: {str(record.get('label'))[:80]!r}"
        raise Problem(Reason.MISSING_ANSWER, message)
    images = tuple((f"{pair}-img{side}",) for side in (0, 1))
    return Question(str(identifier), text, images, ((label, 1.0),), file, row)
