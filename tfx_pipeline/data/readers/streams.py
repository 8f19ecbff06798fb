"""Log files as streams of bytes or text: unpacked and decoded by what they begin with."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
from collections.abc import Iterator
from typing import Any

from tfx_pipeline.storage.objects import open_object
from tfx_pipeline.storage.uris import is_uri
from vl_models.errors import UserError

GZIP_MAGIC = b"\x1f\x8b\x08"
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@contextlib.contextmanager
def open_log(path: str) -> Iterator[Any]:
    """Open a log file as a seekable stream of bytes, unpacked if it is gzip.

    Raises:
        UserError: it cannot be opened.
    """
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context(
                open_object(path)
                if is_uri(path)
                else FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
            )
        except OSError as error:
            raise UserError(f"{path}: cannot be opened ({error}). Check the path.") from error
        packed = stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        stream.seek(0)
        yield stack.enter_context(gzip.open(stream)) if packed else stream


@contextlib.contextmanager
def open_text(path: str, encoding: str = "auto", newline: str = "") -> Iterator[io.TextIOWrapper]:
    """Open a log file as text; bytes that are not of the encoding are escaped as surrogates.

    Args:
        path: local path or URI.
        encoding: a codec, or `auto`: by the byte order mark, UTF-16 also without, else UTF-8.
        newline: as for `open`.
    """
    with open_log(path) as stream:
        if encoding == "auto":
            encoding = _recognise(stream.read(4))
            stream.seek(0)
        elif codecs.lookup(encoding).name == "utf-8":
            encoding = "utf-8-sig"
        # UTF-16 escapes lone surrogates in another way. The row check names row and column.
        errors = "surrogatepass" if encoding.startswith("utf-16") else "surrogateescape"
        yield io.TextIOWrapper(stream, encoding, errors=errors, newline=newline)


def _recognise(head: bytes) -> str:
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding
    if len(head) == 4 and head[0] and head[2] and head[1] == head[3] == 0:
        return "utf-16-le"
    if len(head) == 4 and head[1] and head[3] and head[0] == head[2] == 0:
        return "utf-16-be"
    return "utf-8"
