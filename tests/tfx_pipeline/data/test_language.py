import pytest

from tfx_pipeline.data.language import detect_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("red shoe", "en"),
        ("红色的鞋", "zh"),
        ("iphone 手机", "zh"),
        ("赤い靴", "und"),
        ("빨간 신발", "und"),
        ("красные туфли", "und"),
        ("crème brûlée", "und"),
        ("12:30", "und"),
        ("", "und"),
    ],
)
def test_language(text, language):
    assert detect_language(text) == language
