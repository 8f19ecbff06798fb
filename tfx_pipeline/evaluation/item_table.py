"""The data folder's table of items: what is known of images beside their clicks."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline.fingerprint import fingerprint_file
from vl_models.errors import UserError

ITEMS_FILE = "items.parquet"
ID, TWIN = "id", "twin"


def find_items(folder: str | Path) -> Path | None:
    """Return the items of a data folder on this disk, if it has any."""
    path = Path(folder, ITEMS_FILE)
    return path if path.is_file() else None


def fingerprint_items(folder: str | Path) -> str:
    """Fingerprint of the items of a data folder on this disk; "" if it has none.

    Images and clicks do not depend on them, so they belong to what is evaluated and not to the
    fingerprint of the data: another table needs no other training.
    """
    path = find_items(folder)
    return "" if path is None else fingerprint_file(path)


def read_twins(path: str | Path) -> dict[str, str]:
    """Twin of each image that has one, by image id; nothing if the table has no such column.

    A twin shows the same things in another arrangement, so that only who reads an image closely
    tells which of the two a text is about.

    Raises:
        UserError: the file is no Parquet table, or has twins and no ids.
    """
    try:
        names = pq.read_schema(path).names
        if TWIN not in names:
            return {}
        if ID not in names:
            raise UserError(
                f"{path}: a table of items has the column {ID}. Received: columns={names}"
            )
        table = pq.read_table(path, columns=[ID, TWIN])
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a readable Parquet file: {error}") from error
    pairs = zip(table[ID].to_pylist(), table[TWIN].to_pylist())
    return {image_id: twin for image_id, twin in pairs if twin}
