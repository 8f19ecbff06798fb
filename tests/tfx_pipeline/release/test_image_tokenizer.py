import pytest

from tfx_pipeline.release.image_tokenizer import fingerprint_image_tokenizers
from vl_models.errors import UserError
from vl_models.models.registry import model_config_from_dict


def vlmo(place):
    tasks = [{"kind": "itc"}, {"kind": "mim", "tokenizer": str(place)}]
    return model_config_from_dict({"system": "vlmo", "tasks": tasks})


def test_the_fingerprint_is_of_the_weights_and_not_of_the_place(tmp_path):
    for name, content in (("one", b"weights"), ("same", b"weights"), ("other", b"others")):
        folder = tmp_path / name / "towers" / "weights"
        folder.mkdir(parents=True)
        (folder / "weights.safetensors").write_bytes(content)
        (folder / "experiment.yaml").write_text("model: {}")
    one, same, other = (
        fingerprint_image_tokenizers(vlmo(tmp_path / name)) for name in ("one", "same", "other")
    )
    assert one == same != other and one


def test_a_model_without_has_none_and_a_wrong_place_is_named(tmp_path):
    assert fingerprint_image_tokenizers(model_config_from_dict({"system": "moco"})) == ""
    assert fingerprint_image_tokenizers(model_config_from_dict({"system": "clip"})) == ""
    with pytest.raises(UserError, match="there is no trained image tokeniser at"):
        fingerprint_image_tokenizers(vlmo(tmp_path))
