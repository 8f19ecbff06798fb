"""ResNets in torchvision's layout: names, shapes, and what they compute, by hand in NumPy."""

import numpy as np
import pytest
import safetensors.numpy

from tests.vl_models.weights.published import imported
from vl_models.weights.describe import experiment_sections
from vl_models.weights.layouts import find_layout
from vl_models.weights.read import TensorFiles

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def convolution(tensors, name, norm, channels, filters, side):
    fan_in = channels * side**2
    tensors[f"{name}.weight"] = RANDOM.normal(0, fan_in**-0.5, (filters, channels, side, side))
    for part, low in (
        ("weight", 0.5),
        ("bias", -0.5),
        ("running_mean", -0.5),
        ("running_var", 0.5),
    ):
        tensors[f"{norm}.{part}"] = RANDOM.uniform(low, low + 1.0, filters)
    tensors[f"{norm}.num_batches_tracked"] = np.array(3)


def resnet(blocks, kind, width):
    """Tensors as torchvision names them."""
    tensors = {}
    convolution(tensors, "conv1", "bn1", 3, width, 7)
    channels = width
    for stage, count in enumerate(blocks):
        narrow = width * 2**stage
        wide = narrow * (4 if kind == "bottleneck" else 1)
        for index in range(count):
            name = f"layer{stage + 1}.{index}"
            sizes = [(narrow, 3), (wide, 3)]
            if kind == "bottleneck":
                sizes = [(narrow, 1), (narrow, 3), (wide, 1)]
            inner = channels
            for part, (filters, side) in enumerate(sizes, start=1):
                convolution(tensors, f"{name}.conv{part}", f"{name}.bn{part}", inner, filters, side)
                inner = filters
            if index == 0 and (stage or channels != wide):
                down = f"{name}.downsample"
                convolution(tensors, f"{down}.0", f"{down}.1", channels, wide, 1)
            channels = wide
    tensors["fc.weight"], tensors["fc.bias"] = np.zeros((5, channels)), np.zeros(5)
    return {name: np.asarray(value, np.float32) for name, value in tensors.items()}


def windows(x, side, stride, pad, fill=0.0):
    """Squares of an image [h, w, c]: [h', w', side, side, c]."""
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)), constant_values=fill)
    found = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(0, 1))
    return found[::stride, ::stride].transpose(0, 1, 3, 4, 2)


def forward(tensors, image, blocks, kind):
    """The last map of one image, as the papers and programs compute it."""

    def layer(x, name, norm, stride=1):
        weight = tensors[f"{name}.weight"]
        side = weight.shape[2]
        x = np.einsum("hwijc,ocij->hwo", windows(x, side, stride, side // 2), weight)
        scale = tensors[f"{norm}.weight"] / np.sqrt(tensors[f"{norm}.running_var"] + 1e-5)
        return (x - tensors[f"{norm}.running_mean"]) * scale + tensors[f"{norm}.bias"]

    x = (image / 255.0 - MEAN) / DEVIATION
    x = np.maximum(layer(x, "conv1", "bn1", 2), 0)
    x = windows(x, 3, 2, 1, -np.inf).max((2, 3))
    for stage, count in enumerate(blocks):
        for index in range(count):
            name = f"layer{stage + 1}.{index}"
            stride = 2 if stage and not index else 1
            parts = (1, 2, 3) if kind == "bottleneck" else (1, 2)
            strided = 2 if kind == "bottleneck" else 1
            y = x
            for part in parts:
                y = layer(
                    y, f"{name}.conv{part}", f"{name}.bn{part}", stride if part == strided else 1
                )
                y = np.maximum(y, 0) if part != parts[-1] else y
            if f"{name}.downsample.0.weight" in tensors:
                x = layer(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            x = np.maximum(x + y, 0)
    return x


@pytest.mark.parametrize(
    ("blocks", "kind"), [((2, 1, 1, 1), "basic"), ((1, 2, 1, 1), "bottleneck")]
)
def test_the_last_map_is_the_one_computed_by_hand(blocks, kind, tmp_path):
    tensors = resnet(blocks, kind, width=4)
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(tensors, path)
    files = TensorFiles([path])
    assert find_layout("auto", files).name == "torchvision_resnet"
    described = experiment_sections(files)["model"]
    assert described["image"]["blocks"] == list(blocks)
    assert (described["image"]["block"], described["image"]["width"]) == (kind, 4)
    config = {
        **described,
        "image_size": 64,
        "max_length": 8,
        "width": 8,
        "depth": 1,
        "heads": 1,
        "pool": 1,
        "dictionary": {"size": 4},
    }
    model, loaded = imported("resnet", config, tmp_path, path)
    own = {v.path for v in model.image_encoder.variables}
    assert loaded == own
    found = model.image_encoder(IMAGES)["hidden"].numpy()
    expected = np.stack([forward(tensors, image, blocks, kind) for image in IMAGES])
    np.testing.assert_allclose(found, expected.reshape(found.shape), atol=1e-4, rtol=1e-4)
