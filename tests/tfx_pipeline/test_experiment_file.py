import pytest
import yaml

from tfx_pipeline.experiment_file import read_experiment, set_key
from vl_models.errors import UserError

BASE = {
    "name": "base",
    "model": {"system": "clip", "label_smoothing": 0.1, "image": {"kind": "cnn", "widths": [8]}},
    "train": {"hooks": [{"name": "validation"}], "steps": 5},
}


@pytest.fixture
def write(tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(BASE), encoding="utf-8")

    def made(file="own.yaml", **values):
        path = tmp_path / "experiments" / file
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return path

    return made


def test_a_file_says_what_differs_from_its_base(write):
    path = write(
        base="../base.yaml",
        name="own",
        model={"label_smoothing": None, "image": {"widths": [16]}, "text": None},
        train={"hooks": []},
    )
    assert read_experiment(path) == {
        "name": "own",
        # What the base has not is null here, too: a section that is switched off.
        "model": {"system": "clip", "image": {"kind": "cnn", "widths": [16]}, "text": None},
        "train": {"hooks": [], "steps": 5},
    }


def test_another_kind_starts_its_mapping_anew(write):
    image = {"kind": "vit", "patch_size": 4}
    path = write(base="../base.yaml", model={"image": image})
    assert read_experiment(path)["model"]["image"] == image


def test_overrides_come_last(write):
    path = write(base="../base.yaml", train={"steps": 7})
    assert read_experiment(path, ["train.steps=9"])["train"]["steps"] == 9


def test_a_base_is_one_file_without_a_base(write):
    write("middle.yaml", base="../base.yaml")
    with pytest.raises(UserError, match=r"base must be a file without a base of its own"):
        read_experiment(write(base="middle.yaml"))
    with pytest.raises(UserError, match=r"own.yaml: base names one file. Received: base=\['a'\]"):
        read_experiment(write(base=["a"]))
    with pytest.raises(UserError, match=r"none.yaml: no such configuration file"):
        read_experiment(write(base="none.yaml"))


def test_keys_reach_into_lists_and_name_their_place():
    content = {"stages": [{"steps": 1}, {"steps": 2}]}
    set_key(content, "stages.1.steps", 5)
    set_key(content, "new.key", 3)
    assert content == {"stages": [{"steps": 1}, {"steps": 5}], "new": {"key": 3}}
    with pytest.raises(UserError, match="a list of 2"):
        set_key(content, "stages.2.steps", 5)
