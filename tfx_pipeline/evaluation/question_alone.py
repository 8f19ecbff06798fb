"""What can be answered without looking: the usual answers of a question."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tfx_pipeline.evaluation.questions import AnsweredQuestion

_QUOTED = re.compile(r"[“\"‘「『][^”\"’」』]*[”\"’」』]")
_WORDS = 3


class QuestionAlone:
    """Answers of the most similar questions of train, by their mean score.

    Similar are, in this order, questions of the same text, of the same text but for what is in
    quotation marks, with the same first words (of Chinese, characters), and all. What is answered
    so needs no image, so a system that looks must be better.
    Source: the prior and language baselines of Goyal et al., "Making the V in VQA Matter", 2017.

    Args:
        train: questions to learn from.
    """

    def __init__(self, train: Iterable[AnsweredQuestion]):
        totals: dict[str, dict[str, float]] = {}
        for question in train:
            for key in _keys(question.text):
                scores = totals.setdefault(key, {})
                for answer, score in question.answers.items():
                    scores[answer] = scores.get(answer, 0.0) + score
        self._usual = {
            key: tuple(sorted(scores, key=lambda answer: (-scores[answer], answer)))
            for key, scores in totals.items()
            if scores
        }

    def usual(self, text: str, count: int) -> tuple[str, ...]:
        """Return up to so many answers, the best one first, from similar questions of all kinds."""
        found = dict.fromkeys(
            answer for key in _keys(text) for answer in self._usual.get(key, ())[:count]
        )
        return tuple(found)[:count]

    def answer(self, text: str) -> str:
        """Return the best answer; "" if train has none at all."""
        return next(iter(self.usual(text, 1)), "")


def _keys(text: str) -> Iterator[str]:
    """What similar questions share, the most exact first; the last one is of all."""
    yield f"text {text}"
    template = _QUOTED.sub("“”", text)
    yield f"template {template}"
    words = template.split()
    start = " ".join(words[:_WORDS]) if len(words) > 1 else template[:_WORDS]
    yield f"start {start}"
    yield ""
