import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.kubernetes_names import is_label, is_subdomain, label


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("vlsearch-emoji", "vlsearch-emoji"),
        ("vlsearch-emoji-", "vlsearch-emoji"),
        ("vlsearch-Emoji_v2.1", "vlsearch-emoji-v2-1"),
        ("a" * 63, "a" * 63),
    ],
)
def test_labels(text, made):
    assert label(text) == made


def test_what_is_lost_is_made_up_for():
    names = ["a" * 64, "a" * 65, "vlsearch-红", "vlsearch-生日", "vlsearch", "", "红", "-_-"]
    made = [label(name) for name in names]
    assert len(set(made)) == len(names)
    assert all(map(is_label, made))
    assert made[2].startswith("vlsearch-")


@given(st.text(max_size=100), st.integers(10, 63))
def test_every_text_gives_a_label(text, limit):
    made = label(text, limit)
    assert is_label(made)
    assert len(made) <= limit


@pytest.mark.parametrize("text", ["a", "a-b", "0", "a" * 63])
def test_what_is_a_label(text):
    assert is_label(text)
    assert is_subdomain(f"{text}.{text}")


@pytest.mark.parametrize("text", ["", "-a", "a-", "A", "a_b", "a b", "红", "a\n", "a.b", "a" * 64])
def test_what_is_none(text):
    assert not is_label(text)


@pytest.mark.parametrize("text", ["a..b", "a.-b", "a-.b", ".a", "a.", "a." * 127])
def test_what_is_no_subdomain(text):
    assert not is_subdomain(text)
