"""Learning a WordPiece vocabulary from the texts of Examples, with Beam."""

from __future__ import annotations

import collections
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import apache_beam as beam

from tfx_pipeline.data import writers
from vl_models.input.patterns import in_folder

_FILE = "word_counts.tsv"
_SHOWN = 20


def learn_vocabulary(
    pipeline: beam.Pipeline,
    pattern: str,
    work_dir: str | Path,
    size: int,
    templates: Sequence[str] = (),
) -> list[str]:
    """Count words with Beam, then learn the pieces.

    Args:
        pipeline: not yet run; it is run here.
        pattern: record files of the train split.
        work_dir: gets the counts (`word_counts.tsv`, "count<TAB>word" lines).
        size: upper bound of the number of pieces; few words make fewer.
        templates: texts with one "{}", into which label texts are put; label texts are not read
            without one.

    Returns:
        Tokens in the order of their ids, special ones first.

    Raises:
        UserError: there are no words, or no room for the alphabet.
    """
    from vl_models.text import vocabulary

    with pipeline:
        count_words(pipeline, pattern, work_dir, templates)
    counts = {}
    # Not splitlines(): words may hold Unicode line separators.
    for line in Path(work_dir, _FILE).read_text(encoding="utf-8").removesuffix("\n").split("\n"):
        count, _, word = line.partition("\t")
        if word:
            counts[word] = int(count)
    tokens = vocabulary.learn_wordpiece(counts, size)
    _report_unused(tokens, counts)
    return tokens


def _report_unused(tokens: Sequence[str], words: Iterable[str]) -> None:
    from vl_models.text.subword_dropout import unused_tokens

    if unused := unused_tokens(tokens, words):
        shown = ", ".join(unused[:_SHOWN]) + (" …" if len(unused) > _SHOWN else "")
        logging.getLogger(__name__).warning(
            "%d of the vocabulary's %d tokens are in no text of the train split, whole or split, "
            "and will not be trained: %s. A smaller vocabulary.size leaves them out.",
            len(unused),
            len(tokens),
            shown,
        )


def count_words(
    pipeline: beam.Pipeline, pattern: str, work_dir: str | Path, templates: Sequence[str] = ()
) -> None:
    """Add the graph that writes `word_counts.tsv` to a pipeline; see `learn_vocabulary`."""
    _ = (
        pipeline
        | "Read" >> beam.io.ReadFromTFRecord(in_folder(pattern))
        | "Batch" >> beam.BatchElements(min_batch_size=64, max_batch_size=1024)
        | "Count" >> beam.FlatMap(_count_words, templates=tuple(templates))
        | "Sum" >> beam.CombinePerKey(sum)
        | "Format" >> beam.MapTuple(lambda word, count: f"{count}\t{word}")
        # The learner holds all of them, too; and Beam's own writers take a path for a pattern.
        | "Together" >> beam.combiners.ToList()
        | "Write" >> beam.Map(_write_lines, path=f"{work_dir}/{_FILE}")
    )


def _write_lines(lines: list[str], path: str) -> None:
    writers.write_bytes(path, "".join(f"{line}\n" for line in sorted(lines)).encode())


def _count_words(
    serialized: Iterable[bytes], templates: Sequence[str]
) -> Iterator[tuple[str, int]]:
    """Count words in the queries and filled templates of a batch of serialised Examples.

    Every (query, image) pair counts once: weighing by clicks would let the head queries
    alone decide on the pieces. So does every (template, label, image).
    """
    import tensorflow as tf

    from vl_models import features
    from vl_models.text.words import split_words

    texts: list[bytes] = []
    for record in serialized:
        example = tf.train.Example.FromString(record)
        texts.extend(example.features.feature[features.QUERY_TEXT].bytes_list.value)
        for label in example.features.feature[features.LABEL_TEXT].bytes_list.value:
            texts.extend(template.encode().replace(b"{}", label) for template in templates)
    if texts:
        words = split_words(tf.constant(texts)).flat_values.numpy()
        yield from collections.Counter(word.decode("utf-8") for word in words).items()
