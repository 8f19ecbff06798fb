"""index.json: what an index says of itself. This module needs the standard library alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from serving import files
from serving.errors import MissingFileError, ServingError

DESCRIPTION_FILE = "index.json"
IMAGE_TOKENS = "image_tokens"  # key, where there are any: of which reranker, and their shape
REBUILD = "Build the index again with build_index."


def read_description(folder: Path) -> dict[str, Any]:
    """Return what index.json of an index folder holds.

    Raises:
        ServingError: it is not there, cannot be read, or is no JSON object.
    """
    path = folder / DESCRIPTION_FILE
    try:
        content = json.loads(files.read_text(path))
    except MissingFileError:
        raise ServingError(
            f"{folder} is not an index: it has no {DESCRIPTION_FILE}. An index folder holds "
            f"index.faiss, items.parquet and index.json. {REBUILD}"
        ) from None
    except ServingError:
        raise
    except (ValueError, RecursionError) as error:
        raise ServingError(f"{path} is not valid JSON: {error}. {REBUILD}") from error
    if not isinstance(content, dict):
        raise ServingError(f"{path} must hold a JSON object. {REBUILD}")
    return content


def write_description(folder: Path, description: dict[str, Any]) -> None:
    """Write index.json into a folder that nobody reads yet."""
    text = json.dumps(description, indent=2) + "\n"
    (folder / DESCRIPTION_FILE).write_text(text, encoding="utf-8")


def of_version(description: dict[str, Any], version: int | None) -> dict[str, Any]:
    """Return the description of an index of the towers, and of the reranker, of a release.

    Args:
        description: of an index.
        version: of the release; None is before publication.
    """
    described = description | {"tower_version": version}
    if description.get(IMAGE_TOKENS) is not None:
        described[IMAGE_TOKENS] = description[IMAGE_TOKENS] | {"reranker_version": version}
    return described
