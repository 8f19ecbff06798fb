"""Where the libraries' log messages go: to a file, so that the terminal stays readable."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path


def log_to_file(path: Path) -> None:
    """Send all log messages of this process to ``path``; warnings of our own to the terminal.

    With ``--debug`` everything also goes to the terminal.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file_handler = logging.FileHandler(path, encoding="utf-8")
    file_handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname).1s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    debug = bool(os.environ.get("VLSEARCH_DEBUG"))
    for handler in list(root.handlers):
        if not debug:
            root.removeHandler(handler)
    root.addHandler(file_handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    if not debug:
        warnings.simplefilter("ignore")
        # TFX logs whole pipeline graphs at every step.
        logging.getLogger("absl").setLevel(logging.WARNING)
