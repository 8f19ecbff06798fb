"""What a model server that follows a release root is told to serve, wherever the root is."""

from __future__ import annotations

import logging
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from serving.checksums import MODEL_FILES, check_folder, release_listing
from serving.errors import ServingError, StatusError, invalid
from serving.files import naming_errors
from serving.model_config import CONFIG_FILE
from serving.release import Release
from serving.served_config import is_same_folder, located_config, read_models_config

if TYPE_CHECKING:
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

# TensorFlow takes the path of a model's variables for a pattern.
_PATTERN = re.compile(r"[\[\]\\*?]")

_logger = logging.getLogger(__name__)


class FollowedConfig:
    """models.config of a release root, read again and again for where the root is.

    Versions whose files are not those of their release are left out; the log says so. For one
    thread at a time.
    """

    def __init__(self, root: Path):
        self._root = root
        self._last: ModelServerConfig | None = None
        self._said: set[str] = set()
        # Versions that were found good. They are not looked at again while they are served: what
        # is in memory stays good when the files turn bad.
        self._good: set[tuple[str, int]] = set()
        self._alias: tempfile.TemporaryDirectory[str] | None = None

    def read(self) -> ModelServerConfig:
        """Return the configuration; while what is on the disk is damaged, the one before.

        Raises:
            StatusError: it cannot be read, and never could.
        """
        said: set[str] = set()
        try:
            with naming_errors("read", self._root):
                self._last = self._read(said)
        except ServingError as error:
            if self._last is None:
                raise error if isinstance(error, StatusError) else invalid(str(error)) from error
            self._say(f"The model configuration stays as it was: {error}", said)
        self._said = said
        return self._last

    def _read(self, said: set[str]) -> ModelServerConfig:
        release = Release.load(self._root)
        config = read_models_config(self._root)
        located = located_config(config, self._root, release)
        if located != config:
            self._say(
                f"{self._root / CONFIG_FILE} does not name the folders of {self._root}, from "
                "another place or another release; those of this root are served.",
                said,
            )
        self._leave_out_damaged(located, said)
        self._name_without_patterns(located)
        return located

    def _leave_out_damaged(self, config: ModelServerConfig, said: set[str]) -> None:
        pinned = set()
        for entry in config.model_config_list.config:
            folder = self._root / entry.name
            if not is_same_folder(entry.base_path, folder):
                continue
            specific = entry.model_version_policy.specific
            for version in list(specific.versions):
                pinned.add((entry.name, version))
                problem = self._problem(entry.name, version)
                if problem is not None:
                    specific.versions.remove(version)
                    if not specific.versions:
                        raise ServingError(problem)
                    self._say(f"{entry.name} {version} is not served: {problem}", said)
        self._good &= pinned

    def _name_without_patterns(self, config: ModelServerConfig) -> None:
        """Give a root whose path TensorFlow would misread another name, by a link to it."""
        root = str(self._root.resolve())
        if not _PATTERN.search(root):
            return
        if self._alias is None:
            self._alias = tempfile.TemporaryDirectory(prefix="vlsearch-root-")
            Path(self._alias.name, "root").symlink_to(root)
        for entry in config.model_config_list.config:
            if Path(entry.base_path).is_relative_to(root):
                inside = Path(entry.base_path).relative_to(root)
                entry.base_path = str(Path(self._alias.name, "root", inside))

    def _problem(self, name: str, version: int) -> str | None:
        """Say what is wrong with the files of a version, if anything."""
        folder = self._root / name / str(version)
        if (name, version) in self._good:
            return None
        try:
            with naming_errors("read", folder):
                if not folder.is_dir():
                    return None
            try:
                release = Release.read(self._root, version)
            except ServingError:
                listing = None  # the card has the checksums, too
            else:
                known = release.models.get(name) == version
                listing = release_listing(release, name) if known else None
            check_folder(folder, MODEL_FILES, listing)
        except ServingError as error:
            return str(error)
        self._good.add((name, version))
        return None

    def _say(self, text: str, said: set[str]) -> None:
        """Log what is new since the last time."""
        said.add(text)
        if text not in self._said:
            _logger.warning("%s", text)
