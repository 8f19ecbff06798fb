"""Lines of the log while it is open, and the rows that they become.

One JSON object a line: `{"shown": …}` with a whole impression, `{"clicked": …}` with what the
click's row needs, so that a click is worth a row wherever its impression was logged.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import pyarrow as pa

from serving.gateway.impressions import Impression

ROWS_SCHEMA = pa.schema(
    [
        ("query", pa.string()),
        ("image_id", pa.string()),
        ("position", pa.int32()),
        ("clicked", pa.int8()),
        ("impressions", pa.int32()),  # 0: a click whose impression is in another file
        ("session_id", pa.string()),
        ("timestamp", pa.timestamp("ms", tz="UTC")),
        ("language", pa.string()),  # null: to be guessed
        ("release", pa.int64()),
        ("ranking", pa.string()),  # tower | reranker
    ]
)


def shown_line(impression: Impression) -> bytes:
    """Return the line of an impression."""
    return _line({"shown": dataclasses.asdict(impression)})


def clicked_line(impression: Impression, item: str, time: float) -> bytes:
    """Return the line of a click.

    Args:
        impression: that it answers.
        item: that was clicked, one of those shown.
        time: seconds since 1970.
    """
    row = dataclasses.asdict(impression) | {"time": time, "ids": [item]}
    row["first"] = impression.position(item)
    return _line({"clicked": row})


def read_rows(lines: Iterable[bytes], forgotten: Collection[str] = ()) -> pa.Table:
    """Return `ROWS_SCHEMA`: a row for each image shown, clicked or not, in the order shown.

    A click is counted once for an image of an impression. A last line without an end, which nobody
    was told is written, is left out.

    Args:
        lines: of one file.
        forgotten: sessions whose rows are left out.
    """
    shown: dict[str, dict[str, Any]] = {}
    clicked: dict[tuple[str, str], dict[str, Any]] = {}
    for event in _events(lines):
        if "shown" in event:
            impression = event["shown"]
            shown[impression["key"]] = impression
        else:
            click = event["clicked"]
            clicked.setdefault((click["key"], click["ids"][0]), click)
    rows = []
    for key, impression in shown.items():
        for place, item in enumerate(impression["ids"]):
            has_click = clicked.pop((key, item), None) is not None
            rows.append(_row(impression, item, impression["first"] + place, has_click, 1))
    rows += [_row(click, item, click["first"], True, 0) for (_, item), click in clicked.items()]
    kept = [row for row in rows if row["session_id"] not in forgotten]
    return pa.Table.from_pylist(kept, ROWS_SCHEMA)


def _events(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.endswith(b"\n"):
            yield json.loads(line)


def _row(
    impression: dict[str, Any], item: str, position: int, clicked: bool, impressions: int
) -> dict[str, Any]:
    return {
        "query": impression["query"],
        "image_id": item,
        "position": position,
        "clicked": int(clicked),
        "impressions": impressions,
        "session_id": impression["session"],
        "timestamp": round(impression["time"] * 1000),
        "language": impression["language"] or None,
        "release": impression["release"],
        "ranking": impression["ranking"],
    }


def _line(event: dict[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
