"""VocabularyGen: a vocabulary learned from the texts of the train split, or a given one."""

# No postponed annotations here: TFX reads the types of the component function.

import json
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
    kind: Parameter[str] = "wordpiece",
    templates: Parameter[str] = "[]",
    fingerprint: Parameter[str] = "",
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Write the files of `vl_models.text.factory`: `vocabulary.txt`, one piece a line.

    Args:
        examples: Examples with a train split.
        vocabulary: where the files go.
        size: upper bound of the number of pieces; few words make fewer.
        pretrained: a vocabulary to take instead, for example that of a BERT.
        kind: of the pretrained vocabulary; learned is a WordPiece one.
        templates: JSON list of the templates that label texts are put into, see
            `learn_vocabulary`.
        fingerprint: of code and pretrained file at submission, for the cache key only.
        beam_pipeline: given by TFX.
    """
    from tfx_pipeline.data.word_counts import learn_vocabulary
    from vl_models.text import factory
    from vl_models.text import vocabulary as vocabularies

    del fingerprint
    if pretrained:
        # The length has no part in a vocabulary; the shortest will do.
        tokenizer = factory.pretrained_tokenizer(kind, pretrained, max_length=3)  # type: ignore[arg-type]
        pieces = tokenizer.vocabulary
        factory.save_vocabulary(factory.vocabulary_files(tokenizer), vocabulary.uri)
    else:
        pattern = str(Path(artifact_utils.get_split_uri([examples], "train"), "*.gz"))
        pieces = learn_vocabulary(
            beam_pipeline, pattern, vocabulary.uri, size, json.loads(templates)
        )
        vocabularies.write_vocabulary(pieces, Path(vocabulary.uri, vocabularies.VOCABULARY_FILE))
    vocabulary.set_int_custom_property("size", len(pieces))
    logging.info("Vocabulary of %d pieces", len(pieces))
