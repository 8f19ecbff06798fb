"""Parses a REST request body; errors are in RapidJSON's words, as TensorFlow Serving's are."""

from __future__ import annotations

import json
from typing import Any

from serving.errors import Code, StatusError

_ECHO_BYTES = 256
_DECODER = json.JSONDecoder()
# Python's message -> RapidJSON's (rapidjson/error/en.h).
_TEXTS = {
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Illegal trailing comma before end of object": "Missing a name for object member.",
    "Illegal trailing comma before end of array": "Invalid value.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
    "Invalid control character at": "Invalid encoding in string.",
}


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object at the start of `body`, which may hold NaN and Infinity; the rest is ignored.

    Raises:
        StatusError: INVALID_ARGUMENT, no JSON or no object.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _parse_error("Invalid encoding in string.", error.start) from error
    start = len(text) - len(text.lstrip(" \t\r\n"))
    if start == len(text):
        raise StatusError(Code.INVALID_ARGUMENT, "JSON Parse error: The document is empty")
    try:
        value, _ = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        offset = len(text[: error.pos].encode("utf-8"))
        raise _parse_error(_rapidjson_text(error, text), offset) from error
    except ValueError as error:
        # Python refuses to read integers of thousands of digits.
        raise _parse_error("Number too big to be stored in double.", start) from error
    if not isinstance(value, dict):
        raise format_error(value, "Is not object")
    return value


def format_error(value: Any, text: str) -> StatusError:
    """`JSON Value: <echo> <text>`."""
    return StatusError(Code.INVALID_ARGUMENT, f"JSON Value: {echo(value)} {text}")


def echo(value: Any) -> str:
    """`value` as JSON for an error message, cut at 256 bytes."""
    text = json.dumps(value, indent=4, ensure_ascii=False, separators=(",", ": "))
    data = text.encode("utf-8", "replace")
    if len(data) <= _ECHO_BYTES:
        return text
    return data[:_ECHO_BYTES].decode("utf-8", "ignore") + "..."


def _rapidjson_text(error: json.JSONDecodeError, text: str) -> str:
    if error.msg == "Expecting ',' delimiter":
        if _in_array(text[: error.pos]):
            return "Missing a comma or ] after an array element."
        return "Missing a comma or } after an object member."
    return _TEXTS.get(error.msg, error.msg)


def _in_array(text: str) -> bool:
    """Whether the innermost container open at the end of `text` is an array."""
    open_brackets: list[str] = []
    in_string = escaped = False
    for character in text:
        if in_string:
            in_string = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_string = True
        elif character in "[{":
            open_brackets.append(character)
        elif character in "]}":
            open_brackets.pop()
    return open_brackets[-1:] == ["["]


def _parse_error(text: str, offset: int) -> StatusError:
    return StatusError(Code.INVALID_ARGUMENT, f"JSON Parse error: {text} at offset: {offset}")
