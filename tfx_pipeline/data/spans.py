"""Input patterns: which files of the log a run reads, resolved at submission.

The resolved list and its fingerprint travel as execution properties, so that caching is
right under every orchestrator and no custom driver is needed.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Sequence
from pathlib import Path

from tfx_pipeline.data.partitions import span_of
from tfx_pipeline.fingerprint import fingerprint_text
from tfx_pipeline.storage.listing import list_files
from tfx_pipeline.storage.uris import is_uri, join
from vl_models.errors import UserError

SPAN = "{SPAN}"
_WILDCARD = re.compile(r"(\{SPAN\}|\*\*?|\?|\[[^]/]+\])")


@dataclasses.dataclass(frozen=True)
class ResolvedInput:
    """The files a run reads.

    Attributes:
        files: paths or URIs, sorted.
        fingerprint: hex digest over names, sizes and modification times.
        spans: the spans read, ascending; empty if the log has none.
        log_fingerprint: the same without images, where the input has some; else "".
    """

    files: tuple[str, ...]
    fingerprint: str
    spans: tuple[int, ...] = ()
    log_fingerprint: str = ""


def resolve_spans(
    pattern: str,
    window: int | tuple[int, int] | None = None,
    root: str = "",
    *,
    what: str = "log",
) -> ResolvedInput:
    """List the files of a pattern, of the newest spans or of a range of them.

    A folder that the pattern matches stands for the files in it, at any depth. Where a part of
    the pattern is there as it is written, it is no pattern. Names that begin with `_` or `.` are
    what writers leave beside their data; they are skipped unless the pattern begins so, too.

    Args:
        pattern: a path or a URI with `*`, `?`, `[…]`, `**` (any depth) and `{SPAN}`, which stands
            for digits or a date, as in `log/span-{SPAN}/*.parquet`. Without it, dates in folders
            such as `date=2024-01-31` are spans if all files have one.
        window: how many of the newest spans to read, or (first, last) inclusive; None reads
            all.
        root: a folder that the pattern begins with; that part is no pattern, whatever its name.
        what: kind of the files, for messages.

    Raises:
        UserError: nothing matches, or a window is given for a log without spans.
    """
    base, parts = _split(pattern, root)
    listed = {stamp.uri: stamp for stamp in list_files(base)}
    found, skipped = _match(parts, {path: path[len(base) :].strip("/") for path in listed})
    in_pattern = any(SPAN in part for part in parts)
    by_span = _by_span(found, in_pattern)
    spanned = bool(by_span) or in_pattern
    if window is not None and found and not spanned:
        raise UserError(
            f"A span window needs {SPAN} in the input pattern, e.g. log/span-{SPAN}/*.parquet, or "
            "every file in a folder such as date=2024-01-31. "
            f"Received: pattern={pattern!r}, window={window!r}"
        )
    spans = _window(sorted(by_span), window)
    files = [path for span in spans for path in by_span[span]] if spanned else list(found)
    if not files:
        raise UserError(
            f"No {what} file matches {pattern!r}"
            + (f" in the span window {window!r}" if window is not None else "")
            + (f"; skipped, because names begin with _ or a dot: {skipped[0]}" if skipped else "")
            + f". Check the path and the pattern of the {what}."
        )
    stamps = (repr(tuple(listed[path])) for path in files)
    return ResolvedInput(tuple(files), fingerprint_text(*stamps), tuple(spans))


def _split(pattern: str, root: str) -> tuple[str, list[str]]:
    """Return the folder to list, and the parts of the pattern below it that hold wildcards."""
    if root and pattern.startswith(f"{root}/"):
        base, rest = root, pattern[len(root) :]
    elif is_uri(pattern):
        scheme, _, rest = pattern.partition("://")
        bucket, _, rest = rest.partition("/")
        base = f"{scheme}://{bucket}"
    else:
        base, rest = ("/" if pattern.startswith("/") else str(Path.cwd())), pattern
    parts = [part for part in rest.split("/") if part not in ("", ".")]
    while parts:
        literal = join(base, parts[0])
        if _WILDCARD.search(parts[0]) and (is_uri(base) or not Path(literal).exists()):
            break
        base = literal
        del parts[0]
    return base, parts


def _match(
    parts: Sequence[str], names: dict[str, str]
) -> tuple[dict[str, re.Match[str]], list[str]]:
    """Return the paths whose relative names match, sorted, and those that are skipped.

    Args:
        parts: of the pattern.
        names: path to name relative to where the pattern begins.
    """
    compiled = re.compile(_translate(parts), re.DOTALL)
    shown = [part for part in parts if part.startswith(("_", "."))]
    found, skipped = {}, []
    for path, name in sorted(names.items()):
        if match := compiled.fullmatch(name):
            if any(_is_hidden(part, shown) for part in name.split("/")):
                skipped.append(path)
            else:
                found[path] = match
    return found, skipped


def _translate(parts: Sequence[str]) -> str:
    """Return the regular expression of relative names that match, or lie in a match."""
    if not parts:
        return ".*"
    result = ""
    for part in parts:
        if part == "**":
            result += "(?:.*/)?"
            continue
        pattern = "".join(map(_translate_piece, _WILDCARD.split(part)))
        # What is there as it is written is no pattern.
        result += f"(?:{re.escape(part)}|{pattern})/" if "[" in part else f"{pattern}/"
    return result + ".*" if parts[-1] == "**" else f"{result[:-1]}(?:/.*)?"


def _translate_piece(piece: str) -> str:
    if piece == SPAN:
        return r"(\d{4}-\d{2}-\d{2}|\d+)"
    if piece in ("*", "**", "?"):
        return {"*": "[^/]*", "**": ".*", "?": "[^/]"}[piece]
    if _WILDCARD.fullmatch(piece):
        return fnmatch.translate(piece).removeprefix("(?s:").removesuffix(r")\Z")
    return re.escape(piece)


def _is_hidden(name: str, shown: Sequence[str]) -> bool:
    """Whether a writer left it beside its data; a folder `_key=value` is data."""
    hidden = name.startswith(".") or (name.startswith("_") and "=" not in name)
    return hidden and not any(fnmatch.fnmatchcase(name, part) for part in shown)


def _by_span(found: dict[str, re.Match[str]], in_pattern: bool) -> dict[int, list[str]]:
    """Return the files of each span; nothing if the log has none."""
    result: dict[int, list[str]] = {}
    for path, match in found.items():
        if in_pattern:
            texts = {text for text in match.groups() if text is not None}
            text = texts.pop() if len(texts) == 1 else None
            span = None if text is None else int(text.replace("-", ""))
        else:
            span = span_of(path)
            if span is None:
                return {}
        if span is not None:
            result.setdefault(span, []).append(path)
    return result


def _window(spans: list[int], window: int | tuple[int, int] | None) -> list[int]:
    if window is None:
        return spans
    if isinstance(window, int):
        if window < 1:
            raise UserError(f"A span window reads at least 1 span. Received: window={window}")
        return spans[-window:]
    first, last = window
    return [span for span in spans if first <= span <= last]
