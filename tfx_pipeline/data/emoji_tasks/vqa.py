"""Questions in the form of VQA v2: files of questions and of annotations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfx_pipeline.data.emoji_tasks.pictures import LANGUAGES, WordedEmoji

HUMANS = 10  # annotators of a question
_OF_GROUP = {"en": "what kind of thing is it?", "zh": "这是哪一类？"}
_GROUPS = {
    "Smileys & People": {"en": "smileys and people", "zh": "表情和人物"},
    "Animals & Nature": {"en": "animals and nature", "zh": "动物和自然"},
    "Food & Drink": {"en": "food and drink", "zh": "食物和饮料"},
    "Travel & Places": {"en": "travel and places", "zh": "旅行和地点"},
    "Activities": {"en": "activities", "zh": "活动"},
    "Objects": {"en": "objects", "zh": "物品"},
    "Symbols": {"en": "symbols", "zh": "符号"},
    "Flags": {"en": "flags", "zh": "旗帜"},
}
_OF_WORDS = {"en": "what word goes with it?", "zh": "它让人想到什么？"}
_OF_WORD = {"en": "does the word “{}” go with it?", "zh": "它和“{}”有关吗？"}
_YES_NO = {"en": ("no", "yes"), "zh": ("无关", "有关")}
# Of ten people, so many name the commonest of the keywords, the next one, …
_VOTES = {1: (10,), 2: (6, 4), 3: (5, 3, 2), 4: (4, 3, 2, 1)}


def vqa_files(
    pictures: Sequence[WordedEmoji], split: str, rng: np.random.Generator
) -> dict[str, dict[str, Any]]:
    """Return the two files of a split as JSON, by name.

    Of each picture and language: what kind of thing it is (its group), what word goes with it (its
    keywords; the commoner, the more of ten annotators name it), and of one of its keywords and of
    one of another picture, whether it goes with it.

    Args:
        pictures: all.
        split: train, val or test.
        rng: chooses keywords.
    """
    questions: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for picture, text, kind, answers in _questions(pictures, split, rng):
        key = {"question_id": 10 * len(questions) + 1, "image_id": picture.number}
        questions.append({**key, "question": text})
        annotations.append(
            {
                **key,
                "question_type": kind,
                "answer_type": "yes/no" if kind == "word" else "other",
                "multiple_choice_answer": answers[0],
                "answers": [
                    {"answer": answer, "answer_confidence": "yes", "answer_id": number}
                    for number, answer in enumerate(answers, 1)
                ],
            }
        )
    about = {"data_type": "emoji", "data_subtype": f"emoji_{split}"}
    return {
        f"{split}_questions.json": {"task_type": "Open-Ended", **about, "questions": questions},
        f"{split}_annotations.json": {**about, "annotations": annotations},
    }


def _questions(
    pictures: Sequence[WordedEmoji], split: str, rng: np.random.Generator
) -> Iterator[tuple[WordedEmoji, str, str, list[str]]]:
    """Emoji, question, kind of question, and what each annotator answers."""
    # As often as pictures have them, so that the word alone does not tell the answer.
    words = {
        language: [word for picture in pictures for word in picture.words[language]]
        for language in LANGUAGES
    }
    for picture in pictures:
        if picture.split != split:
            continue
        for language in LANGUAGES:
            if group := _GROUPS.get(picture.top_group):
                yield picture, _OF_GROUP[language], "group", [group[language]] * HUMANS
            own = picture.words[language]
            if not own:
                continue
            named = zip(own, _VOTES[min(len(own), len(_VOTES))])
            answers = [word for word, votes in named for _ in range(votes)]
            yield picture, _OF_WORDS[language], "words", answers
            no, yes = _YES_NO[language]
            right = own[rng.integers(len(own))]
            yield picture, _OF_WORD[language].format(right), "word", [yes] * HUMANS
            others = [word for word in words[language] if word not in own]
            wrong = others[rng.integers(len(others))]
            yield picture, _OF_WORD[language].format(wrong), "word", [no] * HUMANS
