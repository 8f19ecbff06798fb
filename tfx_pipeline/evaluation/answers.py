"""Accuracy of answers about images, beside what is known without looking and to the towers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_text as tf_text

from tfx_pipeline.data.feature_extraction import find_towers
from tfx_pipeline.evaluation.answers_by_towers import FEW_ANSWERS, TowerAnswers
from tfx_pipeline.evaluation.data import EvaluationData, Evaluator
from tfx_pipeline.evaluation.metric_keys import ANSWERS, difference
from tfx_pipeline.evaluation.question_alone import QuestionAlone
from tfx_pipeline.evaluation.questions import (
    AnsweredQuestion,
    Shown,
    in_batches,
    read_questions,
    read_shown,
)
from tfx_pipeline.evaluation.result import Measured, Row, Table, Tables
from tfx_pipeline.evaluation.zero_shot import mean_with_interval
from vl_models.errors import UserError
from vl_models.members import ANSWER, ANSWERER, IMAGE_2_BYTES, IMAGE_BYTES, QUERY
from vl_models.metrics.retrieval import PerQuery

# Importing TF Text registers the ops of tokenisers inside the SavedModels.
_TOKENIZER_OPS = tf_text

_ACCURACY = f"{ANSWERS}/accuracy"
_ALONE = f"{ANSWERS}/question_alone/accuracy"
_TOWERS = f"{ANSWERS}/towers/accuracy"
_NAMES = {_ACCURACY: "answerer", _ALONE: "question alone", _TOWERS: "towers"}


class AnswersEvaluator(Evaluator):
    """Asks the answerer every question of the evaluated splits.

    The accuracy is the mean score of the best answer: of VQA that is the published one, min(1,
    annotators / 3), of data with one right answer the share of right ones. Beside it are the same
    measure of the answer that is usual for the question in train (`QuestionAlone`), and where
    ``answers.towers`` names some, of what towers tell (`TowerAnswers`), with thresholds from val,
    or from train if val is empty or evaluated itself.
    """

    needs = "an answerer and questions with answers"

    def fits(self, data: EvaluationData) -> bool:
        """See `Evaluator`."""
        return ANSWERER in data.members and data.questions_dir is not None

    def keys(self, data: EvaluationData) -> list[str]:
        """See `Evaluator`: accuracies, and those of each language."""
        names = self._names(data)
        return [*names, *(f"{part}/{name}" for part in _slices(data) for name in names)]

    def measure(self, data: EvaluationData) -> Measured:
        """See `Evaluator`.

        Raises:
            UserError: no questions in these splits, or an answerer or towers of other input.
        """
        questions, config = data.questions, data.config
        if not questions:
            raise UserError(
                f"There is no question in the splits {', '.join(config.splits)}. Choose others "
                "with --split."
            )
        assert data.questions_dir is not None
        alone = QuestionAlone(read_questions(data.questions_dir, "train"))
        given = {_ACCURACY: _ask(data), _ALONE: [alone.answer(q.text) for q in questions]}
        if config.answers.towers is not None:
            given[_TOWERS] = _ask_towers(data, alone, config.answers.towers)
        columns = {
            name: np.array([q.score(answer) for q, answer in zip(questions, answers)])
            for name, answers in given.items()
        }
        metrics, intervals = {}, {}
        everything = {"": np.ones(len(questions), bool)} | {
            f"{part}/": mask for part, mask in _slices(data).items()
        }
        for part, mask in everything.items():
            for name, scores in (columns | _gains(columns)).items():
                counted = PerQuery(scores * mask, mask.astype(float))
                key = f"{part}{name}"
                metrics[key], intervals[key] = mean_with_interval(counted, config)
        return Measured(
            metrics=metrics,
            intervals=intervals,
            counts={"questions": len(questions)},
            per_query=_per_question(questions, given, columns),
            headline=list(columns),
            note=f"{', '.join(config.splits)} split: {len(questions):,} questions. The accuracy is "
            "the mean score of the best answer. Intervals over questions.",
            sections=[_section(columns, everything)],
        )

    def _names(self, data: EvaluationData) -> list[str]:
        with_towers = data.config.answers.towers is not None
        baselines = [_ALONE, *([_TOWERS] if with_towers else [])]
        return [_ACCURACY, *(key for name in baselines for key in (name, difference(name)))]


def _gains(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the answerer's scores are above those of each baseline, question by question."""
    own = columns[_ACCURACY]
    return {difference(name): own - scores for name, scores in columns.items() if name != _ACCURACY}


def _slices(data: EvaluationData) -> dict[str, np.ndarray]:
    """Questions of each language, bool [Q], if there are several."""
    languages = [question.language for question in data.questions]
    if "language" not in data.config.slices or len(set(languages)) < 2:
        return {}
    return {f"language={one}": np.array(languages) == one for one in sorted(set(languages))}


def _ask(data: EvaluationData) -> list[str]:
    """Return the answerer's best answers."""
    path = data.members[ANSWERER]
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures[ANSWER]
    inputs = set(signature.structured_input_signature[1])
    answers: list[str] = []
    for batch in _batches(data):
        fed = {QUERY: [shown.question.text for shown in batch]}
        sides = [IMAGE_BYTES, IMAGE_2_BYTES] if IMAGE_2_BYTES in inputs else [IMAGE_BYTES]
        if inputs != {QUERY, *sides} or any(len(shown.images) != len(sides) for shown in batch):
            raise UserError(
                f"{path}: the answerer does not read what the data hold. Received: "
                f"inputs={sorted(inputs)}, images per question={len(batch[0].images)}"
            )
        columns = zip(*(shown.images for shown in batch))
        values = {**fed, **dict(zip(sides, map(list, columns)))}
        found = signature(**{key: tf.constant(value) for key, value in values.items()})
        answers += [answer.decode() for answer in found["answers"].numpy()[:, 0]]
    return answers


def _ask_towers(data: EvaluationData, alone: QuestionAlone, place: str) -> list[str]:
    """Return what towers answer."""
    towers = TowerAnswers(find_towers(place), data.config.batch_size)
    tested = itertools.chain.from_iterable(_batches(data))
    folder = data.questions_dir
    assert folder is not None
    train = read_questions(folder, "train")
    if len({answer for question in train for answer in question.answers}) > FEW_ANSWERS:
        return towers.choose(tested, alone, data.config.answers.candidates)
    other = "val" if "val" not in data.config.splits and _has(folder, "val") else "train"
    return towers.judge(read_shown(folder, other), tested)


def _has(folder: Path, split: str) -> bool:
    return next(read_shown(folder, split), None) is not None


def _batches(data: EvaluationData) -> Iterator[list[Shown]]:
    """The evaluated questions with their images, some at a time."""
    assert data.questions_dir is not None
    for split in data.config.splits:
        yield from in_batches(read_shown(data.questions_dir, split), data.config.batch_size)


def _per_question(
    questions: Sequence[AnsweredQuestion],
    given: dict[str, list[str]],
    columns: dict[str, np.ndarray],
) -> pa.Table:
    return pa.table(
        {
            "direction": pa.array([ANSWERS] * len(questions), pa.string()),
            "key": [question.key for question in questions],
            "query": [question.text for question in questions],
            "language": [question.language for question in questions],
            "answer": given[_ACCURACY],
            **{name: pa.array(scores) for name, scores in columns.items()},
        }
    )


def _section(columns: dict[str, np.ndarray], parts: dict[str, np.ndarray]) -> Tables:
    keys, heads = [], ["questions", "number"]
    for name in columns:
        keys.append(name)
        heads.append(_NAMES[name])
        if name != _ACCURACY:
            keys.append(difference(name))
            heads.append("difference to it")
    rows = tuple(
        Row(
            (part.rstrip("/") or "all", f"{int(mask.sum()):,}"),
            tuple(f"{part}{key}" for key in keys),
        )
        for part, mask in parts.items()
    )
    note = (
        "Accuracy: the mean score of the best answer. Question alone: what is usually right for "
        "the question in train, without the image. A difference is that of the answerer, question "
        "by question."
    )
    return Tables("Answers", (Table(tuple(heads), rows),), note)
