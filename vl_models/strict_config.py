"""Configuration models: unknown keys are errors, and errors are readable paragraphs."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

import pydantic

# Keys that were renamed, old to new: whoever still writes the old one is told the new one.
RENAMED = {
    "objectives": "tasks",
    "hidden": "hidden_widths",
    "label_hidden": "label_hidden_width",
    "classifier_hidden": "classifier_hidden_width",
    "queue_query_keys": "queue_query_hashes",
    "code_activation": "vector_activation",
}


class StrictConfig(pydantic.BaseModel):
    """Base of all configuration models: immutable, and an unknown key is an error."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


def explain_validation_error(
    error: pydantic.ValidationError, where: str, root: type[pydantic.BaseModel]
) -> str:
    """Turn a pydantic error into a paragraph for the person who wrote the configuration.

    Args:
        error: what ``root.model_validate`` raised.
        where: what was read, for example the file name; starts the paragraph.
        root: the model that was validated; its fields are the valid keys.

    Returns:
        One sentence per error: an unknown key with the nearest valid one, a missing key, or a
        wrong value with what was received and what is allowed.
    """
    sentences = [_explain(details, root) for details in error.errors()]
    return f"{where}: " + " ".join(sentences)


def _explain(details: Any, root: type[pydantic.BaseModel]) -> str:
    """One error of pydantic's list as a sentence."""
    location: Sequence[int | str] = details["loc"]
    key = _dotted(location, root)
    kind = details["type"]
    if kind == "extra_forbidden":
        names = _sibling_names(location, root)
        if (renamed := RENAMED.get(str(location[-1]))) in names:
            return f"Key '{key}' is now called '{_replace_last(key, str(renamed))}'."
        nearest = difflib.get_close_matches(str(location[-1]), names, n=1, cutoff=0.0)
        hint = f"; did you mean '{_replace_last(key, nearest[0])}'?" if nearest else "."
        return f"Unknown key '{key}'{hint} Valid keys here: {', '.join(sorted(names))}."
    if kind == "missing":
        return f"Key '{key}' is missing; it is required."
    if kind == "union_tag_not_found":
        discriminator = details["ctx"]["discriminator"].strip("'")
        return f"Key '{_join(key, discriminator)}' is missing; it is required."
    if kind == "union_tag_invalid":
        discriminator = details["ctx"]["discriminator"].strip("'")
        return (
            f"Key '{_join(key, discriminator)}' has a wrong value. "
            f"Received: {details['ctx']['tag']!r}. "
            f"Allowed: {details['ctx']['expected_tags']}."
        )
    return f"Key '{key}' has a wrong value. Received: {details['input']!r}. {_sentence(details)}"


def _sentence(details: Any) -> str:
    """Pydantic's own message, "Input should be …", as a statement of what is allowed."""
    message = details["msg"].removeprefix("Value error, ").removesuffix(".")
    allowed = message.removeprefix("Input should be ")
    return f"{message}." if allowed == message else f"Allowed: {allowed}."


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _replace_last(key: str, name: str) -> str:
    return _join(key.rpartition(".")[0], name)


def _steps(
    location: Sequence[int | str], root: type[pydantic.BaseModel]
) -> Iterator[tuple[int | str, list[Any]]]:
    """Walk a pydantic location: every part that is a real key, with the types it is a key of.

    Pydantic puts the tag of a discriminated union into the location; it is not a key of the
    file, so it only narrows the candidates.
    """
    candidates: list[Any] = [root]
    for part in location:
        narrowed = [model for model in candidates if _has_tag(model, part)]
        if narrowed and len(candidates) > 1:
            candidates = narrowed
            continue
        yield part, candidates
        following: list[Any] = []
        for candidate in candidates:
            following.extend(_children(candidate, part))
        candidates = following


def _dotted(location: Sequence[int | str], root: type[pydantic.BaseModel]) -> str:
    return ".".join(str(part) for part, _ in _steps(location, root))


def _sibling_names(location: Sequence[int | str], root: type[pydantic.BaseModel]) -> list[str]:
    """Return valid keys of the object in which the last key of ``location`` was found."""
    *_, (_, candidates) = _steps(location, root)
    return sorted({name for model in candidates for name in _fields(model)})


def _fields(model: Any) -> dict[str, Any]:
    is_model = isinstance(model, type) and issubclass(model, pydantic.BaseModel)
    return model.model_fields if is_model else {}


def _has_tag(model: Any, tag: int | str) -> bool:
    """Return True if one of the model's fields is a literal that allows ``tag``."""
    return any(
        typing.get_origin(field.annotation) is typing.Literal
        and tag in typing.get_args(field.annotation)
        for field in _fields(model).values()
    )


def _children(candidate: Any, part: int | str) -> list[Any]:
    """Types of the value under key ``part``, unions and containers taken apart."""
    field = _fields(candidate).get(str(part))
    if field is not None:
        return _alternatives(field.annotation)
    if not _fields(candidate):  # an index of a list, a key of a dict
        return [kind for inner in typing.get_args(candidate) for kind in _alternatives(inner)]
    return []


def _alternatives(annotation: Any) -> list[Any]:
    """Members of a (possibly annotated) union; the type itself if it is none."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _alternatives(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [kind for inner in typing.get_args(annotation) for kind in _alternatives(inner)]
    return [annotation]
