"""Watches the file system and tells the manager which versions are wanted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Any

from serving.model_server.manager import Manager
from serving.model_server.versions import list_versions, select_versions

_logger = logging.getLogger(__name__)


class FileSystemSource:
    """Polls the base paths of the configured models."""

    def __init__(self, manager: Manager):
        self._manager = manager
        self._configs: dict[str, Any] = {}
        self._lock = threading.Lock()

    def configure(self, configs: Iterable[Any]) -> None:
        """Replaces the list of ModelConfig protos; models that are gone from it are unloaded."""
        with self._lock:
            before = self._configs
            self._configs = {config.name: config for config in configs}
            for name in before.keys() - self._configs.keys():
                self._manager.set_aspired(name, {})
        self.poll()

    def poll(self) -> None:
        """Looks once. A base path that cannot be read changes nothing."""
        with self._lock:
            for name, config in self._configs.items():
                available = list_versions(config.base_path)
                if available is None:
                    _logger.error(
                        "FileSystemStoragePathSource encountered a filesystem access error: "
                        "Could not find base path %s for servable %s",
                        config.base_path,
                        name,
                    )
                    continue
                if not available:
                    _logger.warning(
                        "No versions of servable %s found under base path %s. Did you forget to "
                        "name your leaf directory as a number (eg. '/1/')?",
                        name,
                        config.base_path,
                    )
                chosen = select_versions(name, available, config.model_version_policy)
                self._manager.set_aspired(name, chosen)
