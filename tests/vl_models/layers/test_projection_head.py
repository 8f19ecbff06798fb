import numpy as np

from tests.harness import run_layer_test
from vl_models.layers.projection_head import ProjectionHead

INPUTS = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)


def test_layer_contract(tmp_path):
    for hidden in (True, False):
        run_layer_test(
            ProjectionHead,
            {"dim": 5, "hidden_layer": hidden},
            [INPUTS],
            folder=tmp_path,
            output_shape=(3, 5),
            output_dtype="float32",
        )


def test_hidden_layer_is_as_wide_as_the_input_and_rectified():
    head = ProjectionHead(5, name="head")
    outputs = head(INPUTS)
    values = {v.path: v.numpy() for v in head.variables}
    assert values["head/hidden/kernel"].shape == (16, 16)
    hidden = np.maximum(INPUTS @ values["head/hidden/kernel"] + values["head/hidden/bias"], 0.0)
    expected = hidden @ values["head/output/kernel"] + values["head/output/bias"]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)
    linear = ProjectionHead(5, hidden_layer=False, name="head")
    linear(INPUTS)
    assert [v.path for v in linear.variables] == ["head/output/kernel", "head/output/bias"]
