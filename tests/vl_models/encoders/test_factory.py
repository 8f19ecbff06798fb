import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from vl_models.encoders.cnn import CNNEncoder
from vl_models.encoders.config import ImageEncoderConfig, TextEncoderConfig
from vl_models.encoders.factory import build_image_encoder, build_text_encoder
from vl_models.encoders.keras_hub_backbone import KerasHubTextEncoder
from vl_models.encoders.text_transformer import TextTransformer
from vl_models.encoders.vit import ViTEncoder

IMAGE = TypeAdapter(ImageEncoderConfig)
TEXT = TypeAdapter(TextEncoderConfig)


@pytest.mark.parametrize(
    ("values", "encoder_class"),
    [
        ({"kind": "vit", "width": 16, "heads": 2, "depth": 1, "pooling": "mean"}, ViTEncoder),
        ({"kind": "cnn", "widths": [8, 16], "blocks": [0, 1]}, CNNEncoder),
    ],
)
def test_image_encoders_get_name_policy_and_every_setting(values, encoder_class):
    config = IMAGE.validate_python(values)
    encoder = build_image_encoder(config, "tower", "mixed_bfloat16")
    assert type(encoder) is encoder_class
    assert (encoder.name, encoder.dtype_policy.name) == ("tower", "mixed_bfloat16")
    settings = encoder.get_config()
    for key, value in config.model_dump(exclude={"kind"}, mode="json").items():
        assert settings[key] == value
    assert encoder(np.zeros((1, 16, 16, 3), np.uint8))["pooled"].shape == (1, 16)


def test_text_transformer_gets_the_vocabulary_size():
    config = TEXT.validate_python({"kind": "transformer", "width": 8, "heads": 1, "depth": 1})
    encoder = build_text_encoder(config, 33, "tower", "float32")
    assert type(encoder) is TextTransformer
    assert encoder.get_config()["vocabulary_size"] == 33


def test_keras_hub_text_backbone_gets_the_vocabulary_size():
    sizes = {"num_layers": 1, "num_heads": 1, "hidden_dim": 4, "intermediate_dim": 4}
    config = TEXT.validate_python(
        {"kind": "keras_hub", "backbone": "BertBackbone", "arguments": sizes}
    )
    encoder = build_text_encoder(config, 33, "tower", "float32")
    assert type(encoder) is KerasHubTextEncoder
    assert encoder.backbone.vocabulary_size == 33


@pytest.mark.parametrize(
    ("adapter", "values", "message"),
    [
        (IMAGE, {"kind": "vit", "width": 10, "heads": 3}, "multiple of heads"),
        (IMAGE, {"kind": "cnn", "widths": [8], "blocks": [1, 1]}, "one number per stage"),
        (IMAGE, {"kind": "keras_hub"}, "exactly one of backbone and preset"),
        (IMAGE, {"kind": "vit", "widht": 8}, "widht"),
        (TEXT, {"kind": "transformer", "causal": True, "pooling": "cls"}, "take 'eot' or 'mean'"),
    ],
)
def test_impossible_configurations_are_refused(adapter, values, message):
    with pytest.raises(ValidationError, match=message):
        adapter.validate_python(values)
