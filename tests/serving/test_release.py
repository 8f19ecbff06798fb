import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from serving.errors import ServingError
from serving.publish import roll_back
from serving.release import Release, manifest_text, next_version
from tests.serving.broken_manifests import CONTENTS, GOOD, PLACES


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


@pytest.mark.parametrize("name", CONTENTS)
def test_every_broken_manifest_is_named(release_root, name):
    path = release_root / "release.json"
    path.write_bytes(CONTENTS[name])
    with pytest.raises(ServingError) as caught:
        Release.load(release_root)
    assert str(release_root) in str(caught.value)


@pytest.mark.parametrize("name", PLACES)
def test_something_else_in_the_place_of_the_manifest(release_root, name):
    path = release_root / "release.json"
    PLACES[name](path)
    with pytest.raises(ServingError) as caught:
        Release.load(release_root)
    assert "release.json" in str(caught.value)


def test_a_pipe_in_the_place_of_the_manifest_is_not_waited_for(release_root):
    path = release_root / "release.json"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ServingError, match=r"release\.json is not a file"):
        Release.load(release_root)


@pytest.mark.parametrize(
    ("locked", "named"),
    [
        ("release.json", "release.json"),
        ("text_tower/1", "text_tower/1/saved_model.pb"),
        ("index", "index/1"),
    ],
)
def test_what_another_user_owns_in_a_release(release_root, locked, named):
    """In a process without the rights of root, who may read everything."""
    (release_root / locked).chmod(0)
    for folder in (release_root, *release_root.parents):
        folder.chmod(folder.stat().st_mode | 0o055)
    script = (
        "import os, sys\nfrom pathlib import Path\n"
        "from serving.release import Release, ServingError\n"
        "os.setuid(65534) if os.getuid() == 0 else None\n"
        "try:\n    Release.load(Path(sys.argv[1]))\n"
        "except ServingError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, release_root], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        f"{release_root}/{named} cannot be read: permission denied. Give this user the right "
        "to it, or name another folder.\n"
    )
    (release_root / locked).chmod(0o755)


def test_the_good_manifest_of_the_broken_ones_is_good(release_root):
    (release_root / "release.json").write_text(json.dumps(GOOD))
    assert Release.load(release_root).version == 1


def test_a_manifest_under_another_number(release_root):
    manifest = release_root / "releases" / "1.json"
    manifest.rename(manifest.with_name("5.json"))
    with pytest.raises(ServingError, match=r"5\.json is the manifest of another release, number 1"):
        Release.load(release_root, 5)


def test_only_numbers_of_versions_count(release_root):
    for stem in ("²", "x", "9" * 30, "0", "-5"):
        (release_root / "releases" / f"{stem}.json").write_text("{}")
    assert next_version(release_root) == 2


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), {1}])
def test_what_json_cannot_hold_is_not_written(release_root, value):
    release = replace(Release.load(release_root), metrics={"mrr": value})
    with pytest.raises(ServingError, match="None for a metric that is undefined"):
        manifest_text(release)
