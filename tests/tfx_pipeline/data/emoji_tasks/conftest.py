import pytest

from tfx_pipeline.data.emoji_tasks.pictures import WordedEmoji

# Words by group and subgroup; the last of each subgroup is that of every second picture.
_WORDS = {
    "Animals & Nature/mammal": (("animal", "动物"), ("pet", "宠物")),
    "Animals & Nature/bird": (("animal", "动物"), ("wing", "翅膀")),
    "Food & Drink/fruit": (("food", "食物"), ("sweet", "甜")),
    "Food & Drink/drink": (("drink", "饮料"), ("hot", "热")),
}


@pytest.fixture
def pictures():
    """Forty-eight pictures of four subgroups, a quarter of them of test, a quarter of val."""
    made = []
    for number in range(1, 49):
        group = list(_WORDS)[number % 4]
        words = _WORDS[group][: 1 + number // 4 % 2]
        split = ("train", "val", "train", "test")[number // 12] if number < 48 else "test"
        made.append(
            WordedEmoji(
                number,
                f"u{number:x}",
                split,
                group,
                {"en": f"thing {number}", "zh": f"东西{number}"},
                {"en": tuple(en for en, _ in words), "zh": tuple(zh for _, zh in words)},
            )
        )
    return made
