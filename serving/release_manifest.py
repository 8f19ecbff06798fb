"""The text of a release manifest: strict JSON whose every key has the type that readers count on.

This module needs the standard library alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from serving.errors import ServingError
from serving.rerank_settings import ORDERS, are_settings

RELEASE_FILE = "release.json"
INDEX = "index"
HISTORY = "releases"
WEIGHTS = "weights"

_REQUIRED = ("version", "models", "index", "previous")
# Versions are int64 in TensorFlow Serving.
_MAX_VERSION = 2**63 - 1
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST_SHOWN = 200


def is_model_name(name: Any) -> bool:
    """Whether a model of a release can have this name, which is also that of its folder."""
    reserved = (INDEX, HISTORY, WEIGHTS)
    return isinstance(name, str) and name not in reserved and name.replace("_", "").isalnum()


def is_version(value: Any) -> bool:
    """Whether this is the number of a version: an int64 from 1 on."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MAX_VERSION


def parse_manifest(text: str, path: str | Path) -> dict[str, Any]:
    """Return the checked content of a manifest; keys that are unknown here pass.

    Args:
        text: of the manifest.
        path: what errors call it.

    Raises:
        ServingError: it is not strict JSON, lacks a key, or has a value of another type.
    """
    remedy = _remedy(path)
    try:
        content = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ServingError(f"{path} is not valid JSON: {error}. {remedy}") from error
    if not isinstance(content, dict):
        raise ServingError(f"{path} must hold a JSON object. {remedy}")
    missing = [key for key in _REQUIRED if key not in content]
    if missing:
        raise ServingError(f"{path} lacks the key(s) {', '.join(missing)}. {remedy}")
    for key, (is_right, wanted) in _CHECKS.items():
        if key in content and not is_right(content[key]):
            raise ServingError(
                f"{path}: {key!r} must be {wanted}. {remedy} "
                f"Received: {key}={_shown(content[key])}."
            )
    if content["previous"] is not None and content["previous"] >= content["version"]:
        raise ServingError(
            f"{path}: 'previous' must be lower than 'version'. {remedy} "
            f"Received: version={content['version']}, previous={content['previous']}."
        )
    return content


def print_manifest(content: Mapping[str, Any]) -> str:
    """Return a manifest as it is written: what `parse_manifest` reads.

    Raises:
        ServingError: a value that JSON cannot hold, such as NaN.
    """
    try:
        return json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise ServingError(
            f"Metrics, lineage and data span of a release are what JSON can hold: {error}. Give "
            "None for a metric that is undefined."
        ) from error


def _remedy(path: str | Path) -> str:
    if Path(path).name == RELEASE_FILE:
        return f"Put the newest readable file of {HISTORY}/ in its place."
    return "Restore it from a copy."


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r} is there twice")
            seen.add(key)
    return content


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _is_number(value: Any) -> bool:
    # 1e999 is read as infinity, which cannot be written again.
    is_finite = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return is_finite and not isinstance(value, bool)


def _is_inside(path: str) -> bool:
    """Whether a relative path stays below the folder that it is relative to."""
    parts = PurePosixPath(path).parts
    return bool(parts) and parts[0] != "/" and ".." not in parts and "\0" not in path


def _are_checksums(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(digests, dict)
        and all(
            _is_inside(path) and isinstance(digest, str) and _SHA256.fullmatch(digest)
            for path, digest in digests.items()
        )
        for digests in value.values()
    )


def _optional(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_right(value)


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "version": (is_version, "a whole number from 1 on"),
    "models": (
        lambda models: (
            isinstance(models, dict)
            and all(is_model_name(name) and is_version(v) for name, v in models.items())
        ),
        "an object of versions (whole numbers from 1 on) by model name (letters, digits and _)",
    ),
    "index": (_optional(is_version), "a whole number from 1 on, or null"),
    "previous": (_optional(is_version), "a whole number from 1 on, or null"),
    "weights": (_optional(is_version), "a whole number from 1 on, or null"),
    "metrics": (
        lambda metrics: (
            isinstance(metrics, dict) and all(map(_optional(_is_number), metrics.values()))
        ),
        "an object of numbers or nulls",
    ),
    "lineage": (lambda lineage: isinstance(lineage, dict), "an object"),
    "data_span": (
        _optional(lambda span: isinstance(span, dict | list)),
        "an object, a list or null",
    ),
    "created": (lambda created: isinstance(created, str), "a string"),
    "rerank": (
        _optional(are_settings),
        f"null or an object of order ({' or '.join(ORDERS)}), weight (a finite number) and "
        "candidates (a whole number from 1 on)",
    ),
    "checksums": (_are_checksums, "an object of SHA-256 digests by file, by folder"),
}
