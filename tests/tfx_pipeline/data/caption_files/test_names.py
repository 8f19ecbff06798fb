import pytest

from tfx_pipeline.data.caption_files.names import is_language, language_of, normal


@pytest.mark.parametrize(
    ("key", "language"),
    [
        ("en", "en"),
        ("ZH", "ZH"),
        ("zh-Hans", "zh-Hans"),
        ("zh_CN", "zh_CN"),
        ("zh-Hant-TW", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("quz", "quz"),
        ("caption_zh", "zh"),
        ("en_captions", "en"),
        ("text-pt-BR", "pt-BR"),
        ("xx", None),
        ("tag", None),
        ("url", None),
        ("en_tags", None),
        ("id", None),
        ("caption_id", None),
        ("caption_number", None),
    ],
)
def test_only_known_codes_are_languages(key, language):
    assert language_of(key, "a text") == language


def test_a_word_of_databases_is_a_language_where_it_holds_captions():
    assert language_of("id", ["seekor anjing"]) == "id"
    assert language_of("no", {"caption": ["en hund"]}) == "no"
    assert is_language("und")
    assert not is_language("")


def test_keys_are_compared_without_case_and_blanks():
    assert [normal(key) for key in (" Image Name ", "file-name", "image/key")] == [
        "image_name",
        "file_name",
        "image/key",
    ]
