"""The dialect of a CSV file: as configured, or recognised where no other reading fits."""

from __future__ import annotations

import re

from tfx_pipeline.data import contract
from tfx_pipeline.data.config import CsvConfig
from tfx_pipeline.data.readers.csv_lines import CsvFault, Dialect, records

_DELIMITERS = (",", "\t", ";", "|")
_EXCEL_HINT = re.compile(r"sep=(.)\s*")  # a first line that Excel reads and writes


def recognise(sample: list[str], config: CsvConfig) -> tuple[Dialect, int]:
    """Return the dialect and how many lines come before the header.

    The delimiter is the one that separates the required columns in the header; a backslash
    escapes quotes where fewer lines are at fault if it does.

    Args:
        sample: the first lines of the file.
        config: what is not `auto` holds.
    """
    skipped = next((at for at, line in enumerate(sample) if line.strip()), len(sample))
    quote = {"auto": '"', "none": ""}.get(config.quote, config.quote)
    escape = {"auto": "", "none": ""}.get(config.escape, config.escape)
    if skipped == len(sample):
        return Dialect(",", quote, escape), skipped
    delimiter = config.delimiter
    if (hint := _EXCEL_HINT.fullmatch(sample[skipped])) and skipped + 1 < len(sample):
        delimiter = hint[1] if delimiter == "auto" else delimiter
        skipped += 1
    if delimiter == "auto":
        dialects = [Dialect(mark, quote, escape) for mark in _DELIMITERS]
        fitting = [dialect for dialect in dialects if _fits(dialect, sample[skipped])]
        delimiter = (fitting or dialects)[0].delimiter
    plain = Dialect(delimiter, quote, escape)
    if config.escape == "auto" and quote and any(f"\\{quote}" in line for line in sample):
        escaped = Dialect(delimiter, quote, "\\")
        if _faults(sample[skipped:], escaped) < _faults(sample[skipped:], plain):
            return escaped, skipped
    return plain, skipped


def header(line: str, dialect: Dialect) -> list[str]:
    """Column names, without blanks around them; raises CsvFault."""
    return [(name or "").strip() for name in dialect.split(line.rstrip("\r\n"))]


def _fits(dialect: Dialect, line: str) -> bool:
    try:
        names = header(line, dialect)
    except CsvFault:
        return False
    return {*contract.REQUIRED_COLUMNS} <= {*names}


def _faults(lines: list[str], dialect: Dialect) -> int:
    width = len(header(lines[0], dialect))
    return sum(bool(record.fault) for record in records(lines, dialect, width))
