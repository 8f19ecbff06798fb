import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfx_pipeline.data.readers.csv_lines import CsvFault, Dialect, records

BACKSLASH = Dialect(escape="\\")


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("a,b,c", ["a", "b", "c"]),
        ("a,,", ["a", "", ""]),
        ('15" monitor,b', ['15" monitor', "b"]),
        ('"15"" monitor",b', ['15" monitor', "b"]),
        ('"a,b",""', ["a,b", ""]),
        ('"""",b', ['"', "b"]),
        ('"a\\",b', ["a\\", "b"]),
        (' "a",b', [' "a"', "b"]),
    ],
)
def test_fields_of_a_line(line, fields):
    assert Dialect().split(line) == fields


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (r'"15\" monitor",b', ['15" monitor', "b"]),
        (r'"a\"",b', ['a"', "b"]),
        (r'"a\\",b', ["a\\", "b"]),
        (r'"say ""a""",b', ['say "a"', "b"]),
        (r"a\,b,\N", ["a,b", None]),
        (r'C:\new,"\N"', [r"C:\new", r"\N"]),
        (r'5"" x,"\"', None),
        ("a,b\\", ["a", "b\\"]),
    ],
)
def test_fields_of_a_line_with_backslashes(line, fields):
    if fields is None:
        with pytest.raises(CsvFault, match="field 2 opens a quote and never closes it"):
            BACKSLASH.split(line)
    else:
        assert BACKSLASH.split(line) == fields


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('"a" b,c', "text follows the closing quote of field 1: ' b,c'"),
        ('x,"a"b', "text follows the closing quote of field 2: 'b'"),
        ('x,"a', "field 2 opens a quote and never closes it"),
        ('"a"",c', "field 1 opens a quote and never closes it"),
    ],
)
def test_a_faulty_line_says_what_is_wrong(line, message):
    with pytest.raises(CsvFault) as fault:
        Dialect().split(line)
    assert str(fault.value) == message


def test_quotes_may_be_plain_text():
    assert Dialect("\t", quote="").split('"15 inch\t"b" c') == ['"15 inch', '"b" c']


def found(text, width=3):
    lines = io.StringIO(text, newline="")
    return [
        (record.line, record.fields if not record.fault else record.fault)
        for record in records(lines, Dialect(), width)
    ]


ROW = "q,a,1\n"


@pytest.mark.parametrize("quotes", [1, 2, 3])
def test_an_unclosed_quote_costs_its_own_line_only(quotes):
    lines = [ROW] * 400
    for at in (119, 300, 301)[:quotes]:
        lines[at] = '"12 inch,a,1\n'
    result = found("".join(lines))
    assert len(result) == 400
    faulty = [(line, fields) for line, fields in result if isinstance(fields, str)]
    message = "field 1 opens a quote and never closes it"
    assert faulty == [(at + 1, message) for at in (119, 300, 301)[:quotes]]


def test_a_quote_at_the_end_of_a_later_field_closes_nothing():
    result = found(f'"12 inch,a,1\n{ROW * 3}purple 5",b,1\n{ROW}')
    assert result == [
        (1, "field 1 opens a quote and never closes it"),
        (2, ["q", "a", "1"]),
        (3, ["q", "a", "1"]),
        (4, ["q", "a", "1"]),
        (5, ['purple 5"', "b", "1"]),
        (6, ["q", "a", "1"]),
    ]
    assert found('"12 inch,a,1\npurple 5",b,1\n') == [
        (1, "field 1 opens a quote and never closes it"),
        (2, ['purple 5"', "b", "1"]),
    ]


def test_quoted_rows_after_an_unclosed_quote_are_rows():
    result = found('"12 inch,a,1\n"a, b",b,1\n"",c,1\nx "y",d,1\n"12 inch,"e","1"\n')
    assert [fields for _, fields in result] == [
        "field 1 opens a quote and never closes it",
        ["a, b", "b", "1"],
        ["", "c", "1"],
        ['x "y"', "d", "1"],
        'text follows the closing quote of field 1: \'e","1"\'',
    ]
    result = found('q,"12 inch,1\nr,purple 5",1\nq,a,1\n')
    assert [fields for _, fields in result] == [
        "field 2 opens a quote and never closes it",
        ["r", 'purple 5"', "1"],
        ["q", "a", "1"],
    ]


def test_line_ends_in_quoted_fields_are_kept():
    text = f'"red,\r\n\r\n""blue"" shoe",a,1\r\n\r\n{ROW}q,a,"1\n2"\n'
    assert found(text) == [
        (1, ['red,\r\n\r\n"blue" shoe', "a", "1"]),
        (4, []),
        (5, ["q", "a", "1"]),
        (6, ["q", "a", "1\n2"]),
    ]


def test_a_wrong_number_of_fields_is_a_fault():
    assert found("q,a\nq,a,1,2\n") == [
        (1, "2 fields where the header has 3"),
        (2, "4 fields where the header has 3"),
    ]


def test_a_long_quoted_field_without_an_end_is_no_other_lines_fault():
    result = found('"abc\n' + "x\n" * 5_000 + ROW)
    assert result[0] == (1, "field 1 opens a quote and never closes it")
    assert result[1] == (2, "1 fields where the header has 3")
    assert result[-1] == (5_002, ["q", "a", "1"])
    assert len(result) == 5_002


@given(
    st.lists(
        st.lists(st.text('ab",;\n\r\t\\é红', max_size=6), min_size=9, max_size=9),
        min_size=1,
        max_size=5,
    )
)
def test_what_a_csv_writer_writes_is_read_back(rows):
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows(["x", *row] for row in rows)
    stream.seek(0)
    assert [record.fields for record in records(stream, Dialect(), 10)] == [
        ["x", *row] for row in rows
    ]
