import pytest

from vl_models.errors import UserError
from vl_models.models.base_config import ModelConfig
from vl_models.models.clip import CLIP
from vl_models.models.clip_config import CLIPConfig
from vl_models.models.registry import build_model, model_config_from_dict


def test_a_config_of_few_keys_gets_the_defaults_and_builds():
    tower = {"width": 8, "depth": 1, "heads": 1}
    config = model_config_from_dict(
        {
            "system": "clip",
            "image": {"kind": "vit", **tower},
            "text": {"kind": "transformer", **tower},
            "vocabulary_size": 9,
        }
    )
    assert isinstance(config, CLIPConfig) and config.initial_temperature == 0.07
    model = build_model(config)
    assert isinstance(model, CLIP)
    assert model_config_from_dict(model.get_config()) == config
    count = len(model.variables)
    model.build()
    assert len(model.variables) == count


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"system": "clop"}, "did you mean 'clip'? Received: system='clop'"),
        ({}, "Received: system=None"),
        ({"system": "clip", "embeding_dim": 8}, "did you mean 'embedding_dim'?"),
        (
            {"system": "clip", "image": {"kind": "vit", "patchsize": 8}},
            "Unknown key 'image.patchsize'; did you mean 'image.patch_size'?",
        ),
        (
            {"system": "clip", "image": {"kind": "vgg"}},
            "Key 'image.kind' has a wrong value. Received: 'vgg'. "
            "Allowed: 'vit', 'cnn', 'resnet', 'keras_hub', 'features'.",
        ),
        ({"system": "clip", "text": {"width": 8}}, "Key 'text.kind' is missing"),
        (
            {"system": "clip", "precision": "float16"},
            "Received: 'float16'. Allowed: 'auto', 'float32' or 'mixed_bfloat16'.",
        ),
        (
            {"system": "clip", "image": {"kind": "cnn", "widths": [8, -1], "blocks": [1, 1]}},
            "Key 'image.widths.1' has a wrong value. Received: -1. Allowed: greater than 0.",
        ),
    ],
)
def test_errors_name_file_key_and_remedy(values, message):
    with pytest.raises(UserError) as error:
        model_config_from_dict(values, "clip.yaml")
    assert str(error.value).startswith("clip.yaml: ")
    assert message in str(error.value)


def test_a_configuration_of_no_system_is_refused():
    with pytest.raises(ValueError, match="Received: ModelConfig"):
        build_model(ModelConfig(system="clip"))
