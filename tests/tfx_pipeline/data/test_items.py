import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.data.items import (
    check_items,
    copy_items,
    find_items,
    fingerprint_items,
    items_of,
    read_items,
    read_items_of,
    read_names,
    read_twins,
)
from vl_models.errors import UserError

CSV = 'id,name,price,new,note\n01,"red, shoe",12.5,true,\n02,blue shoe,,false,"two\nlines"\n'
JSONL = (
    '{"id": "01", "name": "red, shoe", "price": 12.5, "new": true, "tags": ["a", "b"]}\n'
    '{"id": "02", "name": "blue shoe", "new": false, "tags": []}\n'
)


def test_csv_keeps_ids_as_texts(tmp_path):
    (tmp_path / "items.csv").write_text(CSV)
    table = read_items(tmp_path / "items.csv")
    assert table.column_names == ["id", "name", "price", "new", "note"]
    assert table.to_pylist() == [
        {"id": "01", "name": "red, shoe", "price": 12.5, "new": True, "note": None},
        {"id": "02", "name": "blue shoe", "price": None, "new": False, "note": "two\nlines"},
    ]


def test_json_lines(tmp_path):
    (tmp_path / "items.jsonl").write_text(JSONL)
    first, second = read_items(tmp_path / "items.jsonl").to_pylist()
    assert first == {
        "id": "01",
        "name": "red, shoe",
        "price": 12.5,
        "new": True,
        "tags": ["a", "b"],
    }
    assert second["price"] is None and second["tags"] == []


def test_types_become_those_of_hits(tmp_path, caplog):
    table = pa.table(
        {
            "id": [7, 8],
            "day": [datetime.date(2026, 1, 2), None],
            "stock": pa.array([3, None], pa.int16()),
            "rate": pa.array([0.5, float("nan")], pa.float32()),
            "kind": pa.array(["a", "b"]).dictionary_encode(),
            "sizes": [[38, 39], []],
            "where": [{"x": 1}, {"x": 2}],
        }
    )
    pq.write_table(table, tmp_path / "items.parquet")
    found = read_items(tmp_path / "items.parquet")
    assert found.column_names == ["id", "day", "stock", "rate", "kind", "sizes"]
    assert [list(row.values()) for row in found.to_pylist()] == [
        ["7", "2026-01-02", 3, 0.5, "a", ["38", "39"]],
        ["8", None, None, None, "b", []],
    ]
    assert "column 'where' holds struct<x: int64> and is left out" in caplog.text


def test_items_go_to_the_images_that_have_their_ids(tmp_path):
    (tmp_path / "items.csv").write_text("id,name\na.jpg,apple\nb.png,banana\nzz.gif,none\n")
    (tmp_path / "data.yaml").write_text("kind: clicks\nname: fruit\n")
    by_stem = read_items_of(tmp_path)
    assert items_of(by_stem, ["b", "c", "a"])["name"].to_pylist() == ["banana", None, "apple"]
    (tmp_path / "data.yaml").write_text("kind: clicks\nname: fruit\nimage_ids: name\n")
    assert items_of(read_items_of(tmp_path), ["a.jpg"])["name"].to_pylist() == ["apple"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name\nx\n", r"has the column id.* Received: columns=\['name'\]"),
        ("id,name\na,x\n,y\n", r"items\.csv: row 2 has no id"),
        ("id,name\na,x\nb,y\na,z\n", r"id 'a' is there 2 times, in rows 1 and 3"),
        ("id,uri\na,x\n", r"column 'uri' cannot be an item's"),
        ("id,_x\na,x\n", r"column '_x' cannot be an item's"),
        ("id,n,n\na,1,2\n", r"two columns are called 'n'"),
        ("id,name\na\n", r"items\.csv is not readable as a table of items"),
        ("", r"items\.csv is not readable as a table of items"),
    ],
)
def test_tables_that_are_none(tmp_path, content, message):
    path = tmp_path / "items.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_items(path)


def test_a_folder_has_one_table(tmp_path):
    assert find_items(tmp_path) is None and fingerprint_items(tmp_path) == ""
    (tmp_path / "items.csv").write_text(CSV)
    assert find_items(tmp_path) == str(tmp_path / "items.csv")
    first = fingerprint_items(tmp_path)
    (tmp_path / "items.csv").write_text(CSV.replace("12.5", "13"))
    assert fingerprint_items(tmp_path) != first
    (tmp_path / "items.jsonl").write_text(JSONL)
    with pytest.raises(UserError, match=r"has one table of items. Remove one of"):
        find_items(tmp_path)


def test_a_file_becomes_the_table_of_a_folder(tmp_path):
    source, folder = tmp_path / "goods.jsonl", tmp_path / "data"
    folder.mkdir()
    source.write_text(JSONL)
    (folder / "items.csv").write_text(CSV)
    check_items(source)
    copy_items(source, folder)
    assert [path.name for path in folder.iterdir()] == ["items.jsonl"]
    copy_items(folder / "items.jsonl", folder)  # it is that already
    assert (folder / "items.jsonl").read_text() == JSONL
    with pytest.raises(UserError, match="--items: there is no file"):
        check_items(tmp_path / "gone.csv")


def test_names_and_twins(tmp_path):
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"id": ["a", "b"], "title": ["x", None]}), path)
    assert read_names(path) == {"a": "x"} and read_twins(path) == {}
    pq.write_table(pa.table({"id": ["a", "b"], "twin": [None, "a"]}), path)
    assert read_names(path) == {} and read_twins(path) == {"b": "a"}
