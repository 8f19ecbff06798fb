import pytest

from tfx_pipeline.data.config import SplitConfig
from tfx_pipeline.data.folder import DataFolder
from vl_models.errors import UserError


def test_what_is_saved_is_loaded(tmp_path):
    saved = DataFolder(
        kind="clicks", name="shop", log="log/*.csv", splits=SplitConfig(policy="by_pair", seed=3)
    )
    saved.save(tmp_path)
    loaded = DataFolder.load(tmp_path)
    assert loaded.model_dump() == saved.model_dump()
    assert loaded.log_pattern == f"{tmp_path}/log/*.csv"
    assert loaded.image_root == f"{tmp_path}/images"
    config = loaded.example_config(shards=3)
    assert (config.source_name, config.splits.seed, config.shards) == ("shop", 3, 3)
    assert config.images.root == f"{tmp_path}/images"


def test_absolute_places_stay(tmp_path):
    DataFolder(kind="captions", name="x", log="gs://b/log/*", images="/photos").save(tmp_path)
    loaded = DataFolder.load(tmp_path)
    assert (loaded.log_pattern, loaded.image_root) == ("gs://b/log/*", "/photos")


def test_the_fingerprint_follows_log_and_images(tmp_path):
    DataFolder(kind="clicks", name="x", log="log.csv").save(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "log.csv").write_text("x")
    folder = DataFolder.load(tmp_path)
    seen = {folder.resolve().fingerprint}
    (tmp_path / "images/a.jpg").write_bytes(b"1")
    seen.add(folder.resolve().fingerprint)
    (tmp_path / "images/a.jpg").write_bytes(b"12")
    seen.add(folder.resolve().fingerprint)
    (tmp_path / "log.csv").write_text("xy")
    seen.add(folder.resolve().fingerprint)
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: clicks\nname: x\nimagse: y\n", "Unknown key 'imagse'; did you mean 'images'?"),
        ("kind: klicks\nname: x\n", "Key 'kind' has a wrong value. Received: 'klicks'."),
        ("kind: clicks\n", "Key 'name' is missing; it is required."),
        ("kind: clicks\nname: x\nsplits: {sed: 1}\n", "Unknown key 'splits.sed'; did you mean"),
        ("- a\n", "must hold keys and values, such as `kind: clicks`."),
        ("a: [\n", "not readable as YAML"),
    ],
)
def test_mistakes_name_file_and_key(tmp_path, text, message):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        DataFolder.load(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}/data.yaml: ")
    assert message in str(error.value)


def test_a_folder_without_data_yaml_is_explained(tmp_path):
    with pytest.raises(UserError, match=r"data\.yaml: no such file\. A data folder holds"):
        DataFolder.load(tmp_path)


def test_features_give_no_examples(tmp_path):
    DataFolder(kind="features", name="x", images=None, features="features").save(tmp_path)
    with pytest.raises(UserError, match="kind is features, which holds no images"):
        DataFolder.load(tmp_path).example_config()
