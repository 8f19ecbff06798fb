"""Filters of a search by item columns: equality, sets and ranges.

`{"category": "shoe", "colour": ["red", "blue"], "price": {"gte": 10, "lt": 50}}`: all have to hold.
A list column holds a value if one of its members does. What is missing fits nothing.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving.errors import ServingError
from serving.items import ItemTable

_BOUNDS = {"gte": pc.greater_equal, "gt": pc.greater, "lte": pc.less_equal, "lt": pc.less}
_MOST_VALUES = 1000


def canonical(conditions: Mapping[str, Any]) -> str:
    """One text for filters that say the same."""
    return json.dumps(conditions, sort_keys=True, ensure_ascii=False)


def selected(items: ItemTable, conditions: Mapping[str, Any]) -> np.ndarray:
    """Which items fit, bool [N].

    Args:
        items: of an index.
        conditions: by column, see above.

    Raises:
        ServingError: no such column, or a value that it cannot hold.
    """
    mask = np.ones(len(items), bool)
    for name, condition in conditions.items():
        if name not in items.columns:
            raise ServingError(_unknown(name, list(items.columns)))
        fits = _fits(name, items.column(name), condition)
        mask &= pc.fill_null(fits, False).to_numpy(zero_copy_only=False)
    return mask


def _fits(name: str, column: pa.ChunkedArray, condition: Any) -> Any:
    kind = column.type
    values = condition if isinstance(condition, list) else [condition]
    if len(values) > _MOST_VALUES:
        raise ServingError(
            f"filter: {name} is compared with at most {_MOST_VALUES} values. "
            f"Received: {len(values)}."
        )
    if isinstance(condition, Mapping):
        return _within(name, column, condition)
    if pa.types.is_list(kind):
        wanted = pa.array([_value(name, pa.string(), value) for value in values], pa.string())
        flat = column.combine_chunks()
        parents = pc.list_parent_indices(flat).filter(pc.is_in(pc.list_flatten(flat), wanted))
        mask = np.zeros(len(column), bool)
        mask[np.asarray(parents)] = True
        return pa.array(mask)
    if pa.types.is_int64(kind):  # 2.5 is no int64, and fits nothing
        column, kind = column.cast(pa.float64(), safe=False), pa.float64()
    checked = [_value(name, kind, value) for value in values]
    return pc.and_(column.is_valid(), pc.is_in(column, pa.array(checked, kind)))


def _within(name: str, column: pa.ChunkedArray, bounds: Mapping[str, Any]) -> Any:
    if not bounds or not set(bounds) <= set(_BOUNDS):
        raise ServingError(
            f"filter: a range of {name} has some of {', '.join(_BOUNDS)}. "
            f"Received: {', '.join(map(repr, bounds)) or 'none'}."
        )
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_boolean(kind):
        raise ServingError(f"filter: {name} holds {_name_of(kind)}, which have no range.")
    if pa.types.is_int64(kind):
        column, kind = column.cast(pa.float64(), safe=False), pa.float64()
    fits: Any = None
    for bound, limit in bounds.items():
        one = _BOUNDS[bound](column, pa.scalar(_value(name, kind, limit), kind))
        fits = one if fits is None else pc.and_kleene(fits, one)
    return fits


def _value(name: str, kind: pa.DataType, value: Any) -> Any:
    if pa.types.is_boolean(kind):
        fits = isinstance(value, bool)
    elif pa.types.is_float64(kind):
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        fits = fits and math.isfinite(value) and abs(value) < 1e300
    else:
        fits = isinstance(value, str) and _is_unicode(value)
    if not fits:
        raise ServingError(
            f"filter: {name} holds {_name_of(kind)}. Received: {str(value)[:80]!r}"
            f" ({type(value).__name__})."
        )
    return float(value) if pa.types.is_float64(kind) else value


def _is_unicode(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _name_of(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "truth values"
    return "texts" if pa.types.is_string(kind) or pa.types.is_list(kind) else "numbers"


def _unknown(name: str, names: list[str]) -> str:
    if not names:
        return (
            f"filter: the items of this index have no columns, so none is called {name[:80]!r}. "
            "Put items.csv into the data folder and build the index again."
        )
    near = difflib.get_close_matches(name, names, 1)
    hint = f" Did you mean {near[0]!r}?" if near else f" There are: {', '.join(names[:20])}."
    return f"filter: the items have no column {name[:80]!r}.{hint}"
