import numpy as np

from tests.harness import run_layer_test
from vl_models.layers.prefix_embedding import PrefixEmbedding

SOURCE_ID = np.array([1, 0, 1], np.int32)


def test_layer_contract(tmp_path):
    arguments = {"sources": 2, "length": 3, "width": 4}
    run_layer_test(PrefixEmbedding, arguments, [SOURCE_ID], folder=tmp_path, output_shape=(3, 3, 4))


def test_looks_up_the_vectors_of_the_source():
    layer = PrefixEmbedding(2, 3, 4)
    np.testing.assert_array_equal(layer(SOURCE_ID), np.asarray(layer.table)[SOURCE_ID])
