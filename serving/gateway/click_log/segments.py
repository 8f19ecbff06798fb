"""The open files of the log: one an hour and process, locked by it, appended to line by line.

A line is acknowledged after `write` has returned: then the system has it, and killing the process
loses nothing. (A machine that loses power may lose the last seconds.)
"""

from __future__ import annotations

import datetime
import errno
import fcntl
import os
import re
import secrets
import threading
from pathlib import Path

from serving import files
from serving.errors import DISK_REMEDIES, DiskError
from serving.gateway.click_log.closed_files import LOG, write_rows
from serving.gateway.click_log.lines import read_rows
from serving.gateway.click_log.privacy import forgotten_sessions

EVENTS = "events"
_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})T\d{2}-[0-9]+-[0-9a-f]+\.jsonl")


class Segments:
    """Appends lines to the file of their hour, and closes files whose time is over.

    Args:
        folder: the data folder.
        grace: seconds after an hour's end that its file stays open for late clicks.
    """

    def __init__(self, folder: Path, grace: float):
        self._folder = folder
        self._grace = grace
        self._lock = threading.Lock()
        self._open: dict[str, tuple[Path, int]] = {}  # by hour: file and its descriptor
        with files.naming_errors("written", folder):
            (folder / EVENTS).mkdir(parents=True, exist_ok=True)

    def append(self, time: float, line: bytes) -> None:
        """Append a line to the file of an hour; when this returns, the system has it.

        Args:
            time: seconds since 1970, within the hour.
            line: with its end.

        Raises:
            DiskError: it cannot be written; then nothing of it is in the file.
        """
        hour = _hour(time)
        with self._lock:
            if hour not in self._open:
                self._open[hour] = self._start(hour)
            path, descriptor = self._open[hour]
            size = os.fstat(descriptor).st_size
            try:
                written = os.write(descriptor, line)
                if written < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                os.ftruncate(descriptor, size)
                remedy = DISK_REMEDIES.get(error.errno or 0, "Look at the disk.")
                raise DiskError(f"{path} cannot be written: {error.strerror}. {remedy}") from error

    def close_due(self, now: float) -> None:
        """Close the files of hours that are over; what cannot be written is tried again later."""
        with self._lock:
            due = [hour for hour in self._open if _end(hour) + self._grace <= now]
        for hour in due:
            self._close(hour)

    def close(self) -> None:
        """Close all files: their rows are in the log then."""
        for hour in list(self._open):
            self._close(hour)

    def _start(self, hour: str) -> tuple[Path, int]:
        while True:
            path = self._folder / EVENTS / f"{hour}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
            with files.naming_errors("written", path):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
                descriptor = os.open(path, flags, 0o600)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.fstat(descriptor).st_nlink:
                    return path, descriptor
                os.close(descriptor)  # another process took it for one that was left behind

    def _close(self, hour: str) -> None:
        with self._lock:
            if hour not in self._open:
                return
            path, descriptor = self._open.pop(hour)
        try:
            finish(path)
        finally:
            os.close(descriptor)


def recover(folder: Path) -> int:
    """Close the files of processes that are gone; returns how many those were.

    Raises:
        DiskError: one cannot be read or written.
    """
    closed = 0
    for path in sorted((folder / EVENTS).glob("*.jsonl")):
        if not _NAME.fullmatch(path.name):
            continue
        with files.naming_errors("read", path):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists():  # nobody closed it between the listing and the lock
                finish(path)
                closed += 1
        except BlockingIOError:  # its process lives
            continue
        finally:
            os.close(descriptor)
    return closed


def finish(path: Path) -> None:
    """Turn a file of events into rows of the log, and remove it.

    Killed in between, it does the same again: the rows' file has a name of its own.

    Raises:
        DiskError: the rows cannot be written; then the events stay.
    """
    folder = path.parent.parent
    match = _NAME.fullmatch(path.name)
    assert match is not None
    with files.naming_errors("written", folder), path.open("rb") as lines:
        rows = read_rows(lines, forgotten_sessions(folder))
        if rows.num_rows:
            write_rows(folder / LOG / f"span-{match[1]}" / f"clicks-{path.stem}.parquet", rows)
        path.unlink()


def _hour(time: float) -> str:
    return datetime.datetime.fromtimestamp(time, datetime.UTC).strftime("%Y-%m-%dT%H")


def _end(hour: str) -> float:
    start = datetime.datetime.strptime(hour, "%Y-%m-%dT%H").replace(tzinfo=datetime.UTC)
    return start.timestamp() + 3600
