import json

import numpy as np
import pytest

from vl_models.errors import UserError
from vl_models.training.checkpoint import (
    Checkpoint,
    OtherFormatError,
    checkpoint_folders,
    latest_checkpoint,
    load_checkpoint,
    read_weights,
    save_checkpoint,
)
from vl_models.training.config import RUN_FORMAT


def checkpoint(step):
    weights = {"a/b": np.full((2, 3), step, np.float32), "scalar": np.array(step, np.int64)}
    return Checkpoint(step, weights, {"adam/m": np.ones(2, np.float32)}, {"inputs": {"x": [1, 2]}})


def test_round_trip_keeps_shapes_dtypes_and_state(tmp_path):
    path = save_checkpoint(tmp_path, checkpoint(3), keep=2)
    loaded = load_checkpoint(path)
    assert loaded.step == 3
    assert loaded.weights["scalar"].shape == () and loaded.weights["scalar"].dtype == np.int64
    np.testing.assert_array_equal(loaded.weights["a/b"], np.full((2, 3), 3.0))
    np.testing.assert_array_equal(loaded.optimizer["adam/m"], np.ones(2))
    assert loaded.state["inputs"] == {"x": [1, 2]}


def test_the_last_ones_are_kept_and_nothing_temporary_stays(tmp_path):
    for step in (5, 10, 100000):
        save_checkpoint(tmp_path, checkpoint(step), keep=2)
    assert [p.name for p in checkpoint_folders(tmp_path)] == ["step-0000100000", "step-0000000010"]
    assert len(list(tmp_path.iterdir())) == 2


def test_an_abandoned_temporary_folder_is_no_checkpoint(tmp_path):
    save_checkpoint(tmp_path, checkpoint(1), keep=2)
    (tmp_path / ".step-0000000002.tmp").mkdir()  # the process died while writing
    assert latest_checkpoint(tmp_path).step == 1
    save_checkpoint(tmp_path, checkpoint(2), keep=2)
    assert latest_checkpoint(tmp_path).step == 2


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors"])
def test_a_flipped_byte_is_found(tmp_path, name):
    save_checkpoint(tmp_path, checkpoint(1), keep=2)
    path = save_checkpoint(tmp_path, checkpoint(2), keep=2)
    data = bytearray((path / name).read_bytes())
    data[-1] ^= 1
    (path / name).write_bytes(data)
    with pytest.raises(UserError, match=f"the checksum of {name} is wrong"):
        load_checkpoint(path)
    assert latest_checkpoint(tmp_path).step == 1


def test_a_missing_file_is_found(tmp_path):
    path = save_checkpoint(tmp_path, checkpoint(2), keep=2)
    (path / "weights.safetensors").unlink()
    with pytest.raises(UserError, match=r"whole \(1 damaged\)"):
        latest_checkpoint(tmp_path)
    assert latest_checkpoint(tmp_path / "none") is None


def test_weights_are_read_from_run_checkpoint_or_file(tmp_path):
    trainers = tmp_path / "training"  # within the folder of `vlsearch train`
    path = save_checkpoint(trainers / "checkpoints", checkpoint(2), keep=2)
    for source in (tmp_path, trainers, path, path / "weights.safetensors"):
        assert read_weights(source)["scalar"] == 2


@pytest.mark.parametrize("written", [None, RUN_FORMAT + 1])  # None: before there were numbers
def test_a_checkpoint_of_another_version_is_refused_not_passed_over(tmp_path, written):
    save_checkpoint(tmp_path / "checkpoints", checkpoint(1), keep=2)
    path = save_checkpoint(tmp_path / "checkpoints", checkpoint(2), keep=2)
    state = json.loads((path / "state.json").read_bytes())
    assert state.pop("format") == RUN_FORMAT
    state |= {} if written is None else {"format": written}
    (path / "state.json").write_text(json.dumps(state))
    for read in (lambda: latest_checkpoint(tmp_path / "checkpoints"), lambda: read_weights(path)):
        with pytest.raises(OtherFormatError) as caught:
            read()
        assert str(caught.value) == (
            f"Checkpoint {path} was written by another version of vlsearch (format {written or 1}; "
            f"this version reads {RUN_FORMAT}): variables and settings have other names, so it "
            "cannot be continued. Start a new run; its weights can be a warm start of that "
            f"(train.warm_start.from: {path}/weights.safetensors, with map for paths that changed)."
        )
    assert read_weights(path / "weights.safetensors")["scalar"] == 2
