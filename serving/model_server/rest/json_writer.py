"""Writes JSON: answers in full, and the values that error messages show."""

from __future__ import annotations

import json
from typing import Any

import orjson

_MAX_ECHO_BYTES = 256
# The layout of TensorFlow Serving's messages.
_ECHO = json.JSONEncoder(ensure_ascii=False, indent=4)


def dump(value: Any) -> str:
    """`value` as JSON; arrays and scalars of NumPy are written as lists and numbers.

    A float32 has the fewest digits that give it back. NaN and infinities are `NaN`, `Infinity` and
    `-Infinity`, as TensorFlow Serving writes them. Surrogates in strings stay as they are.
    """
    try:
        data = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError:
        # A surrogate.
        data = b"null"
    # What orjson writes for a number that is none.
    if b"null" in data:
        return json.dumps(value, ensure_ascii=False, default=lambda item: item.tolist())
    return data.decode("utf-8")


def echo(value: Any) -> str:
    """`value` as JSON, cut at 256 bytes."""
    data = b""
    # Piece by piece, because values may be long and nested deeply.
    for part in _ECHO.iterencode(value):
        data += part.encode("utf-8", "surrogateescape")
        if len(data) > _MAX_ECHO_BYTES:
            return data[:_MAX_ECHO_BYTES].decode("utf-8", "ignore") + "..."
    return data.decode("utf-8", "surrogateescape")
