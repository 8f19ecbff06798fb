"""Watches the file system and tells the manager which versions are wanted."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterable
from typing import Any

from serving.errors import Code, StatusError
from serving.model_server.management.manager import Manager
from serving.model_server.management.versions import list_versions, select_versions
from serving.model_server.periodic import Periodic

_logger = logging.getLogger(__name__)


class FileSystemSource:
    """Polls the base paths of the configured models.

    Args:
        poll_seconds: pause between looks; 0 looks once at each configuration, and below 0 it never
            looks by itself (`file_system_poll_wait_seconds`).
    """

    def __init__(self, manager: Manager, poll_seconds: float = 0):
        self._manager = manager
        self._poll_seconds = poll_seconds
        self._configs: dict[str, Any] = {}
        self._lock = threading.Lock()
        # Looks are numbered: of two at the same model, which may take long, the later one counts.
        self._looks = itertools.count()
        self._last_look: dict[str, int] = {}
        self._poller: Periodic | None = None

    def configure(self, configs: Iterable[Any], look: bool = True) -> None:
        """Replace the list of ModelConfig protos; models that are gone from it are unloaded.

        Args:
            configs: the new list.
            look: whether to look for versions now, which takes as long as the file system does;
                otherwise `look` is called later.
        """
        with self._lock:
            before = self._configs
            self._configs = {config.name: config for config in configs}
            for name in before.keys() - self._configs.keys():
                self._last_look.pop(name, None)
                self._manager.set_aspired(name, {})
            if self._poll_seconds > 0 and self._poller is None:
                self._poller = Periodic(self.poll, self._poll_seconds, "file-system-poll")
        if look:
            self.look()

    def look(self) -> None:
        """Look once at a new configuration, unless this source never looks by itself."""
        if self._poll_seconds >= 0:
            self.poll()

    def poll(self) -> None:
        """Look once. A base path that cannot be read changes nothing."""
        with self._lock:
            configs = list(self._configs.items())
        for name, config in configs:
            try:
                self._poll_model(name, config)
            except StatusError as error:
                _logger.error(
                    "FileSystemStoragePathSource encountered a filesystem access error: %s",
                    error.message,
                )

    def stop(self, timeout: float | None = None) -> bool:
        """Look no more; returns when the look under way has ended, or after `timeout` seconds.

        Returns:
            Whether it has ended.
        """
        with self._lock:
            poller, self._poller = self._poller, None
        return poller is None or poller.stop(timeout)

    def _poll_model(self, name: str, config: Any) -> None:
        look = next(self._looks)
        available = list_versions(config.base_path)
        if available is None:
            raise StatusError(
                Code.NOT_FOUND,
                f"Could not find base path {config.base_path} for servable {name}",
            )
        chosen = select_versions(name, available, config.model_version_policy)
        if not chosen:
            _logger.warning(
                "No versions of servable %s found under base path %s. Did you forget to "
                "name your leaf directory as a number (eg. '/1/')?",
                name,
                config.base_path,
            )
        with self._lock:
            # No lock is held while a file system is asked: one that hangs must not hold up others.
            if self._configs.get(name) is config and self._last_look.get(name, -1) < look:
                self._last_look[name] = look
                self._manager.set_aspired(name, chosen)
