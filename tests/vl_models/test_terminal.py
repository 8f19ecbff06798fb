"""What is printed is what was given, and nothing in it acts on the terminal."""

import ast
import io
import logging
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.table import Table

from vl_models.terminal import LogFormatter, VisibleFormatter, cell, console, echo, styled, visible

ROOT = Path(__file__).parents[2]

TEXTS = st.text(
    st.one_of(
        st.sampled_from("[]/\\:%{}#@b \t\n\r\x1b\x07\x08\x7f\x9b\u202e\u2066\u200f\ud8ff猫é🐈"),
        st.characters(),
    ),
    max_size=60,
)
HOSTILE = "[/b] [bold]x[/] :cake: \\[a] %s {0} \x1b[2J\x1b]0;t\x07 \r \u202e [link=file:///]x"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def acts_on_terminals(text):
    """Whether a character of it is a control other than line feed and tab, or turns direction."""
    return any(
        (unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c not in "\n\t")
        or unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF")
        or unicodedata.bidirectional(c) in ("LRI", "RLI", "FSI", "PDI")
        or c in "\u200e\u200f\u061c"
        for c in text
    )


def printed(print_, **variables):
    """What goes to standard output, a wide terminal's unless variables say otherwise."""
    stream = io.StringIO()
    given = {"COLUMNS": "4000", "NO_COLOR": "", "FORCE_COLOR": "", **variables}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        for name, value in given.items():
            patch.setenv(name, value)
        print_()
    return stream.getvalue()


@given(TEXTS)
@example(HOSTILE)
def test_visible_changes_what_acts_and_nothing_else(text):
    for one_line in (False, True):
        changed = "\n\t" if one_line else ""
        shown = [visible(c, one_line=one_line) for c in text]
        assert visible(text, one_line=one_line) == "".join(shown)
        for before, after in zip(text, shown):
            if acts_on_terminals(before) or before in changed:
                assert re.fullmatch(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|[rtn])", after)
            else:
                assert after == before


@given(TEXTS)
@example(HOSTILE)
def test_lines_and_styled_lines(text):
    assert printed(lambda: echo(text)) == f"{visible(text)}\n"

    def print_styled():
        echo(styled(text, "bold red", f": {text}"), end="|")

    line = printed(print_styled)
    assert without_tabs(line) == without_tabs(f"{visible(text)}: {visible(text)}|")
    assert without_tabs(COLOURS.sub("", printed(print_styled, FORCE_COLOR="1"))) == without_tabs(
        line
    )


def without_tabs(text):
    """Rich fills tabs with blanks."""
    return re.sub(r"[ \t]+", " ", text)


@given(TEXTS)
@example(HOSTILE)
def test_tables(text):
    table = Table(box=None, show_header=False, padding=0)
    table.add_row(cell(text))
    table.add_row(text.replace("\n", " "))
    table.add_row("-" * 1000)  # a row's place is as wide as the widest
    first, second, *_ = printed(lambda: console().print(table)).split("\n")
    assert first.rstrip(" ") == visible(text, one_line=True).rstrip(" ")
    assert without_tabs(second).rstrip(" ") == without_tabs(
        visible(text).replace("\n", " ")
    ).rstrip(" ")


def test_titles_and_headings():
    table = Table(HOSTILE, title=cell(HOSTILE))
    shown = printed(lambda: console().print(table))
    assert shown.count(visible(HOSTILE)) == 2


def test_log_messages_of_a_terminal():
    record = logging.LogRecord("a", logging.INFO, "", 0, "got %s", (HOSTILE,), None)
    assert VisibleFormatter("%(name)s: %(message)s").format(record) == f"a: got {visible(HOSTILE)}"


def test_warnings_where_no_log_was_set_up():
    script = (
        "import logging, sys\nfrom vl_models.terminal import prepare_output\nprepare_output()\n"
        "logging.getLogger('a').warning('got %s at http://me:hidden@b', sys.argv[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, HOSTILE],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    assert done.stderr == f"got {visible(HOSTILE)} at http://…@b\n"


def test_narrow_and_dumb_terminals_show_tables_whole():
    table = Table("image", box=None)
    table.add_row(cell("[a] :cake:"))
    for variables in ({"COLUMNS": "1"}, {"TERM": "dumb"}, {"COLUMNS": "0"}, {"COLUMNS": "x"}):
        shown = printed(lambda: console().print(table), **variables)
        assert "[a] :cake:" in shown


PRINT = r"""
from rich.table import Table
from vl_models.terminal import cell, console, echo, prepare_output, styled

prepare_output()
echo("\u751f\u65e5 \udcff")
echo(styled("\u751f\u65e5", "bold"))
table = Table("\u7ea2")
table.add_row(cell("\u751f\u65e5"))
console().print(table)
echo("\u751f\u65e5", stderr=True)
"""


@pytest.mark.parametrize(
    ("variables", "shown"),
    [
        ({"LC_ALL": "C"}, "生日"),
        ({"LC_ALL": "C.UTF-8"}, "生日"),
        ({"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, r"\u751f\u65e5"),
        ({"PYTHONIOENCODING": "ascii"}, r"\u751f\u65e5"),
        ({"PYTHONIOENCODING": "latin-1:strict"}, r"\u751f\u65e5"),
        ({"PYTHONIOENCODING": "gb18030"}, "生日"),
    ],
)
def test_encodings(variables, shown):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-c", PRINT], capture_output=True, cwd=ROOT, env=clean | variables
    )
    encoding = variables.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    assert done.returncode == 0, done.stderr.decode(encoding)
    text = done.stdout.decode(encoding)
    first, second, *_ = text.splitlines()
    assert first.startswith(f"{shown} \\udcff")
    assert second == shown
    assert text.count(shown) == 3
    assert done.stderr.decode(encoding).strip() == shown


# Modules that print by other means, and why.
ALLOWED = {
    "vl_models/terminal.py",
    "tfx_pipeline/cli/config.py",  # YAML, which stays what it is in a file
    "tfx_pipeline/runners/interactive.py",  # steps and numbers
    "serving/model_server/main.py",  # the texts of tensorflow_model_server
}


def prints(call):
    """Whether a call is of print, typer.echo, rich.print or a class of Rich that prints."""
    function = call.func
    of_rich = {"Console", "Progress", "Live", "Prompt", "Confirm", "RichHandler", "from_markup"}
    if isinstance(function, ast.Attribute):
        module = getattr(function.value, "id", "")
        return function.attr in of_rich or (
            module in ("typer", "click", "rich")
            and (function.attr in ("echo", "secho", "print", "confirm", "prompt"))
        )
    return isinstance(function, ast.Name) and function.id in {*of_rich, "print"}


def test_nothing_else_prints():
    found = {
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for room in ("vl_models", "tfx_pipeline", "serving")
        for path in (ROOT / room).rglob("*.py")
        if str(path.relative_to(ROOT)) not in ALLOWED
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and prints(node)
    }
    assert found == set()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at http://me:hidden@proxy:3128/x: refused", "at http://…@proxy:3128/x: refused"),
        ("(s3://key:hidden@bucket)", "(s3://…@bucket)"),
        ("http://me:hid@den/hidden@proxy", "http://…@proxy"),
        ("postgresql://me@h:5432/d", "postgresql://me@h:5432/d"),
        ("http://h:80/a@b", "http://h:80/a@b"),
        ("a@b.org: c", "a@b.org: c"),
    ],
)
def test_passwords_stay_out_of_logs(text, shown):
    record = logging.LogRecord("a", logging.INFO, "", 0, text, (), None)
    assert LogFormatter().format(record) == shown
