"""Text files as people have them: packed or not, in the encoding that their bytes show."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfx_pipeline.storage.objects import open_object
from tfx_pipeline.storage.uris import is_uri
from vl_models.errors import UserError

_GZIP = b"\x1f\x8b"


@contextlib.contextmanager
def open_bytes(path: str) -> Iterator[Any]:
    """Return a file's bytes as a stream, unpacked if they are gzip's, whatever its name is.

    Args:
        path: local path, or a URI of s3:// or gs://.

    Raises:
        UserError: it cannot be opened. Broken gzip data raises `OSError`, `EOFError` or
            `zlib.error` where it is read.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = open_object(path) if is_uri(path) else Path(path).open("rb")  # noqa: SIM115
            stream = stack.enter_context(file)
            packed = stream.read(len(_GZIP)) == _GZIP
            stream.seek(0)
        except OSError as error:
            detail = error.strerror or error
            raise UserError(f"{path}: cannot be opened ({detail}). Check the path.") from error
        yield stack.enter_context(gzip.open(stream)) if packed else stream


@contextlib.contextmanager
def open_text(path: str, encoding: str = "auto") -> Iterator[io.TextIOWrapper]:
    r"""Return a file's text as a stream, without a byte order mark; line ends as they are.

    Bytes that the encoding does not know arrive as lone surrogates: `contract.to_bytes` gives
    them back, and `suggest_encoding` may know what they are.

    Args:
        path: local path, or a URI of s3:// or gs://.
        encoding: one that Python knows, or `auto`: UTF-16 or UTF-32 if the first bytes show it,
            else UTF-8.

    Raises:
        UserError: it cannot be opened, or there is no such encoding.
    """
    with open_bytes(path) as stream:
        if encoding == "auto":
            encoding = json.detect_encoding(stream.read(4))
            stream.seek(0)
        name = _codec(path, encoding)
        # Surrogates in UTF-16 are not bytes that could be escaped.
        errors = "surrogatepass" if name.startswith(("utf-16", "utf-32")) else "surrogateescape"
        with io.TextIOWrapper(stream, name, errors=errors, newline="") as text:
            yield text


def read_text(path: str, encoding: str = "auto") -> str:
    """Return a file's text as `open_text` has it, lone surrogates for broken bytes included.

    Raises:
        UserError: it cannot be opened or not be read to its end, or there is no such encoding.
    """
    try:
        with open_text(path, encoding) as stream:
            return stream.read()
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise UserError(
            f"{path}: cannot be read to its end ({error}). The file is incomplete or damaged: "
            "write it again."
        ) from error


def suggest_encoding(data: bytes) -> str | None:
    """Return the encoding that bytes which are not UTF-8 are likely to be of: GB18030, or None."""
    try:
        foreign = [char for char in data.decode("gb18030") if not char.isascii()]
    except UnicodeDecodeError:
        return None
    # UTF-8 with a broken byte decodes, too, to characters that nobody wrote.
    as_utf8 = [char for char in data.decode("utf-8", "replace") if not char.isascii()]
    if 2 * as_utf8.count("\ufffd") < len(as_utf8):
        return None
    # An accented letter of Latin-1 and the letter behind it would make a rare character. Those of
    # GB2312, in use by any Chinese text, have two bytes above 0xA0.
    usual = [char for char in foreign if min(char.encode("gb18030")) > 0xA0]
    return "gb18030" if 2 * len(usual) > len(foreign) else None


def _codec(path: str, encoding: str) -> str:
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)  # some codecs turn bytes into bytes
    except LookupError as error:
        raise UserError(
            f"{path}: there is no encoding {encoding!r}. Usual ones are utf-8, utf-16, gb18030, "
            "big5, shift_jis, euc_kr and cp1252."
        ) from error
    return "utf-8-sig" if name == "utf-8" else name
