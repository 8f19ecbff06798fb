import keras
import numpy as np
import pytest
import safetensors.numpy

from vl_models.errors import UserError
from vl_models.training.checkpoint import Checkpoint, by_path, save_checkpoint
from vl_models.training.config import WarmStartConfig
from vl_models.training.warm_start import resize_positions, warm_start


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


def test_a_linear_grid_stays_linear_inside():
    rows, columns = np.meshgrid(np.arange(4.0), np.arange(4.0), indexing="ij")
    grid = np.stack([rows, columns], -1).reshape(16, 2).astype(np.float32)
    resized = resize_positions(grid, 64, "grid").reshape(8, 8, 2)
    expected = (np.arange(8) + 0.5) / 2 - 0.5  # half-pixel centres
    np.testing.assert_allclose(resized[3:5, 3:5, 0], np.tile(expected[3:5, None], 2), atol=1e-5)
    np.testing.assert_allclose(resized[..., 0], resized[..., 1].T, atol=1e-5)


def test_a_constant_stays_constant_and_equal_length_is_untouched():
    constant = np.full((1, 9, 4), 0.5, np.float32)
    np.testing.assert_allclose(resize_positions(constant, 25, "grid"), 0.5, atol=1e-6)
    assert resize_positions(constant, 9, "grid") is constant


def test_sequences_are_interpolated_linearly():
    values = np.arange(4, dtype=np.float32)[:, None] * [1.0, -2.0]
    resized = resize_positions(values, 8, "sequence")
    expected = np.clip((np.arange(8) + 0.5) / 2 - 0.5, 0, 3)
    np.testing.assert_allclose(resized, expected[:, None] * [1.0, -2.0], atol=1e-6)


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
    with pytest.raises(UserError, match="lengths 7 and 16"):
        resize_positions(np.zeros((7, 2), "f"), 16, "grid")
    with pytest.raises(UserError, match="no variable of the model matches"):
        warm_start(variables(), config(path, only=["text/*"]))
    with pytest.raises(UserError, match="not a run folder, checkpoint or safetensors"):
        warm_start(variables(), config(tmp_path / "nothing"))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        warm_start(variables(), config(path))
