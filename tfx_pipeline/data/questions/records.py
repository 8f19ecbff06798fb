"""JSON lines of which each is a question."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from tfx_pipeline.data.caption_files.caption import Content, Problem, check_keys
from tfx_pipeline.data.contract import Reason, Rejected
from tfx_pipeline.data.json_objects import parse
from tfx_pipeline.data.questions.question import Question


def line_records(
    content: Content, read: Callable[[str, int, dict[str, Any]], Question]
) -> Iterator[Question | Rejected]:
    """Return what `read` makes of each line, or why it is rejected.

    Args:
        content: of a file.
        read: of file, row and the line's object; raises a Problem.
    """
    for row, line in content.filled_lines():
        record: Any = line
        try:
            try:
                record = parse(line)
            except json.JSONDecodeError as error:
                raise Problem(Reason.MALFORMED_ROW, f"no JSON: {error}") from None
            if not isinstance(record, dict):
                raise Problem(Reason.MALFORMED_ROW, "a line must be a JSON object")
            check_keys(record)
            yield read(content.file, row, record)
        except Problem as problem:
            yield content.reject(row, problem, record)
