"""VocabularyGen: learns a WordPiece vocabulary from the queries of the train split."""

# No postponed annotations here: TFX reads the types of the component function.

import logging
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

from tfx_pipeline.components.artifacts import Vocabulary


@component(use_beam=True)
def VocabularyGen(
    examples: InputArtifact[standard_artifacts.Examples],
    vocabulary: OutputArtifact[Vocabulary],
    size: Parameter[int],
    pretrained: Parameter[str] = "",
    fingerprint: Parameter[str] = "",
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Write `vocabulary.txt`, one piece a line, special tokens first.

    Args:
      examples: Examples with a train split.
      vocabulary: where the file goes.
      size: pieces to aim for; the learner may return somewhat fewer.
      pretrained: a vocabulary file to take instead, for example a BERT vocabulary.
      fingerprint: of code and pretrained file at submission, for the cache key only.
      beam_pipeline: given by TFX.
    """
    from tfx_pipeline.data.word_counts import learn_vocabulary
    from vl_models.text import vocabulary as vocabularies

    del fingerprint
    if pretrained:
        pieces = vocabularies.read_vocabulary(pretrained)
    else:
        pattern = str(Path(artifact_utils.get_split_uri([examples], "train"), "*.gz"))
        pieces = learn_vocabulary(beam_pipeline, pattern, vocabulary.uri, size)
    vocabularies.write_vocabulary(pieces, Path(vocabulary.uri, vocabularies.VOCABULARY_FILE))
    vocabulary.set_int_custom_property("size", len(pieces))
    logging.info("Vocabulary of %d pieces", len(pieces))
