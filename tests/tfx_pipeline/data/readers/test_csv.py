import pytest

from tfx_pipeline.data.config import CsvConfig
from tfx_pipeline.data.readers import read_batches
from tfx_pipeline.data.validate import validate
from vl_models.errors import UserError


def read(path, **config):
    clean, rejected = [], []
    for batch in read_batches(str(path), csv=CsvConfig(**config)):
        table, bad = validate(batch)
        assert batch.read == table.num_rows + len(bad)
        clean += [(row["query"], row["image_id"], row["clicks"]) for row in table.to_pylist()]
        rejected += [(row.row, str(row.reason), row.message) for row in bad]
    return clean, rejected


REMEDY = (
    "Double the quotes inside of a quoted field; if they are escaped otherwise set `csv.escape`, "
    "if quotes are plain text set `csv.quote: none`"
)


@pytest.fixture
def log(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "log.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_a_faulty_quote_is_a_rejected_row_with_line_and_remedy(log):
    path = log('query,image_id,clicked\n"red\nshoe",a,1\n"12 inch,b,1\nq,c,1\n')
    assert read(path) == (
        [("red\nshoe", "a", 1), ("q", "c", 1)],
        [
            (
                2,
                "malformed_row",
                f"line 4: field 1 opens a quote and never closes it. {REMEDY}",
            )
        ],
    )


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_the_delimiter_is_the_one_of_the_header(log, delimiter):
    path = log("query,image_id,clicked\na b,x,1\n".replace(",", delimiter))
    assert read(path) == ([("a b", "x", 1)], [])


def test_delimiters_within_fields_do_not_matter(log):
    assert read(log("query;image_id;clicked\na, b, c;x;1\n")) == ([("a, b, c", "x", 1)], [])


def test_excels_line_about_the_delimiter_is_no_header(log):
    assert read(log("sep=;\nquery;image_id;clicked\na;x;1\n")) == ([("a", "x", 1)], [])


def test_a_delimiter_that_is_not_recognised_is_configured(log):
    path = log("query:image_id:clicked\na:x:1\n")
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{path}: its header has the required columns, but not as fields of their own: "
        "'query:image_id:clicked'. Set `csv.delimiter` to the character between fields (comma, "
        "tab, semicolon and bar are recognised), or `csv.quote` to the one around them."
    )
    assert read(path, delimiter=":") == ([("a", "x", 1)], [])


def test_a_quote_that_is_not_recognised_is_configured(log):
    path = log("'query','image_id','clicked'\n'a, b','x','1'\n")
    with pytest.raises(UserError, match=r"not as fields of their own: \"'query'\", .* `csv.quote`"):
        read(path)
    assert read(path, quote="'") == ([("a, b", "x", 1)], [])


def test_backslashes_escape_quotes_where_nothing_else_fits(log):
    path = log('query,image_id,clicked\n"15\\" monitor",a,1\nplain,b,1\n')
    assert read(path) == ([('15" monitor', "a", 1), ("plain", "b", 1)], [])
    clean, rejected = read(path, escape="none")
    assert clean == [("plain", "b", 1)]
    assert rejected == [
        (
            1,
            "malformed_row",
            f"""line 2: text follows the closing quote of field 1: ' monitor",a,1'. {REMEDY}""",
        )
    ]


def test_line_ends_are_escaped_as_mysql_does(log):
    path = log('query,image_id,clicked\n"15\\" monitor",a,1\n"two\\\nlines",b,1\n')
    assert read(path) == ([('15" monitor', "a", 1), ("two\nlines", "b", 1)], [])


def test_a_backslash_before_a_closing_quote_stays_text(log):
    path = log('query,image_id,clicked\n"a\\",x,1\n"b, c",y,1\n')
    assert read(path) == ([("a\\", "x", 1), ("b, c", "y", 1)], [])


def test_an_escape_beyond_the_sample_is_a_named_row_until_it_is_configured(log):
    path = log("query,image_id,clicked\n" + "q,a,1\n" * 2_000 + '"15\\" monitor",b,1\n')
    clean, rejected = read(path)
    assert len(clean) == 2_000
    [(row, reason, message)] = rejected
    assert (row, reason) == (2_001, "malformed_row")
    assert message.startswith("line 2002: text follows the closing quote of field 1")
    clean, rejected = read(path, escape="\\")
    assert (clean[-1], rejected) == (('15" monitor', "b", 1), [])


def test_quotes_as_plain_text_are_configured(log):
    path = log('query\timage_id\tclicked\n"15 inch\ta\t1\n"red" shoe\tb\t1\n')
    assert [row for row, _, _ in read(path)[1]] == [1, 2]
    assert read(path, quote="none") == ([('"15 inch', "a", 1), ('"red" shoe', "b", 1)], [])


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8"]
)
def test_unicode_encodings_are_recognised(log, encoding):
    assert read(log("query,image_id,clicked\n红鞋,a,1\n", encoding)) == ([("红鞋", "a", 1)], [])


def test_utf8_may_be_named_and_have_a_byte_order_mark(log):
    path = log("query,image_id,clicked\n红鞋,a,1\n", "utf-8-sig")
    assert read(path, encoding="UTF8") == ([("红鞋", "a", 1)], [])


def test_gb18030_is_a_hint_and_a_key(log):
    path = log("query,image_id,clicked\n红鞋,a,1\nred,b,1\n", "gb18030")
    assert read(path) == (
        [("red", "b", 1)],
        [
            (
                1,
                "invalid_utf8",
                "query is not valid UTF-8 (byte 0); as gb18030 it reads '红鞋': write the log in "
                "UTF-8, or set `csv.encoding: gb18030` if it is CSV",
            )
        ],
    )
    assert read(path, encoding="gb18030") == ([("红鞋", "a", 1), ("red", "b", 1)], [])


def test_names_of_columns_have_no_blanks_around_them(log):
    assert read(log(' query, "image_id",clicked \nq,a,1\n'.replace('"', ""))) == (
        [("q", "a", 1)],
        [],
    )


def test_a_header_with_a_faulty_quote_is_an_error(log):
    with pytest.raises(UserError) as error:
        read(log('query,image_id,"clicked\nq,a,1\n'))
    assert str(error.value).endswith(
        f"log.csv: the header cannot be read: field 3 opens a quote and never closes it. {REMEDY}."
    )


def test_an_empty_file_has_no_rows(log):
    assert read(log("\n\n")) == ([], [])
    assert read(log("")) == ([], [])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("delimiter", "::", "delimiter must be one character or auto. Received: '::'"),
        ("quote", "", "quote must be one character or auto or none. Received: ''"),
        ("escape", "\n", "escape must be one character or auto or none. Received: '\\n'"),
        (
            "encoding",
            "gbk99",
            "encoding must be auto or an encoding such as utf-8, utf-16 or gb18030. "
            "Received: 'gbk99'",
        ),
    ],
)
def test_a_key_that_cannot_be_is_refused(key, value, message):
    with pytest.raises(ValueError) as error:
        CsvConfig(**{key: value})
    assert message in str(error.value)
