import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from vl_models.errors import UserError
from vl_models.weights.read import TensorFiles


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16, np.int64, np.bool_])
def test_every_type_is_read_as_float32(dtype, tmp_path):
    values = np.array([[0.0, 1.0, -2.5], [3.0, 65.0, 0.125]]).astype(dtype)
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"odd": np.ones(3, np.int8), "values": values}, path)
    tensors = TensorFiles([path])
    assert tensors["values"].shape == (2, 3)
    read = tensors.read("values")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values.astype(np.float32))


def test_scalars_and_empty_tensors(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"s": np.array(2.5, "f"), "e": np.zeros((0, 4), "f")}, path)
    tensors = TensorFiles([path])
    assert tensors.read("s").shape == () and tensors.read("s") == 2.5
    assert tensors.read("e").shape == (0, 4)


def sharded(folder):
    safetensors.numpy.save_file({"a": np.ones(2, "f")}, folder / "one.safetensors")
    safetensors.numpy.save_file({"b": np.full(3, 2, "f")}, folder / "two.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(
        json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}), "utf-8"
    )
    return index


def test_shards_are_read_through_their_index_or_by_name(tmp_path):
    index = sharded(tmp_path)
    for paths in ([index], [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]):
        tensors = TensorFiles(paths)
        assert sorted(tensors) == ["a", "b"]
        np.testing.assert_array_equal(tensors.read("b"), [2, 2, 2])


def test_errors_of_shards(tmp_path):
    index = sharded(tmp_path)
    with pytest.raises(UserError, match=r"The tensor 'a' is in .*one\.safetensors and in .*one"):
        TensorFiles([index, tmp_path / "one.safetensors"])
    (tmp_path / "two.safetensors").unlink()
    with pytest.raises(UserError, match=r"names shards that are not beside it: two\.safetensors"):
        TensorFiles([index])
    index.write_text("[]", "utf-8")
    with pytest.raises(UserError, match="is not an index of safetensors shards"):
        TensorFiles([index])


def damaged(path, change):
    safetensors.numpy.save_file({"a": np.ones(4, "f")}, path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    path.write_bytes(change(data, length, header))


def _with_header(data, length, header):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


_NOT_WHOLE = r"model\.safetensors is not a whole safetensors file: "


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, n, h: d[:-4], _NOT_WHOLE),
        (lambda d, n, h: d[:20], _NOT_WHOLE),
        (lambda d, n, h: b"", _NOT_WHOLE),
        (lambda d, n, h: d[:8] + b"x" * n + d[8 + n :], _NOT_WHOLE),
        (lambda d, n, h: b"PK\x03\x04" + d, "is a PyTorch file, not safetensors"),
        (lambda d, n, h: b"\x80\x02" + d, "is a PyTorch file, not safetensors"),
        (
            lambda d, n, h: _with_header(d, n, {"a": {**h["a"], "dtype": "F8_E4M3"}}),
            _NOT_WHOLE,
        ),
        (
            lambda d, n, h: _with_header(d, n, {"a": {**h["a"], "shape": [5]}}),
            _NOT_WHOLE,
        ),
        (lambda d, n, h: _with_header(d, n, {"a": {}}), _NOT_WHOLE),
    ],
)
def test_a_damaged_file_is_recognised(change, message, tmp_path):
    path = tmp_path / "model.safetensors"
    damaged(path, change)
    with pytest.raises(UserError, match=message):
        TensorFiles([path])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.safetensors cannot be read: No such file"):
        TensorFiles([tmp_path / "absent.safetensors"])
