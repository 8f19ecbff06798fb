"""CLIP's byte-pair encoding as graph operations, from a local merges file."""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from vl_models.errors import UserError
from vl_models.generation.config import CaptionTokens
from vl_models.text.detokenize import join_words
from vl_models.text.normalize import normalize_queries
from vl_models.text.tokenizer import TokenBatch, Tokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"
# CLIP reads this many merges of its file: 49,408 ids - 2 · 256 bytes - 2 special tokens.
_CLIP_MERGES = 48_894
_NO_MERGE = 2**30
_NONE = -1  # no symbol

# Contractions, runs of letters, single digits, runs of anything else: CLIP's pattern.
_WORD = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


def read_merges(
    path: str | os.PathLike[str], limit: int | None = _CLIP_MERGES
) -> list[tuple[str, str]]:
    """Read a merges file: a header line, then one pair per line, the commonest first.

    Args:
        path: text file, or gzip (CLIP's ``bpe_simple_vocab_16e6.txt.gz``).
        limit: how many merges to read; None for all.

    Raises:
        UserError: naming file and line, if it cannot be read or a line holds no pair.
    """
    try:
        data = Path(path).read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UserError(f"The merges file {path} cannot be read: {error}.") from error
    merges = []
    end = None if limit is None else limit + 1
    for line, content in enumerate(text.split("\n")[1:end], start=2):
        pair = content.split()
        if not pair:
            break
        if len(pair) != 2:
            raise UserError(
                f"The merges file {path}, line {line}, must hold two symbols. "
                f"Received: {content!r}."
            )
        merges.append((pair[0], pair[1]))
    return merges


class CLIPTokenizer(Tokenizer):
    """`<|startoftext|>` pieces `<|endoftext|>` and zeros, as CLIP's tokeniser makes them.

    A word is a sequence of bytes whose last one is marked; the pair of neighbours that comes
    first in the merges file is merged until none is left. Texts are normalised like all
    queries (NFKC and lower case); CLIP's own repair of broken encodings and HTML is not part
    of it.
    Source: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units",
    section 3.2; Radford et al., "Learning Transferable Visual Models From Natural Language
    Supervision", section 2.4.

    Args:
        merges: pairs of `read_merges`, symbols in the byte alphabet of GPT-2.
        max_length: L, at least 3; CLIP's 77.
        vocabulary: tokens in the order of their ids; CLIP's order by default: bytes, bytes that
            end a word, merges, start and end.

    Raises:
        UserError: if ``max_length`` is below 3, or the vocabulary lacks a token that the merges
            make.
    """

    def __init__(
        self,
        merges: Sequence[tuple[str, str]],
        max_length: int = 77,
        vocabulary: Sequence[str] | None = None,
    ) -> None:
        if max_length < 3:
            raise UserError(
                "max_length must leave room for start, one token and end. "
                f"Received: max_length={max_length}."
            )
        alphabet = _byte_alphabet()
        symbols = [alphabet[byte] for byte in sorted(alphabet, key=lambda b: ord(alphabet[b]))]
        # The order of CLIP's ids: printable bytes first, then those with substitutes.
        made = [
            *symbols,
            *(symbol + _WORD_END for symbol in symbols),
            *(left + right for left, right in merges),
            START,
            END,
        ]
        self.merges = list(merges)
        self.vocabulary = made if vocabulary is None else list(vocabulary)
        self.max_length = max_length
        ids = {token: index for index, token in enumerate(self.vocabulary)}
        lacking = [token for token in made if token not in ids]
        if lacking:
            raise UserError(
                f"The vocabulary lacks {len(lacking)} of the {len(made)} tokens that the merges "
                f"make, for example {lacking[0]!r}: vocabulary and merges are not of one model."
            )
        # As in CLIP: the mask, not the id, tells padding, and nothing is ever masked out.
        self.padding_id, self.mask_id = 0, None
        self.start_id, self.end_id = ids[START], ids[END]
        spelled = [alphabet[byte] for byte in range(256)]
        self._inner_ids = np.array([ids[symbol] for symbol in spelled])
        self._last_ids = np.array([ids[symbol + _WORD_END] for symbol in spelled])
        self._made_ids = np.array([ids[left + right] for left, right in merges] or [0])
        # One more than ids, so that no pair with `_NONE` has the key of another one.
        self._base = len(self.vocabulary) + 1
        keys = [ids[left] * self._base + ids[right] for left, right in merges]
        with tf.init_scope():
            initializer = tf.lookup.KeyValueTensorInitializer(
                tf.constant(keys, tf.int64), tf.range(len(keys), dtype=tf.int64)
            )
            self._ranks = tf.lookup.StaticHashTable(initializer, _NO_MERGE)

    @property
    def resources(self) -> list[tf.lookup.StaticHashTable]:
        """The table of merges."""
        return [self._ranks]

    def tokenize(self, texts: tf.Tensor) -> TokenBatch:
        """Tokenise raw or normalised queries.

        Args:
            texts: string [B].

        Returns:
            ``token_ids`` int32 [B, L] and ``text_mask`` bool [B, L].
        """
        texts = tf.strings.unicode_transcode(
            texts, "UTF-8", "UTF-8", errors="replace", replacement_char=ord(" ")
        )
        words = tf_text.regex_split(normalize_queries(texts), _WORD, keep_delim_regex_pattern=_WORD)
        words = tf.ragged.boolean_mask(words, words != " ")
        # A word that occurs again is merged once.
        distinct, occurrence = tf.unique(words.flat_values)
        pieces = tf.gather(self._merge(distinct), occurrence)
        return self.frame(words.with_flat_values(pieces).merge_dims(1, 2))

    @property
    def caption_tokens(self) -> CaptionTokens:
        """See `Tokenizer`; padding has the id of a symbol that texts may hold."""
        return CaptionTokens(
            start=self.start_id, end=self.end_id, padding=self.padding_id, never=(self.start_id,)
        )

    def detokenize(self, token_ids: tf.Tensor) -> tf.Tensor:
        """See `Tokenizer`; what is no whole UTF-8 character is left out."""
        pieces = tf.gather(tf.constant(self._spelled()), token_ids)
        joined = tf.strings.reduce_join(tf.where(self.written(token_ids), pieces, ""), axis=-1)
        joined = tf.strings.unicode_transcode(joined, "UTF-8", "UTF-8", errors="ignore")
        return join_words(joined)

    def _spelled(self) -> list[bytes]:
        """The bytes that each token stands for, a space behind those that end a word."""
        numbers = {symbol: byte for byte, symbol in _byte_alphabet().items()}

        def spelled(token: str) -> bytes:
            symbols = token.removesuffix(_WORD_END)
            end = b" " if token != symbols else b""
            return bytes(numbers[symbol] for symbol in symbols if symbol in numbers) + end

        return [spelled(token) for token in self.vocabulary]

    def continuation_mask(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Return True where the token before it does not end a word; bool [B, L]."""
        special = (self.start_id, self.end_id)
        ends = [
            token.endswith(_WORD_END) or index in special
            for index, token in enumerate(self.vocabulary)
        ]
        open_word = ~tf.gather(tf.constant(ends), token_ids)
        before = tf.concat([tf.zeros_like(open_word[:, :1]), open_word[:, :-1]], axis=1)
        # Padding has the id of a symbol: nothing continues after the end token.
        ended = tf.cumsum(tf.cast(token_ids == self.end_id, tf.int32), axis=1)
        return before & (ended == 0)

    def _merge(self, words: tf.Tensor) -> tf.RaggedTensor:
        """Token ids of each word, merged as far as the merges go: int32 [W, (ids)].

        Merging the first occurrence of the best pair alone gives the same as merging all of
        them: new pairs hold the new symbol, so they come later in the file.
        """
        lengths = tf.strings.length(words)[:, tf.newaxis]
        # Argmin needs a column; a word of one symbol has no pair.
        width = tf.reduce_max(tf.concat([lengths[:, 0], [1]], axis=0)) + 1
        numbers = tf.cast(tf.io.decode_raw(words, tf.uint8, fixed_length=width), tf.int32)
        place = tf.range(width)[tf.newaxis]
        symbols = tf.where(
            place < lengths - 1,
            tf.gather(self._inner_ids, numbers),
            tf.where(place == lengths - 1, tf.gather(self._last_ids, numbers), _NONE),
        )

        def ranks(symbols: tf.Tensor) -> tf.Tensor:
            return self._ranks.lookup(symbols[:, :-1] * self._base + symbols[:, 1:])

        def merge_best(symbols: tf.Tensor, rank: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            best = tf.argmin(rank, axis=1, output_type=tf.int32)[:, tf.newaxis]
            least = tf.reduce_min(rank, axis=1, keepdims=True)
            found = least < _NO_MERGE
            made = tf.gather(self._made_ids, tf.where(found, least, 0))
            following = tf.pad(symbols[:, 1:], [[0, 0], [0, 1]], constant_values=_NONE)
            merged = tf.where(place < best, symbols, tf.where(place == best, made, following))
            symbols = tf.where(found, merged, symbols)
            return symbols, ranks(symbols)

        def more(symbols: tf.Tensor, rank: tf.Tensor) -> tf.Tensor:
            del symbols
            return tf.reduce_any(rank < _NO_MERGE)

        symbols, _ = tf.while_loop(
            more,
            merge_best,
            (symbols, ranks(symbols)),
            shape_invariants=(tf.TensorShape([None, None]), tf.TensorShape([None, None])),
        )
        return tf.cast(tf.ragged.boolean_mask(symbols, symbols != _NONE), tf.int32)


def _byte_alphabet() -> dict[int, str]:
    """One visible character per byte: itself where it has one, else one from U+0100 on."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = {byte: chr(byte) for byte in visible}
    unprintable = (byte for byte in range(256) if byte not in alphabet)
    alphabet.update({byte: chr(256 + index) for index, byte in enumerate(unprintable)})
    return alphabet
