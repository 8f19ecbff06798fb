"""What is printed: texts of people as they are, and nothing that they hold acts on the terminal.

Everything that commands and trainings print goes through here. Texts are never markup of Rich
(`[bold]`, `:cake:`); styles are given by `styled`.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Progress

# Controls of terminals but for line feed and tab; marks, embeddings, overrides and isolates of
# direction, which show a text in another order than it has; separators of lines and paragraphs;
# surrogates, which stand for bytes of file names that are not UTF-8.
_ACTIVE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_BREAKING = re.compile(f"[\t\n]|{_ACTIVE.pattern}")
# A password may have any character, at signs too; a number and a slash are a port and a path.
_LOGIN = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/@]*:(?!\d+[/?#])\S*@")
_MIN_WIDTH = 40  # columns; narrower tables show nothing


def visible(text: str, *, one_line: bool = False) -> str:
    r"""Show the characters of a text that a terminal would obey as escapes, such as `\x1b`.

    Args:
        text: any.
        one_line: of line feeds and tabs, too.
    """
    return (_BREAKING if one_line else _ACTIVE).sub(_escape, text)


def without_passwords(text: str) -> str:
    """Leave out of the URLs in a text who logs in with what."""
    return _LOGIN.sub(r"\1…@", text)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def styled(words: str, style: str, rest: str = "") -> Text:
    """Return words in a style, and text behind them without."""
    return Text.assemble((visible(words), style), visible(rest))


def cell(text: object) -> Text:
    """Return the content of a cell of a table, or its title: one line."""
    return Text(visible(str(text), one_line=True))


class _PlainConsole(Console):
    """Takes no string for markup, and shows what would act on the terminal."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string as it is, but for what `visible` changes."""
        return super().render_str(visible(text), **options)


def console(*, stderr: bool = False) -> Console:
    """Return a console for tables and progress bars, and what else is not a line of text."""
    made = _PlainConsole(stderr=stderr, markup=False, emoji=False, highlight=False)
    if made.width < _MIN_WIDTH:
        made.width = _MIN_WIDTH
    return made


def progress_bar() -> Progress:
    """Return a bar on standard error, which shows nothing where that is no terminal.

    Its descriptions are Rich's markup: not for people's texts.
    """
    from rich.progress import Progress

    terminal = console(stderr=True)
    # Rich also takes FORCE_COLOR, which notebooks set for their processes, for a terminal.
    is_shown = terminal.is_terminal and terminal.file.isatty()
    return Progress(console=terminal, transient=True, disable=not is_shown)


def echo(text: str | Text, *, stderr: bool = False, end: str = "\n") -> None:
    """Print a line, or several, not wrapped; strings without what would act on the terminal."""
    if isinstance(text, Text):
        console(stderr=stderr).print(text, end=end, soft_wrap=True)
        return
    stream = sys.stderr if stderr else sys.stdout
    # Not by print(), which Kubeflow's local orchestrator replaces by one that indents.
    stream.write(visible(text) + end)
    stream.flush()


def prepare_output() -> None:
    r"""Make the best of what the environment says of the output, before anything is printed.

    What the encoding cannot show is shown as an escape (`\u4e2d`), and a width at which no word
    has place does not count.
    """
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) < _MIN_WIDTH:
        os.environ["COLUMNS"] = str(_MIN_WIDTH)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if logging.lastResort is not None:  # prints warnings where no log was set up
        logging.lastResort.setFormatter(VisibleFormatter())


class LogFormatter(logging.Formatter):
    """A formatter of log messages; passwords in URLs stay out of logs."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the message, and a traceback if it has one."""
        return without_passwords(super().format(record))


class VisibleFormatter(LogFormatter):
    """A formatter of log messages for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the message without what would act on the terminal."""
        return visible(super().format(record))
