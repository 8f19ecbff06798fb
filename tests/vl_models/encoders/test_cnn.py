import numpy as np
import pytest

from tests.harness import run_layer_test
from vl_models.encoders.cnn import CNNEncoder, ResidualConvolution

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_layer_contract(norm, tmp_path):
    run_layer_test(
        CNNEncoder,
        {"widths": (8, 16), "blocks": (1, 1), "norm": norm},
        [IMAGES],
        folder=tmp_path,
        output_shape={"hidden": (2, 4, 16), "tokens": (2, 4, 16), "pooled": (2, 16)},
    )


def test_a_new_residual_convolution_is_the_identity():
    features = np.random.default_rng(1).normal(size=(2, 4, 4, 8)).astype(np.float32)
    np.testing.assert_array_equal(ResidualConvolution()(features), features)


def test_rows_do_not_influence_each_other_in_training_either():
    encoder = CNNEncoder((8, 16), (1, 1), norm="group")
    np.testing.assert_allclose(
        encoder(IMAGES, training=True)["pooled"][1:], encoder(IMAGES[1:])["pooled"], atol=1e-5
    )


def test_stages_need_as_many_widths_as_block_counts():
    with pytest.raises(ValueError, match=r"Received: widths=\(8, 16\), blocks=\(1,\)"):
        CNNEncoder((8, 16), (1,))
