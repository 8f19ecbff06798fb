"""Tables with a column of images and one of captions: CSV, TSV, or with `|` or `;` between.

Caption files are seldom what a CSV writer makes of captions: commas and quotes stand in them as
in any text. A line is therefore read strictly, as CSV, and where it is none, as the plain text it
is, if there is but one way to read that.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from tfx_pipeline.data.caption_files.caption import Caption, Content, Problem
from tfx_pipeline.data.caption_files.names import normal
from tfx_pipeline.data.caption_files.records import is_record, read_records
from tfx_pipeline.data.contract import Reason, Rejected
from tfx_pipeline.data.images import SUFFIXES
from tfx_pipeline.data.json_objects import parse
from vl_models.errors import UserError

_DELIMITERS = ("\t", "|", ",", ";")
_NULLS = ("NULL", "null", "NaN", "nan", "None", "<NA>", "\\N")  # what programs write for no text
_LIST = re.compile(r"""\[\s*["'].*["']\s*\]""", re.DOTALL)
_SIDE_BY_SIDE = re.compile(r"""["']\s+["']""")
_MAX_LINES = 100  # of one caption between quotes


class _Layout(NamedTuple):
    delimiter: str
    names: list[str]
    first: int  # index of the first line with captions


def is_table(content: Content) -> bool:
    """Whether the first line has names of columns, or an image's name and a caption."""
    return _layout(content) is not None


def read_table(content: Content) -> Iterator[Caption | Rejected]:
    """Return the captions of a table; rows are lines of the file.

    Raises:
        UserError: two columns have the same name.
    """
    layout = _layout(content)
    if layout is None:
        raise UserError(
            f"{content.file}: no table with captions. Its first line must name the columns, such "
            "as image,caption."
        )
    names = [normal(name) for name in layout.names]
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise UserError(f"{content.file}: two columns are called {twice[0]!r}. Rename one of them.")
    return read_records(content, _records(content, layout))


def _layout(content: Content) -> _Layout | None:
    index = next((index for index, line in enumerate(content.lines) if line.strip()), 0)
    line = content.lines[index]
    for delimiter in _DELIMITERS:
        names = _cells(line, delimiter)
        if is_record(dict.fromkeys(names, "")):
            return _Layout(delimiter, names, index + 1)
    for delimiter in _DELIMITERS:
        if names := _names_without_header(_cells(line, delimiter)):
            return _Layout(delimiter, names, index)
    return None


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    except csv.Error:  # a text of another kind
        return []


def _names_without_header(cells: list[str]) -> list[str]:
    """Return names for the columns of a first line that holds an image and a caption."""
    is_image = [cell.lower().endswith(SUFFIXES) and " " not in cell for cell in cells]
    if len(cells) == 2 and is_image == [False, True]:
        return ["caption", "image"]
    if len(cells) < 2 or not is_image[0] or is_image[1]:
        return []
    numbered = len(cells) > 2 and cells[1].isdigit()
    return ["image", "number", "caption"] if numbered else ["image", "caption"]


def _records(content: Content, layout: _Layout) -> Iterator[tuple[int, Any] | Rejected]:
    index, lines = layout.first, content.lines
    while index < len(lines):
        row, line = index + 1, lines[index]
        index += 1
        if not line.strip():
            continue
        try:
            cells, used = _parse(lines, index - 1, layout)
            index += used - 1
            record = dict(zip(layout.names, map(_value, cells)))
        except Problem as problem:
            yield content.reject(row, problem, line)
            continue
        yield row, record


def _parse(lines: list[str], start: int, layout: _Layout) -> tuple[list[str], int]:
    """Return the cells of the row that begins at a line, and how many lines it takes.

    Raises:
        Problem: it has too few or too many cells, or its quotes do not match.
    """
    delimiter, width = layout.delimiter, len(layout.names)
    for escape in (None, "\\"):
        for used in range(1, _MAX_LINES + 1):
            block = "\n".join(lines[start : start + used])
            if '"' not in block:
                break
            try:
                cells = _strict(block, delimiter, escape)
            except csv.Error as error:
                if "unexpected end" in str(error) and start + used < len(lines):
                    continue
                break
            if len(cells) == width:
                return cells, used
            break
        if "\\" not in lines[start]:
            break
    return _plain(lines[start], layout), 1


def _strict(block: str, delimiter: str, escape: str | None) -> list[str]:
    stream = io.StringIO(block, newline="")
    reader = csv.reader(
        stream, delimiter=delimiter, escapechar=escape, doublequote=escape is None, strict=True
    )
    return next(reader)


def _plain(line: str, layout: _Layout) -> list[str]:
    """Return the cells of a line in which quotes, and delimiters in a last text, mean nothing."""
    delimiter, width = layout.delimiter, len(layout.names)
    ends_with_text = is_record({"image": "", layout.names[-1]: ""})
    cells = line.split(delimiter, width - 1) if ends_with_text else line.split(delimiter)
    if len(cells) != width:
        message = f"{len(cells)} fields where the header has {width}"
        raise Problem(Reason.MALFORMED_ROW, message)
    # Tables with tabs and bars between are written without quoting.
    opened = [cell for cell in cells if cell.lstrip().startswith('"') and cell.count('"') % 2]
    if opened and delimiter in ",;":
        message = f"a quote is opened and not closed: {opened[0][:80]}"
        raise Problem(Reason.MALFORMED_ROW, message)
    return cells


def _value(cell: str) -> Any:
    """Return a cell without blanks around it: a list of texts as a list, a written null as None.

    Raises:
        Problem: it seems to be a list, and cannot be read as one.
    """
    cell = cell.strip()
    if cell in _NULLS:
        return None
    if not _LIST.fullmatch(cell):
        return cell
    with contextlib.suppress(json.JSONDecodeError):
        return parse(cell)
    try:
        # Texts side by side, as NumPy prints them, would become one.
        if not _SIDE_BY_SIDE.search(cell):
            return ast.literal_eval(cell)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        pass
    raise Problem(
        Reason.MALFORMED_ROW,
        f"neither one caption nor a list of them as JSON or Python write it: {cell[:80]}",
    )
