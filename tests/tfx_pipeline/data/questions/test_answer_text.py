import pytest

from tfx_pipeline.data.questions.answer_text import normalize_answer


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Yes.", "yes"),
        ("The dog", "dog"),
        ("two", "2"),
        ("none", "0"),
        ("1,000", "1000"),
        ("3.5", "3.5"),
        ("black/white", "black white"),
        ("black / white", "black white"),
        ("t-shirt", "t shirt"),
        ("  on\nthe   left ", "on left"),
        ("a", ""),
        ("左边", "左边"),
    ],
)
def test_answers_in_the_form_that_is_compared(text, normal):
    assert normalize_answer(text) == normal
