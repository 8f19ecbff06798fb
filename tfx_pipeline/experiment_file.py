"""An experiment as a file: YAML, and what `--set` changes in it; not what the keys mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from vl_models.errors import UserError


def read_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Any:
    """The values of a YAML file, changed by ``key.sub=value`` overrides; values are YAML, too.

    A file with the key ``base`` says what differs from another one, whose path is relative to
    its own folder: mappings are merged, everything else is replaced, and so is a mapping of
    another ``kind``; ``null`` takes a key out.

    Raises:
        UserError: a file is missing, cannot be read or is not YAML; a base that has a base; a wrong
            override.
    """
    values = _read(Path(path))
    if isinstance(values, dict):  # else there is nothing to change, and no experiment
        if "base" in values:
            values = _on_base(Path(path), values)
        for override in overrides:
            _apply_override(values, override)
    return values


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such configuration file. Experiments are in configs/, "
            "for example configs/emoji.yaml."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a YAML file: {error}") from None
    return parse(text, str(path)) or {}


def _on_base(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Return the base's values with this file's over them."""
    values = dict(values)
    base = values.pop("base")
    if not isinstance(base, str):
        raise UserError(f"{path}: base names one file. Received: base={base!r}.")
    below = _read(path.parent / base)
    if not isinstance(below, dict) or "base" in below:
        raise UserError(
            f"{path}: base must be a file without a base of its own. Received: base={base!r}."
        )
    return _merged(below, values)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    # Keys of one kind of thing mean nothing to another kind.
    if above.get("kind", below.get("kind")) != below.get("kind"):
        return above
    merged = dict(below)
    for key, value in above.items():
        known = merged.get(key)
        if value is None and key in below:
            del merged[key]
        elif isinstance(value, dict) and isinstance(known, dict):
            merged[key] = _merged(known, value)
        else:
            merged[key] = value
    return merged


def parse(text: str, where: str) -> Any:
    """YAML.

    Raises:
        UserError: it is none; the message starts with ``where``.
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not valid YAML: {error}") from None


def _apply_override(values: dict[str, Any], override: str) -> None:
    """Set one dotted key in nested dicts."""
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UserError(f"--set takes KEY.SUBKEY=VALUE. Received: {override!r}.")
    *parents, last = key.split(".")
    for parent in parents:
        inner = values.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise UserError(
                f"--set {override}: '{parent}' is a single value and has no key '{last}'."
            )
        values = inner
    values[last] = parse(text, f"--set {override}")


def set_key(content: Any, key: str, value: Any) -> None:
    """Set one dotted key in nested dicts and lists; what is absent is made, to be refused.

    A whole number in a key is the place in a list: ``train.stages.0.steps``.

    Raises:
        UserError: there is no such place.
    """
    *parents, last = key.split(".")
    for parent in parents:
        if isinstance(content, list):
            content = content[_place(content, parent, key)]
            continue
        if not isinstance(content.get(parent), dict | list):
            content[parent] = {}
        content = content[parent]
    if isinstance(content, list):
        content[_place(content, last, key)] = value
    else:
        content[last] = value


def _place(content: list[Any], part: str, key: str) -> int:
    if not part.isdecimal() or int(part) >= len(content):
        raise UserError(
            f"tune.space: Unknown key '{key}': there is a list of {len(content)}, whose parts are "
            f"named 0, 1, … Received: {part!r}."
        )
    return int(part)
