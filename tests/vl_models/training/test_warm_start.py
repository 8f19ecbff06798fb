import keras
import numpy as np
import pytest
import safetensors.numpy

from vl_models.errors import UserError
from vl_models.training.checkpoint import Checkpoint, by_path, save_checkpoint
from vl_models.training.config import WarmStartConfig
from vl_models.training.resizing import resize_positions
from vl_models.training.warm_start import warm_start


class Tower(keras.layers.Layer):
    def __init__(self, length, name):
        super().__init__(name=name)
        self.length = length

    def build(self, shape):
        self.positions = self.add_weight(name="positions", shape=(self.length, 2))
        self.kernel = self.add_weight(name="kernel", shape=(2, 3))


def variables(length=17, name="image"):
    tower = Tower(length, name)
    tower.build(None)
    return by_path(tower.weights)


def write(path, length=5, name="image"):
    rng = np.random.default_rng(0)
    values = {
        f"{name}/positions": rng.normal(size=(length, 2)).astype(np.float32),
        f"{name}/kernel": rng.normal(size=(2, 3)).astype(np.float32),
    }
    safetensors.numpy.save_file(values, path)
    return values


def config(path, **settings):
    return WarmStartConfig.model_validate({"from": str(path), **settings})


def test_positions_are_resized_and_the_class_token_kept(tmp_path):
    values = write(tmp_path / "w.safetensors")
    target = variables()
    loaded = warm_start(target, config(tmp_path / "w.safetensors", resize=["*/positions"]))
    assert loaded == ["image/positions", "image/kernel"]
    np.testing.assert_array_equal(target["image/kernel"], values["image/kernel"])
    resized = target["image/positions"].numpy()
    np.testing.assert_array_equal(resized[0], values["image/positions"][0])
    np.testing.assert_allclose(
        resized[1:], resize_positions(values["image/positions"][1:], 16, "grid"), atol=1e-6
    )


def test_prefixes_are_mapped_and_a_run_folder_is_read(tmp_path):
    values = {"vision/positions": np.ones((17, 2), "f"), "vision/kernel": np.full((2, 3), 2, "f")}
    save_checkpoint(tmp_path / "checkpoints", Checkpoint(4, values, {}, {}), keep=1)
    target = variables()
    warm_start(target, config(tmp_path, map={"vision/": "image/"}, only=["*/kernel"]))
    np.testing.assert_array_equal(target["image/kernel"], np.full((2, 3), 2.0))
    assert not np.array_equal(target["image/positions"], np.ones((17, 2)))


def test_errors_name_what_is_missing(tmp_path):
    path = tmp_path / "w.safetensors"
    write(path, name="vision")
    with pytest.raises(UserError, match=r"lacks 'image/positions'; nearest name .* vision/pos"):
        warm_start(variables(), config(path))
    write(path)
    with pytest.raises(
        UserError, match=r"'image/positions' has shape \[5, 2\], the model's has \[17, 2"
    ):
        warm_start(variables(), config(path))
    with pytest.raises(UserError, match="no variable of the model matches"):
        warm_start(variables(), config(path, only=["text/*"]))
    with pytest.raises(UserError, match="not a run folder, checkpoint or safetensors"):
        warm_start(variables(), config(tmp_path / "nothing"))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        warm_start(variables(), config(path))
