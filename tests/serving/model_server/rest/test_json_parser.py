import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import Code, StatusError
from serving.model_server.rest.json_parser import parse_object, signature_name


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"3", "JSON Value: 3 Is not object"),
        (b"[1] ignored", "JSON Value: [\n    1\n] Is not object"),
        (b'"\xff"', 'JSON Value: "\udcff" Is not object'),
    ],
)
def test_refused(body, text):
    with pytest.raises(StatusError) as caught:
        parse_object(body)
    assert caught.value.code == Code.INVALID_ARGUMENT
    assert caught.value.message == text


@pytest.mark.parametrize(
    ("body", "offset"),
    [
        (b" \n\t\r", 4),
        (b"\xef\xbb\xbf ", 4),
        (b"]", 0),
        (b" ,1", 1),
        (b"\0", 0),
        (b"{", 1),
        (b'{"a": 1,, "b": 2}', 8),
        (b'{"a"', 4),
        (b'{"a" 1}', 5),
        (b'{"a":', 5),
        (b'{"a": 1', 7),
        (b'{"a": 1 "b": 2}', 8),
        (b'{"a": [1, x]}', 10),
        ('{"猫": x}'.encode(), 8),
        (b'{"\xff": x}', 6),
        (b"[,1]", 1),
        (b"[1 2]", 3),
        (b"[1\0, 2]", 2),
        (b"['a']", 1),
        (b"[nul]", 1),
        (b"[+1]", 1),
        (b"[.5]", 1),
        (b"[01]", 2),
        (b"[1.]", 2),
        (b"[0, 1e999]", 4),
        (b"[-1E0000400]", 1),
        (b"[1e" + b"9" * 5000 + b"]", 1),
        (b"[" + b"9" * 400 + b"]", 1),
        (b'["a', 1),
        (b'["a\0b"]', 3),
        (b'["a\nb"]', 3),
        (b'["a\\x"]', 3),
        (b'["a\\u12g4"]', 4),
        (b'["a\\ud800"]', 4),
        (b'["\xc3\xa9\\ud83d\\n"]', 5),
        (b'["\\ud83d\\u0041"]', 3),
    ],
)
def test_broken_text_is_refused_with_the_place(body, offset):
    with pytest.raises(StatusError) as caught:
        parse_object(body)
    assert caught.value.code == Code.INVALID_ARGUMENT
    assert caught.value.message.startswith("JSON Parse error: ")
    assert caught.value.message.endswith(f" at offset: {offset}")


@pytest.mark.parametrize("unit", [b"[", b'{"a":', b"[NaN,["])
@pytest.mark.parametrize("close", [b"", b"]"])
def test_deep_nesting_is_refused(unit, close):
    with pytest.raises(StatusError) as caught:
        parse_object(unit * 100_000 + close * 100_000)
    assert caught.value.text == (
        "INVALID_ARGUMENT: JSON Parse error: Nested too deeply. A tensor has at most 64 dimensions."
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b" [ true , false , null ] ", [True, False, None]),
        (b'{"a": {"b": []}, "c": {}}', {"a": {"b": []}, "c": {}}),
        (b"-0.0", -0.0),
        (b"18446744073709551615", 2**64 - 1),
        (b"18446744073709551616", 2.0**64),
        (b"-9223372036854775808", -(2**63)),
        (b"-9223372036854775809", -(2.0**63)),
        (b"1" + b"0" * 308, 1e308),
        (b"1.5e3", 1500.0),
        (b"1E-400", 0.0),
        (b"1e-" + b"9" * 50, 0.0),
        (b"0.0000001e310", 1e303),
        (b"[Infinity, -Infinity]", [math.inf, -math.inf]),
        (rb'"\"\\\/\b\f\n\r\t\u0041\u732b\ud83d\ude00\u0000"', '"\\/\b\f\n\r\tA猫😀\0'),
        (rb'"\\ud800"', "\\ud800"),
    ],
)
@pytest.mark.parametrize("end", [b"", b" and whatever", b"{", rb'"\ud800"'])
def test_values(text, value, end):
    """As orjson reads them, and as the standard library does."""
    mark = b"\xef\xbb\xbf" if end else b""
    read = parse_object(mark + b'{"v": ' + text + b"}" + end)["v"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("body", "data"),
    [(b'"\xff\xc3"', b"\xff\xc3"), (b'"\\udc80"', b"\xed\xb2\x80"), ('"é"'.encode(), "é".encode())],
)
def test_strings_keep_their_bytes(body, data):
    assert parse_object(b'{"a": ' + body + b"}")["a"].encode("utf-8", "surrogateescape") == data


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 2}',
        b'{"a" : 1, "a":2}',
        b'{"b": "x:y", "a": 1, "a": 2}',
        b'{"b": "\\":", "a": 1, "a": 2}',
    ],
)
def test_the_first_of_repeated_names_counts(body):
    assert parse_object(body)["a"] == 1


def test_repeated_names_inside():
    document = parse_object(b'{"rows": [{"x": 1}, {"x": 2, "x": 3}]}')
    assert document["rows"][1]["x"] == 2
    assert document["rows"][1].items() == [("x", 2), ("x", 3)]


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": "http://b:80", "c": 1}',
        b'{"a" : 1,\n "b"\t: {"c" :2}}',
        b'{"a": [1.5, {"b": "{:}"}], "c": [[], [{"d": 1}]]}',
    ],
)
def test_colons_anywhere(body):
    assert parse_object(body) == json.loads(body)


def test_numbers_that_only_some_parsers_take():
    document = parse_object(b'{"a": [NaN, -Infinity, 18446744073709551616, -0]} trailing')
    assert repr(document["a"]) == "[nan, -inf, 1.8446744073709552e+19, 0]"


_KEYS = st.sampled_from(["a", "b", "a:", '":', "a "])
_VALUES = st.recursive(
    st.integers(-5, 5) | st.text(':"\\ab', max_size=3),
    lambda children: (
        st.lists(children, max_size=3) | st.lists(st.tuples(_KEYS, children), max_size=3).map(dict)
    ),
    max_leaves=8,
)


@given(st.lists(st.tuples(_KEYS, _VALUES), max_size=4), st.sampled_from([":", " : ", ": "]))
def test_first_wins_whatever_the_text_looks_like(members, colon):
    text = ",".join(f"{json.dumps(key)}{colon}{json.dumps(value)}" for key, value in members)
    expected = dict(reversed(members))
    assert dict(parse_object(f"{{{text}}}".encode())) == expected


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"{}", ""),
        (b'{"signature_name": "a"}', "a"),
        (b'{"signature_name": "\xff"}', "?"),
    ],
)
def test_signature_name(body, name):
    assert signature_name(parse_object(body)) == name


def test_repeated_names_in_messages():
    with pytest.raises(StatusError) as caught:
        signature_name(parse_object(b'{"signature_name": 1, "signature_name": 2}'))
    assert caught.value.message.startswith(
        'JSON Value: {\n    "signature_name": 1,\n    "signature_name": 2\n} not formatted'
    )


def test_signature_name_that_is_no_string():
    with pytest.raises(StatusError) as caught:
        signature_name(parse_object(b'{"signature_name": null}'))
    assert caught.value.message == (
        'JSON Value: {\n    "signature_name": null\n} not formatted correctly. '
        "'signature_name' key must be a string value."
    )
