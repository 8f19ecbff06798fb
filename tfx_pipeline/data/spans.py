"""Input patterns: which files of the log a run reads, resolved at submission.

The resolved list and its fingerprint travel as execution properties, so that caching is
right under every orchestrator and no custom driver is needed.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from tfx_pipeline.fingerprint import fingerprint_text
from tfx_pipeline.storage.uris import is_uri
from vl_models.errors import UserError

SPAN = "{SPAN}"


@dataclasses.dataclass(frozen=True)
class ResolvedInput:
    """The files a run reads.

    Attributes:
        files: paths or URIs, sorted.
        fingerprint: hex digest over names, sizes and modification times.
        spans: the spans read, ascending; empty if the pattern has none.
    """

    files: tuple[str, ...]
    fingerprint: str
    spans: tuple[int, ...] = ()


def resolve_spans(pattern: str, window: int | tuple[int, int] | None = None) -> ResolvedInput:
    """List the files of a pattern, of the newest spans or of a range of them.

    Args:
        pattern: a glob; `{SPAN}` in it stands for digits, as in `log/span-{SPAN}/*.parquet`.
        window: how many of the newest spans to read, or (first, last) inclusive; None reads
            all.

    Raises:
        UserError: nothing matches, or a window is given for a pattern without `{SPAN}`.
    """
    if window is not None and SPAN not in pattern:
        raise UserError(
            f"A span window needs {SPAN} in the input pattern, e.g. log/span-{SPAN}/*.parquet. "
            f"Received: pattern={pattern!r}, window={window!r}"
        )
    found = {path: (size, modified) for path, size, modified in _match(pattern.replace(SPAN, "*"))}
    if SPAN in pattern:
        by_span = _by_span(pattern, found)
        spans = _window(sorted(by_span), window)
        files = sorted(path for span in spans for path in by_span[span])
    else:
        spans, files = [], sorted(found)
    if not files:
        raise UserError(
            f"No log file matches {pattern!r}"
            + (f" in the span window {window!r}" if window is not None else "")
            + ". Check the path and the pattern of the log."
        )
    stamps = (repr((path, *found[path])) for path in files)
    return ResolvedInput(tuple(files), fingerprint_text(*stamps), tuple(spans))


def _match(pattern: str) -> Iterable[tuple[str, int, float]]:
    """Path, size and modification time of the files of a glob; of a bucket's objects, too."""
    if is_uri(pattern):
        from tfx_pipeline.storage.objects import check_access, match_objects

        check_access(re.split(r"[*?\[]", pattern)[0].rpartition("/")[0])
        return match_objects(pattern)
    from apache_beam.io.filesystems import FileSystems

    [match] = FileSystems.match([pattern])
    return [(m.path, m.size_in_bytes, m.last_updated_in_seconds) for m in match.metadata_list]


def _by_span(pattern: str, paths: Iterable[str]) -> dict[int, list[str]]:
    regex = re.escape(pattern).replace(re.escape(SPAN), r"(\d+)").replace(r"\*", r"[^/]*")
    regex = regex.replace(r"\?", r"[^/]")
    # Beam's local file system returns absolute paths for relative patterns.
    compiled = re.compile(f"(?:.*/)?{regex.lstrip('/')}$")
    result: dict[int, list[str]] = {}
    for path in paths:
        found = compiled.match(path)
        if found and len(set(found.groups())) == 1:
            result.setdefault(int(found.group(1)), []).append(path)
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
