"""What towers answer, which embed images and texts apart: the nearest text, or a threshold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tfx_pipeline.evaluation.encode import Tower, encode_queries
from tfx_pipeline.evaluation.ordered_thresholds import OrderedThresholds
from tfx_pipeline.evaluation.question_alone import QuestionAlone
from tfx_pipeline.evaluation.questions import AnsweredQuestion, Shown, in_batches
from vl_models.members import ENCODE_IMAGE, ENCODE_TEXT, IMAGE_TOWER, TEXT_TOWER

FEW_ANSWERS = 3  # at most so many are classes of sentences, not answers of their own


class TowerAnswers:
    """Answers by the cosine of image and text.

    Sentences, which have few answers, are classified by the cosine itself (the mean over two
    images), with thresholds from another split. Of questions, the answer is chosen whose text,
    behind the question, lies nearest to the image.

    Args:
        towers: SavedModel folders by name.
        batch_size: rows per call.
    """

    def __init__(self, towers: Mapping[str, Path], batch_size: int):
        self._image = Tower(towers[IMAGE_TOWER], ENCODE_IMAGE)
        self._text = Tower(towers[TEXT_TOWER], ENCODE_TEXT)
        self._batch_size = batch_size

    def judge(self, held_out: Iterable[Shown], tested: Iterable[Shown]) -> list[str]:
        """Return the class of each tested sentence, by thresholds that fit the held-out ones."""
        known = [(asked, value) for asked, value in self._cosines(held_out) if asked.answers]
        classes = [max(question.answers, key=question.score) for question, _ in known]
        thresholds = OrderedThresholds(np.array([value for _, value in known]), classes)
        return thresholds.classify(np.array([value for _, value in self._cosines(tested)]))

    def choose(self, tested: Iterable[Shown], alone: QuestionAlone, count: int) -> list[str]:
        """Return the nearest of the usual answers of each tested question."""
        chosen = []
        for batch in in_batches(tested, self._batch_size):
            choices = [alone.usual(shown.question.text, count) for shown in batch]
            texts = [f"{s.question.text} {a}" for s, own in zip(batch, choices) for a in own]
            distinct = list(dict.fromkeys(texts))
            vectors = dict(zip(distinct, encode_queries(self._text, distinct, self._batch_size)))
            for shown, own, image in zip(batch, choices, self._images(batch)):
                near = [float(vectors[f"{shown.question.text} {answer}"] @ image) for answer in own]
                chosen.append(own[int(np.argmax(near))])
        return chosen

    def _cosines(self, shown: Iterable[Shown]) -> Iterator[tuple[AnsweredQuestion, float]]:
        for batch in in_batches(shown, self._batch_size):
            texts = self._text.encode([one.question.text for one in batch])
            for one, text, image in zip(batch, texts, self._images(batch)):
                yield one.question, float(text @ image)

    def _images(self, batch: Sequence[Shown]) -> np.ndarray:
        """Mean embedding of the images of each row, float32 [B, D]."""
        flat = [image for shown in batch for image in shown.images]
        vectors = encode_queries(self._image, np.array(flat, object), self._batch_size)
        ends = np.cumsum([len(shown.images) for shown in batch])
        return np.stack([part.mean(axis=0) for part in np.split(vectors, ends[:-1])])
