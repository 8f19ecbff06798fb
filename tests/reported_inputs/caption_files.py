"""Caption files that people have, and that are easily misread."""

import json
from pathlib import Path

from tests.reported_inputs.case import Case
from tests.reported_inputs.pictures import PICTURES, write_pictures

_CAPTIONS = tuple((f"{colour}-{shape}.png", f"a {colour} {shape}") for colour, shape in PICTURES)


def _write(folder: Path, name: str, text: str) -> None:
    write_pictures(folder / "photos")
    (folder / name).write_text(text, "utf-8")


def _json_lines(folder, name, records, **options):
    _write(folder, name, "".join(json.dumps(record, **options) + "\n" for record in records))


def _text_under_language(folder):
    records = (
        {"image": image, "caption": caption, "zh": f"一张图 {number}"}
        for number, (image, caption) in enumerate(_CAPTIONS)
    )
    _json_lines(folder, "bilingual.jsonl", records, ensure_ascii=False)


def _null(folder):
    records = (
        {"image": image, "caption": None if number % 2 else caption}
        for number, (image, caption) in enumerate(_CAPTIONS)
    )
    _json_lines(folder, "null.jsonl", records)


def _surrogate(folder):
    records = [{"image": image, "caption": caption} for image, caption in _CAPTIONS]
    broken = {"image": "red-circle.png", "caption": "a \ud83d red circle"}
    _json_lines(folder, "surrogate.jsonl", [broken, *records])


def _json_list(folder):
    records = [
        {"image": image, "caption": caption, "image_id": f"x_{number}"}
        for number, (image, caption) in enumerate(_CAPTIONS)
    ]
    _write(folder, "blip.json", json.dumps(records))


def _kaggle(folder):
    rows = [f"{image},{caption.capitalize()} , from above .\n" for image, caption in _CAPTIONS]
    _write(folder, "captions.txt", "image,caption\n" + "".join(rows))


def _words(folder):
    records = (
        {"image": image, "caption": [*caption.split(), "on", "white", "."]}
        for image, caption in _CAPTIONS
    )
    _json_lines(folder, "words.jsonl", records)


CASES = (
    Case(
        "caption-text-under-language",
        _text_under_language,
        accepted=32,
        texts={"red-circle": ["a red circle", "一张图 0"]},
        captions="bilingual.jsonl",
    ),
    Case(
        "caption-null",
        _null,
        accepted=8,
        rejected={"missing_query": 8},
        error="{folder}/null.jsonl: 8 of 16 captions (50.0%) were rejected, more than "
        "--max-rejected-fraction 0.01 allows. missing_query: 8, e.g. row 2 (key 'caption' is null, "
        "where a caption belongs). All are listed in {out}/rejected. Correct the file, or raise "
        "the bound if they may be lost.",
        captions="null.jsonl",
    ),
    Case(
        "caption-surrogate",
        _surrogate,
        accepted=16,
        rejected={"invalid_utf8": 1},
        error="{folder}/surrogate.jsonl: 1 of 17 captions (5.9%) were rejected, more than "
        "--max-rejected-fraction 0.01 allows. invalid_utf8: 1, e.g. row 1 (key 'caption' is not "
        "valid Unicode (half a surrogate pair, 0xd83d)). All are listed in {out}/rejected. Correct "
        "the file, or raise the bound if they may be lost.",
        captions="surrogate.jsonl",
    ),
    Case(
        "caption-json-list",
        _json_list,
        accepted=16,
        texts={"red-circle": ["a red circle"]},
        captions="blip.json",
    ),
    Case(
        "caption-kaggle",
        _kaggle,
        accepted=16,
        texts={"red-circle": ["a red circle , from above ."]},
        captions="captions.txt",
    ),
    Case(
        "caption-words",
        _words,
        accepted=16,
        texts={"red-circle": ["a red circle on white ."]},
        captions="words.jsonl",
    ),
)
