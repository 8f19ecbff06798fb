import json

import numpy as np
import pytest
import tensorflow as tf
import yaml

from tests.harness import two_replicas
from vl_models.errors import UserError
from vl_models.layers.owner import LayerOwner
from vl_models.models.registry import build_model, model_config_from_dict
from vl_models.tasks.image_codes import load_image_tokenizer
from vl_models.weights.released import write_weights

TINY = {
    "system": "image_tokenizer",
    "image_size": 16,
    "image": {"kind": "cnn", "widths": [8, 8], "blocks": [0, 1]},
    "codebook": {"size": 6, "dim": 4},
}
IMAGES = tf.constant(np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)), tf.uint8)


def write(model, folder):
    content = yaml.safe_dump({"name": "test", "model": model.get_config()})
    write_weights(model, None, folder, content)


@pytest.fixture(scope="module")
def model():
    return build_model(model_config_from_dict(TINY))


@pytest.fixture(scope="module")
def export(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    write(model, folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(export):
    return load_image_tokenizer(str(export))


def test_codes_are_the_trained_model_s(model, tokenizer):
    assert (tokenizer.image_size, tokenizer.grid, tokenizer.codes) == (16, 2, 6)
    codes = tokenizer.tokenize(IMAGES)
    assert codes.dtype == tf.int32 and codes.shape == (4, 2, 2)
    np.testing.assert_array_equal(codes, model.tokenize_image({"image": IMAGES}))


def test_other_sizes_are_resized(tokenizer):
    larger = tf.repeat(tf.repeat(IMAGES, 2, axis=1), 2, axis=2)
    assert tokenizer.tokenize(larger).shape == (4, 2, 2)
    plain = tf.fill([1, 48, 48, 3], tf.constant(77, tf.uint8))
    codes = tokenizer.tokenize(plain)
    np.testing.assert_array_equal(codes, tokenizer.tokenize(plain[:, :16, :16]))


def test_it_holds_nothing_to_train_or_to_save(tokenizer):
    class Task(LayerOwner):
        def __init__(self):
            self.tokenizer = tokenizer

    assert Task().layers == ()
    traced = tf.function(tokenizer.tokenize, autograph=False).get_concrete_function(IMAGES)
    assert traced.variables == ()
    pixels = tf.Variable(tf.cast(IMAGES, tf.float32))
    with tf.GradientTape() as tape:
        codes = tokenizer.tokenize(tf.cast(pixels, tf.uint8))
    assert tape.gradient(codes, pixels) is None


@pytest.mark.gpu
def test_it_is_loaded_and_called_under_a_strategy(export, tokenizer):
    strategy = two_replicas()
    with strategy.scope():
        loaded = load_image_tokenizer(str(export))

    @tf.function(autograph=False)
    def step():
        return strategy.run(loaded.tokenize, args=(IMAGES,))

    for codes in strategy.experimental_local_results(step()):
        np.testing.assert_array_equal(codes, tokenizer.tokenize(IMAGES))


def test_places(model, export, tokenizer, tmp_path):
    write(model, tmp_path / "run/towers")
    (tmp_path / "root/weights").mkdir(parents=True)
    for version in ("3", "4"):
        write(model, tmp_path / version)
        (tmp_path / version / "weights").rename(tmp_path / "root/weights" / version)
    (tmp_path / "root/release.json").write_text(json.dumps({"version": 5, "weights": 4}))
    places = [tmp_path / "run", export / "weights", tmp_path / "root", f"{tmp_path}/root@3"]
    for place in places:
        codes = load_image_tokenizer(str(place)).tokenize(IMAGES)
        np.testing.assert_array_equal(codes, tokenizer.tokenize(IMAGES))


def test_wrong_places_are_named(tmp_path):
    with pytest.raises(UserError) as caught:
        load_image_tokenizer(str(tmp_path / "nothing"))
    assert str(caught.value) == (
        f"model.tasks: mim: there is no trained image tokeniser at {tmp_path}/nothing. Name the "
        "folder of a finished run (`vlsearch train --config configs/image_tokenizer.yaml`), a "
        "release, or a folder with weights.safetensors and experiment.yaml. Received: "
        f"tokenizer='{tmp_path}/nothing'"
    )
    with pytest.raises(UserError, match=r"no trained image tokeniser at .*@7"):
        load_image_tokenizer(f"{tmp_path}@7")


def test_weights_of_another_system_are_named(export, tmp_path):
    for name, text in (
        ("weights.safetensors", (export / "weights/weights.safetensors").read_bytes()),
        ("experiment.yaml", b"model: {system: clip}\n"),
    ):
        (tmp_path / name).write_bytes(text)
    with pytest.raises(UserError, match=r"of the system 'clip', which has no codes of images"):
        load_image_tokenizer(str(tmp_path))
