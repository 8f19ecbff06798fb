"""Where the libraries' messages go: to a file, so that the terminal stays readable."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path

from vl_models.terminal import LogFormatter, VisibleFormatter

LOG_FORMAT = "%(asctime)s %(levelname).1s %(name)s: %(message)s"
_FILE_HANDLER = "vlsearch log file"


def log_to_file(path: Path) -> None:
    """Send all log messages of this process to ``path``; with ``--debug`` to the terminal, too.

    A later call (a notebook may hold several runs) leaves the file before it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Names of files need not be UTF-8.
    file_handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    file_handler.setFormatter(LogFormatter(LOG_FORMAT))
    file_handler.set_name(_FILE_HANDLER)
    root = logging.getLogger()
    logging.raiseExceptions = debugging()  # a full disk would fill the terminal
    for earlier in [handler for handler in root.handlers if handler.name == _FILE_HANDLER]:
        root.removeHandler(earlier)
        earlier.close()
    # What `logging` itself added when a library logged before: it writes to the terminal.
    for default in [handler for handler in root.handlers if type(handler) is logging.StreamHandler]:
        root.removeHandler(default)
    root.addHandler(file_handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    if debugging():
        terminal_handler = logging.StreamHandler()
        terminal_handler.setFormatter(VisibleFormatter())
        root.addHandler(terminal_handler)
        return
    # TFX logs whole pipeline graphs at every step.
    logging.getLogger("absl").setLevel(logging.WARNING)
    # TensorFlow's logger writes to the terminal by a handler of its own.
    logging.getLogger("tensorflow").handlers.clear()
    hide_native_messages(path)


def log_folder() -> str | None:
    """Return the folder of the log file, which a command also writes to; None without one."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler) and handler.name == _FILE_HANDLER:
            return str(Path(handler.baseFilename).parent)
    return None


def hide_native_messages(path: Path = Path(os.devnull)) -> None:
    """Send what C++ libraries write to standard error to a file; Python's still goes there.

    TensorFlow greets every process with lines that no setting silences.
    """
    if debugging():
        return
    warnings.simplefilter("ignore")
    if _stderr_descriptor() == 2:  # the first time: keep a way to the terminal for ourselves
        sys.stderr.flush()
        terminal = os.dup(2)
        sys.stderr = os.fdopen(
            terminal, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace"
        )
    with path.open("ab") as target:
        os.dup2(target.fileno(), 2)


def _stderr_descriptor() -> int | None:
    """Where Python's standard error goes; None if to no descriptor, as in some notebooks."""
    try:
        return sys.stderr.fileno()
    except OSError:
        return None


def debugging() -> bool:
    """Whether ``--debug`` was given."""
    return bool(os.environ.get("VLSEARCH_DEBUG"))
