"""The Transform graph tokenises as the tokeniser does, lookup tables included."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam import Create, Pipeline
from tensorflow_transform.tf_metadata import schema_utils

from tests.vl_models.text.test_clip_bpe_parity import MERGES, TEXTS
from tests.vl_models.text.test_factory import BERT
from tfx_pipeline.modules.preprocessing import preprocessing_fn
from tfx_pipeline.training.transform import transform_functions
from vl_models import features
from vl_models.text.clip_bpe import CLIPTokenizer
from vl_models.text.factory import load_tokenizer, save_vocabulary, vocabulary_files
from vl_models.text.normalize import normalize_batch
from vl_models.text.wordpiece import WordPieceTokenizer

LENGTH = 16
SPECIFICATION = {
    features.QUERY_TEXT: tf.io.VarLenFeature(tf.string),
    features.QUERY_WEIGHT: tf.io.VarLenFeature(tf.float32),
}


def transform_graph(folder, vocabulary):
    """Analyse two rows and write the graph, as the Transform component does."""
    rows = [
        {features.QUERY_TEXT: ["red cat", "生日"], features.QUERY_WEIGHT: [1.0, 2.0]},
        {features.QUERY_TEXT: ["!! a"], features.QUERY_WEIGHT: [3.0]},
    ]
    schema = schema_utils.schema_from_feature_spec(SPECIFICATION)
    custom_config = {"vocabulary": str(vocabulary), "max_length": LENGTH}
    function = functools.partial(preprocessing_fn, custom_config=custom_config)
    with Pipeline() as pipeline, tft_beam.Context(str(folder / "temporary")):
        data = pipeline | Create(rows)
        analysed = (data, tft.DatasetMetadata(schema)) | tft_beam.AnalyzeDataset(function)
        _ = analysed | tft_beam.WriteTransformFn(str(folder / "graph"))
    return folder / "graph"


@pytest.mark.slow
@pytest.mark.parametrize(
    "tokenizer", [CLIPTokenizer(MERGES, LENGTH), WordPieceTokenizer(BERT, LENGTH)]
)
def test_the_graph_gives_the_ids_and_the_mask_of_the_tokeniser(tokenizer, tmp_path):
    vocabulary = tmp_path / "vocabulary"
    vocabulary.mkdir()
    save_vocabulary(vocabulary_files(tokenizer), vocabulary)
    graph = transform_graph(tmp_path, vocabulary)

    text_fn, weight_fn = transform_functions(str(graph), load_tokenizer(vocabulary, LENGTH))

    texts = tf.constant(normalize_batch([*TEXTS, "!! a"]))
    expected = tokenizer.tokenize(texts)
    for key, value in text_fn(texts).items():
        np.testing.assert_array_equal(value, expected[key], err_msg=key)
    np.testing.assert_allclose(weight_fn(tf.constant([2.0, 4.0])), [1.0, 2.0], rtol=1e-6)
