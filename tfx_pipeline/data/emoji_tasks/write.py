"""The three data sets beside the demo's: published files, and the data folders read from them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from serving.files import write_atomically
from tfx_pipeline.data.emoji_tasks.nlvr2 import nlvr2_lines
from tfx_pipeline.data.emoji_tasks.pictures import WordedEmoji
from tfx_pipeline.data.emoji_tasks.snli_ve import snli_ve_lines
from tfx_pipeline.data.emoji_tasks.vqa import vqa_files
from tfx_pipeline.data.folder import FILE_NAME, DataFolder
from tfx_pipeline.data.questions.write import READERS, QuestionSummary, write_questions
from vl_models.errors import UserError
from vl_models.features import SPLITS

PUBLISHED = "published"
_MIN_OCCURRENCES = 3  # of an answer: there are fewer questions than VQA has

ABOUT = """\
Questions about emoji in the form of {form}, made by rule of the demo's data: the pictures and words
are those of Noto Color Emoji and the Unicode CLDR, questions and sentences come from templates in
English and Chinese, labels and annotators from the CLDR's keywords and groups. Nobody was asked.
The images of test are in no question of train or val. {folder}/ has the files as {form} is
published; the rest is what `vlsearch data {form}` makes of them.
"""


def remove_tasks(out: Path) -> None:
    """Remove what `write_tasks` has written there before: its splits are those of that time."""
    for form in READERS:
        if (out / form / FILE_NAME).is_file() and DataFolder.load(out / form).name == _name(form):
            shutil.rmtree(out / form)


def write_tasks(
    out: Path, pictures: Sequence[WordedEmoji], images: Path, seed: int
) -> dict[str, QuestionSummary]:
    """Write the folders `vqa`, `nlvr2` and `snli_ve`; earlier ones are replaced.

    Args:
        out: gets the folders.
        pictures: with their splits.
        images: folder of the pictures' files, `<image id>.png`.
        seed: of what is chosen at random.

    Returns:
        What each holds, by name.

    Raises:
        UserError: the pictures are too few to make questions of.
    """
    numbers = {f"{picture.number:012d}": picture for picture in pictures}
    own = {picture.image_id: picture for picture in pictures}
    files: dict[str, dict[str, str]] = {"vqa": {}, "nlvr2": {}, "snli_ve": {}}
    names: dict[str, dict[str, WordedEmoji]] = {"vqa": numbers, "nlvr2": {}, "snli_ve": own}
    for place, split in enumerate(SPLITS):
        rng = np.random.default_rng([seed, 11, place])
        for name, content in vqa_files(pictures, split, rng).items():
            files["vqa"][name] = json.dumps(content, ensure_ascii=False) + "\n"
        lines, pairs = nlvr2_lines(pictures, split, rng)
        files["nlvr2"][f"{'dev' if split == 'val' else split}.json"] = _lines(lines)
        names["nlvr2"] |= pairs
        hypotheses = snli_ve_lines(pictures, split, rng)
        files["snli_ve"][f"{'dev' if split == 'val' else split}.jsonl"] = _lines(hypotheses)
    return {form: _write(out / form, form, files[form], names[form], images) for form in files}


def _write(
    out: Path, form: str, files: Mapping[str, str], names: Mapping[str, WordedEmoji], images: Path
) -> QuestionSummary:
    """Write a published data set, and read it into its data folder."""
    if not all(text for file, text in files.items() if file.startswith("train")):
        raise UserError(
            f"{out}: the emoji are too few to make questions in the form of {form}: they have no "
            "words in common, or are of one group. Give a larger --limit."
        )
    shutil.rmtree(out, ignore_errors=True)
    published = out / PUBLISHED
    (published / "images").mkdir(parents=True)
    for name, picture in names.items():
        _link(images / f"{picture.image_id}.png", published / "images" / f"{name}.png")
    for file, text in files.items():
        write_atomically(published / file, text)
    write_atomically(out / "README.txt", ABOUT.format(form=form, folder=PUBLISHED))
    return write_questions(
        form,
        [published / file for file, text in files.items() if text],
        published / "images",
        out,
        name=_name(form),
        min_occurrences=_MIN_OCCURRENCES,
        max_rejected_fraction=0.0,
    )


def _name(form: str) -> str:
    return f"emoji-{form}"


def _lines(records: Iterable[Mapping[str, str]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _link(source: Path, target: Path) -> None:
    """Give a file a second name; a copy where the disk has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
