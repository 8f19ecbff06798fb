"""The image store: which images are in it, and what is there instead of one that is not."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from tfx_pipeline.data.config import ImageConfig
from tfx_pipeline.data.images import SUFFIXES, strip_suffix
from tfx_pipeline.storage.listing import list_files
from tfx_pipeline.storage.uris import is_uri
from vl_models.errors import UserError

_ANY_SUFFIX = re.compile(r"(?<=.)\.[A-Za-z0-9]{1,5}$")
_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
# How names of one image differ, and what makes them equal.
_DIFFERENCES: dict[str, Callable[[str], str]] = {
    "percent-encoding": unquote,
    "the Unicode form (NFC, NFD)": lambda name: unicodedata.normalize("NFC", name),
    "the folder": lambda name: name.replace("\\", "/").rpartition("/")[2],
    "the suffix": lambda name: _ANY_SUFFIX.sub("", name),
    "upper and lower case": str.casefold,
    "leading zeros": lambda name: _LEADING_ZEROS.sub("", name),
}


def list_folder(config: ImageConfig) -> Iterator[tuple[str, str]]:
    """Images of the configured folder, at any depth: (image id, path or URI), sorted.

    Raises:
        UserError: the folder is not there or cannot be listed, or two files share an id.
    """
    assert config.root is not None
    root = config.root.rstrip("/")
    if not is_uri(root) and not Path(root).is_dir():
        raise UserError(
            f"{root}: no such image folder. Check `images` in data.yaml or the configuration."
        )
    seen: dict[str, str] = {}
    for path in (stamp.uri for stamp in list_files(root)):
        name = path[len(root) + 1 :]
        if not name.lower().endswith(SUFFIXES) or PurePosixPath(name).name.startswith("."):
            continue
        image_id = strip_suffix(name) if config.ids == "stem" else name
        if image_id in seen:
            raise UserError(
                f"{path} and {seen[image_id]}: two images share the id {image_id!r}. Rename "
                "one, or set `image_ids: name` in data.yaml to keep the suffix in the ids."
            )
        seen[image_id] = path
        yield image_id, path


class SimilarFiles:
    """What a store holds under names like that of a missing image; listed when first asked."""

    def __init__(self, config: ImageConfig):
        self.config = config

    @functools.cached_property
    def _by_key(self) -> dict[str, list[str]]:
        """Names of all files, relative to the store, by what is the same in similar names."""
        result: dict[str, list[str]] = {}
        root = self.config.root.rstrip("/") if self.config.root else ""
        for stamp in list_files(root) if root else []:
            name = stamp.uri[len(root) + 1 :]
            result.setdefault(_key(name), []).append(name)
        return result

    def same_stem(self, name: str) -> list[str]:
        """Return the images whose names are this one and the suffix of an image."""
        return [
            file
            for file in self._by_key.get(_without_differences(name, keep="the suffix"), [])
            if strip_suffix(file) == name != file
        ]

    def describe(self, name: str) -> str:
        """Return the file that is likely to be meant, as the end of a sentence; "" without one.

        Args:
            name: an image id, or a file's name relative to the store, or its path or URI.
        """
        root = self.config.root.rstrip("/") if self.config.root else ""
        name = name.removeprefix(f"{root}/")
        keys = {_key(name), _without_differences(name, keep="the suffix")}
        found = [
            (self._differences(name, file), file)
            for key in keys
            for file in self._by_key.get(key, [])
        ]
        if not found:
            return ""
        differences, file = min(found, key=lambda item: (len(item[0]), item[1]))
        text = f"; there is {file!r}"
        if differences:
            text += f", which differs in {' and '.join(differences)}"
        if not file.lower().endswith(SUFFIXES):
            text += f", whose name ends with none of {', '.join(SUFFIXES)}"
        return text

    def _differences(self, name: str, file: str) -> list[str]:
        if self.config.ids == "stem" and strip_suffix(name) == name:
            file = strip_suffix(file)  # the id of this file
        return [
            difference
            for difference in _DIFFERENCES
            if _without_differences(name, difference) != _without_differences(file, difference)
        ]


def _key(name: str) -> str:
    return _without_differences(name)


def _without_differences(name: str, keep: str = "") -> str:
    for difference, same in _DIFFERENCES.items():
        if difference != keep:
            name = same(name)
    return name
