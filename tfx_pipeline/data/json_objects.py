"""JSON whose objects know which of their keys were there more than once.

Python keeps the last value of such a key and says nothing.
"""

from __future__ import annotations

import json
from typing import Any


class Repeating(dict[str, Any]):
    """An object in which the keys `repeated` were there more than once."""

    repeated: tuple[str, ...]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        record = Repeating(record)
        record.repeated = tuple(name for name in record if names.count(name) > 1)
    return record


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def parse(text: str) -> Any:
    """Parse JSON; objects with a key twice are `Repeating`.

    Raises:
        JSONDecodeError: it is none, is nested too deeply, or has a number of too many digits.
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise json.JSONDecodeError(str(error), text, 0) from error
