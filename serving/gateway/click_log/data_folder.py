"""The data folder that a service logs into: one that `vlsearch run` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from serving import files
from serving.errors import ServingError

_FILE = "data.yaml"
_LOG = "log/span-{SPAN}/*.parquet"
_PATTERNS = (_LOG, "log", "log/", "log/*", "log/**", "log/**/*.parquet", "log/*/*.parquet")


def prepare_data_folder(folder: Path, images: str | None, measured: bool) -> None:
    """Make a folder one of click data, or check that it is one that the service can write into.

    Args:
        folder: made if it is missing.
        images: where the index's images are, absolute; None if their uris stand for themselves.
        measured: the service explores, so that propensities can be estimated.

    Raises:
        ServingError: it holds data of another kind, or its log is elsewhere.
        DiskError: it cannot be read or written.
    """
    path = folder / _FILE
    if not path.exists():
        with files.naming_errors("written", folder):
            folder.mkdir(parents=True, exist_ok=True)
            if any(path.name not in ("events", "log") for path in folder.iterdir()):
                raise ServingError(
                    f"{folder} holds other files and no {_FILE}. Name an empty folder or a data "
                    "folder of clicks."
                )
            content: dict[str, Any] = {
                "version": 1,
                "kind": "clicks",
                "name": "search",
                "log": _LOG,
                "format": "parquet",
                "images": images,
            }
            if measured:
                content["propensity"] = {"mode": "estimated"}
            content["about"] = "What people were shown and clicked in vlsearch's search service."
            files.write_atomically(path, yaml.safe_dump(content, sort_keys=False))
        return
    try:
        found = yaml.safe_load(files.read_text(path))
    except yaml.YAMLError as error:
        raise ServingError(f"{path} is not readable as YAML: {error}") from error
    if not isinstance(found, dict) or found.get("kind") != "clicks":
        raise ServingError(f"{path}: clicks are logged into data of kind clicks. Name another one.")
    log, form = found.get("log", "log/*"), found.get("format", "auto")
    if log not in _PATTERNS or form not in ("auto", "parquet"):
        raise ServingError(
            f"{path}: its log is {log} ({form}); the service writes {_LOG}. Name another folder."
        )
    if (found.get("splits") or {}).get("policy") == "given":
        raise ServingError(
            f"{path}: its rows name their own split, which those of the service do not, so nothing "
            "would be learnt of them. Name another folder."
        )
