"""What the readers of question files give."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from tfx_pipeline.data.caption_files.caption import SPLITS
from vl_models.errors import UserError

_SPLIT_NAME = re.compile(rf"(?<![a-z])({'|'.join(SPLITS)})(?![a-z])")


@dataclasses.dataclass(frozen=True)
class Question:
    """A question, or a sentence, about one image or two.

    Attributes:
        key: its id in the data set.
        text: as it is written.
        images: for each image, the names under which its file may be found.
        answers: every right answer with its score in (0, 1].
        file: where it is from.
        row: its number there, from 1.
    """

    key: str
    text: str
    images: tuple[tuple[str, ...], ...]
    answers: tuple[tuple[str, float], ...]
    file: str
    row: int


def split_of_file(file: str | Path) -> str:
    """Return the split that a file is of: by its name, or that of its folder.

    `train`, `val` (also `dev`, `valid`, `validation`) and `test` count where they are words of
    their own or followed by digits, as in `v2_mscoco_train2014_annotations.json`; of several, the
    last.

    Raises:
        UserError: neither name holds one.
    """
    path = Path(file).resolve()
    for name in (path.name, path.parent.name):
        if found := _SPLIT_NAME.findall(name.lower()):
            return SPLITS[found[-1]]
    raise UserError(
        f"{file}: the name tells no split. Put train, val (or dev) or test into it, or into that "
        "of its folder."
    )
