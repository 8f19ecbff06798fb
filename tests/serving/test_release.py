import pytest

from serving.errors import ServingError
from serving.publish import roll_back
from serving.release import Release


def test_no_release(tmp_path):
    for load in (Release.load, roll_back):
        with pytest.raises(ServingError) as caught:
            load(tmp_path / "absent")
        assert str(caught.value).startswith(f"{tmp_path / 'absent'} is not a release root: it has")
        assert "<model>/<version>/" in str(caught.value)
        assert "vlsearch run" in str(caught.value)
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "must hold a JSON object"),
        ("{}", r"lacks the key\(s\) version, models, index, previous"),
        ('{"version": "1", "models": {}, "index": 1, "previous": null}', "version='1'"),
        ('{"version": 1, "models": {}, "index": 1, "previous": null}', "names no model"),
    ],
)
def test_broken_manifest(release_root, text, message):
    (release_root / "release.json").write_text(text)
    with pytest.raises(ServingError, match=message):
        Release.load(release_root)


def test_folder_without_a_model_or_an_index(release_root):
    (release_root / "index/1").rename(release_root / "index/9")
    with pytest.raises(ServingError, match="Release folder without an index: release 1"):
        Release.load(release_root)
    (release_root / "image_tower/1").rename(release_root / "image_tower/9")
    with pytest.raises(ServingError) as caught:
        Release.load(release_root)
    assert str(release_root / "image_tower" / "1") in str(caught.value)
    assert "without a model" in str(caught.value)
