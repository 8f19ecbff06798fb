import numpy as np
import pytest

from tests.harness import run_layer_test
from vl_models.encoders.keras_hub_backbone import KerasHubImageEncoder, KerasHubTextEncoder

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
IDS = np.array([[2, 7, 8, 3, 0, 0], [2, 9, 3, 0, 0, 0]], np.int32)
RESNET = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [3],
    "stackwise_num_filters": [64, 64],
    "stackwise_num_blocks": [1, 1],
    "stackwise_num_strides": [1, 2],
    "block_type": "basic_block",
    "image_shape": [32, 32, 3],
}
VIT = {
    "image_shape": [32, 32, 3],
    "patch_size": 8,
    "num_layers": 1,
    "num_heads": 2,
    "hidden_dim": 8,
    "mlp_dim": 16,
}
BERT = {
    "vocabulary_size": 12,
    "num_layers": 1,
    "num_heads": 2,
    "hidden_dim": 8,
    "intermediate_dim": 16,
    "max_sequence_length": 6,
}


@pytest.mark.parametrize(
    ("backbone", "arguments", "pooling", "shapes"),
    [
        (
            "ResNetBackbone",
            RESNET,
            "mean",
            {"hidden": (2, 16, 64), "tokens": (2, 16, 64), "pooled": (2, 64)},
        ),
        ("ViTBackbone", VIT, "cls", {"hidden": (2, 17, 8), "tokens": (2, 17, 8), "pooled": (2, 8)}),
    ],
)
def test_image_backbone(backbone, arguments, pooling, shapes, tmp_path):
    run_layer_test(
        KerasHubImageEncoder,
        {"backbone": backbone, "arguments": arguments, "pooling": pooling},
        [IMAGES],
        folder=tmp_path,
        output_shape=shapes,
    )


def test_text_backbone_ignores_padding(tmp_path):
    encoder = KerasHubTextEncoder("BertBackbone", BERT)
    mask = IDS > 0
    garbage = np.where(mask, IDS, 11)
    np.testing.assert_allclose(
        encoder(IDS, mask)["pooled"], encoder(garbage, mask)["pooled"], atol=1e-6
    )
    assert encoder(IDS, mask)["tokens"].shape == (2, 6, 8)


def test_local_preset_gives_the_saved_weights(tmp_path):
    encoder = KerasHubTextEncoder("BertBackbone", BERT, pooling="cls")
    encoder.backbone.save_to_preset(str(tmp_path))
    loaded = KerasHubTextEncoder(preset=str(tmp_path), pooling="cls")
    np.testing.assert_array_equal(loaded(IDS, IDS > 0)["pooled"], encoder(IDS, IDS > 0)["pooled"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "Backbon"}, "Received: backbone='Backbon'"),
        ({"preset": "/absent"}, "There is no preset '/absent' on this machine"),
        ({}, "Exactly one of `backbone` and `preset`"),
    ],
)
def test_errors_name_what_was_received(arguments, message):
    with pytest.raises(ValueError, match=message):
        KerasHubImageEncoder(**arguments)
