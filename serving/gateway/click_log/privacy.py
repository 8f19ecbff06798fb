"""What is taken out of the log again: old spans, and sessions whose people ask for it."""

from __future__ import annotations

import datetime
import hashlib
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving import files
from serving.gateway.click_log.closed_files import closed_files, write_rows

_FORGOTTEN = "forgotten.txt"
_SPAN = re.compile(r"span-(\d{4}-\d{2}-\d{2})")


class ForgottenSessions(Collection[str]):
    """Sessions by their SHA-256, so that the list itself names nobody."""

    def __init__(self, digests: Collection[str]):
        self._digests = frozenset(digests)

    def __contains__(self, session: object) -> bool:
        return bool(self._digests) and _digest(str(session)) in self._digests

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._digests)

    def __len__(self) -> int:
        return len(self._digests)


def forgotten_sessions(folder: Path) -> ForgottenSessions:
    """Return the deleted sessions, whose open events are left out when they are closed."""
    path = folder / "events" / _FORGOTTEN
    digests = path.read_text(encoding="utf-8").split() if path.exists() else []
    return ForgottenSessions(digests)


def forget_session(folder: Path, session: str) -> int:
    """Delete what is logged of a session, and what its open events would become.

    Args:
        folder: the data folder.
        session: as the log has it.

    Returns:
        How many rows of closed files are gone.

    Raises:
        DiskError: a file cannot be written.
    """
    removed = 0
    with files.naming_errors("written", folder):
        path = folder / "events" / _FORGOTTEN
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "a", encoding="ascii") as stream:
            stream.write(f"{_digest(session)}\n")
        for file in closed_files(folder):
            rows = pq.read_table(file)
            kept = rows.filter(pc.not_equal(rows["session_id"], session))
            if kept.num_rows < rows.num_rows:
                removed += rows.num_rows - kept.num_rows
                write_rows(file, kept)
    return removed


def delete_old_spans(folder: Path, keep_days: int, today: datetime.date) -> list[str]:
    """Delete the spans of days before the last so many; returns their names.

    Only files that services wrote are deleted, and folders that are empty then.

    Raises:
        DiskError: one cannot be deleted.
    """
    first = today - datetime.timedelta(days=keep_days)
    gone = []
    with files.naming_errors("written", folder):
        for file in closed_files(folder):
            match = _SPAN.fullmatch(file.parent.name)
            if match and datetime.date.fromisoformat(match[1]) < first:
                file.unlink()
                if not any(file.parent.iterdir()):
                    shutil.rmtree(file.parent)
                    gone.append(file.parent.name)
    return gone


def _digest(session: str) -> str:
    return hashlib.sha256(session.encode()).hexdigest()
