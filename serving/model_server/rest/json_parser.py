"""Parses a REST request body: with orjson, or with the standard library what orjson refuses.

That is NaN and infinities, text after the value, names that an object repeats, bytes that are no
UTF-8, and surrogates: TensorFlow Serving takes them all.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

from serving import tensors
from serving.errors import StatusError, invalid
from serving.model_server.rest.json_writer import echo

_START = re.compile("\ufeff?[ \n\r\t]*")
_LOOSE_COLON = re.compile(rb'"[ \n\r\t]+:')
# A pair, half of one, or any other escape.
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|\\u(?P<half>[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
_FIRST_LOW_SURROGATE = 0xDC00
_INT64_MIN, _UINT64_MAX = -(2**63), 2**64 - 1
_LONGEST_INTEGER = 20


class RepeatedNames(dict):
    """An object with a name that is repeated: a look-up finds the first, `items` has them all."""

    def __init__(self, members: list[tuple[str, Any]]):
        super().__init__()
        self._members = members
        for name, value in members:
            self.setdefault(name, value)

    def items(self) -> list[tuple[str, Any]]:  # type: ignore[override]
        """All members in order."""
        return self._members


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object at the start of `body`, which may hold NaN and Infinity; the rest is ignored.

    Strings give the bytes of the text when they are encoded with "surrogateescape". Look-ups find
    the first of several members with the same name.

    Raises:
        StatusError: INVALID_ARGUMENT, no JSON or no object.
    """
    if not body:
        raise _parse_error("The document is empty")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = _read(body)
    else:
        if _may_repeat_names(value, body):
            value = _read(body)
    if not isinstance(value, dict):
        raise format_error(value, "Is not object")
    return value


def signature_name(document: dict[str, Any]) -> str:
    """Return the signature that a body names, or "".

    Raises:
        StatusError: INVALID_ARGUMENT, it is no string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise format_error(
            document, "not formatted correctly. 'signature_name' key must be a string value."
        )
    # Protobuf takes no surrogates, and no signature is named with them.
    return name.encode("utf-8", "replace").decode("utf-8")


def format_error(value: Any, text: str) -> StatusError:
    """`JSON Value: <echo> <text>`."""
    return invalid(f"JSON Value: {echo(value)} {text}")


def _read(body: bytes) -> Any:
    text = _ESCAPE.sub(_without_half, body.decode("utf-8", "surrogateescape"))
    start = _START.match(text)
    assert start is not None  # It matches nothing at all, if need be.
    try:
        return _DECODER.raw_decode(text, start.end())[0]
    except json.JSONDecodeError as error:
        reason, place = error.msg, error.pos
    except OverflowError as error:
        reason, place = "Number too big to be stored in double.", text.index(str(error))
    except RecursionError:
        raise _parse_error(
            f"Nested too deeply. A tensor has at most {tensors.MAX_RANK} dimensions."
        ) from None
    offset = len(text[:place].encode("utf-8", "surrogateescape"))
    raise _parse_error(f"{reason} at offset: {offset}")


def _without_half(escape: re.Match[str]) -> str:
    """`escape`; of a pair the first half alone becomes a mistake, the second its three bytes."""
    if escape["half"] is None:
        return escape[0]
    code = int(escape["half"], 16)
    if code < _FIRST_LOW_SURROGATE:
        return "\\u----"
    return chr(code).encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    return value if len(value) == len(members) else RepeatedNames(members)


def _integer(digits: str) -> int | float:
    # Python refuses to read integers of thousands of digits.
    if len(digits) <= _LONGEST_INTEGER and _INT64_MIN <= int(digits) <= _UINT64_MAX:
        return int(digits)
    return _decimal(digits)


def _decimal(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise OverflowError(digits)
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_decimal)


def _parse_error(text: str) -> StatusError:
    return invalid(f"JSON Parse error: {text}")


def _may_repeat_names(value: Any, body: bytes) -> bool:
    """Return False only if no object in `body` has a name twice, which orjson does not tell.

    Every member has a colon; so if there are no more colons than members, none was dropped. Colons
    in strings are counted too, unless no quotation mark is before them.
    """
    members = _count_members(value)
    if members == body.count(b":"):
        return False
    return members != body.count(b'":') or _LOOSE_COLON.search(body) is not None


def _count_members(value: Any) -> int:
    """Number of members of all objects; of lists that begin with a number or string, none."""
    count, open_values = 0, [value]
    while open_values:
        value = open_values.pop()
        if type(value) is dict:
            count += len(value)
            open_values += value.values()
        elif type(value) is list and value and type(value[0]) in (dict, list):
            open_values += value
    return count
