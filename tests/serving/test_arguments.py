"""What people pass where a list of texts, a number or a query is wanted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import arguments
from serving.errors import ServingError

# Code points, without surrogates.
SCALARS = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]


class Column:
    """Has an order and a length, as a column of a table library has, and is no Sequence."""

    def __len__(self):
        return 2

    def __getitem__(self, place):
        return ["a", "b"][place]


@pytest.mark.parametrize(
    "values", [["a", "b"], ("a", "b"), np.array(["a", "b"]), np.array(["a", "b"], object), Column()]
)
def test_lists_of_texts(values):
    listed = arguments.texts("queries", values)
    assert listed == ["a", "b"]
    assert type(listed) is list


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("cake", "queries is a list of texts; one text is a list of one: ['cake']. Received: str."),
        (b"cake", "queries is a list of texts; one text is a list of one: [b'cake']. Received: b"),
        (np.str_("cake"), "queries is a list of texts; one text is a list of one: "),
        (None, "queries is a list of texts. Received: NoneType."),
        (7, "queries is a list of texts. Received: int."),
        ({"a", "b"}, "queries is a list of texts. Received: set."),
        ({"a": 1}, "queries is a list of texts. Received: dict."),
        (iter(["a"]), "queries is a list of texts. Received: list_iterator."),
        (np.array("cake"), "queries is a list of texts. Received: ndarray."),
        (["a", b"b"], "queries is a list of texts (str). Received: queries[1] is bytes."),
        ([["a"]], "queries is a list of texts (str). Received: queries[0] is list."),
        ([None], "queries is a list of texts (str). Received: queries[0] is NoneType."),
        (np.array([["a"]]), "queries is a list of texts (str). Received: queries[0] is ndarray."),
    ],
)
def test_what_is_no_list_of_texts(values, message):
    with pytest.raises(ServingError) as caught:
        arguments.texts("queries", values)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("value", [1, 10**30, np.int64(3), np.uint8(200)])
def test_whole_numbers(value):
    number = arguments.whole_number("k", value)
    assert number == value
    assert type(number) is int


@pytest.mark.parametrize("value", [0, -1, 2.5, 2.0, True, np.True_, "3", None, np.float32(2), [1]])
def test_what_is_no_whole_number(value):
    with pytest.raises(ServingError) as caught:
        arguments.whole_number("k", value)
    assert str(caught.value) == f"k is a whole number, at least 1. Received: k={value!r}."


def is_refused(query):
    try:
        arguments.check_query(query)
    except ServingError:
        return True
    return False


def test_an_empty_query_is_what_the_tower_sees_nothing_of():
    """Every character alone, against the normalisation in the served signature."""
    from vl_models.text.normalize import normalize_batch

    seen = normalize_batch(SCALARS)
    assert [c for c, text in zip(SCALARS, seen) if is_refused(c) != (text == "")] == []
    assert is_refused("")


BLANKS = [c for c in SCALARS if is_refused(c)]


@given(st.lists(st.text(st.sampled_from(BLANKS)), min_size=1, max_size=20))
def test_so_is_one_of_several_such_characters(texts):
    from vl_models.text.normalize import normalize_batch

    assert normalize_batch(texts) == [""] * len(texts)
    assert all(map(is_refused, texts))
    assert not any(is_refused(f"{text}猫{text}") for text in texts)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["  \t"], "The query is empty; say what to look for."),
        (
            ["\u200b\ufeff"],
            "The query is empty; say what to look for. It has invisible characters only: U+200B, "
            "U+FEFF.",
        ),
        (["cake", ""], "queries[1] is empty; say what to look for."),
        (["\ud800"], "The query is not valid UTF-8."),
    ],
)
def test_queries(values, message):
    with pytest.raises(ServingError) as caught:
        arguments.queries(values)
    assert str(caught.value) == message
    assert arguments.queries([]) == []
    assert arguments.queries(["👩‍🚀", "\u0600"]) == ["👩‍🚀", "\u0600"]
