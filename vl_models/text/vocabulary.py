"""WordPiece vocabularies: learning, reading and writing."""

from __future__ import annotations

import bisect
import functools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tensorflow_text.tools.wordpiece_vocab import wordpiece_tokenizer_learner_lib as learner

from vl_models.errors import UserError

PADDING, UNKNOWN, START, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_TOKENS = (PADDING, UNKNOWN, START, END, MASK)
CONTINUATION_PREFIX = "##"
VOCABULARY_FILE = "vocabulary.txt"  # its name in artifacts, run folders and text towers

# The ranges that BERT's basic tokeniser splits into single characters.
_CJK = re.compile(
    "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df"
    "\U0002a700-\U0002b73f\U0002b740-\U0002b81f\U0002b820-\U0002ceaf\U0002f800-\U0002fa1f]"
)
_LEARNER_MAX_CHARACTERS = 1000
_LEARNER_MAX_LENGTH = 50


def learn_wordpiece(
    word_counts: Mapping[str, int] | Iterable[tuple[str, int]], vocabulary_size: int
) -> list[str]:
    """Learn a WordPiece vocabulary from word counts, with TF Text's learner.

    CJK characters are whole words after `split_words`, so they take one entry each (the
    learner would spend a second one on a continuation that never occurs); the commonest
    ones get at most half of the vocabulary. Where not all words are among the learned pieces, the
    commonest fill what room is left: a word is learnt best as a whole.

    Args:
        word_counts: count of every word of `split_words`.
        vocabulary_size: largest size, special tokens included.

    Returns:
        At most ``vocabulary_size`` tokens, special ones first (`[PAD]` has id 0).

    Raises:
        UserError: if there are no words, or the size has no room for the alphabet.
    """
    pairs = word_counts.items() if isinstance(word_counts, Mapping) else word_counts
    counts = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
    if not counts:
        raise UserError(
            "A vocabulary cannot be learned from no words: the training split is empty."
        )
    room = vocabulary_size - len(SPECIAL_TOKENS)
    if room < 1:
        raise UserError(
            f"vocabulary_size is too small: {len(SPECIAL_TOKENS)} special tokens leave no room. "
            f"Received: vocabulary_size={vocabulary_size}."
        )
    characters = [word for word, _ in counts if _CJK.fullmatch(word)]
    words = [(word, count) for word, count in counts if not _CJK.fullmatch(word)]
    characters = characters[: room // 2 if words else room]
    if not words:
        return [*SPECIAL_TOKENS, *characters]
    size = vocabulary_size - len(characters)
    pieces = _learn_pieces(words, size)
    known = set(pieces)
    whole = [word for word, _ in words if word not in known and len(word) <= _LEARNER_MAX_LENGTH]
    return [*pieces, *whole[: size - len(pieces)], *characters]


def _learn_pieces(words: Sequence[tuple[str, int]], size: int) -> list[str]:
    """Special tokens and pieces, at most ``size`` in all, of the lowest count that allows it.

    The learner's own search may return more than it is asked for.
    """
    # Every character takes two entries, as start and as continuation of a word.
    room = max(1, min(_LEARNER_MAX_CHARACTERS, (size - len(SPECIAL_TOKENS)) // 2))

    @functools.cache
    def learned(least: int) -> list[str]:
        return learner.learn(
            words,
            vocab_size=size,
            reserved_tokens=list(SPECIAL_TOKENS),
            lower_thresh=least,
            upper_thresh=least,
            max_unique_chars=room,
        )

    counts = range(1, sum(count for _, count in words) + 2)
    best = bisect.bisect_left(counts, True, key=lambda least: len(learned(least)) <= size)
    inside = {character for word, _ in words for character in word[1:]}
    return [
        piece
        for piece in learned(counts[min(best, len(counts) - 1)])
        # The learner continues words by punctuation marks, too, which are words of their own.
        if not (piece.startswith(CONTINUATION_PREFIX) and len(piece) == 3)
        or piece[-1].isalnum()
        or piece[-1] in inside
    ]


def read_vocabulary(path: str | os.PathLike[str]) -> list[str]:
    """Read a vocabulary file, one token per line; the line number is the id.

    Args:
        path: a file of `write_vocabulary`, or the ``vocab.txt`` of a BERT model.

    Returns:
        Tokens in the order of their ids.

    Raises:
        UserError: naming file and line, if it is missing, not UTF-8, has an empty or repeated
            line, or lacks a special token.
    """
    tokens = read_tokens(path)
    check_vocabulary(tokens, f"The vocabulary {path}")
    return tokens


def read_tokens(path: str | os.PathLike[str]) -> list[str]:
    """Read the lines of a vocabulary file, whatever tokeniser it is for.

    Raises:
        UserError: it is missing or not UTF-8.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        raise UserError(f"The vocabulary {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"The vocabulary {path}, line {line}, is not UTF-8.") from error
    # Not splitlines(): real vocabularies hold Unicode line separators as tokens.
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def write_vocabulary(tokens: Sequence[str], path: str | os.PathLike[str]) -> None:
    """Write a vocabulary file atomically, one token per line.

    Raises:
        UserError: if the tokens are no valid vocabulary.
    """
    check_vocabulary(tokens, f"The vocabulary for {path}")
    temporary = Path(f"{path}.tmp")
    temporary.write_bytes("".join(f"{token}\n" for token in tokens).encode("utf-8"))
    temporary.replace(path)


def check_vocabulary(tokens: Sequence[str], where: str) -> None:
    """Raise a UserError that starts with ``where`` unless the tokens are a vocabulary."""
    first_line: dict[str, int] = {}
    for line, token in enumerate(tokens, start=1):
        if not token or "\n" in token:
            raise UserError(f"{where}, line {line}, must hold one token. Received: {token!r}.")
        if token in first_line:
            raise UserError(
                f"{where}, line {line}, repeats the token {token!r} of line {first_line[token]}."
            )
        first_line[token] = line
    missing = [token for token in SPECIAL_TOKENS if token not in first_line]
    if missing:
        raise UserError(
            f"{where} lacks {', '.join(missing)}: all of {', '.join(SPECIAL_TOKENS)} are needed."
        )
