import pytest

from tfx_pipeline.data.caption_files.words import join_words, tokenised_keys


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["a", "red", "circle", "."], "a red circle ."),
        (["一个", "红色", "的", "圆", "。"], "一个红色的圆。"),
        (["用", "iPhone", "拍", "的"], "用 iPhone 拍的"),
        (["犬", "が", "走る"], "犬が走る"),
        (["개가", "뛴다"], "개가 뛴다"),
        (["a", "", " b "], "a b"),
    ],
)
def test_words_are_joined_as_their_script_is_written(words, text):
    assert join_words(words) == text


def test_all_lists_of_a_key_decide():
    lists = [
        ("en", ["dogs", "running"]),
        ("en", ["a", "dog"]),
        ("tags", ["dog", "a"]),
        ("tags", ["a dog", "grass"]),
        ("de", ["Hund", "Gras"]),
        ("caption", ["chien", "noir"]),
        ("fr", ["."]),
        ("it", ["a", 7]),
    ]
    assert tokenised_keys(lists, ["caption"]) == {"en", "caption"}
