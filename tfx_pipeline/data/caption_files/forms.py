"""The forms of caption files, told apart by their content."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from tfx_pipeline.data.caption_files.caption import Caption, Content
from tfx_pipeline.data.caption_files.coco import is_coco, read_coco
from tfx_pipeline.data.caption_files.jsons import (
    are_json_lines,
    is_json_list,
    read_json_lines,
    read_json_list,
)
from tfx_pipeline.data.caption_files.karpathy import is_karpathy, read_karpathy
from tfx_pipeline.data.caption_files.table import is_table, read_table
from tfx_pipeline.data.caption_files.tokens import are_tokens, read_tokens
from tfx_pipeline.data.contract import Rejected, printable, to_bytes
from tfx_pipeline.data.text_files import read_text, suggest_encoding
from vl_models.errors import UserError


@dataclasses.dataclass(frozen=True)
class Form:
    """A form: its name towards people, how it is told, how it is read."""

    title: str
    fits: Callable[[Content], bool]
    read: Callable[[Content], Iterator[Caption | Rejected]]


# In the order in which they are tried; the keys are what --form takes.
FORMS = {
    "tokens": Form("Flickr tokens", are_tokens, read_tokens),
    "karpathy": Form("Karpathy", is_karpathy, read_karpathy),
    "coco": Form("COCO captions", is_coco, read_coco),
    "jsonl": Form("JSON lines", are_json_lines, read_json_lines),
    "json": Form("JSON list", is_json_list, read_json_list),
    "table": Form("table", is_table, read_table),
}
AUTO = "auto"


@dataclasses.dataclass(frozen=True)
class CaptionFile:
    """What a caption file holds.

    Attributes:
        form: title of its form.
        captions: in their order.
        rejected: what should have been captions, and why it is none.
    """

    form: str
    captions: list[Caption]
    rejected: list[Rejected]


def read_captions(file: str | Path, form: str = AUTO, encoding: str = AUTO) -> CaptionFile:
    """Read a caption file.

    Args:
        file: its path.
        form: a key of `FORMS`, or `auto`: by the content.
        encoding: see `text_files.open_text`.

    Raises:
        UserError: the file is missing, empty or of no known form, or all of it is in another
            encoding; names the place.
    """
    content = Content(str(file), read_text(str(file), encoding))
    _check_encoding(content)
    if form not in (AUTO, *FORMS):
        raise UserError(f"There is no form {form!r} of caption files: {', '.join(FORMS)}, {AUTO}.")
    known = FORMS[form] if form != AUTO else _detect(content)
    if not known.fits(content):
        raise UserError(f"{file}: not of the form {form!r}. Leave out --form, or give another.")
    found = list(known.read(content))
    if not found:
        raise UserError(f"{file}: holds no captions ({known.title}).")
    if content.ignored:
        names = printable(", ".join(f"{key} (row {row})" for key, row in content.ignored.items()))
        logging.getLogger(__name__).warning(
            "%s: texts ignored, their keys name neither captions nor a language: %s", file, names
        )
    captions = [item for item in found if isinstance(item, Caption)]
    rejected = [item for item in found if isinstance(item, Rejected)]
    return CaptionFile(known.title, captions, rejected)


def _check_encoding(content: Content) -> None:
    """Tell a file in another encoding from one with broken bytes, which are single rows' fault."""
    try:
        content.text.encode("utf-8")
    except UnicodeEncodeError as error:
        suggested = suggest_encoding(to_bytes(content.text))
        if suggested is not None:
            row = content.text.count("\n", 0, error.start) + 1
            raise UserError(
                f"{content.file}, row {row}: not valid UTF-8, but valid {suggested.upper()}. Give "
                f"--encoding {suggested}, or save the file as UTF-8."
            ) from None


def _detect(content: Content) -> Form:
    for form in FORMS.values():
        if form.fits(content):
            return form
    titles = ", ".join(form.title for form in FORMS.values())
    if not content.text.strip():
        raise UserError(f"{content.file}: the file is empty.")
    if not isinstance(content.json, json.JSONDecodeError):
        raise UserError(
            f"{content.file}: JSON without the keys of a known form (image and caption; images and "
            "annotations; images with sentences)."
        )
    row, why = content.json.lineno, content.json.msg
    raise UserError(
        f"{content.file}, row {row}: neither JSON ({why}) nor a token file nor a table with names "
        f"such as image,caption in its first line. Known forms: {titles}."
    )
