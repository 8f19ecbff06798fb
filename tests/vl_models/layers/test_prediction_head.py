import numpy as np

from tests.harness import run_layer_test
from vl_models.layers.prediction_head import PredictionHead

X = np.random.default_rng(0).normal(size=(2, 5, 6)).astype(np.float32)


def test_layer_contract(tmp_path):
    run_layer_test(PredictionHead, {"classes": 9}, [X], folder=tmp_path, output_shape=(2, 5, 9))


def test_places_are_read_one_by_one():
    head = PredictionHead(9)
    np.testing.assert_allclose(head(X)[1, 3], head(X[1:2, 3])[0], atol=1e-6)
