"""Questions and their answers, read from Examples."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tfx_pipeline.data.writers import read_records
from vl_models import features as f
from vl_models.errors import UserError


@dataclasses.dataclass(frozen=True)
class AnsweredQuestion:
    """A question without its images.

    Attributes:
        key: its id.
        text: normalised.
        language: its code.
        answers: scores of the right ones.
    """

    key: str
    text: str
    language: str
    answers: Mapping[str, float]

    def score(self, answer: str) -> float:
        """What an answer is worth, 0 to 1."""
        return self.answers.get(answer, 0.0)


@dataclasses.dataclass(frozen=True)
class Shown:
    """A question with its images, encoded: one or two."""

    question: AnsweredQuestion
    images: tuple[bytes, ...]


def read_shown(folder: Path, split: str) -> Iterator[Shown]:
    """Return the questions of a split with their images, in the order of the files.

    Raises:
        UserError: there are no Examples of the split.
    """
    files = sorted((folder / f"Split-{split}").glob("data_tfrecord-*"))
    if not files:
        raise UserError(f"{folder}: holds no Examples of the split {split}.")
    for file in files:
        for example in read_records(str(file)):
            feature = example.features.feature
            names = [answer.decode() for answer in feature[f.ANSWER_TEXT].bytes_list.value]
            question = AnsweredQuestion(
                feature[f.QUESTION_ID].bytes_list.value[0].decode(),
                feature[f.QUERY_TEXT].bytes_list.value[0].decode(),
                feature[f.QUERY_LANGUAGE].bytes_list.value[0].decode(),
                dict(zip(names, feature[f.ANSWER_SCORE].float_list.value)),
            )
            images = (
                *feature[f.IMAGE_ENCODED].bytes_list.value,
                *feature[f.IMAGE_2_ENCODED].bytes_list.value,
            )
            yield Shown(question, images)


def read_questions(folder: Path, split: str) -> list[AnsweredQuestion]:
    """Return the questions of a split; see `read_shown`."""
    return [shown.question for shown in read_shown(folder, split)]


def in_batches(items: Iterable[Shown], size: int) -> Iterator[list[Shown]]:
    """Return lists of so many questions; the last one may be shorter."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
