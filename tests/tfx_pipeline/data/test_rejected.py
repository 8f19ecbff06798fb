import json

from tfx_pipeline.data.rejected import count_reasons, describe


def write(folder, rejected):
    (folder / "summary.json").write_text(
        json.dumps({"rejected": rejected, "rows": 40_000}), encoding="utf-8"
    )


def test_reasons_are_counted_the_commonest_first(tmp_path):
    write(tmp_path, {"bad_number": 1, "image_missing": 1200, "image_empty": 1})
    assert list(count_reasons(tmp_path)) == ["image_missing", "bad_number", "image_empty"]


def test_one_line_says_what_was_rejected_and_where_it_is(tmp_path):
    write(tmp_path, {"bad_number": 1, "image_missing": 1200})
    assert describe(tmp_path) == (
        "Rejected rows: 1,201 of 40,000 (image_missing 1,200, bad_number 1); each with its "
        f"reason in {tmp_path}"
    )


def test_nothing_rejected_is_not_worth_a_line(tmp_path):
    write(tmp_path, {"image_empty": 0})
    assert describe(tmp_path) == ""
