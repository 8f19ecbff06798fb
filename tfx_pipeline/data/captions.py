"""Caption sets as data folders: every caption becomes a clicked row.

Images are referenced where they are, or linked or copied; never changed. What cannot be used is
kept with its reason, as a click log's rows are.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Literal

import pyarrow as pa

from tfx_pipeline.data.caption_files.caption import Caption
from tfx_pipeline.data.caption_files.forms import AUTO, read_captions
from tfx_pipeline.data.config import ExampleGenConfig, ImageConfig, SplitConfig
from tfx_pipeline.data.contract import Reason, Rejected, content_json
from tfx_pipeline.data.folder import FILE_NAME, DataFolder
from tfx_pipeline.data.image_store import SimilarFiles
from tfx_pipeline.data.images import strip_suffix
from tfx_pipeline.data.rejected import explain_rejected, write_rejected_rows
from tfx_pipeline.data.tables import write_parquet
from vl_models.errors import UserError

Place = Literal["reference", "link", "copy"]

MAX_REJECTED_FRACTION: float = ExampleGenConfig().max_rejected_fraction
_LOG = "log/captions.parquet"
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
class CaptionSummary:
    """What was read: captions accepted, of how many images, without a split; and rejected."""

    form: str
    images: int
    captions: int
    unassigned: int
    rejected: int

    @property
    def read(self) -> int:
        """All captions of the file, and what should have been one."""
        return self.captions + self.rejected


def write_captions(
    file: str | Path,
    images: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    place: Place = "reference",
    form: str = AUTO,
    encoding: str = AUTO,
    max_rejected_fraction: float = MAX_REJECTED_FRACTION,
) -> CaptionSummary:
    """Write a data folder of kind captions.

    Args:
        file: the captions.
        images: folder with the images.
        out: data folder to write; `out/rejected` gets what was rejected, also where that is too
            much.
        name: of the data set; default: the name of `out`.
        place: leave the images where they are, link them, or copy them into `out/images`.
        form: a key of `caption_files.forms.FORMS`, or `auto`.
        encoding: of the file, or `auto`.
        max_rejected_fraction: the share of captions that may be lost.

    Raises:
        UserError: names file and row or key: unknown form, too much rejected; an image to be
            linked or copied onto itself or to a place outside `out/images`.
    """
    file, images, out = Path(file), Path(images).resolve(), Path(out)
    if not images.is_dir():
        raise UserError(f"{images}: no such image folder. Give it with --images.")
    if (out / FILE_NAME).is_file() and DataFolder.load(out).log != _LOG:
        raise UserError(f"{out}: holds another data set. Choose an empty folder.")
    found = read_captions(file, form, encoding)
    captions, missing = _find_images(file, found.captions, images)
    rejected = [*found.rejected, *missing]
    names = list(dict.fromkeys(caption.image for caption in captions))
    assigned = any(caption.split for caption in captions)
    summary = CaptionSummary(
        form=found.form,
        images=len(names),
        captions=len(captions),
        unassigned=sum(caption.split is None for caption in captions) if assigned else 0,
        rejected=sum(problem.rows for problem in rejected),
    )
    if summary.rejected > max_rejected_fraction * summary.read or not captions:
        write_rejected_rows(out, summary.read, rejected)
        what = f"{file}: {{}} captions"
        raise UserError(explain_rejected(what, out, summary.read, rejected, max_rejected_fraction))
    _place_images(names, images, out / "images", place)
    write_rejected_rows(out, summary.read, rejected)
    # Without their suffixes, a.jpg and a.png would be one image.
    distinct = len({strip_suffix(image) for image in names}) == len(names)
    ids: Literal["stem", "name"] = "stem" if distinct else "name"
    write_parquet(_table(captions, ids), out / _LOG)
    DataFolder(
        kind="captions",
        name=name or out.resolve().name,
        log=_LOG,
        format="parquet",
        images=str(images) if place == "reference" else "images",
        image_ids=ids,
        splits=SplitConfig(policy="given" if assigned else "by_image"),
        about=f"Captions of {file.name} ({found.form}); each is a clicked row.",
    ).save(out)
    return summary


def _find_images(
    file: Path, captions: Iterable[Caption], images: Path
) -> tuple[list[Caption], list[Rejected]]:
    """Return the captions whose images are there, and one rejection for each other image.

    A name without suffix is that of the one image which has it and a suffix.
    """
    by_image: dict[str, list[Caption]] = {}
    for caption in captions:
        by_image.setdefault(caption.image, []).append(caption)
    similar = SimilarFiles(ImageConfig(root=str(images)))
    names: dict[str, str] = {}
    missing = []
    for image, own in by_image.items():
        if (images / image).is_file():
            names[image] = PurePath(image).as_posix()  # ./a.jpg is a.jpg
        elif len(same := similar.same_stem(image)) == 1:
            names[image] = same[0]
        else:
            message = f"image {image!r} is not in {images}{similar.describe(image)}"
            content = content_json({"image": image, "caption": own[0].text})
            row, reason = own[0].row, Reason.IMAGE_MISSING
            missing.append(Rejected(str(file), row, reason, message, len(own), content))
    found = [
        dataclasses.replace(caption, image=names[caption.image])
        for caption in captions
        if caption.image in names
    ]
    return found, missing


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
