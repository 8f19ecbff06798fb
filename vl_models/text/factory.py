"""Tokenisers from files: a pretrained vocabulary, a run folder, an artifact, a text tower.

A folder holds ``vocabulary.txt``, one token a line, and for byte-pair encoding ``merges.txt``
beside it: the folder says by itself which tokeniser it is for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from vl_models.choices import TokenizerKind
from vl_models.errors import UserError
from vl_models.text.clip_bpe import CLIPTokenizer, read_merges
from vl_models.text.tokenizer import Tokenizer
from vl_models.text.vocabulary import VOCABULARY_FILE, read_tokens, read_vocabulary
from vl_models.text.wordpiece import WordPieceTokenizer

MERGES_FILE = "merges.txt"
# The vocabulary comes last: where it is, the rest is.
VOCABULARY_FILES = (MERGES_FILE, VOCABULARY_FILE)
_HEADER = "#version: 0.2\n"  # what programs that read merges skip
# Uncased vocabularies hold hardly any capitals; of cased English ones, about a third.
_LARGEST_CASED_SHARE = 0.05
_CAPITAL = re.compile(r"[A-Z]")
_SPECIAL = re.compile(r"\[.+\]")


def pretrained_tokenizer(kind: TokenizerKind, path: str | Path, max_length: int) -> Tokenizer:
    """Tokeniser of a vocabulary that came from elsewhere.

    Args:
        kind: "wordpiece" or "clip_bpe".
        path: for "wordpiece" the ``vocab.txt`` of an uncased BERT; for "clip_bpe" CLIP's merges
            (``bpe_simple_vocab_16e6.txt``, also as gzip) or a folder with ``vocab.json`` and
            ``merges.txt``.
        max_length: L, special tokens included.

    Raises:
        UserError: a file is missing or not of its kind, or the vocabulary is a cased one.
    """
    if kind == "clip_bpe":
        path = Path(path)
        if not path.is_dir():
            return CLIPTokenizer(read_merges(path), max_length)
        merges = read_merges(path / MERGES_FILE, limit=None)
        return CLIPTokenizer(merges, max_length, _read_json(path / "vocab.json"))
    tokens = read_vocabulary(path)
    words = [token for token in tokens if not _SPECIAL.fullmatch(token)]
    cased = [token for token in words if _CAPITAL.search(token)]
    if len(cased) > _LARGEST_CASED_SHARE * len(words):
        raise UserError(
            f"The vocabulary {path} is a cased one: {len(cased)} of {len(words)} tokens hold "
            f"capitals, for example {cased[0]!r}. Queries are lower-cased everywhere here; take "
            "the vocabulary and the weights of an uncased model."
        )
    return WordPieceTokenizer(tokens, max_length)


def load_tokenizer(folder: str | Path, max_length: int) -> Tokenizer:
    """Tokeniser of a folder that `save_vocabulary` wrote, or of a text tower's assets.

    Raises:
        UserError: its files are missing or damaged.
    """
    folder = Path(folder)
    if not (folder / MERGES_FILE).is_file():
        return WordPieceTokenizer(read_vocabulary(folder / VOCABULARY_FILE), max_length)
    tokens = read_tokens(folder / VOCABULARY_FILE)
    return CLIPTokenizer(read_merges(folder / MERGES_FILE, limit=None), max_length, tokens)


def vocabulary_files(tokenizer: Tokenizer) -> dict[str, str]:
    """Content by file name from which `load_tokenizer` makes the same tokeniser."""
    files = {VOCABULARY_FILE: "".join(f"{token}\n" for token in tokenizer.vocabulary)}
    if isinstance(tokenizer, CLIPTokenizer):
        merges = "".join(f"{left} {right}\n" for left, right in tokenizer.merges)
        files[MERGES_FILE] = _HEADER + merges
    return files


def save_vocabulary(files: Mapping[str, str], folder: str | Path) -> None:
    """Write the files of `vocabulary_files`, each atomically; others of an earlier kind go."""
    for name in VOCABULARY_FILES:
        target = Path(folder, name)
        if name not in files:
            target.unlink(missing_ok=True)
            continue
        temporary = target.with_name(f"{name}.tmp")
        temporary.write_bytes(files[name].encode("utf-8"))
        temporary.replace(target)


def pretrained_files(path: str | Path) -> Sequence[Path]:
    """Return the files that a configured ``pretrained`` path means, for fingerprints."""
    path = Path(path)
    return [path / "vocab.json", path / MERGES_FILE] if path.is_dir() else [path]


def _read_json(path: Path) -> list[str]:
    """Tokens in the order of their ids, from ``{token: id}``."""
    try:
        ids = json.loads(path.read_bytes())
        pairs = sorted(ids.items(), key=lambda pair: pair[1])
    except OSError as error:
        raise UserError(f"The vocabulary {path} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"The vocabulary {path} is not JSON of the form {{token: id}}.") from error
    if [number for _, number in pairs] != list(range(len(pairs))):
        raise UserError(f"The ids of the vocabulary {path} must be 0, 1, 2, … without gaps.")
    return [token for token, _ in pairs]
