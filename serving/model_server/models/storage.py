"""Base paths that are local folders or URIs (`gs://bucket/model`, `file:///models/m`).

URIs go through TensorFlow's file systems, as in TensorFlow Serving; which schemes there are is up
to the installed TensorFlow and its file system plug-ins.
"""

from __future__ import annotations

import re
import tempfile
import weakref
from pathlib import Path

from serving.errors import Code, StatusError
from serving.model_server.management.servable import Location

# tsl/platform/path.cc, ParseURI.
_SCHEME = re.compile(r"([a-zA-Z][0-9a-zA-Z.]*)://")
_LOCAL = "file://"
_copies: weakref.WeakSet[tempfile.TemporaryDirectory[str]] = weakref.WeakSet()


def is_absolute(path: str) -> bool:
    """Whether a base path is an absolute path or a URI, which is all that is accepted."""
    return path.startswith("/") or _SCHEME.match(path) is not None


def list_folder(base_path: str) -> dict[str, Location] | None:
    """Return what is directly under a base path, by name; None if the base path does not exist.

    Raises:
        StatusError: the file system cannot be read, or TensorFlow knows no such scheme.
    """
    base_path = _without_file_scheme(base_path)
    if not _SCHEME.match(base_path):
        try:
            return {child.name: child for child in Path(base_path).iterdir()}
        except (FileNotFoundError, NotADirectoryError, ValueError):
            # ValueError: a NUL in the path, which no file system has.
            return None
        except OSError as error:
            raise StatusError(Code.UNKNOWN, f"{base_path}; {error.strerror}") from error
    # Only for URIs: TensorFlow takes seconds to import.
    import tensorflow as tf

    try:
        if not tf.io.gfile.exists(base_path):
            return None
        # Object stores list all descendants.
        names = {name.rstrip("/").partition("/")[0] for name in tf.io.gfile.listdir(base_path)}
    except tf.errors.OpError as error:
        raise StatusError(Code(error.error_code), error.message) from error
    return {name: f"{base_path.rstrip('/')}/{name}" for name in names}


def fetch(location: Location) -> tuple[Path, tempfile.TemporaryDirectory[str] | None]:
    """Return a local folder with the content of `location`, and what removes it when it is a copy.

    Models are read from a copy so that all that belongs to a version (assets, warm-up records,
    batching parameters) is an ordinary file.

    Raises:
        StatusError: the content cannot be read.
    """
    if isinstance(location, Path):
        return location, None
    import tensorflow as tf

    copy = tempfile.TemporaryDirectory(prefix="vlsearch-model-")
    _copies.add(copy)
    try:
        for folder, _, names in tf.io.gfile.walk(location):
            target = Path(copy.name, folder[len(location) :].strip("/"))
            target.mkdir(parents=True, exist_ok=True)
            for name in names:
                tf.io.gfile.copy(f"{folder.rstrip('/')}/{name}", str(target / name))
    except tf.errors.OpError as error:
        copy.cleanup()
        raise StatusError(Code(error.error_code), error.message) from error
    return Path(copy.name), copy


def remove_copies() -> None:
    """Remove what `fetch` has copied and what it is copying, at the end of the process."""
    for copy in list(_copies):
        copy.cleanup()


def _without_file_scheme(base_path: str) -> str:
    """`file:///models/m` and `file://localhost/models/m` are local folders."""
    if not base_path.startswith(_LOCAL):
        return base_path
    rest = base_path[len(_LOCAL) :]
    return rest if rest.startswith("/") else "/" + rest.partition("/")[2]
