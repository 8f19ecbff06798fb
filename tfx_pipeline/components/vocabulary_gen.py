"""VocabularyGen: learns a WordPiece vocabulary from the queries of the train split."""

# No postponed annotations here: TFX reads the types of the component function.

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import apache_beam as beam
from tfx.dsl.component.experimental.annotations import (
    BeamComponentParameter,
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts

from tfx_pipeline.components.artifacts import VOCABULARY_FILE, Vocabulary



def count_words(serialized: Iterable[bytes]) -> Iterator[tuple[str, int]]:
    """Count words in the queries of a batch of serialised Examples.

    Every (query, image) pair counts once: weighing by clicks would let the head queries
    alone decide on the pieces.
    """
    import collections

    import tensorflow as tf

    from vl_models import features
    from vl_models.text import vocabulary

    texts: list[bytes] = []
    for record in serialized:
        example = tf.train.Example.FromString(record)
        texts.extend(example.features.feature[features.QUERY_TEXT].bytes_list.value)
    if texts:
        words = vocabulary.split_words(tf.constant(texts)).flat_values.numpy()
        yield from collections.Counter(word.decode("utf-8") for word in words).items()


@component(use_beam=True)
def VocabularyGen(  # noqa: N802 -- a component class is made of it
    examples: InputArtifact[standard_artifacts.Examples],
    vocabulary: OutputArtifact[Vocabulary],
    size: Parameter[int],
    pretrained: Parameter[str] = "",
    pretrained_fingerprint: Parameter[str] = "",
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Write `vocabulary.txt`, one piece a line, special tokens first.

    Args:
      examples: Examples with a train split.
      vocabulary: where the file goes.
      size: pieces to aim for; the learner may return somewhat fewer.
      pretrained: a vocabulary file to take instead, for example a BERT vocabulary.
      pretrained_fingerprint: its fingerprint at submission, for the cache key only.
      beam_pipeline: given by TFX.
    """
    from vl_models.text import vocabulary as vocabularies

    del pretrained_fingerprint
    target = Path(vocabulary.uri, VOCABULARY_FILE)
    if pretrained:
        pieces = vocabularies.read_vocabulary(pretrained)
    else:
        counts_file = Path(vocabulary.uri, "word_counts")
        pattern = str(Path(artifact_utils.get_split_uri([examples], "train"), "*.gz"))
        with beam_pipeline as pipeline:
            _ = (
                pipeline
                | "Read" >> beam.io.ReadFromTFRecord(pattern)
                | "Batch" >> beam.BatchElements(min_batch_size=64, max_batch_size=1024)
                | "Count" >> beam.FlatMap(count_words)
                | "Sum" >> beam.CombinePerKey(sum)
                | "Format" >> beam.MapTuple(lambda word, count: f"{count}\t{word}")
                | "Write" >> beam.io.WriteToText(str(counts_file), num_shards=1)
            )
        (written,) = target.parent.glob("word_counts-*")
        lines = written.read_text(encoding="utf-8").split("\n")
        counts = [line.split("\t", 1) for line in lines if line]
        # Sorted, because the order of Beam's output is not defined and the learner's may follow.
        pieces = vocabularies.learn_wordpiece(
            sorted((word, int(count)) for count, word in counts), size
        )
    vocabularies.write_vocabulary(target, pieces)
    vocabulary.set_int_custom_property("size", len(pieces))
    logging.info("Vocabulary of %d pieces written to %s", len(pieces), target)
