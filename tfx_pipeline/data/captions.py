"""Caption sets as data folders: every caption becomes a clicked row.

Four forms are told apart by their content: JSON lines (`image`, `split`, lists of captions
by language), Flickr's token file (`photo.jpg#0<TAB>caption`), Karpathy's dataset JSON
(`images[].sentences[].raw`) and COCO's captions JSON (`images`, `annotations`). Images are
referenced where they are, or linked or copied; never changed.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline.data.config import SplitConfig
from tfx_pipeline.data.folder import FILE_NAME, DataFolder
from tfx_pipeline.data.images import strip_suffix
from tfx_pipeline.data.language import detect_language
from vl_models.errors import UserError

Place = Literal["reference", "link", "copy"]

_SPLITS = {
    "train": "train",
    "restval": "train",  # Karpathy: the rest of COCO's validation images, used for training
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}
_LOG = "log/captions.parquet"
_TEXT_KEYS = ("caption", "captions", "text", "texts", "sentences")
_LANGUAGE_CODE = re.compile(r"[a-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
_SCHEMA = pa.schema(
    [
        ("query", pa.string()),
        ("image_id", pa.string()),
        ("clicked", pa.int8()),
        ("image_uri", pa.string()),
        ("language", pa.string()),
        ("split", pa.string()),
    ]
)


@dataclasses.dataclass(frozen=True)
class Caption:
    """One caption: the image's file name, the text, its language and split if known."""

    image: str
    text: str
    language: str
    split: str | None


@dataclasses.dataclass(frozen=True)
class CaptionSummary:
    """What was written."""

    form: str
    images: int
    captions: int
    unassigned: int


def write_captions(
    file: str | Path,
    images: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    place: Place = "reference",
) -> CaptionSummary:
    """Write a data folder of kind captions.

    Args:
        file: the captions.
        images: folder with the images.
        out: data folder to write.
        name: of the data set; default: the name of `out`.
        place: leave the images where they are, link them, or copy them into `out/images`.

    Raises:
        UserError: names file and row or key: unknown form, missing key, missing image; an
            image to be linked or copied onto itself or to a place outside `out/images`.
    """
    file, images, out = Path(file), Path(images).resolve(), Path(out)
    if not images.is_dir():
        raise UserError(f"{images}: no such image folder. Give it with --images.")
    if (out / FILE_NAME).is_file() and DataFolder.load(out).log != _LOG:
        raise UserError(f"{out}: holds another data set. Choose an empty folder.")
    form, captions = read_captions(file)
    names = dict.fromkeys(caption.image for caption in captions)
    for image in names:
        if not (images / image).is_file():
            raise UserError(
                f"{file}: image {image!r} is not in {images}. Check --images, or remove its "
                "captions."
            )
    _place_images(list(names), images, out / "images", place)
    # Without their suffixes, a.jpg and a.png would be one image.
    distinct = len({strip_suffix(image) for image in names}) == len(names)
    ids: Literal["stem", "name"] = "stem" if distinct else "name"
    assigned = any(caption.split for caption in captions)
    (out / "log").mkdir(parents=True, exist_ok=True)
    temporary = out / "log" / ".captions.parquet"
    pq.write_table(_table(captions, ids), temporary)
    temporary.replace(out / _LOG)
    DataFolder(
        kind="captions",
        name=name or out.resolve().name,
        log=_LOG,
        format="parquet",
        images=str(images) if place == "reference" else "images",
        image_ids=ids,
        splits=SplitConfig(policy="given" if assigned else "by_image"),
        about=f"Captions of {file.name} ({form}); each is a clicked row.",
    ).save(out)
    unassigned = sum(caption.split is None for caption in captions) if assigned else 0
    return CaptionSummary(form, len(names), len(captions), unassigned)


def read_captions(file: Path) -> tuple[str, list[Caption]]:
    """Return the form of a caption file and its captions, in order.

    Raises:
        UserError: the file is missing, empty or of no known form; names row or key.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}). Check the path.") from error
    except UnicodeDecodeError as error:
        row = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{file}, row {row}: not valid UTF-8. Save the file as UTF-8.") from error
    form, reader = _detect(file, text)
    captions = list(reader())
    if not captions:
        raise UserError(f"{file}: holds no captions ({form}).")
    return form, captions


def _detect(file: Path, text: str) -> tuple[str, Callable[[], Iterator[Caption]]]:
    first = text.lstrip().split("\n", 1)[0]
    if "#" in first.split("\t", 1)[0] and "\t" in first:
        return "Flickr tokens", lambda: _tokens(file, text)
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        if first.startswith("{") and "\n" in text.strip():
            return "JSON lines", lambda: _json_lines(file, text)
        raise UserError(
            f"{file}, row {error.lineno}: neither JSON nor a token file ({error.msg}). Known "
            "forms: JSON lines, Flickr tokens, Karpathy JSON, COCO captions JSON."
        ) from error
    if isinstance(whole, dict) and "annotations" in whole:
        return "COCO captions", lambda: _coco(file, whole)
    if isinstance(whole, dict) and "images" in whole:
        return "Karpathy", lambda: _karpathy(file, whole)
    if isinstance(whole, dict) and "image" in whole:
        return "JSON lines", lambda: _json_lines(file, text)
    raise UserError(
        f"{file}: JSON without the keys of a known form (image; images and annotations; "
        "images with sentences)."
    )


def _json_lines(file: Path, text: str) -> Iterator[Caption]:
    ignored: dict[str, int] = {}
    for row, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{file}, row {row}"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{where}: not JSON ({error.msg}).") from error
        if not isinstance(record, dict):
            raise UserError(f"{where}: not a JSON object.")
        image, split = _get(record, "image", str, where), _split(record.get("split"), where)
        for key, value in record.items():
            plain = key in _TEXT_KEYS
            texts = [value] if plain and isinstance(value, str) else value
            if key in ("image", "split") or not isinstance(texts, list):
                continue
            if not plain and not _LANGUAGE_CODE.fullmatch(key):
                ignored.setdefault(key, row)
                continue
            for caption in texts:
                if not isinstance(caption, str):
                    raise UserError(f"{where}: key {key!r} must hold texts.")
                if caption.strip():
                    yield Caption(image, caption, detect_language(caption) if plain else key, split)
    if ignored:
        names = ", ".join(f"{key} (row {row})" for key, row in ignored.items())
        logging.getLogger(__name__).warning(
            "%s: lists ignored, their keys are neither language codes nor one of %s: %s",
            file,
            ", ".join(_TEXT_KEYS),
            names,
        )


def _tokens(file: Path, text: str) -> Iterator[Caption]:
    for row, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        key, tab, caption = line.partition("\t")
        image, hash_sign, _ = key.rpartition("#")
        if not (tab and hash_sign and image and caption.strip()):
            raise UserError(
                f"{file}, row {row}: expected `image#number<TAB>caption`. Received: {line[:80]!r}"
            )
        yield Caption(image, caption, detect_language(caption), None)


def _karpathy(file: Path, whole: dict[str, Any]) -> Iterator[Caption]:
    for number, record in enumerate(_get(whole, "images", list, str(file))):
        where = f"{file}, images[{number}]"
        image = _get(record, "filename", str, where)
        if record.get("filepath"):
            image = f"{record['filepath']}/{image}"
        split = _split(record.get("split"), where)
        for index, sentence in enumerate(_get(record, "sentences", list, where)):
            text = _get(sentence, "raw", str, f"{where}.sentences[{index}]")
            if text.strip():
                yield Caption(image, text, detect_language(text), split)


def _coco(file: Path, whole: dict[str, Any]) -> Iterator[Caption]:
    names: dict[Any, str] = {}
    for number, record in enumerate(_get(whole, "images", list, str(file))):
        where = f"{file}, images[{number}]"
        names[_get(record, "id", (int, str), where)] = _get(record, "file_name", str, where)
    for number, record in enumerate(_get(whole, "annotations", list, str(file))):
        where = f"{file}, annotations[{number}]"
        key = _get(record, "image_id", (int, str), where)
        if key not in names:
            raise UserError(f"{where}: image_id {key!r} is not among the images.")
        text = _get(record, "caption", str, where)
        if text.strip():
            yield Caption(names[key], text, detect_language(text), None)


def _get(record: Any, key: str, kind: Any, where: str) -> Any:
    value = record.get(key) if isinstance(record, dict) else None
    if not isinstance(value, kind):
        raise UserError(f"{where}: key {key!r} is missing or of the wrong type.")
    return value


def _split(value: Any, where: str) -> str | None:
    if value in (None, "", "unassigned"):
        return None
    if value not in _SPLITS:
        raise UserError(f"{where}: unknown split {value!r}. Known: {', '.join(_SPLITS)}.")
    return _SPLITS[value]


def _place_images(names: list[str], source: Path, target: Path, place: Place) -> None:
    if place == "reference":
        return
    for name in names:  # all of them, before a file is touched
        if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise UserError(
                f"image {name!r} would be placed outside {target}. Write its name relative to the "
                "image folder, without `..`, or leave out --link and --copy."
            )
        if _location(target / name) == _location(source / name):
            raise UserError(
                f"image {name!r}: {source / name} is both source and target. Leave out --link and "
                "--copy to use the images where they are, or give another output folder."
            )
    for name in names:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.part")
        temporary.unlink(missing_ok=True)
        if place == "copy":
            shutil.copyfile(source / name, temporary)
        else:
            temporary.symlink_to(source / name)
        temporary.replace(path)


def _location(path: Path) -> Path:
    """Where the entry itself lies: links in its folder are followed, the entry is not."""
    return path.parent.resolve() / path.name


def _table(captions: list[Caption], ids: Literal["stem", "name"]) -> pa.Table:
    images = [caption.image for caption in captions]
    return pa.table(
        {
            "query": [caption.text for caption in captions],
            "image_id": images if ids == "name" else [strip_suffix(image) for image in images],
            "clicked": [1] * len(captions),
            "image_uri": images,
            "language": [caption.language for caption in captions],
            "split": [caption.split for caption in captions],
        },
        schema=_SCHEMA,
    )
