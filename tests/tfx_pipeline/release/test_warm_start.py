"""Stages that start from a release: which one is meant, its fingerprint, its file."""

import json

import numpy as np
import pytest
import safetensors.numpy

from serving.publish import publish_release
from tfx_pipeline.release.warm_start import (
    fingerprint_warm_starts,
    local_warm_starts,
    pin_warm_starts,
)
from vl_models.errors import UserError
from vl_models.training.config import TrainConfig


def publish(root, version, weights=True):
    """A release of one model that nobody loads, and weights that tell its version."""
    parts = root.parent / f"parts-{version}"
    (parts / "text_tower").mkdir(parents=True)
    (parts / "text_tower" / "saved_model.pb").write_text(str(version))
    (parts / "weights").mkdir()
    values = {"a/kernel": np.full(3, version, np.float32)}
    safetensors.numpy.save_file(values, parts / "weights" / "weights.safetensors")
    models = {"text_tower": parts / "text_tower"}
    publish_release(root, version, models, None, weights=parts / "weights" if weights else None)


@pytest.fixture
def root(tmp_path):
    """A root whose current release is 2."""
    root = tmp_path / "serving"
    publish(root, 1)
    publish(root, 2)
    return root


def train(source, **changes):
    return TrainConfig.model_validate({"steps": 1, "warm_start": {"from": str(source)}, **changes})


class Experiment:
    """The part of an experiment that counts here."""

    def __init__(self, train):
        self.train = train

    def model_copy(self, update):
        return Experiment(update["train"])


def pinned(source):
    return pin_warm_starts(Experiment(train(source))).train.warm_start.source


def kernel(settings):
    return safetensors.numpy.load_file(settings.warm_start.source)["a/kernel"][0]


def test_the_current_release_is_settled_and_another_can_be_named(root):
    assert pinned(root) == f"{root}@2"
    assert pinned(f"{root}@1") == f"{root}@1"
    assert kernel(local_warm_starts(train(root))) == 2
    assert kernel(local_warm_starts(train(f"{root}@1"))) == 1


def test_stages_are_settled_each(root):
    stages = [{"name": "a", "steps": 1}, {"name": "b", "steps": 1}]
    stages[1]["warm_start"] = {"from": str(root), "only": ["a/*"]}
    settings = TrainConfig.model_validate({"stages": stages})
    made = pin_warm_starts(Experiment(settings)).train
    assert made.stages[0].warm_start is None
    assert made.stages[1].warm_start.source == f"{root}@2"
    assert made.stages[1].warm_start.only == ("a/*",)


def test_the_fingerprint_is_that_of_the_weights(root, tmp_path):
    first, second = (fingerprint_warm_starts(train(f"{root}@{version}")) for version in (1, 2))
    assert first and second and first != second
    file = root / "weights" / "1" / "weights.safetensors"
    assert fingerprint_warm_starts(train(file)) == first
    assert fingerprint_warm_starts(train(tmp_path / "a run folder")) == ""
    assert fingerprint_warm_starts(TrainConfig.model_validate({"steps": 1})) == ""


def test_other_sources_are_left_alone(root, tmp_path):
    odd = tmp_path / "run@3"
    odd.mkdir()
    for source in (odd, tmp_path / "run", root / "weights" / "1" / "weights.safetensors"):
        assert pinned(source) == str(source)
        assert local_warm_starts(train(source)).warm_start.source == str(source)


def test_a_release_of_the_old_layout_says_so(tmp_path):
    root = tmp_path / "serving"
    publish(root, 7, weights=False)
    # As it was written before releases had weights.
    for path in (root / "release.json", root / "releases" / "7.json"):
        manifest = json.loads(path.read_text())
        del manifest["weights"]
        path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"release 7 at .*serving has the layout of before, wit"):
        pinned(root)


def test_what_is_missing_is_named(root, tmp_path):
    with pytest.raises(UserError, match=r"there is no release 3 at .*/nowhere"):
        pinned(tmp_path / "nowhere@3")
    (root / "weights" / "1" / "weights.safetensors").unlink()
    with pytest.raises(UserError, match="the weights of release 1 are gone"):
        local_warm_starts(train(f"{root}@1"))
