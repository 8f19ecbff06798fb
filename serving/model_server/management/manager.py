"""The versions of all models: which are wanted, their states, and handing them to requests.

Requests hold a version while they run, and a version is unloaded when nobody holds it. What is
loaded and unloaded next is the decision of `policy`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from serving.errors import Code, StatusError
from serving.model_server.management.policy import Action, next_action
from serving.model_server.management.servable import Entry, Loader, Location, State
from serving.model_server.models.memory import release_memory
from serving.model_server.threads import Threads, ends, seconds_until

_logger = logging.getLogger(__name__)

# How long a stop waits for loads and unloads under way: nobody wants them any more.
_SECONDS_TO_GIVE_UP = 1.0


class Manager:
    """Loads and unloads versions in the background; hands them out to requests.

    Args:
        loader: loads a version from (model name, version, folder); raises StatusError.
        max_load_retries: how often a load that failed is tried again.
        load_retry_seconds: pause before each retry.
        num_load_threads: how many versions are loaded at once; 0 is one after the other, in the
            thread that decides, so that nothing is unloaded meanwhile.
        num_unload_threads: the same for unloading.
    """

    def __init__(
        self,
        loader: Loader,
        max_load_retries: int = 5,
        load_retry_seconds: float = 60.0,
        num_load_threads: int = 0,
        num_unload_threads: int = 0,
    ):
        self._loader = loader
        self._max_load_retries = max_load_retries
        self._load_retry_seconds = load_retry_seconds
        self._models: dict[str, dict[int, Entry]] = {}
        # What requests read, without a lock: never changed, always replaced. The key None is the
        # highest version.
        self._available: dict[str, dict[int | None, Entry]] = {}
        self._changed = threading.Condition()
        self._loads_no_more = False
        self._stopping = False
        self._executors = {
            Action.LOAD: _executor(num_load_threads, "model-load"),
            Action.UNLOAD: _executor(num_unload_threads, "model-unload"),
        }
        self._work = {Action.LOAD: self._load, Action.UNLOAD: self._unload}
        self._thread = threading.Thread(target=self._run, name="model-manager", daemon=True)
        self._thread.start()

    def set_aspired(self, name: str, versions: Mapping[int, Location]) -> None:
        """Says which versions of a model should be loaded; returns at once.

        A version that failed stays as it is until it is once not among the aspired ones.
        """
        with self._changed:
            if not versions and name not in self._models:
                return
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
                    # For the next load; what is loaded stays.
                    known.path = path
            self._changed.notify_all()

    def use(self, name: str, version: int | None = None) -> Use:
        """Hold a version (the highest AVAILABLE one if none is named) in a `with` block.

        Raises:
            StatusError: NOT_FOUND, the version is not AVAILABLE; on entering the block.
        """
        return Use(self, name, version)

    def acquire(self, name: str, version: int | None) -> Entry:
        """Count a user of a version, as `use` does; the caller releases it.

        Raises:
            StatusError: NOT_FOUND, the version is not AVAILABLE.
        """
        while True:
            try:
                entry = self._available[name][version]
            except KeyError:
                wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise StatusError(
                    Code.NOT_FOUND, f"Servable not found for request: {wanted}"
                ) from None
            if entry.acquire():
                return entry
            # It was retired since the look-up, and is no longer among the available ones.

    def release(self, entry: Entry) -> None:
        """Count a user less."""
        if entry.release():
            self.wake()

    def wake(self) -> None:
        """Make those who wait look again."""
        with self._changed:
            self._changed.notify_all()

    def statuses(self, name: str) -> list[tuple[int, State, StatusError | None]]:
        """(version, state, error) of every version ever seen, highest first; [] if unknown."""
        with self._changed:
            entries = self._models.get(name, {})
            return [
                # An error that is being retried is not the version's state yet.
                (v, entries[v].state, entries[v].error if entries[v].state == State.END else None)
                for v in sorted(entries, reverse=True)
            ]

    def knows(self, name: str) -> bool:
        """Whether the model has a version, or had one."""
        return bool(self._models.get(name))

    def is_available(self, name: str, version: int) -> bool:
        """Whether requests for this version succeed now."""
        return version in self._available.get(name, {})

    def is_settled(self, name: str) -> bool:
        """Whether a model serves and all its wanted versions were tried, or they all failed."""
        with self._changed:
            aspired = [e for e in self._models.get(name, {}).values() if e.aspired]
        if all(e.state == State.END for e in aspired):
            return bool(aspired)
        tried = all(e.state == State.END or e.model or e.attempts for e in aspired)
        return tried and name in self._available

    def wait_until_ready(
        self,
        names: Iterable[str],
        timeout: float | None = None,
        abandoned: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Wait until every model serves, and every version wanted has been tried.

        Args:
            names: of the models.
            timeout: seconds; None waits for ever.
            abandoned: ends the wait when it is true; looked at on each change and `wake`.

        Returns:
            False if the wait ended before that, by `timeout` or `abandoned`.

        Raises:
            StatusError: UNKNOWN, models all of whose versions failed; or the manager was stopped.
        """
        names = list(names)
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopping or abandoned() or all(map(self.is_settled, names)), timeout
            )
            if self._stopping:
                raise StatusError(Code.CANCELLED, "The model server was stopped while loading.")
            if not all(map(self.is_settled, names)):
                return False
            failed = [entry for name in sorted(names) if (entry := self._failure(name))]
        if failed:
            causes = "".join(
                f"{{{{name: {e.name} version: {e.version}}} due to error: "
                f"{e.error.text if e.error else 'unloaded'}}}, "
                for e in failed
            )
            raise StatusError(
                Code.UNKNOWN, f"{len(failed)} model(s) did not become available: {{{causes}}}"
            )
        return True

    def begin_stop(self) -> None:
        """Begin no more loads; what serves goes on serving."""
        with self._changed:
            self._loads_no_more = True
            self._changed.notify_all()

    def stop(self, timeout: float | None = None) -> bool:
        """Unload everything, once requests under way have ended.

        Args:
            timeout: seconds for them. Loads and unloads under way have a second more at most.
                None waits for ever, for all of them.

        Returns:
            Whether all has ended. What has not, a load that hangs or a request, is left to its
            thread, and what comes of it is thrown away.
        """
        requests_end = None if timeout is None else time.monotonic() + timeout
        self.begin_stop()
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        end = None if timeout is None else time.monotonic() + _SECONDS_TO_GIVE_UP
        has_ended = ends(self._thread, end)
        for executor in self._executors.values():
            has_ended &= executor.stop(None if end is None else seconds_until(end))
        with self._changed:
            entries = self._entries()
            for entry in entries:
                if entry.state == State.AVAILABLE:
                    self._retire(entry)
            self._changed.wait_for(
                lambda: not any(e.in_use for e in entries),
                None if requests_end is None else seconds_until(requests_end),
            )
            in_use = [e for e in entries if e.in_use]
            free = [e for e in entries if e.state == State.UNLOADING and not (e.busy or e.in_use)]
        for entry in free:
            self._unload(entry)
        return has_ended and not in_use

    def _failure(self, name: str) -> Entry | None:
        """Return the highest version that ended, of a model none of whose versions serves."""
        if name in self._available:
            return None
        ended = [e for e in self._models[name].values() if e.aspired and e.state == State.END]
        return max(ended, key=lambda e: e.version, default=None)

    def _run(self) -> None:
        while True:
            with self._changed:
                work = None
                while not self._stopping and (work := self._next_work()) is None:
                    self._changed.wait(self._seconds_to_retry())
                if work is None:
                    return
            action, entry = work
            self._executors[action].submit(self._work[action], entry)

    def _next_work(self) -> tuple[Action, Entry] | None:
        """Chooses the next thing to do, unloading first, and marks the entry; the lock is held."""
        for entry in self._entries():
            if not entry.aspired and not entry.busy and entry.state < State.AVAILABLE:
                entry.retry_at = None
                self._enter(entry, State.END)
        while leaving := self._decisions(Action.UNLOAD):
            for entry in leaving:
                self._retire(entry)
        drained = [
            e for e in self._entries() if e.state == State.UNLOADING and not (e.busy or e.in_use)
        ]
        if drained:
            lowest = min(drained, key=lambda e: e.version)
            lowest.busy = True
            return Action.UNLOAD, lowest
        if self._loads_no_more:
            return None
        now = time.monotonic()
        due = [e for e in self._entries() if e.retry_at is not None and e.retry_at <= now]
        for entry in self._decisions(Action.LOAD) + due:
            entry.retry_at = None
            entry.busy = True
            self._enter(entry, State.LOADING)
            return Action.LOAD, entry
        return None

    def _entries(self) -> list[Entry]:
        return [entry for versions in self._models.values() for entry in versions.values()]

    def _decisions(self, kind: Action) -> list[Entry]:
        decisions = (next_action(versions.values()) for versions in self._models.values())
        return [entry for action, entry in filter(None, decisions) if action is kind]

    def _seconds_to_retry(self) -> float | None:
        if self._loads_no_more:
            return None
        due = [entry.retry_at for entry in self._entries() if entry.retry_at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _retire(self, entry: Entry) -> None:
        # Published first: a request that finds the version retired then finds another one.
        self._publish(entry.name, without=entry)
        entry.retire()
        self._enter(entry, State.UNLOADING)

    def _publish(self, name: str, without: Entry | None = None) -> None:
        """Renews what requests of a model see; the lock is held."""
        serving: dict[int | None, Entry] = {
            entry.version: entry
            for entry in self._models[name].values()
            if entry.state == State.AVAILABLE and entry is not without
        }
        available = {key: value for key, value in self._available.items() if key != name}
        if serving:
            serving[None] = max(serving.values(), key=lambda e: e.version)
            available[name] = serving
        self._available = available

    def _load(self, entry: Entry) -> None:
        try:
            model = self._loader(entry.name, entry.version, entry.path)
        except Exception as error:
            # Whatever a model does to the loader, the other models go on being served.
            self._load_failed(entry, error)
            return
        with self._changed:
            entry.model = model
            entry.error = None
            entry.busy = False
            if not self._stopping:
                self._enter(entry, State.AVAILABLE)
                self._publish(entry.name)
                return
        # The stop did not wait for it.
        self._unload(entry)

    def _load_failed(self, entry: Entry, error: Exception) -> None:
        status = error if isinstance(error, StatusError) else StatusError(Code.UNKNOWN, str(error))
        if not self._loads_no_more:
            _logger.error(
                "Loading servable: {name: %s version: %d} failed: %s",
                entry.name,
                entry.version,
                status.text,
                exc_info=None if isinstance(error, StatusError) else error,
            )
        # The traceback would keep the frames of the loader, and with them what it had loaded.
        status = StatusError(status.code, status.message)
        with self._changed:
            entry.attempts += 1
            entry.busy = False
            entry.error = status
            if entry.attempts > self._max_load_retries or not entry.aspired:
                self._enter(entry, State.END)
            else:
                entry.retry_at = time.monotonic() + self._load_retry_seconds
                self._changed.notify_all()

    def _unload(self, entry: Entry) -> None:
        if entry.model is not None:
            try:
                entry.model.close()
            except Exception:
                # It is gone for requests either way; the other models go on being served.
                _logger.exception(
                    "Unloading servable: {name: %s version: %d} failed", entry.name, entry.version
                )
            entry.model = None
            release_memory()
        with self._changed:
            entry.busy = False
            self._enter(entry, State.END)
            if entry.aspired and not self._stopping:
                # Wanted again while it was being unloaded.
                self._models[entry.name][entry.version] = Entry(
                    entry.name, entry.version, entry.path
                )

    def _enter(self, entry: Entry, state: State) -> None:
        if state != entry.state:
            _logger.info("{name: %s version: %d}: %s", entry.name, entry.version, state.name)
        entry.state = state
        self._changed.notify_all()


class Use:
    """A version that is held while a `with` block runs.

    A class of its own because each request passes here: contextlib's costs several times as much.
    """

    __slots__ = ("_entry", "_manager", "_name", "_version")

    def __init__(self, manager: Manager, name: str, version: int | None):
        self._manager = manager
        self._name = name
        self._version = version

    def __enter__(self) -> Entry:
        self._entry = self._manager.acquire(self._name, self._version)
        return self._entry

    def __exit__(self, *unused: object) -> None:
        self._manager.release(self._entry)


class _Inline:
    """Does work in the thread that submits it."""

    def submit(self, function: Callable[[Entry], None], entry: Entry) -> None:
        function(entry)

    def stop(self, timeout: float | None = None) -> bool:
        """Nothing is ever left over."""
        return True


def _executor(threads: int, name: str) -> _Inline | Threads:
    return Threads(threads, name) if threads else _Inline()
