"""Data folders of questions: kind answers, one row per question."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from tfx_pipeline.data.caption_files.caption import Content
from tfx_pipeline.data.config import SplitConfig
from tfx_pipeline.data.contract import Reason, Rejected, content_json
from tfx_pipeline.data.folder import FILE_NAME, DataFolder
from tfx_pipeline.data.questions.image_files import ImageFiles
from tfx_pipeline.data.questions.nlvr2 import read_nlvr2
from tfx_pipeline.data.questions.question import Question, split_of_file
from tfx_pipeline.data.questions.snli_ve import read_snli_ve
from tfx_pipeline.data.questions.vqa import MIN_OCCURRENCES, read_vqa, without_rare_answers
from tfx_pipeline.data.rejected import explain_rejected, write_rejected_rows
from tfx_pipeline.data.tables import write_parquet
from tfx_pipeline.data.text_files import read_text
from vl_models.errors import UserError

LOG = "log/questions.parquet"
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("question", pa.string()),
        ("image", pa.string()),  # file, relative to the image folder
        ("image_2", pa.string()),  # null where there is one image
        ("answers", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float32())),
        ("split", pa.string()),
    ]
)

Reader = Callable[[Sequence[Content]], Iterator[Question | Rejected]]
READERS: Mapping[str, Reader] = {"vqa": read_vqa, "nlvr2": read_nlvr2, "snli_ve": read_snli_ve}


@dataclasses.dataclass(frozen=True)
class QuestionSummary:
    """What was read: questions accepted, of how many images and answers, by split; rejected."""

    images: int
    answers: int
    splits: Mapping[str, int]
    unanswered: int
    rejected: int

    @property
    def questions(self) -> int:
        """All accepted ones."""
        return sum(self.splits.values())

    @property
    def read(self) -> int:
        """All questions of the files, and what should have been one."""
        return self.questions + self.rejected


def write_questions(
    form: str,
    files: Sequence[str | Path],
    images: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    min_occurrences: int = MIN_OCCURRENCES,
    max_rejected_fraction: float = 0.01,
) -> QuestionSummary:
    """Write a data folder of kind answers; the images stay where they are.

    Args:
        form: a key of `READERS`.
        files: of all splits, see `split_of_file`.
        images: folder with the images, at any depth.
        out: data folder to write; `out/rejected` gets what was rejected.
        name: of the data set; default: the name of `out`.
        min_occurrences: of an answer of VQA that training knows.
        max_rejected_fraction: the share of questions that may be lost; those that the annotators
            did not agree upon are not counted.

    Raises:
        UserError: names file, row or key: a file of another form, too much rejected, no question
            of train.
    """
    out, folder = Path(out), Path(images).resolve()
    if (out / FILE_NAME).is_file() and DataFolder.load(out).log != LOG:
        raise UserError(f"{out}: holds another data set. Choose an empty folder.")
    store = ImageFiles(folder)
    splits = {str(file): split_of_file(file) for file in files}
    found = list(READERS[form]([Content(file, read_text(file)) for file in splits]))
    questions, missing = _with_images(
        [one for one in found if isinstance(one, Question)], store, folder
    )
    rejected = [*(one for one in found if isinstance(one, Rejected)), *missing]
    read = len(questions) + len(rejected)
    faults = [one for one in rejected if one.reason != Reason.NO_AGREEMENT]
    write_rejected_rows(out, read, rejected)
    if len(faults) > max_rejected_fraction * read or not questions:
        what = f"{', '.join(splits)}: {{}} questions"
        raise UserError(explain_rejected(what, out, read, rejected, max_rejected_fraction))
    if form == "vqa":
        questions = without_rare_answers(questions, splits, min_occurrences)
    table = _table(questions, splits)
    summary = _summarise(table, len(rejected))
    if not summary.splits["train"]:
        raise UserError(f"{', '.join(splits)}: no question is of the split train. Name its files.")
    if not summary.answers:
        raise UserError(
            f"{', '.join(splits)}: no answer occurs {min_occurrences} times. Give a smaller "
            "--min-occurrences."
        )
    write_parquet(table, out / LOG)
    DataFolder(
        kind="answers",
        name=name or out.resolve().name,
        log=LOG,
        format="parquet",
        images=_place(folder, out.resolve()),
        image_ids="name",
        splits=SplitConfig(policy="given"),
        about=f"Questions with answers, of {form} files.",
    ).save(out)
    return summary


def _place(images: Path, out: Path) -> str:
    """Return the image folder as data.yaml names it: relative, if it moves with the data folder."""
    return str(images.relative_to(out) if images.is_relative_to(out) else images)


def _with_images(
    questions: Iterable[Question], store: ImageFiles, folder: Path
) -> tuple[list[Question], list[Rejected]]:
    """Return the questions with their images' files, and the rejection of each other."""
    kept, missing = [], []
    for question in questions:
        files = [store.find(names) for names in question.images]
        lacking = [names[0] for names, file in zip(question.images, files) if file is None]
        if lacking:
            message = f"image {lacking[0]!r} is not in {folder}"
            content = content_json({"key": question.key, "question": question.text})
            reason = Reason.IMAGE_MISSING
            missing.append(Rejected(question.file, question.row, reason, message, 1, content))
            continue
        named = tuple((file,) for file in files if file is not None)
        kept.append(dataclasses.replace(question, images=named))
    return kept, missing


def _table(questions: Sequence[Question], splits: Mapping[str, str]) -> pa.Table:
    rows = [
        {
            "key": question.key,
            "question": question.text,
            "image": question.images[0][0],
            "image_2": question.images[1][0] if len(question.images) > 1 else None,
            "answers": [answer for answer, _ in question.answers],
            "scores": [score for _, score in question.answers],
            "split": splits[question.file],
        }
        for question in questions
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def _summarise(table: pa.Table, rejected: int) -> QuestionSummary:
    split = table["split"].to_pylist()
    images = set(table["image"].to_pylist()) | set(table["image_2"].to_pylist())
    answers = [set(names) for names in table["answers"].to_pylist()]
    train = [names for names, of in zip(answers, split) if of == "train"]
    return QuestionSummary(
        images=len(images - {None}),
        answers=len(set().union(*train)),
        splits={name: split.count(name) for name in ("train", "val", "test")},
        unanswered=sum(not names for names in train),
        rejected=rejected,
    )
