"""Records of an image and its captions: what JSON lines, JSON lists and tables hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from tfx_pipeline.data.caption_files.caption import (
    Caption,
    Content,
    Problem,
    check_image,
    check_keys,
    check_split,
    check_text,
)
from tfx_pipeline.data.caption_files.names import (
    IMAGE_KEYS,
    LANGUAGE_KEYS,
    OTHER_TEXT_KEYS,
    SINGULAR,
    SPLIT_KEYS,
    TEXT_KEYS,
    is_language,
    language_of,
    normal,
)
from tfx_pipeline.data.caption_files.words import is_word, join_words, tokenised_keys
from tfx_pipeline.data.contract import Reason, Rejected
from tfx_pipeline.data.language import detect_language

_KNOWN = {*IMAGE_KEYS, *SPLIT_KEYS, *LANGUAGE_KEYS, *TEXT_KEYS, *OTHER_TEXT_KEYS}


@dataclasses.dataclass(frozen=True)
class _Field:
    """A key whose value holds captions; `language` is None where it does not say."""

    key: str
    language: str | None
    value: Any


def is_record(record: dict[str, Any]) -> bool:
    """Whether the keys of an object name an image and captions."""
    return _first_key(record, IMAGE_KEYS) is not None and bool(_fields(record))


def read_records(
    content: Content, records: Iterable[tuple[int, Any] | Rejected]
) -> Iterator[Caption | Rejected]:
    """Return the captions of records, and what cannot be used.

    Args:
        content: the file; gets the unknown keys.
        records: (row, record), or rows that are rejected already.
    """
    found = list(records)
    lists = (
        (normal(field.key), field.value)
        for item in found
        if not isinstance(item, Rejected) and isinstance(item[1], dict)
        for field in _fields(item[1])
        if isinstance(field.value, list)
    )
    tokenised = tokenised_keys(lists, SINGULAR)
    for item in found:
        if isinstance(item, Rejected):
            yield item
        else:
            yield from _read_record(content, *item, tokenised)


def _read_record(
    content: Content, row: int, record: Any, tokenised: set[str]
) -> Iterator[Caption | Rejected]:
    if not isinstance(record, dict):
        message = f"a record must hold an image and captions by keys. Received: {str(record)[:80]}"
        yield content.reject(row, Problem(Reason.MALFORMED_ROW, message), record)
        return
    for key, value in record.items():
        if _is_ignored_text(key, value):
            content.ignored.setdefault(key, row)
    texts = list(_texts(record, tokenised))
    try:
        check_keys(record)
        image_key = _first_key(record, IMAGE_KEYS) or IMAGE_KEYS[0]
        image = check_image(record.get(image_key), f"key {image_key!r}")
        split_key = _first_key(record, SPLIT_KEYS) or SPLIT_KEYS[0]
        split = check_split(record.get(split_key), f"key {split_key!r}")
    except Problem as problem:
        yield content.reject(row, problem, record, len(texts))
        return
    language_key = _first_key(record, LANGUAGE_KEYS)
    stated = str(record[language_key]).strip() if language_key else ""
    for language, text in texts:
        if isinstance(text, Problem):
            yield content.reject(row, text, record)
            continue
        if language is None:
            language = stated if is_language(stated) else detect_language(text)
        yield Caption(image, text, language, split, row)


def _texts(
    record: dict[str, Any], tokenised: set[str]
) -> Iterator[tuple[str | None, str | Problem]]:
    """Return the captions of a record with their languages, at least a problem."""
    fields = _fields(record)
    # A language in which an image has no caption is nothing that is lost.
    filled = [f for f in fields if f.language is None or f.value not in (None, "", [], {})]
    for field in filled:
        for text in _captions(field.value, f"key {field.key!r}", normal(field.key) in tokenised):
            yield field.language, text
    if not filled:
        empty = ", ".join(field.key for field in fields)
        why = f"nothing under {empty}" if fields else f"none of the keys {', '.join(TEXT_KEYS)}"
        yield None, Problem(Reason.MISSING_QUERY, f"the record has no caption: {why}")


def _captions(value: Any, where: str, tokenised: bool) -> Iterator[str | Problem]:
    """Return the captions in a value: a text, or objects and lists of texts."""
    if isinstance(value, list) and value and tokenised and all(map(is_word, value)):
        value = join_words(value)
    if isinstance(value, list) and value:
        for index, item in enumerate(value):
            # A list in a list can only be words.
            yield from _captions(item, f"{where}[{index}]", tokenised=True)
    elif isinstance(value, dict) and (key := _first_key(value, (*TEXT_KEYS, "raw"))):
        yield from _captions(value[key], f"{where}.{key}", tokenised)
    elif value == []:
        yield Problem(Reason.MISSING_QUERY, f"{where} is an empty list, where captions belong")
    else:
        try:
            yield check_text(value, where)
        except Problem as problem:
            yield problem


def _fields(record: dict[str, Any]) -> list[_Field]:
    """Return the keys that hold captions, in the order of the record."""
    names = {normal(key): key for key in record}
    plain = [key for key in record if normal(key) in TEXT_KEYS]
    plain = plain or [names[name] for name in OTHER_TEXT_KEYS if name in names][:1]
    fields = []
    for key, value in record.items():
        if key in plain and isinstance(value, dict) and value and all(map(is_language, value)):
            fields += [_Field(f"{key}.{code}", code, texts) for code, texts in value.items()]
        elif key in plain:
            fields.append(_Field(key, None, value))
        elif normal(key) not in _KNOWN and (language := language_of(key, value)):
            fields.append(_Field(key, language, value))
    return fields


def _first_key(record: dict[str, Any], names: Iterable[str]) -> str | None:
    """Return the key of a record that comes first in a table of names, if it has a value."""
    keys = {normal(key): key for key, value in record.items() if value is not None}
    return next((keys[name] for name in names if name in keys), None)


def _is_ignored_text(key: str, value: Any) -> bool:
    if normal(key) in _KNOWN or not key.strip() or language_of(key, value):
        return False
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, str) and bool(first.strip()) and not first.strip().isdigit()
