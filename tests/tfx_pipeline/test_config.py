import pytest

from tests.tfx_pipeline.conftest import REPOSITORY
from tfx_pipeline.config import ExperimentConfig
from vl_models.errors import UserError

EMOJI = REPOSITORY / "configs" / "emoji.yaml"


def test_every_shipped_experiment_is_valid_and_survives_writing():
    for path in sorted((REPOSITORY / "configs").glob("*.yaml")):
        config = ExperimentConfig.load(path)
        assert ExperimentConfig.from_yaml(config.to_yaml()) == config


def test_overrides_are_yaml_and_reach_nested_keys():
    overrides = ["train.steps=7", "model.image.widths=[4, 8, 16]", "data.propensity={mode: none}"]

    config = ExperimentConfig.load(EMOJI, overrides)

    assert config.train.steps == 7
    assert config.model.image.widths == (4, 8, 16)
    assert config.data.propensity.mode == "none"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stepz=7", "Unknown key 'train.stepz'; did you mean 'train.steps'?"),
        ("model.imagesize=64", "Unknown key 'imagesize'; did you mean 'image_size'?"),
        ("data.shorter_sid=7", "Unknown key 'data.shorter_sid'; did you mean 'data.shorter_side'?"),
        ("train.steps=many", "Key 'train.steps' has a wrong value. Received: 'many'."),
        (
            "model.system=clap",
            "Key 'system' must be one of acmr, align, clip, coca, dscmr, flava, image_tokenizer, "
            "moco, prefix_conditioning, siglip, soho, ssah, tfnh, ucal, unicl, vilt, vlmo, wenlan; "
            "did you mean 'clip'?",
        ),
        ("input.views=3", "Key 'input.views' has a wrong value. Received: 3. Allowed: 1 or 2."),
        (
            "input.augmentation=moco",
            "Key 'input.augmentation' has a wrong value. Received: 'moco'. "
            "Allowed: 'crop', 'moco_v1' or 'moco_v2'.",
        ),
        ("index.kind=tree", "Key 'index.kind' has a wrong value. Received: 'tree'."),
        (
            "name=No Spaces",
            "Key 'name' has a wrong value. Received: 'No Spaces'. Allowed: small letters from a to "
            "z, digits, hyphens and underscores, the first a letter or a digit, such as emoji_v2.",
        ),
        ("name=红", "Key 'name' has a wrong value. Received: '红'. Allowed: small letters"),
        ("name=a.b", "Key 'name' has a wrong value. Received: 'a.b'. Allowed: small letters"),
        ('name="a\\n"', "Key 'name' has a wrong value. Received: 'a\\n'. Allowed: small letters"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_the_nearest_valid_one(override, message):
    with pytest.raises(UserError) as caught:
        ExperimentConfig.load(EMOJI, [override])
    assert str(caught.value).startswith(str(EMOJI))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.steps", "--set takes KEY.SUBKEY=VALUE. Received: 'train.steps'."),
        ("name.x=1", "--set name.x=1: 'name' is a single value and has no key 'x'."),
        ("train.steps=[", "--set train.steps=[: not valid YAML:"),
    ],
)
def test_a_malformed_override_is_explained(override, message):
    with pytest.raises(UserError) as caught:
        ExperimentConfig.load(EMOJI, [override])
    assert message in str(caught.value)


def test_missing_and_malformed_files_are_explained(tmp_path):
    missing = tmp_path / "none.yaml"
    with pytest.raises(UserError, match=f"{missing}: no such configuration file"):
        ExperimentConfig.load(missing)
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [", encoding="utf-8")
    with pytest.raises(UserError, match="not valid YAML"):
        ExperimentConfig.load(broken)
    broken.write_text("- a\n- b\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"is a mapping of keys to values\. Received: list"):
        ExperimentConfig.load(broken, ["train.steps=3"])
    broken.write_bytes("name: größe".encode("latin-1"))
    with pytest.raises(UserError, match=r"broken.yaml: cannot be read as a YAML file: 'utf-8'"):
        ExperimentConfig.load(broken)


def test_what_is_null_comes_from_the_data_folder(emoji_folder):
    from tfx_pipeline.data.folder import DataFolder

    folder = DataFolder.load(emoji_folder)

    plain = ExperimentConfig.load(EMOJI).data.example_config(folder)
    changed = ExperimentConfig.load(
        EMOJI,
        [
            "data.splits={policy: by_image}",
            "data.shards=3",
            "data.correlation={threshold: 0.5, min_clicks: 4}",
        ],
    ).data.example_config(folder)

    assert plain.splits == folder.splits and plain.propensity == folder.propensity
    assert plain.images.shorter_side == 72
    assert changed.splits.policy == "by_image" and changed.shards == 3
    assert changed.propensity == folder.propensity
    assert plain.correlation == folder.correlation
    assert (changed.correlation.threshold, changed.correlation.min_clicks) == (0.5, 4)


def test_zero_shot_classes_are_the_labels_unless_named_or_switched_off():
    assert ExperimentConfig.load(EMOJI).zero_shot.classes == "labels"
    named = ExperimentConfig.load(EMOJI, ["zero_shot.classes=[猫, dog]", "zero_shot.top_k=1"])
    assert named.zero_shot.classes == ("猫", "dog")
    assert ExperimentConfig.from_yaml(named.to_yaml()) == named
    assert ExperimentConfig.load(EMOJI, ["zero_shot=null"]).zero_shot is None
    with pytest.raises(UserError) as caught:
        ExperimentConfig.load(EMOJI, ["zero_shot.templates=[a photo]"])
    assert str(caught.value) == (
        f"{EMOJI}: Key 'zero_shot.templates' has a wrong value. Received: ['a photo']. "
        "a template has exactly one {}, where the name goes: 'a photo' has 0."
    )
