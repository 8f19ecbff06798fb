"""What finished Examples hold that hardly anybody means to train on: warned of, or refused."""

from __future__ import annotations

import datetime
import io
import logging
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from tfx_pipeline.data.config import ChecksConfig
from tfx_pipeline.data.stats import Stats, count, note
from vl_models.errors import UserError
from vl_models.features import SPLITS

_FIRST_DATE = datetime.datetime(1990, 1, 1, tzinfo=datetime.UTC)
_FLAT_RANGE = 2  # levels of 256: compression and scaling may add so much to a single colour


def is_flat(encoded: bytes) -> bool:
    """Whether an image that `encode_image` made is of a single colour."""
    with Image.open(io.BytesIO(encoded)) as image:
        # A single colour takes less than this; anything larger need not be decoded to be told.
        if len(encoded) > 1024 + image.width * image.height // 32:
            return False
        pixels = np.asarray(image.convert("RGB"))
    return int(np.ptp(pixels, axis=(0, 1)).max()) <= _FLAT_RANGE


def count_early_dates(stats: Stats, rows: pa.Table, file: str) -> None:
    """Count rows dated before 1990: a unit or form of timestamps that was taken for another.

    Args:
        stats: of the file.
        rows: contract.CLEAN_SCHEMA; times are null where nothing needs them.
        file: where the rows are from.
    """
    bound = pa.scalar(_FIRST_DATE, rows.schema.field("time").type)
    early = rows.filter(pc.less(rows["time"], bound))
    if not early.num_rows:
        return
    count(stats, "rows_before_1990", early.num_rows)
    places = early.slice(0, 1).to_pylist()
    note(
        stats,
        "rows_before_1990",
        [f"{file}, row {r['row']} ({r['time']:%Y-%m-%d})" for r in places],
    )


def inspect(stats: Stats, config: ChecksConfig) -> dict[str, dict[str, Any]]:
    """Judge the counts of a run.

    Returns:
        Results by check, as summary.json holds them: the `count` of what was found, the number
        of things that it is a share `of` (or null), the `bound`, the first `examples`, the
        `message` ("" where all is well), and whether the check `failed`.
    """
    counters = stats["counters"]
    queries = counters.get("queries", 0)
    pairs = {split: counters.get(f"pairs_{split}", 0) for split in SPLITS}
    empty = [split for split in SPLITS[1:] if not pairs[split]]
    few = queries < max(2, config.min_queries or 0)
    return {
        "flat_images": _share(
            stats,
            "images",
            "images_flat",
            "are of a single colour",
            "They may stand for missing pictures: replace them, or take out their rows.",
            ("max_flat_fraction", config.max_flat_fraction),
        ),
        "duplicate_images": _share(
            stats,
            "images",
            "images_duplicate",
            "have the content of another id",
            "Give a picture one id; only the split policy by_image keeps all its ids in one split.",
            ("max_duplicate_fraction", config.max_duplicate_fraction),
        ),
        "early_dates": _share(
            stats,
            "rows",
            "rows_before_1990",
            "are dated before 1990",
            "Write timestamp as ISO 8601, or in seconds since 1970.",
            ("max_early_fraction", config.max_early_fraction),
        ),
        "few_queries": _result(
            queries,
            None,
            stats["found"].get("queries", []) if few else [],
            f"The pairs have {queries:,} distinct {'query' if queries == 1 else 'queries'}"
            "{examples}: too few to learn to tell "
            "one from another. Check the column query, or bring more rows."
            if few
            else "",
            config.min_queries is not None and queries < config.min_queries,
            ("min_queries", config.min_queries),
        ),
        "empty_splits": _result(
            len(empty),
            None,
            [],
            f"Nothing is in the split {' and '.join(empty)}; pairs by split: "
            + ", ".join(f"{split} {number:,}" for split, number in pairs.items())
            + ". Bring more rows, or change `splits` in data.yaml."
            if empty
            else "",
            config.max_empty_splits is not None and len(empty) > config.max_empty_splits,
            ("max_empty_splits", config.max_empty_splits),
        ),
    }


def _share(
    stats: Stats, total: str, counter: str, what: str, remedy: str, bound: tuple[str, float | None]
) -> dict[str, Any]:
    """Result of a check whose bound is a share of all images or rows."""
    counters = stats["counters"]
    number, of = counters.get(counter, 0), counters.get(total, 0)
    message = (
        f"{number:,} of {of:,} {total} ({number / max(of, 1):.1%}) {what}{{examples}}. {remedy}"
    )
    failed = bound[1] is not None and number > bound[1] * of
    found = stats["found"].get(counter, [])
    return _result(number, of, found, message if number else "", failed, bound)


def _result(
    number: int,
    of: int | None,
    examples: list[str],
    message: str,
    failed: bool,
    bound: tuple[str, float | None],
) -> dict[str, Any]:
    name, value = bound
    message = message.replace("{examples}", f", e.g. {', '.join(examples)}" if examples else "")
    if failed:
        message += f" (data.checks.{name} is {value:g}; null lets the run go on with a warning.)"
    return {
        "count": number,
        "of": of,
        "bound": value,
        "examples": examples,
        "message": message,
        "failed": failed,
    }


def report(checks: dict[str, dict[str, Any]]) -> None:
    """Log a warning of what was found; raise if it is more than a bound allows.

    Args:
        checks: results of `inspect`.

    Raises:
        UserError: with the messages of all checks that failed.
    """
    for result in checks.values():
        if result["message"] and not result["failed"]:
            logging.getLogger(__name__).warning("%s", result["message"])
    if failed := [result["message"] for result in checks.values() if result["failed"]]:
        raise UserError("\n".join(failed))
