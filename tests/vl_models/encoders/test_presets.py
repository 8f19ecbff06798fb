import numpy as np
import pytest

from tests.vl_models.encoders.test_keras_hub_backbone import BERT, IDS, IMAGES, RESNET, VIT
from vl_models.encoders.keras_hub_backbone import KerasHubImageEncoder, KerasHubTextEncoder
from vl_models.encoders.presets import find_preset
from vl_models.errors import UserError

KNOWN = "vit_base_patch16_224_imagenet"  # a name that KerasHub knows
SAVED = {
    "vit_tiny": (KerasHubImageEncoder, "ViTBackbone", VIT, (IMAGES,)),
    "resnet_tiny": (KerasHubImageEncoder, "ResNetBackbone", RESNET, (IMAGES,)),
    "bert_tiny": (KerasHubTextEncoder, "BertBackbone", BERT, (IDS, IDS > 0)),
}


@pytest.fixture(autouse=True)
def nothing_cached(monkeypatch, tmp_path):
    monkeypatch.delenv("VLSEARCH_PRESETS", raising=False)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", SAVED)
def test_a_preset_is_found_by_name_and_gives_the_saved_weights(name, tmp_path, monkeypatch):
    encoder_class, backbone, arguments, inputs = SAVED[name]
    encoder = encoder_class(backbone, arguments)
    encoder.backbone.save_to_preset(str(tmp_path / "presets" / name))
    monkeypatch.setenv("VLSEARCH_PRESETS", str(tmp_path / "presets"))
    loaded = encoder_class(preset=name)
    np.testing.assert_array_equal(loaded(*inputs)["pooled"], encoder(*inputs)["pooled"])
    assert loaded.get_config()["preset"] == name


def preset(folder, weights="model.weights.h5"):
    folder.mkdir(parents=True)
    for file in ("config.json", weights):
        (folder / file).touch()
    return folder


def test_a_folder_comes_before_names(tmp_path, monkeypatch):
    folder = preset(tmp_path / "here")
    monkeypatch.setenv("VLSEARCH_PRESETS", str(tmp_path))
    assert find_preset(str(folder)) == folder
    assert find_preset("here") == tmp_path / "here"


def test_what_keras_hub_downloaded_earlier_is_found(tmp_path):
    import keras_hub

    handle = keras_hub.models.Backbone.presets[KNOWN]["kaggle_handle"]
    owner, model, framework, variation, version = handle.removeprefix("kaggle://").split("/")
    place = tmp_path / "cache" / "models" / owner / model / framework / variation / version
    assert find_preset(str(preset(place))) == place
    assert find_preset(KNOWN) == place


def test_nothing_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("VLSEARCH_PRESETS", str(tmp_path / "presets"))
    with pytest.raises(UserError) as caught:
        KerasHubImageEncoder(preset=KNOWN)
    text = str(caught.value)
    assert text.startswith(f"There is no preset '{KNOWN}' on this machine, and none is downloaded.")
    assert f"{tmp_path}/presets/{KNOWN}, {tmp_path}/cache/models/keras/vit/keras/{KNOWN}/" in text
    assert f"from_preset('{KNOWN}').save_to_preset(DIR)" in text
    assert "set VLSEARCH_PRESETS to its parent folder" in text


@pytest.mark.parametrize("handle", ["hf://owner/model", "kaggle://keras/vit/keras/x/1"])
def test_an_address_is_not_followed(handle):
    with pytest.raises(UserError, match="on this machine, and none is downloaded"):
        find_preset(handle)


def test_a_preset_that_is_not_whole_is_refused(tmp_path):
    folder = preset(tmp_path / "p")
    (folder / "model.weights.h5").unlink()
    with pytest.raises(UserError, match=r"p is not whole: it lacks model\.weights\.h5\."):
        find_preset(str(folder))
