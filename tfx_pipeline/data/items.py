"""The data folder's table of items: what is known of images beside their clicks.

`items.csv`, `items.parquet` or `items.jsonl`: a column `id`, and any others (name, category,
address, price, …), which go through the index into hits and filters.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from serving.files import temporary_name
from serving.items import ID, NAMES, RESERVED, is_item_type
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.data.images import strip_suffix
from tfx_pipeline.fingerprint import fingerprint_file, fingerprint_text
from tfx_pipeline.storage.listing import list_files
from tfx_pipeline.storage.uris import is_uri, join
from vl_models.errors import UserError

TWIN = "twin"
ITEMS_FILES = ("items.parquet", "items.csv", "items.jsonl")

_logger = logging.getLogger(__name__)


def find_items(folder: str | Path) -> str | None:
    """Return the table of items of a data folder, a path or a URI; None if it has none.

    Raises:
        UserError: it has several.
    """
    root = str(folder)
    if is_uri(root):
        present = {stamp.uri for stamp in list_files(root)}
        found = [join(root, name) for name in ITEMS_FILES if join(root, name) in present]
    else:
        found = [str(Path(root, name)) for name in ITEMS_FILES if Path(root, name).is_file()]
    if len(found) > 1:
        raise UserError(f"A data folder has one table of items. Remove one of {', '.join(found)}.")
    return found[0] if found else None


def check_items(path: Path) -> None:
    """Refuse what is no table of items, before anything else is written.

    Raises:
        UserError: see `read_items`, or there is no such file.
    """
    if not path.is_file():
        raise UserError(f"--items: there is no file {path}.")
    read_items(path)


def copy_items(path: Path, folder: Path) -> None:
    """Make a file the table of items of a data folder, instead of one that is there."""
    target = folder / f"items{path.suffix}"
    if target.exists() and target.samefile(path):
        return
    temporary = temporary_name(target)
    temporary.write_bytes(path.read_bytes())
    temporary.replace(target)
    for name in set(ITEMS_FILES) - {target.name}:
        (folder / name).unlink(missing_ok=True)


def fingerprint_items(folder: str | Path) -> str:
    """Fingerprint of the items of a data folder; "" if it has none.

    Images and clicks do not depend on them, so they belong to what is evaluated and indexed and
    not to the fingerprint of the data: another table needs no other training.
    """
    path = find_items(folder)
    if path is None:
        return ""
    if is_uri(path):
        return fingerprint_text(*(repr(tuple(s)) for s in list_files(str(folder)) if s.uri == path))
    return fingerprint_file(path)


def read_items(path: str | Path, ids: str = "name") -> pa.Table:
    """Read a table of items.

    Args:
        path: of the file, or its URI; the name's end tells the format.
        ids: "stem" takes an image suffix off ids, as `image_ids` of data.yaml has it.

    Returns:
        `id` string, first, and the other columns: texts, whole numbers, numbers, truth values, or
        lists of texts. Dates and moments become ISO 8601 texts. Columns of other values are left
        out, and the log names them.

    Raises:
        UserError: not readable, no column id, an id that is missing or there twice, or a column
            whose name is taken.
    """
    path = str(path)
    table = _read(path)
    if ID not in table.column_names:
        raise UserError(
            f"{path}: a table of items has the column {ID}, the id of the image. "
            f"Received: columns={table.column_names}"
        )
    taken = [name for name in table.column_names if name in RESERVED or name.startswith("_")]
    if taken:
        raise UserError(
            f"{path}: column {taken[0]!r} cannot be an item's: {', '.join(RESERVED)} and names "
            "that begin with _ are the index's own. Rename it."
        )
    repeated = [name for name in table.column_names if table.column_names.count(name) > 1]
    if repeated:
        raise UserError(f"{path}: two columns are called {repeated[0]!r}. Rename one.")
    columns = {name: _plain(table[name]) for name in table.column_names}
    for name in [name for name, column in columns.items() if not is_item_type(column.type)]:
        _logger.warning(
            "%s: column %r holds %s and is left out; an item's columns hold texts, numbers, truth "
            "values, dates or lists of texts.",
            path,
            name,
            columns.pop(name).type,
        )
    if ID not in columns:
        raise UserError(f"{path}: {ID} holds {table[ID].type}, which is no name of an image.")
    columns[ID] = _checked_ids(path, columns[ID].combine_chunks(), ids)
    return pa.table({ID: columns.pop(ID), **columns})


def read_items_of(folder: str | Path) -> pa.Table | None:
    """Return the items of a data folder, their ids as its images have them; None without any.

    Raises:
        UserError: see `read_items`, or the folder cannot be read.
    """
    path = find_items(folder)
    if path is None:
        return None
    described = DataFolder.load(folder)
    return read_items(path, described.image_ids if described.images is not None else "name")


def items_of(table: pa.Table, ids: Sequence[str]) -> pa.Table:
    """Return the items' columns (all but `id`) for images, in their order; null where unknown."""
    rows = pc.index_in(pa.array(ids, pa.string()), value_set=table[ID].combine_chunks())
    return table.drop_columns([ID]).take(rows)


def _read(path: str) -> pa.Table:
    try:
        content = pa.BufferReader(_bytes(path))
        if path.endswith(".parquet"):
            return pq.read_table(content)
        if path.endswith(".csv"):
            as_text = pyarrow.csv.ConvertOptions(column_types={ID: pa.string()})
            quoted = pyarrow.csv.ParseOptions(newlines_in_values=True)
            return pyarrow.csv.read_csv(content, convert_options=as_text, parse_options=quoted)
        if path.endswith(".jsonl"):
            return pyarrow.json.read_json(content)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is not readable as a table of items: {error}") from error
    raise UserError(f"{path}: a table of items ends in .csv, .parquet or .jsonl.")


def _bytes(path: str) -> bytes:
    if not is_uri(path):
        return Path(path).read_bytes()
    from tfx_pipeline.storage.objects import read_bytes

    return read_bytes(path)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column in the type that hits and filters know for its values, if there is one."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_null(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        column = column.cast(pa.string())
        kind = column.type
    if pa.types.is_string(kind):  # nothing is what CSV has for what is missing
        return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    if pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
        return column.cast(pa.string() if pa.types.is_temporal(kind) else pa.float64())
    if pa.types.is_integer(kind):
        return column.cast(pa.int64())
    if pa.types.is_floating(kind):
        # What JSON cannot hold is a value that is missing.
        column = column.cast(pa.float64())
        return pc.if_else(pc.is_finite(column), column, pa.scalar(None, pa.float64()))
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if is_list and not pa.types.is_nested(kind.value_type):
        return column.cast(pa.list_(pa.string()))
    return column


def _checked_ids(path: str, values: pa.Array, ids: str) -> pa.Array:
    texts = values.cast(pa.string())
    missing = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(texts), ""), True)
    if pc.any(missing).as_py():
        raise UserError(f"{path}: row {pc.index(missing, True).as_py() + 1} has no {ID}.")
    if ids == "stem":
        texts = pa.array([strip_suffix(text) for text in texts.to_pylist()], pa.string())
    counts = pc.value_counts(texts)
    several = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(several):
        name = several[0]["values"].as_py()
        rows = [number for number, text in enumerate(texts.to_pylist(), 1) if text == name]
        raise UserError(
            f"{path}: {ID} {name!r} is there {len(rows)} times, in rows {rows[0]} and {rows[1]}."
        )
    return texts


def read_twins(path: str | Path) -> dict[str, str]:
    """Twin of each image that has one, by image id; nothing if the table has no such column.

    A twin shows the same things in another arrangement, so that only who reads an image closely
    tells which of the two a text is about.

    Raises:
        UserError: see `read_items`.
    """
    table = read_items(path)
    if TWIN not in table.column_names:
        return {}
    pairs = zip(table[ID].to_pylist(), table[TWIN].to_pylist())
    return {image_id: twin for image_id, twin in pairs if twin}


def read_names(path: str | Path) -> dict[str, str]:
    """What people call the images that have a name, by image id.

    Raises:
        UserError: see `read_items`.
    """
    table = read_items(path)
    column = next((name for name in NAMES if name in table.column_names), None)
    if column is None:
        return {}
    pairs = zip(table[ID].to_pylist(), table[column].to_pylist())
    return {image_id: name for image_id, name in pairs if isinstance(name, str)}
