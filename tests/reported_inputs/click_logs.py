"""Data folders with click logs that people have, and that are easily misread."""

import base64
import csv
import functools
import io
import json
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.pictures import ASCII, RESOLUTION_UNIT, exif_data, saved
from tests.reported_inputs.case import Case, Picture
from tests.reported_inputs.pictures import PICTURES, RGB, draw, write_pictures

_WORDS = ("small", "large", "plain", "shiny", "old", "nice", "flat")
# Each of 7 words for each of 16 pictures; "small red circle" is the first row.
_ROWS = tuple(
    (f"{word} {colour} {shape}", f"{colour}-{shape}")
    for word in _WORDS
    for colour, shape in PICTURES
)
_RED_CIRCLE = sorted(f"{word} red circle" for word in _WORDS)
_ZERO_WIDTH = "\u200b\ufeff\u200d"


def _folder(folder: Path, log: str | bytes, name: str = "a.csv", images: bool = True) -> None:
    """A data folder with one log file, and the pictures."""
    lines = ["version: 1", "kind: clicks", "name: shapes", "log: log/*"]
    lines += [] if images else ["images: null"]
    (folder / "data.yaml").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "log").mkdir()
    content = log if isinstance(log, bytes) else log.encode("utf-8")
    (folder / "log" / name).write_bytes(content)
    if images:
        write_pictures(folder / "images")


def _csv(rows=_ROWS, header=("query", "image_id", "clicked"), **dialect) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, **dialect)
    writer.writerow(header)
    writer.writerows((*row, 1) for row in rows)
    return stream.getvalue()


def _json_lines(records) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def _parquet(**columns) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table({**columns, "clicked": [1] * len(_ROWS)}), stream)
    return stream.getvalue()


_QUERIES = [query for query, _ in _ROWS]
_IMAGES = [image for _, image in _ROWS]


def _unclosed_quote(folder):
    lines = _csv().splitlines(keepends=True)
    lines[33] = '"12 inch red circle,red-circle,1\r\n'  # under the header: row 33
    _folder(folder, "".join(lines))


def _backslash_quotes(folder):
    rows = [f'"12\\" {query}",{image},1\n' for query, image in _ROWS]
    _folder(folder, "query,image_id,clicked\n" + "".join(rows))


def _duplicate_header(folder):
    rows = [(query, f"session{at}", image) for at, (query, image) in enumerate(_ROWS)]
    _folder(folder, _csv(rows, ("query", "query", "image_id", "clicked")))


def _list_query(folder):
    records = [
        {"query": [query, f"shop {query}"], "image_id": image, "clicked": 1}
        for query, image in _ROWS
    ]
    _folder(folder, _json_lines(records), "a.jsonl")


def _uuid(image: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_URL, image)


def _uuid_ids(folder):
    ids = pa.array([_uuid(image).bytes for image in _IMAGES], pa.binary(16))
    _folder(folder, _parquet(query=_QUERIES, image_id=ids), "a.parquet")
    for path in list((folder / "images").iterdir()):
        path.rename(path.with_stem(str(_uuid(path.stem))))


@functools.cache
def _picture_bytes(image: str) -> bytes:
    # JPEG: its base64 has the two characters that are others in URLs.
    return saved(draw(*image.split("-")), quality=95)


def _base64_urlsafe(folder):
    records = [
        {
            "query": query,
            "image_id": image,
            "clicked": 1,
            "image_bytes": base64.urlsafe_b64encode(_picture_bytes(image)).decode().rstrip("="),
        }
        for query, image in _ROWS
    ]
    _folder(folder, _json_lines(records), "a.jsonl", images=False)


def _base64_in_parquet(folder):
    texts = [base64.b64encode(_picture_bytes(image)).decode() for image in _IMAGES]
    log = _parquet(query=_QUERIES, image_id=_IMAGES, image_bytes=texts)
    _folder(folder, log, "a.parquet", images=False)


def _two_halves() -> Image.Image:
    """36 x 24 pixels, red on the left and blue on the right."""
    image = Image.new("RGB", (36, 24), RGB["red"])
    image.paste(RGB["blue"], (18, 0, 36, 24))
    return image


def _exif_of_wrong_type(folder):
    _folder(folder, _csv())
    (folder / "images/red-circle.png").unlink()
    exif = exif_data(6, more=[(RESOLUTION_UNIT, ASCII, b"inch")])
    picture = saved(_two_halves(), quality=95, subsampling=0, exif=exif)
    (folder / "images/red-circle.jpg").write_bytes(picture)


def _long_strip(folder):
    _folder(folder, _csv())
    strip = Image.new("RGB", (70_000, 20), RGB["red"])
    strip.paste(RGB["blue"], (35_000, 0, 70_000, 20))
    strip.save(folder / "images/red-circle.png")


def _grey_of_16_bits(folder):
    _folder(folder, _csv())
    for path in (folder / "images").iterdir():
        greys = np.asarray(Image.open(path).convert("L")).astype(np.uint16) << 8
        if path.stem == "red-circle":
            greys = np.repeat(np.array([[0x0000, 0x4000, 0x8000, 0xFF00]], np.uint16), 8, axis=1)
            greys = np.repeat(greys, 32, axis=0)
        Image.fromarray(greys).save(path)


def _linked_subfolder(folder):
    _folder(folder, _csv([(query, f"shots/{image}") for query, image in _ROWS]))
    (folder / "images").rename(folder / "elsewhere")
    (folder / "images").mkdir()
    (folder / "images/shots").symlink_to("../elsewhere")


def _ordinary(folder):
    _folder(folder, _csv())


def _zero_width_query(folder):
    _folder(folder, _csv([*_ROWS[:-1], (_ZERO_WIDTH, _ROWS[-1][1])]))


def _yyyymmdd(folder):
    rows = [(*row, 20240101 + at % 28) for at, row in enumerate(_ROWS)]
    _folder(folder, _csv(rows, ("query", "image_id", "timestamp", "clicked")))
    with (folder / "data.yaml").open("a", encoding="utf-8") as stream:
        stream.write("splits: {policy: by_time, val_from: 2024-01-15, test_from: 2024-01-18}\n")


def _spark_folder(folder):
    part = "part-00000-0f0e.c000.snappy.parquet"
    _folder(folder, _parquet(query=_QUERIES, image_id=_IMAGES), part)
    (folder / "log/_SUCCESS").touch()
    (folder / "log/_committed_77").write_text('{"added": []}')
    (folder / f"log/.{part}.crc").write_bytes(b"crc\0\0")


def _tabs_in_csv(folder):
    _folder(folder, _csv(delimiter="\t"))


_ON_WHITE = Picture("red-circle", (24, 24), {(12, 12): RGB["red"]})


def _taken(name, write, image="red-circle", texts=_RED_CIRCLE, **more) -> Case:
    """All rows come through."""
    return Case(name, write, accepted=len(_ROWS), texts={image: list(texts)}, **more)


CASES = (
    Case(
        "csv-unclosed-quote",
        _unclosed_quote,
        accepted=len(_ROWS) - 1,
        rejected={"malformed_row": 1},
        texts={"red-circle": [text for text in _RED_CIRCLE if text != "plain red circle"]},
        messages={
            33: "line 34: field 1 opens a quote and never closes it. Double the quotes inside of a "
            "quoted field; if they are escaped otherwise set `csv.escape`, if quotes are plain "
            "text set `csv.quote: none`"
        },
    ),
    _taken(
        "csv-backslash-quotes", _backslash_quotes, texts=sorted(f'12" {t}' for t in _RED_CIRCLE)
    ),
    Case(
        "csv-duplicate-header",
        _duplicate_header,
        accepted=0,
        error="{folder}/log/a.csv: column query is there more than once. Columns found: query, "
        "query, image_id, clicked. Rename or remove all but one.",
    ),
    Case(
        "jsonl-list-query",
        _list_query,
        accepted=0,
        rejected={"malformed_row": len(_ROWS)},
        error="112 of 112 rows (100.0%) were rejected, more than max_rejected_fraction=0.01 "
        "allows. malformed_row: 112 rows, e.g. {folder}/log/a.jsonl, row 1 (query is a list; the "
        "log needs one value per row. Unnest it.). Correct the input, or raise "
        "max_rejected_fraction if these rows may be lost.",
    ),
    _taken("parquet-uuid-ids", _uuid_ids, str(_uuid("red-circle"))),
    _taken("base64-urlsafe", _base64_urlsafe, picture=_ON_WHITE),
    _taken("base64-in-parquet", _base64_in_parquet, picture=_ON_WHITE),
    _taken(
        "exif-of-wrong-type",
        _exif_of_wrong_type,
        picture=Picture(
            "red-circle", (24, 36), {(12, 4): RGB["red"], (12, 31): RGB["blue"]}
        ),  # upright
    ),
    _taken(
        "long-strip",
        _long_strip,
        picture=Picture(
            "red-circle", (70_000, 20), {(0, 0): RGB["red"], (69_999, 19): RGB["blue"]}
        ),
    ),
    _taken(
        "grey-of-16-bits",
        _grey_of_16_bits,
        picture=Picture(
            "red-circle",
            (32, 32),
            {
                (x, 16): (grey, grey, grey)
                for x, grey in {3: 0x00, 11: 0x40, 19: 0x80, 28: 0xFF}.items()
            },
        ),
    ),
    _taken("linked-subfolder", _linked_subfolder, "shots/red-circle"),
    _taken("brackets-in-path", _ordinary, folder="[2024] shop"),
    Case(
        "zero-width-query",
        _zero_width_query,
        accepted=len(_ROWS) - 1,
        rejected={"missing_query": 1},
        texts={"black-cross": sorted(f"{word} black cross" for word in _WORDS[:-1])},
        messages={112: "query is empty after normalisation"},
    ),
    # Days 1 to 14 of 28, 15 to 17, 18 to 28: four rows each.
    _taken("yyyymmdd", _yyyymmdd, splits={"train": 56, "val": 12, "test": 44}),
    _taken("spark-folder", _spark_folder),
    _taken("tabs-in-csv", _tabs_in_csv),
)
