"""CSV, strictly: physical lines → records, each line in a record or named with its fault.

Unlike a lenient parser, an unclosed quote takes no other row with it: the line that opens it is
at fault, and the next line begins a record again.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_LONGEST = 1 << 27  # characters of one record: an image of 50 MB is 67 million in base64
_LINE_END = re.compile("\r\n|\r|\n")
csv.field_size_limit(_LONGEST)


class CsvFault(Exception):
    """A line that is no record."""


class _OpenQuote(CsvFault):
    """A field whose quote is not closed on this line; `field` is its index."""

    def __init__(self, field: int):
        super().__init__(f"field {field + 1} opens a quote and never closes it")
        self.field = field


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How fields are told apart.

    Attributes:
        delimiter: one character.
        quote: one character, or "" if quotes are text like any other.
        escape: the character that makes the next quote, delimiter, escape or line end a plain
            one; "" if quotes are escaped by doubling alone.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""

    def split(self, line: str) -> list[str | None]:
        r"""Return the fields of a record without its line end; `\N` is None if there are escapes.

        Raises:
            CsvFault: text follows a closing quote, or a quote is not closed.
        """
        quotes = self.quote and self.quote in line
        escapes = self.escape and self.escape in line
        if not (quotes or escapes):
            return list(line.split(self.delimiter))
        if not escapes:
            # The library says less about what is wrong, but is fast where nothing is.
            reader = csv.reader(
                (line,), delimiter=self.delimiter, quotechar=self.quote, strict=True
            )
            with contextlib.suppress(csv.Error):
                return list(next(reader))
        quoted, plain = _patterns(self)
        fields: list[str | None] = []
        start = 0
        while True:
            if self.quote and line.startswith(self.quote, start):
                found = quoted.match(line, start)
                if found is None:
                    raise _OpenQuote(len(fields))
                text, end = found[1], found.end()
                doubled = True
                if end < len(line) and line[end] != self.delimiter:
                    raise CsvFault(
                        f"text follows the closing quote of field {len(fields) + 1}: "
                        f"{line[end : end + 20]!r}"
                    )
            else:
                found = plain.match(line, start)
                assert found is not None  # it matches nothing, too
                text, end = found[0], found.end()
                doubled = False
            fields.append(self._meant(text, doubled))
            if end >= len(line):
                return fields
            start = end + 1

    def _meant(self, text: str, doubled: bool) -> str | None:
        """What a field says, without its escapes."""
        if not self.escape:
            return text.replace(self.quote * 2, self.quote) if doubled else text
        if text == f"{self.escape}N" and not doubled:
            return None
        marks = {self.quote, self.delimiter, self.escape, "\r", "\n"}

        def plain(pair: re.Match[str]) -> str:
            return pair[0][1] if pair[0][1] in marks else pair[0]

        pairs = rf"{re.escape(self.escape)}."
        if doubled:
            pairs += f"|{re.escape(self.quote * 2)}"
        return re.sub(pairs, plain, text, flags=re.DOTALL)

    def swallows(self, text: str, field: int, width: int) -> bool:
        """Whether a quoted field ends one row and begins the next, were its quotes plain text."""
        first, *_, last = _LINE_END.split(text)
        return (first.count(self.delimiter), last.count(self.delimiter)) == (
            width - field - 1,
            field,
        )


@functools.cache
def _patterns(dialect: Dialect) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A quoted field and a plain one."""
    quote, escape, delimiter = map(re.escape, (dialect.quote, dialect.escape, dialect.delimiter))
    pairs = [quote * 2] if quote else []
    pairs += [f"{escape}."] if escape else []
    inside = rf"[^{quote}{escape}]*(?:(?:{'|'.join(pairs)})[^{quote}{escape}]*)*"
    quoted = rf"{quote}({inside}){quote}(?!{quote})" if quote else "(?!)"
    plain = rf"[^{delimiter}{escape}]*"
    if escape:
        plain = rf"{plain}(?:{escape}(?:.|$){plain})*"
    return re.compile(quoted, re.DOTALL), re.compile(plain, re.DOTALL)


class Record(NamedTuple):
    """One record of a file, or a line that is none.

    Attributes:
        line: physical line that it begins on, 1-based.
        text: as it is in the file.
        fields: of a record that was read.
        fault: why the line is no record, or "".
    """

    line: int
    text: str
    fields: list[str | None]
    fault: str = ""


def records(
    lines: Iterable[str], dialect: Dialect, width: int, first_line: int = 1
) -> Iterator[Record]:
    """Return every record and every faulty line; blank lines are records without fields.

    Args:
        lines: with their line ends.
        dialect: how fields are told apart.
        width: fields of the header.
        first_line: number of the first of these lines.
    """
    waiting: deque[str] = deque()
    source = iter(lines)
    number = first_line - 1

    def following() -> Iterator[str]:
        """Lines after the current one; they are looked at, not taken."""
        yield from waiting
        for line in source:
            waiting.append(line)
            yield line

    while True:
        text = waiting.popleft() if waiting else next(source, None)
        if text is None:
            return
        number += 1
        if not text.strip(" \r\n"):
            yield Record(number, text, [])
            continue
        fields: list[str | None] = []
        problem, more = "", 0
        try:
            fields = dialect.split(text.rstrip("\r\n"))
        except CsvFault as fault:
            problem = str(fault)
            if isinstance(fault, _OpenQuote) and (
                continued := _continue(text, following(), dialect, fault.field, width)
            ):
                more, fields = continued
                problem = ""
        if fields and len(fields) != width:
            problem = f"{len(fields)} fields where the header has {width}"
        whole = text + "".join(waiting.popleft() for _ in range(more)) if more else text
        yield Record(number, whole, fields, problem)
        number += more


def _continue(
    first: str, following: Iterable[str], dialect: Dialect, field: int, width: int
) -> tuple[int, list[str | None]] | None:
    """Number of further lines of a record whose quoted field holds line ends, and its fields.

    None if there is no such record: what lies between the quotes are other rows.
    """
    parts, length = [first], len(first)
    for line in following:
        parts.append(line)
        length += len(line)
        if length > _LONGEST:
            break
        if dialect.quote not in line:
            if line.count(dialect.delimiter) + 1 == width:
                return None
        else:
            try:
                fields = dialect.split("".join(parts).rstrip("\r\n"))
            except _OpenQuote:
                pass
            except CsvFault:
                return None
            else:
                if len(fields) != width or dialect.swallows(fields[field] or "", field, width):
                    return None
                return len(parts) - 1, fields
    return None
