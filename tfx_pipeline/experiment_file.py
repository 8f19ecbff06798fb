"""An experiment as a file: YAML, and what `--set` changes in it; not what the keys mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from vl_models.errors import UserError


def read_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Any:
    """The values of a YAML file, changed by ``key.sub=value`` overrides; values are YAML, too.

    Raises:
      UserError: the file is missing, cannot be read or is not YAML; a wrong override.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such configuration file. Experiments are in configs/, "
            "for example configs/emoji.yaml."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a YAML file: {error}") from None
    values = parse(text, str(path)) or {}
    if isinstance(values, dict):  # else there is nothing to change, and no experiment
        for override in overrides:
            _apply_override(values, override)
    return values


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
