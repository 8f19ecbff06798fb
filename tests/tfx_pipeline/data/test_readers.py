import base64
import gzip
import json
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.data.contract import COLUMNS
from tfx_pipeline.data.readers import detect_format, read_batches
from tfx_pipeline.data.validate import validate
from vl_models.errors import UserError

ROWS = [
    {"query": "red, shoe", "image_id": "a", "clicked": 1, "position": 3, "language": "en"},
    {"query": "红鞋", "image_id": "b", "clicked": 0, "position": 1, "language": "zh"},
    {"query": ' "quoted" ', "image_id": "7", "clicked": 1, "position": 2, "language": "en"},
    {"query": "", "image_id": "c", "clicked": 1, "position": 1, "language": "en"},
    {"query": "x", "image_id": "d", "clicked": -1, "position": 1, "language": "en"},
]


def read(path):
    clean, rejected = [], []
    for batch in read_batches(str(path)):
        table, bad = validate(batch)
        clean.append(table)
        rejected.extend(bad)
    return pa.concat_tables(clean), rejected


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv", "tfrecord"])
def test_all_formats_read_the_same_rows(tmp_path, write_log, suffix):
    path = tmp_path / f"log.{suffix}"
    write_log(path, ROWS)
    clean, rejected = read(path)
    assert clean.select(
        ["query", "image_id", "clicks", "position", "language", "row"]
    ).to_pylist() == [
        {
            "query": "red, shoe",
            "image_id": "a",
            "clicks": 1,
            "position": 3,
            "language": "en",
            "row": 1,
        },
        {"query": "红鞋", "image_id": "b", "clicks": 0, "position": 1, "language": "zh", "row": 2},
        {
            "query": '"quoted"',
            "image_id": "7",
            "clicks": 1,
            "position": 2,
            "language": "en",
            "row": 3,
        },
    ]
    assert [(r.source, r.row, r.reason, r.message) for r in rejected] == [
        (str(path), 4, "missing_query", "query is missing or empty"),
        (str(path), 5, "negative_count", "clicked is negative: -1"),
    ]


def test_numbers_as_ids_read_like_texts(tmp_path, write_log):
    path = tmp_path / "log.parquet"
    write_log(path, [{"query": "q", "image_id": 12345, "clicked": True}])
    clean, rejected = read(path)
    assert clean["image_id"].to_pylist() == ["12345"]
    assert clean["clicks"].to_pylist() == [1]
    assert rejected == []


def test_a_mixed_jsonl_column_is_judged_row_by_row(tmp_path, write_log):
    path = tmp_path / "log.jsonl"
    rows = [
        {"query": "q", "image_id": i, "clicked": c} for i, c in ((1, 1), ("x", "no"), ("y", 1.0))
    ]
    write_log(path, rows)
    clean, rejected = read(path)
    assert clean["image_id"].to_pylist() == ["1", "y"]
    [bad] = rejected
    assert bad.reason == "bad_number"
    assert bad.message == "clicked is not a whole number: 'no'"


def test_parquet_cut_in_half_names_the_file_and_the_remedy(tmp_path, write_log):
    path = tmp_path / "log.parquet"
    write_log(path, ROWS * 100)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError) as error:
        list(read_batches(str(path)))
    text = str(error.value)
    assert text.startswith(f"{path}: cannot be read to its end as Parquet (")
    assert text.endswith(
        "The file is incomplete or damaged: write it again, or take it out of the input."
    )


def test_parquet_with_a_damaged_page_names_the_file(tmp_path):
    path = tmp_path / "log.parquet"
    values = [f"query {i}" for i in range(50_000)]
    table = pa.table({"query": values, "image_id": values, "clicked": [1] * 50_000})
    pq.write_table(table, path, use_dictionary=False, compression="zstd")
    data = bytearray(path.read_bytes())
    data[1000:20000] = bytes(19000)
    path.write_bytes(data)
    with pytest.raises(UserError, match="cannot be read to its end as Parquet"):
        list(read_batches(str(path)))


@pytest.mark.parametrize("cut", [True, False])
def test_broken_tfrecord_names_the_file(tmp_path, write_log, cut):
    path = tmp_path / "log.tfrecord"
    write_log(path, ROWS)
    data = bytearray(path.read_bytes())
    if cut:
        data = data[:-10]
    else:
        data[40] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UserError, match=f"^{path}: cannot be read to its end as TFRecord"):
        list(read_batches(str(path)))


def test_a_cut_gzip_names_the_file(tmp_path):
    path = tmp_path / "log.jsonl.gz"
    data = gzip.compress(b'{"query": "q", "image_id": "a", "clicked": 1}\n' * 100_000)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=f"^{path}: cannot be read to its end as JSON lines"):
        list(read_batches(str(path)))


def test_csv_without_a_required_column_names_file_and_column(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("query,image,clicked\nq,a,1\n")
    with pytest.raises(UserError) as error:
        list(read_batches(str(path)))
    assert str(error.value) == (
        f"{path}: column image_id is missing. Columns found: query, image, clicked. "
        "Rename the columns of the log or add them."
    )


def test_a_log_without_any_click_column_is_refused(tmp_path, write_log):
    path = tmp_path / "log.parquet"
    write_log(path, [{"query": "q", "image_id": "a"}])
    with pytest.raises(UserError, match=r"column clicked \(or clicks\) is missing"):
        list(read_batches(str(path)))


def test_csv_row_with_broken_utf8_is_rejected_with_reason(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"query,image_id,clicked\nok,a,1\nbad \xff\xfe,b,1\n")
    clean, [bad] = read(path)
    assert clean["query"].to_pylist() == ["ok"]
    assert (bad.row, bad.reason) == (2, "invalid_utf8")
    assert bad.message == "query is not valid UTF-8 (byte 4)"
    assert "bad \\\\xff\\\\xfe" in bad.content


def test_parquet_row_with_broken_utf8_is_rejected_with_reason(tmp_path):
    path = tmp_path / "log.parquet"
    raw = pa.array([b"ok", b"\xff\xfe"], pa.binary())
    broken = pa.StringArray.from_buffers(2, *raw.buffers()[1:])
    pq.write_table(pa.table({"query": broken, "image_id": ["a", "b"], "clicked": [1, 1]}), path)
    clean, [bad] = read(path)
    assert clean["query"].to_pylist() == ["ok"]
    assert (bad.row, bad.reason) == (2, "invalid_utf8")
    assert bad.to_json().count("\\\\xff") == 1


def test_jsonl_rows_that_are_no_objects_are_rejected(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(
        b'{"query": "q", "image_id": "a", "clicked": 1}\n\n[1]\n{"query"\n'
        b'{"query": "\xff", "image_id": "a", "clicked": 1}\n'
    )
    clean, rejected = read(path)
    assert clean["row"].to_pylist() == [1]
    assert [(r.row, str(r.reason)) for r in rejected] == [
        (3, "malformed_row"),
        (4, "malformed_row"),
        (5, "invalid_utf8"),
    ]


def test_csv_rows_with_a_wrong_number_of_fields_are_rejected(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("query,image_id,clicked\nq,a,1\nq,a\nq,b,1\n")
    clean, [bad] = read(path)
    assert clean["row"].to_pylist() == [1, 3]
    assert (bad.row, bad.message) == (2, "2 fields where the header has 3")


def test_unknown_columns_are_named(tmp_path, write_log):
    path = tmp_path / "log.parquet"
    write_log(path, [{"query": "q", "image_id": "a", "clicked": 1, "country": "de"}])
    [batch] = read_batches(str(path))
    assert batch.unknown == ("country",)
    assert set(batch.columns) <= set(COLUMNS)


def test_image_bytes_are_base64_in_text_formats(tmp_path, write_log):
    path = tmp_path / "log.jsonl"
    row = {"query": "q", "image_id": "a", "clicked": 1}
    write_log(path, [row | {"image_bytes": base64.b64encode(b"\x00\xff").decode()}])
    clean, rejected = read(path)
    assert clean["image_bytes"].to_pylist() == [b"\x00\xff"]
    assert rejected == []


def test_an_unknown_suffix_names_the_known_ones():
    with pytest.raises(UserError, match=r"log\.txt: cannot tell the log's format from its name"):
        detect_format("log.txt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.csv: cannot be opened"):
        list(read_batches(str(tmp_path / "gone.csv")))


def test_a_lone_surrogate_in_jsonl_is_invalid_utf8(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(
        b'{"query": "ok", "image_id": "a", "clicked": 1}\n'
        b'{"query": "smile \\ud83d", "image_id": "b", "clicked": 1, "odd \\ud83d": 1}\n'
    )
    clean, [bad] = read(path)
    assert clean["query"].to_pylist() == ["ok"]
    assert (bad.row, bad.reason) == (2, "invalid_utf8")
    assert bad.message == "query is not valid UTF-8 (byte 6)"
    assert "smile \\\\xed" in bad.to_json().encode("utf-8").decode()
    [batch] = read_batches(str(path))
    assert batch.unknown == ("odd \\xed\\xa0\\xbd",)


def test_blank_csv_lines_are_skipped_and_a_byte_order_mark_is_tolerated(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"\xef\xbb\xbfquery,image_id,clicked\r\nq,a,1\r\n\r\n  \r\nq,b,1\r\n\r\n")
    clean, rejected = read(path)
    assert rejected == []
    assert clean.select(["image_id", "row"]).to_pylist() == [
        {"image_id": "a", "row": 1},
        {"image_id": "b", "row": 4},
    ]


def test_a_byte_order_mark_in_json_lines_is_tolerated(tmp_path):
    path = tmp_path / "log.jsonl"
    row = '{"query": "q", "image_id": "a", "clicked": 1}\n'
    path.write_text("\ufeff" + row * 2, encoding="utf-8")
    clean, rejected = read(path)
    assert clean["image_id"].to_pylist() == ["a", "a"]
    assert rejected == []


def test_a_required_column_that_is_there_twice_is_refused_in_every_format(tmp_path):
    csv, jsonl, parquet = (tmp_path / f"log.{kind}" for kind in ("csv", "jsonl", "parquet"))
    csv.write_text("query, query ,image_id,clicked\nq,s,a,1\n")
    fields = [pa.field(name, pa.string()) for name in ("query", "image_id", "clicked", "query")]
    pq.write_table(pa.Table.from_arrays([pa.array(["1"])] * 4, schema=pa.schema(fields)), parquet)
    for path, names in (
        (csv, "query, query, image_id, clicked"),
        (parquet, "query, image_id, clicked, query"),
    ):
        with pytest.raises(UserError) as error:
            read(path)
        assert str(error.value) == (
            f"{path}: column query is there more than once. Columns found: {names}. "
            "Rename or remove all but one."
        )
    jsonl.write_text('{"query": "q", "image_id": "a", "clicked": 1, "query": "s"}\n')
    clean, [bad] = read(jsonl)
    assert clean.num_rows == 0
    assert bad.message == "the key query is there more than once"


def test_several_values_are_refused_in_every_format(tmp_path):
    import tensorflow as tf

    rows = '{"query": ["q", "r"], "image_id": "a", "clicked": 1}\n'
    rows += '{"query": "q", "image_id": {"$oid": "a"}, "clicked": 1}\n'
    jsonl, tfrecord = tmp_path / "log.jsonl", tmp_path / "log.tfrecord"
    jsonl.write_text(rows + '{"query": "q", "image_id": "a", "clicked": 1, "tags": ["x"]}\n')
    clean, rejected = read(jsonl)
    assert clean["row"].to_pylist() == [3]
    assert [(bad.row, str(bad.reason), bad.message) for bad in rejected] == [
        (1, "malformed_row", "query is a list; the log needs one value per row. Unnest it."),
        (2, "malformed_row", "image_id is an object; the log needs one value per row. Unnest it."),
    ]
    example = tf.train.Example()
    example.features.feature["query"].bytes_list.value.extend([b"q", b"r"])
    with tf.io.TFRecordWriter(str(tfrecord)) as writer:
        writer.write(example.SerializeToString())
    _, [bad] = read(tfrecord)
    assert bad.message == "query has 2 values; the log needs one value per row. Unnest it."
    parquet = tmp_path / "log.parquet"
    pq.write_table(pa.table({"query": [["q", "r"]], "image_id": ["a"], "clicked": [1]}), parquet)
    with pytest.raises(UserError, match=r"column query has the type list<element: string>; the"):
        read(parquet)


def test_gzip_is_known_by_its_content(tmp_path, write_log):
    for kind in ("csv", "jsonl", "tfrecord"):
        path = tmp_path / f"log.{kind}"
        write_log(path, ROWS[:2])
        plain = path.read_bytes()
        path.write_bytes(gzip.compress(plain))
        assert read(path)[0]["image_id"].to_pylist() == ["a", "b"]
        renamed = tmp_path / f"log.{kind}.gz"
        renamed.write_bytes(plain)
        assert read(renamed)[0]["image_id"].to_pylist() == ["a", "b"]


def test_uuids_in_parquet_are_text(tmp_path):
    path = tmp_path / "log.parquet"
    ids = [uuid.UUID(int=number) for number in range(2)]
    raw = pa.array([value.bytes for value in ids], pa.binary(16))
    for column in (raw, pa.ExtensionArray.from_storage(pa.uuid(), raw)):
        pq.write_table(pa.table({"query": ["q"] * 2, "image_id": column, "clicked": [1] * 2}), path)
        clean, rejected = read(path)
        assert clean["image_id"].to_pylist() == list(map(str, ids))
        assert rejected == []


def test_base64_in_parquet_is_decoded_and_other_text_is_named(tmp_path, write_log):
    path = tmp_path / "log.parquet"
    texts = {"a": "_wD_", "b": "no base64!", "c": "data:image/png;base64,/wD/"}
    rows = [
        {"query": "q", "image_id": name, "clicked": 1, "image_bytes": text}
        for name, text in texts.items()
    ]
    write_log(path, rows)
    clean, [bad] = read(path)
    assert clean["image_bytes"].to_pylist() == [b"\xff\x00\xff"] * 2
    assert (bad.row, bad.reason) == (2, "bad_base64")
    assert bad.message == "image_bytes is not base64: 'no base64!'"
    assert json.loads(bad.content)["image_id"] == "b"


def test_names_of_columns_that_are_not_utf8_name_the_file(tmp_path):
    path = tmp_path / "log.parquet"
    write = pa.table({"query": ["q"], "image_id": ["a"], "clicked": [1], "xxxx": [1]})
    pq.write_table(write, path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"xxxx", b"\xff\xff\xff\xff"))
    with pytest.raises(UserError, match=f"^{path}: cannot be read to its end as Parquet"):
        read(path)


@pytest.mark.parametrize("name", ["log.tsv", "LOG.CSV", "Log.Csv.GZ"])
def test_suffixes_of_csv(name):
    assert detect_format(name) == "csv"


def test_a_name_that_is_not_utf8_is_printable(tmp_path):
    path = tmp_path / "log-\udcff.csv"
    path.write_text("query,image_id,clicked\nq,a,1\nq,a\n")
    [batch] = read_batches(str(path))
    assert batch.file == f"{tmp_path}/log-\\xff.csv"
    assert batch.rejected[0].source == batch.file
    path.write_text("query\nq\n")
    with pytest.raises(UserError, match=r"log-\\xff\.csv: column image_id"):
        list(read_batches(str(path)))
