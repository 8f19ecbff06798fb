import pytest
import yaml

from vl_models.models.registry import build_model, model_config_from_dict
from vl_models.weights.released import write_weights


@pytest.fixture(scope="module")
def image_tokenizer(tmp_path_factory):
    """An untrained tokeniser of BEiT's grid and number of codes."""
    return untrained(tmp_path_factory.mktemp("tokenizer"), codes=40)


@pytest.fixture(scope="module")
def flava_tokenizer(tmp_path_factory):
    """The same with FLAVA's number of codes."""
    return untrained(tmp_path_factory.mktemp("tokenizer"), codes=24)


def untrained(folder, codes):
    model = build_model(
        model_config_from_dict(
            {
                "system": "image_tokenizer",
                "image_size": 32,
                "image": {"kind": "cnn", "widths": [8, 8], "blocks": [0, 0]},
                "codebook": {"size": codes, "dim": 4},
            }
        )
    )
    write_weights(model, None, folder, yaml.safe_dump({"model": model.get_config()}))
    return str(folder)
