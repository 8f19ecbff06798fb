"""Reading configuration files in protobuf's text format, with TensorFlow Serving's errors."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from serving.errors import Code, StatusError, invalid

_logger = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)


def read_text_proto(path: str | Path, message: M, secret: bool = False) -> M:
    """Fill `message` from the file and returns it.

    What is wrong in the file, and where, is logged as protobuf words it; the status names the file.

    Args:
        path: of the file, in text format.
        message: an empty one of its type.
        secret: the file holds a key, so that nothing of it may be quoted in the log.

    Raises:
        StatusError: NOT_FOUND, no such file; INVALID_ARGUMENT, not in the text format of `message`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        code = Code.NOT_FOUND if isinstance(error, FileNotFoundError) else Code.UNKNOWN
        raise StatusError(code, f"{path}; {error.strerror}") from error
    except UnicodeDecodeError:
        raise _invalid(path, message, "1:1: The file is not UTF-8.") from None
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        reason = _reason(error, text, secret)
    # Outside the handler: the cause that Python would print quotes the file.
    raise _invalid(path, message, reason)


def _reason(error: text_format.ParseError, text: str, secret: bool) -> str:
    """`line:column: what is wrong`, without the line that Python's parser quotes before it."""
    place, what = str(error).split(" : ", 1)
    line = text.split("\n")[error.GetLine() - 1]
    what = what.removeprefix(f"'{line}': ")
    return f"{place}: {'Cannot be read from here on.' if secret else what}"


def _invalid(path: str | Path, message: Message, reason: str) -> StatusError:
    # The line that protobuf prints before TensorFlow Serving sees the failure.
    _logger.error("Error parsing text-format %s: %s", message.DESCRIPTOR.full_name, reason)
    return invalid(f"Invalid protobuf file: '{path}'")
