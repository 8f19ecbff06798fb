import pytest

from vl_models.errors import UserError
from vl_models.text import vocabulary
from vl_models.text.vocabulary import SPECIAL_TOKENS, learn_wordpiece

COUNTS = {"cat": 90, "cats": 40, "running": 60, "run": 30, "sunset": 20, "猫": 50, "狗": 10, "!": 5}


def test_learned_vocabulary_starts_with_the_special_tokens_and_spells_every_word():
    tokens = learn_wordpiece(COUNTS, 100)
    assert tuple(tokens[:5]) == SPECIAL_TOKENS
    assert len(tokens) == len(set(tokens)) <= 100
    assert {"cat", "running", "猫", "狗", "##s"} <= set(tokens)
    assert "##猫" not in tokens


def test_size_is_an_upper_bound_and_common_characters_come_first():
    chinese = {chr(0x4E00 + i): 1000 - i for i in range(300)}
    tokens = learn_wordpiece({**COUNTS, **chinese}, 120)
    assert len(tokens) <= 120
    assert chr(0x4E00) in tokens and chr(0x4E00 + 299) not in tokens
    assert learn_wordpiece(chinese, 55)[5:] == [chr(0x4E00 + i) for i in range(50)]


def test_order_of_the_counts_does_not_matter():
    assert learn_wordpiece(COUNTS, 60) == learn_wordpiece(reversed(COUNTS.items()), 60)


@pytest.mark.parametrize(("counts", "size", "match"), [({}, 50, "no words"), (COUNTS, 5, "=5")])
def test_impossible_vocabularies(counts, size, match):
    with pytest.raises(UserError, match=match):
        learn_wordpiece(counts, size)


def test_write_and_read(tmp_path):
    tokens = [*SPECIAL_TOKENS, "cat", "\u2028", "猫", "##é"]
    vocabulary.write_vocabulary(tokens, tmp_path / "vocabulary.txt")
    assert vocabulary.read_vocabulary(tmp_path / "vocabulary.txt") == tokens
    assert [path.name for path in tmp_path.iterdir()] == ["vocabulary.txt"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[PAD]\n\ncat\n", "line 2, must hold one token. Received: ''."),
        (b"[PAD]\ncat\ncat\n", "line 3, repeats the token 'cat' of line 2."),
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n", "lacks [MASK]: all of"),
        (b"[PAD]\n\xff\n", "line 2, is not UTF-8."),
    ],
)
def test_errors_name_file_and_line(tmp_path, content, message):
    path = tmp_path / "v.txt"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        vocabulary.read_vocabulary(path)
    assert str(error.value).startswith(f"The vocabulary {path}")
    assert message in str(error.value)


def test_windows_line_ends(tmp_path):
    path = tmp_path / "v.txt"
    path.write_bytes("\r\n".join([*SPECIAL_TOKENS, "cat", ""]).encode())
    assert vocabulary.read_vocabulary(path) == [*SPECIAL_TOKENS, "cat"]


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        vocabulary.read_vocabulary(tmp_path / "absent.txt")


@pytest.mark.parametrize("size", [40, 60, 90, 150])
def test_the_size_is_an_upper_bound(size):
    words = [f"{start}{end}" for start in ("sun", "moon", "rain") for end in ("s", "day", "light")]
    counts = {word: 1 + number for number, word in enumerate(words)}
    assert len(vocabulary.learn_wordpiece({**counts, "猫": 1}, size)) <= size


def test_with_room_every_word_is_whole():
    counts = {"sunlight": 1, "moonlight": 1, "sunday": 2, "!": 1}
    tokens = vocabulary.learn_wordpiece(counts, 200)
    letters = set("sunlightmoonday")
    assert set(tokens) == {*SPECIAL_TOKENS, *counts, *letters, "!", *(f"##{c}" for c in letters)}


def test_without_room_the_commonest_words_are_whole():
    counts = {"abc": 5, "bca": 1, "cab": 3}
    alphabet = [*SPECIAL_TOKENS, *"abc", "##a", "##b", "##c"]
    for room, whole in ((1, {"abc"}), (2, {"abc", "cab"}), (3, set(counts))):
        assert set(vocabulary.learn_wordpiece(counts, len(alphabet) + room)) == {*alphabet, *whole}
