"""The same rows in, the same clean rows and the same rejections out, whatever the format."""

import base64
import csv
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tfx_pipeline.data.conftest import write_tfrecord
from tfx_pipeline.data.readers import read_batches
from tfx_pipeline.data.validate import validate

TEXT = st.text("ab\",;\n\r\t\\ \0é红'", max_size=8)
SMALL = st.integers(-1, 3)
FLAGS = st.sampled_from(["0", "1", "true", "x"])
COUNTS = SMALL | st.integers(2**31 - 2, 2**31 + 1)
TIMES = (
    st.sampled_from([20240102, 1_704_164_645, 1_704_164_645_000, 2024, 0]),
    st.sampled_from(["20240102", "2024-01-02T03:04:05Z", "1704164645.5", "yesterday", ""]),
)
# One type per column, as Parquet has it; a row may lack any of them.
COLUMNS = st.fixed_dictionaries(
    {
        "query": st.sampled_from([TEXT, SMALL]),
        "image_id": st.sampled_from([TEXT, st.integers(0, 2**63 - 1)]),
        "clicked": st.sampled_from([SMALL, st.booleans(), FLAGS]),
    },
    optional={
        "clicks": st.sampled_from([COUNTS, st.sampled_from(["1", "2.0", "2.5", "-1", "9" * 20])]),
        "impressions": st.just(COUNTS),
        "position": st.sampled_from([SMALL, st.sampled_from(["1", "3.0", "top", "0x10"])]),
        "label": st.just(SMALL),
        "label_text": st.just(TEXT),
        "image_uri": st.just(TEXT),
        "image_bytes": st.just(st.binary(max_size=4).map(lambda raw: b"\xff" + raw)),
        "timestamp": st.sampled_from(TIMES),
        "language": st.just(st.sampled_from(["EN", " zh ", ""])),
    },
)
TABLES = COLUMNS.flatmap(
    lambda columns: st.lists(
        st.fixed_dictionaries({name: st.none() | kind for name, kind in columns.items()}),
        min_size=1,
        max_size=4,
    )
)


def for_text(rows):
    """Bytes as text formats have them."""
    return [
        {
            name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
            for name, value in row.items()
        }
        for row in rows
    ]


def write_parquet(path, rows):
    pq.write_table(pa.table({name: [row[name] for row in rows] for name in rows[0]}), path)


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in for_text(rows)), "utf-8")


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(for_text(rows))


WRITERS = {
    "parquet": write_parquet,
    "jsonl": write_jsonl,
    "csv": write_csv,
    "tfrecord": write_tfrecord,
}


def read(folder, kind, rows):
    path = Path(folder, f"log.{kind}")
    WRITERS[kind](path, rows)
    [batch] = read_batches(str(path))
    clean, rejected = validate(batch, times=True)
    assert batch.read == len(rows) == clean.num_rows + len(rejected)
    return clean.to_pylist(), [(row.row, row.reason, row.message) for row in rejected]


@settings(max_examples=40, deadline=None)
@given(TABLES)
def test_the_same_rows_in_all_formats_are_the_same_rows(rows):
    with tempfile.TemporaryDirectory() as folder:
        results = {kind: read(folder, kind, rows) for kind in WRITERS}
    for kind, result in results.items():
        assert result == results["parquet"], kind


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tfrecord"])
def test_the_same_rows_in_all_formats_are_the_same_examples(tmp_path, store, build, kind):
    images = [(store / name).read_bytes() for name in ("a.jpg", "b.jpg", "c.png", "d.jpg")]
    columns = ("query", "image_id", "clicked", "image_bytes")
    values = (('15" red', 1, 1), ("a\nb", 2, 1), ("红鞋", 3, 0), ("x", 4, 2))
    rows = [dict(zip(columns, (*row, image))) for row, image in zip(values, images)]
    runs = []
    for name in ("parquet", kind):
        path = tmp_path / f"{name}.{name}"
        WRITERS[name](path, rows)
        runs.append(build([path], root=None, max_rejected_fraction=0.5))
    for run in runs:
        assert run.summary["log"] == {"read": 4, "accepted": 3, "rejected": 1}
        for example in run.gallery.values():
            del example["image/uri"]  # names the file
    assert runs[0].gallery == runs[1].gallery
    assert runs[0].examples == runs[1].examples
    assert runs[0].relevance == runs[1].relevance
