"""The versions of all models: which are wanted, their states, and who is using them.

One thread loads and unloads, by the policy of TensorFlow Serving's AvailabilityPreservingPolicy: a
new version is loaded before the old one is unloaded, the highest first. Requests hold a version
while they run, and a version is unloaded when nobody holds it.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from serving.errors import Code, StatusError

_logger = logging.getLogger(__name__)


class State(enum.IntEnum):
    """Life of a version, with the numbers of ModelVersionStatus.State."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class Servable(Protocol):
    """What can be managed: anything that can be closed."""

    def close(self) -> None:
        """Frees what it holds."""


Loader = Callable[[str, int, Path], Servable]


@dataclass
class Entry:
    """One version of one model. `model` is there while the state is AVAILABLE or UNLOADING."""

    name: str
    version: int
    path: Path
    state: State = State.START
    aspired: bool = True
    users: int = 0
    model: Servable | None = None
    error: StatusError | None = None
    attempts: int = 0
    retry_at: float = 0.0


class Manager:
    """Loads and unloads versions in the background; hands them out to requests.

    Args:
        loader: loads a version from (model name, version, folder); raises StatusError.
        max_load_retries: how often a load that failed is tried again.
        load_retry_seconds: pause before each retry.
    """

    def __init__(self, loader: Loader, max_load_retries: int = 5, load_retry_seconds: float = 60.0):
        self._loader = loader
        self._max_load_retries = max_load_retries
        self._load_retry_seconds = load_retry_seconds
        self._models: dict[str, dict[int, Entry]] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="model-loader", daemon=True)
        self._thread.start()

    def set_aspired(self, name: str, versions: Mapping[int, Path]) -> None:
        """Says which versions of a model should be loaded; returns at once.

        A version that failed stays as it is until it is once not among the aspired ones.
        """
        with self._changed:
            entries = self._models.setdefault(name, {})
            for version, entry in entries.items():
                if version not in versions:
                    entry.aspired = False
            for version, path in versions.items():
                known = entries.get(version)
                if known is None or (known.state == State.END and not known.aspired):
                    entries[version] = Entry(name, version, path)
                else:
                    known.aspired = True
            self._changed.notify_all()

    @contextlib.contextmanager
    def use(self, name: str, version: int | None = None) -> Iterator[Entry]:
        """Holds a version (the highest AVAILABLE one if none is named) while the block runs.

        Raises:
            StatusError: NOT_FOUND, the version is not AVAILABLE.
        """
        with self._changed:
            entry = self._find(name, version)
            entry.users += 1
        try:
            yield entry
        finally:
            with self._changed:
                entry.users -= 1
                if entry.state == State.UNLOADING and not entry.users:
                    self._changed.notify_all()

    def statuses(self, name: str) -> list[tuple[int, State, StatusError | None]]:
        """(version, state, error) of every version ever seen, highest first; [] if unknown."""
        with self._changed:
            entries = self._models.get(name, {})
            return [(v, entries[v].state, entries[v].error) for v in sorted(entries, reverse=True)]

    def is_available(self, name: str, version: int) -> bool:
        """Whether requests for this version succeed now."""
        with self._changed:
            entry = self._models.get(name, {}).get(version)
            return entry is not None and entry.state == State.AVAILABLE

    def wait_until_ready(self, names: Iterable[str], timeout: float | None = None) -> bool:
        """Waits until every model serves, and every version wanted has been tried; False: too late.

        Raises:
            StatusError: UNKNOWN, models all of whose versions failed; or the manager was stopped.
        """
        names = list(names)
        with self._changed:
            done = self._changed.wait_for(
                lambda: self._stopping or all(map(self._is_settled, names)), timeout
            )
            if self._stopping:
                raise StatusError(Code.CANCELLED, "The model server was stopped while loading.")
            failed = [
                entry
                for name in names
                if done and not self._with_state(name, State.AVAILABLE)
                for entry in self._with_state(name, State.END)
                if entry.aspired
            ]
        if failed:
            causes = "".join(
                f"{{{{name: {e.name} version: {e.version}}} due to error: "
                f"{e.error.text if e.error else 'unloaded'}}}, "
                for e in failed
            )
            raise StatusError(
                Code.UNKNOWN,
                f"{len({e.name for e in failed})} model(s) did not become available: {{{causes}}}",
            )
        return done

    def stop(self) -> None:
        """Unloads everything, once requests under way have ended."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()
        with self._changed:
            entries = [e for models in self._models.values() for e in models.values()]
            for entry in entries:
                if entry.state == State.AVAILABLE:
                    entry.state = State.UNLOADING
            self._changed.wait_for(lambda: not any(e.users for e in entries))
        for entry in entries:
            if entry.state == State.UNLOADING:
                self._unload(entry)

    def _find(self, name: str, version: int | None) -> Entry:
        available = {e.version: e for e in self._with_state(name, State.AVAILABLE)}
        if version is None and available:
            return available[max(available)]
        if version in available:
            return available[version]
        wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        raise StatusError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")

    def _with_state(self, name: str, *states: State) -> list[Entry]:
        return [e for e in self._models.get(name, {}).values() if e.state in states]

    def _is_settled(self, name: str) -> bool:
        aspired = [e for e in self._models.get(name, {}).values() if e.aspired]
        if all(e.state == State.END for e in aspired):
            return bool(aspired)
        tried = all(e.state == State.END or e.model or e.attempts for e in aspired)
        return tried and bool(self._with_state(name, State.AVAILABLE))

    def _run(self) -> None:
        while True:
            with self._changed:
                work = self._next_work()
                while work is None and not self._stopping:
                    self._changed.wait(self._seconds_to_retry())
                    work = self._next_work()
                if self._stopping:
                    return
            if work is not None:
                action, entry = work
                action(entry)

    def _next_work(self) -> tuple[Callable[[Entry], None], Entry] | None:
        """Chooses the next thing to do and marks the entry; the lock is held."""
        for entries in self._models.values():
            for entry in entries.values():
                if entry.state == State.UNLOADING and not entry.users:
                    return self._unload, entry
                if entry.state in (State.START, State.LOADING) and not entry.aspired:
                    self._enter(entry, State.END)
            if leaving := _to_unload(entries.values()):
                self._enter(leaving, State.UNLOADING)
                if not leaving.users:
                    return self._unload, leaving
            if coming := _to_load(entries.values()):
                self._enter(coming, State.LOADING)
                return self._load, coming
        return None

    def _seconds_to_retry(self) -> float | None:
        waiting = [
            e.retry_at
            for entries in self._models.values()
            for e in entries.values()
            if e.state == State.LOADING
        ]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _load(self, entry: Entry) -> None:
        try:
            model = self._loader(entry.name, entry.version, entry.path)
        except Exception as error:
            # Whatever a model does to the loader, the other models go on being served.
            self._load_failed(entry, error)
            return
        with self._changed:
            entry.model = model
            self._enter(entry, State.AVAILABLE)

    def _load_failed(self, entry: Entry, error: Exception) -> None:
        status = error if isinstance(error, StatusError) else StatusError(Code.UNKNOWN, str(error))
        _logger.error(
            "Loading servable: {name: %s version: %d} failed: %s",
            entry.name,
            entry.version,
            status.text,
            exc_info=None if isinstance(error, StatusError) else error,
        )
        with self._changed:
            entry.attempts += 1
            if entry.attempts > self._max_load_retries:
                entry.error = status
                self._enter(entry, State.END)
            else:
                entry.retry_at = time.monotonic() + self._load_retry_seconds
                self._changed.notify_all()

    def _unload(self, entry: Entry) -> None:
        if entry.model is not None:
            entry.model.close()
        with self._changed:
            entry.model = None
            self._enter(entry, State.END)
            if entry.aspired and not self._stopping:
                # Wanted again while it was being unloaded.
                self._models[entry.name][entry.version] = Entry(
                    entry.name, entry.version, entry.path
                )

    def _enter(self, entry: Entry, state: State) -> None:
        entry.state = state
        _logger.info("{name: %s version: %d}: %s", entry.name, entry.version, state.name)
        self._changed.notify_all()


def _to_unload(entries: Iterable[Entry]) -> Entry | None:
    entries = list(entries)
    leaving = [e for e in entries if not e.aspired and e.state == State.AVAILABLE]
    aspired = [e for e in entries if e.aspired]
    replaced = any(e.state == State.AVAILABLE for e in aspired)
    if leaving and (not aspired or replaced or len(leaving) > 1):
        return min(leaving, key=lambda e: e.version)
    return None


def _to_load(entries: Iterable[Entry]) -> Entry | None:
    now = time.monotonic()
    # In the one loader thread, an entry that is LOADING here waits for its next attempt.
    coming = [
        e
        for e in entries
        if e.aspired and e.state in (State.START, State.LOADING) and e.retry_at <= now
    ]
    return max(coming, key=lambda e: e.version, default=None)
