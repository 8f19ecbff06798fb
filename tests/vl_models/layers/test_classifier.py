import numpy as np

from tests.harness import run_layer_test
from vl_models.layers.classifier import Classifier

INPUTS = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)


def test_layer_contract(tmp_path):
    for arguments in ({}, {"hidden_widths": (6, 3), "activation": "tanh", "stddev": 0.01}):
        run_layer_test(
            Classifier,
            {"classes": 2, **arguments},
            [INPUTS],
            folder=tmp_path,
            output_shape=(4, 2),
            output_dtype="float32",
        )


def test_activation_is_between_the_layers_only():
    layer = Classifier(2, (16,), name="head")
    found = layer(INPUTS)
    values = {v.path: v.numpy() for v in layer.variables}
    hidden = INPUTS @ values["head/hidden_0/kernel"] + values["head/hidden_0/bias"]
    scores = np.maximum(hidden, 0) @ values["head/scores/kernel"] + values["head/scores/bias"]
    np.testing.assert_allclose(found, scores, atol=1e-5)


def test_the_last_layer_may_start_small():
    layer = Classifier(400, stddev=0.01)
    layer.build((None, 300))
    assert abs(np.std(layer.variables[0]) - 0.01) < 1e-3
