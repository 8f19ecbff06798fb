"""Commands in messages, to be copied into a shell."""

from __future__ import annotations

import shlex
from pathlib import PurePath


def command(*words: object) -> str:
    """Return a command line: a shell takes the words for what they are.

    Args:
        words: of the command; a path that begins with a hyphen is not taken for an option.
    """
    return shlex.join(map(_word, words))


def _word(word: object) -> str:
    text = str(word)
    return f"./{text}" if isinstance(word, PurePath) and text.startswith("-") else text
