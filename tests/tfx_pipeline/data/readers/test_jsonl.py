import json

import pytest

from tfx_pipeline.data.readers import read_batches
from tfx_pipeline.data.validate import validate

ROW = {"query": "红鞋", "image_id": "a", "clicked": 1}


def read(path):
    [batch] = read_batches(str(path))
    clean, rejected = validate(batch)
    assert batch.read == clean.num_rows + len(rejected)
    return clean.to_pylist(), {row.row: (str(row.reason), row.message) for row in rejected}


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_unicode_encodings_are_recognised(tmp_path, encoding):
    path = tmp_path / "log.jsonl"
    path.write_bytes((json.dumps(ROW, ensure_ascii=False) + "\r\n").encode(encoding) * 1)
    [row], rejected = read(path)
    assert (row["query"], rejected) == ("红鞋", {})


def test_a_line_that_no_parser_can_hold_is_a_rejected_row(tmp_path):
    path = tmp_path / "log.jsonl"
    deep, long = "[" * 100_000, '{"clicked": ' + "9" * 5_000 + "}"
    path.write_text("\n".join([json.dumps(ROW), deep, long, json.dumps(ROW)]))
    clean, rejected = read(path)
    assert [row["row"] for row in clean] == [1, 4]
    assert [(row, reason) for row, (reason, _) in rejected.items()] == [
        (2, "malformed_row"),
        (3, "malformed_row"),
    ]


def test_values_of_all_types_are_judged_by_their_column(tmp_path):
    path = tmp_path / "log.jsonl"
    rows = [
        {"query": 42, "image_id": 1001, "clicked": True},
        {"query": "q", "image_id": 1001.0, "clicked": 1.0, "position": float("nan")},
        {"query": "q", "image_id": "a", "clicks": 2.5},
        {"query": "q", "image_id": "a\0", "clicked": 1},
        {"query": "q", "image_id": 2.0**60, "clicked": 1},
        {"query": "q", "image_id": "a", "clicks": 2**31},
        {"query": "q", "image_id": "a", "clicks": 2**80},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    clean, rejected = read(path)
    assert [(row["query"], row["image_id"], row["clicks"]) for row in clean] == [
        ("42", "1001", 1),
        ("q", "1001", 1),
    ]
    assert rejected == {
        3: ("bad_number", "clicks is not a whole number: '2.5'"),
        4: ("bad_text", "image_id holds a NUL character: 'a\\x00'"),
        5: (
            "bad_text",
            "image_id is the number 1.152921504606847e+18, which its type does not hold "
            "exactly: write it as text",
        ),
        6: ("bad_number", "clicks is above 2,147,483,647: 2147483648"),
        7: ("bad_number", f"clicks does not fit into 64 bits: '{2**80}'"),
    }


def test_a_repeated_key_matters_in_the_columns_of_the_contract_only(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(
        '{"query": "q", "image_id": "a", "clicked": 1, "x": 1, "x": {"query": 1, "query": 2}}\n'
        '{"query": "q", "query": "q", "image_id": "a", "clicked": 1}\n'
    )
    clean, rejected = read(path)
    assert [row["row"] for row in clean] == [1]
    assert rejected == {2: ("malformed_row", "the key query is there more than once")}
