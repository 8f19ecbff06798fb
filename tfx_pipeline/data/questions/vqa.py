"""VQA v2: a file of questions and one of annotations for each split."""

from __future__ import annotations

import collections
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tfx_pipeline.data.caption_files.caption import Content, Problem, check_text
from tfx_pipeline.data.contract import Reason, Rejected
from tfx_pipeline.data.questions.answer_text import normalize_answer
from tfx_pipeline.data.questions.question import Question, split_of_file
from vl_models.errors import UserError

MIN_OCCURRENCES = 9
_ENOUGH_HUMANS = 3.0


def read_vqa(contents: Sequence[Content]) -> Iterator[Question | Rejected]:
    """Return the questions of VQA v2 with soft scores: min(1, annotators / 3) for each answer.

    Args:
        contents: files with `questions` and files with `annotations`, in any order; those of one
            split belong together.

    Raises:
        UserError: a file is neither, or a split lacks one of the two; names it.
    """
    questions = _by_split(contents, "questions")
    annotations = _by_split(contents, "annotations")
    for split in questions.keys() | annotations.keys():
        if split not in questions or split not in annotations:
            there = (questions.get(split) or annotations[split])[0].file
            lacking = "annotations" if split in questions else "questions"
            raise UserError(f"{there}: there is no file of {lacking} of the split {split} with it.")
    for split, contents_of_split in questions.items():
        answers = {
            annotation.get("question_id"): annotation
            for content in annotations[split]
            for annotation in content.json["annotations"]
            if isinstance(annotation, dict)
        }
        for content in contents_of_split:
            yield from _questions(content, answers)


def without_rare_answers(
    questions: Iterable[Question], splits: Mapping[str, str], minimum: int
) -> list[Question]:
    """Drop answers that are the best one of too few questions from those of train.

    The other splits keep theirs: what is not known cannot be answered, and counts as wrong.
    Published systems know the 3,129 answers that occur at least nine times.

    Args:
        questions: of all splits.
        splits: split by file.
        minimum: number of questions.
    """
    questions = list(questions)
    best = collections.Counter(
        max(question.answers, key=lambda answer: answer[1])[0]
        for question in questions
        if splits[question.file] != "test"
    )
    return [
        Question(
            question.key,
            question.text,
            question.images,
            tuple(answer for answer in question.answers if best[answer[0]] >= minimum),
            question.file,
            question.row,
        )
        if splits[question.file] == "train"
        else question
        for question in questions
    ]


def _by_split(contents: Sequence[Content], key: str) -> dict[str, list[Content]]:
    """Return the files that hold a list of that name, by split."""
    found: dict[str, list[Content]] = {}
    for content in contents:
        whole = content.json
        if isinstance(whole, json.JSONDecodeError):
            raise UserError(f"{content.file}, row {whole.lineno}: not JSON ({whole.msg}).")
        if not isinstance(whole, dict) or not {"questions", "annotations"} & whole.keys():
            raise UserError(f"{content.file}: holds neither `questions` nor `annotations` of VQA.")
        if isinstance(whole.get(key), list):
            found.setdefault(split_of_file(content.file), []).append(content)
    return found


def _questions(content: Content, answers: Mapping[Any, Any]) -> Iterator[Question | Rejected]:
    subtype = content.json.get("data_subtype", "")
    for row, record in enumerate(content.json["questions"], 1):
        try:
            yield _question(content.file, row, record, answers, subtype)
        except Problem as problem:
            yield content.reject(row, problem, record)


def _question(
    file: str, row: int, record: Any, annotations: Mapping[Any, Any], subtype: str
) -> Question:
    if not isinstance(record, dict):
        raise Problem(Reason.MALFORMED_ROW, "a question must be an object")
    text, key = check_text(record.get("question"), "question"), record.get("question_id")
    image = record.get("image_id")
    if not isinstance(image, int) or isinstance(image, bool):
        raise Problem(Reason.MISSING_IMAGE_ID, "image_id must be a whole number")
    annotation = annotations.get(key)
    if annotation is None:
        raise Problem(Reason.MISSING_ANSWER, f"no annotation has question_id {key!r}")
    return Question(
        str(key),
        text,
        ((f"COCO_{subtype}_{image:012d}", f"{image:012d}", str(image)),),
        _scores(annotation.get("answers")),
        file,
        row,
    )


def _scores(given: Any) -> tuple[tuple[str, float], ...]:
    """Return soft scores, best first, of what ten annotators or so have answered."""
    if not isinstance(given, list) or not given:
        raise Problem(Reason.MISSING_ANSWER, "the annotation has no answers")
    counts: collections.Counter[str] = collections.Counter()
    for one in given:
        answer = one.get("answer") if isinstance(one, dict) else None
        counts[normalize_answer(check_text(answer, "answer"))] += 1
    counts.pop("", None)  # an article or a full stop alone
    if not counts:
        raise Problem(Reason.MISSING_ANSWER, "no answer holds a word")
    return tuple((text, min(1.0, n / _ENOUGH_HUMANS)) for text, n in counts.most_common())
