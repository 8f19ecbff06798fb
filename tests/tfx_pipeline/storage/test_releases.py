"""Releases in a bucket: what is written in which order, staging, rolling back, and real kills."""

import json
import logging
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.errors import ServingError
from serving.files import checksums
from serving.publish import publish_release, roll_back
from serving.release import Release
from tests.serving.waiting import wait_until
from tests.tfx_pipeline.conftest import REPOSITORY
from tfx_pipeline.storage import releases
from vl_models.errors import UserError

PUBLISH = """
import sys
from pathlib import Path
from tfx_pipeline.storage.releases import publish
publish(Path(sys.argv[1]), sys.argv[2])
"""


def _release(root: Path, parts: Path, version: int, content: str = "", extra: int = 2) -> Release:
    """Publish folders that look like SavedModels and an index into a local root."""
    towers = {name: parts / f"{version}{content}" / name for name in ("text_tower", "image_tower")}
    for name, folder in towers.items():
        (folder / "variables").mkdir(parents=True)
        (folder / "saved_model.pb").write_text(f"{name} {version} {content}")
        (folder / "variables" / "empty").write_bytes(b"")
        for i in range(extra):
            (folder / "variables" / f"part-{i:03}").write_text(f"{version} {i} {content}" * 100)
    index = parts / f"{version}{content}" / "index"
    index.mkdir()
    (index / "index.json").write_text(json.dumps({"tower_version": None, "count": 1}))
    (index / "index.faiss").write_text(f"index {version}")
    return publish_release(root, version, towers, index, metrics={"recall@10": version / 10})


@pytest.fixture
def root(tmp_path):
    return tmp_path / "serving"


@pytest.fixture
def release(root, tmp_path):
    """release(version, content) publishes into the local root."""
    return lambda version, content="", extra=2: _release(
        root, tmp_path / "parts", version, content, extra
    )


@pytest.fixture
def uri(bucket):
    return f"s3://{bucket}/serving"


@pytest.fixture
def keys(s3, bucket):
    """keys() → names of the bucket's objects."""

    def names():
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {item["Key"] for page in pages for item in page.get("Contents", [])}

    return names


@pytest.fixture
def requests(caplog, bucket):
    """requests(method) → objects of the bucket that the server was asked for so far, in order."""
    caplog.set_level(logging.INFO, "werkzeug")

    def names(method):
        lines = (re.sub(r"\x1b\[\d+m", "", record.getMessage()) for record in caplog.records)
        found = (re.search(rf'"{method} /{bucket}/([^ ?]*)', line) for line in lines)
        return [match.group(1) for match in found if match]

    yield names
    caplog.clear()


def _tree(root, version):
    names = ("text_tower", "image_tower", "index")
    return {name: checksums(root / name / str(version)) for name in names}


def _pinned(text):
    config = text_format.Parse(text, ModelServerConfig())
    return {
        c.name: (c.base_path, list(c.model_version_policy.specific.versions))
        for c in config.model_config_list.config
    }


def test_what_shows_a_release_is_written_last(release, root, uri, keys, requests):
    release(1)
    releases.publish(root, uri)
    written = requests("PUT")
    assert written[-4:] == [
        "serving/checksums/1.json",
        "serving/releases/1.json",
        "serving/models.config",
        "serving/release.json",
    ]
    files = {name for name in keys() if "_tower/" in name or "/index/" in name}
    assert set(written[:-4]) == files
    assert "serving/text_tower/1/variables/empty" in files
    assert len(files) == 2 * 5 + 3  # each tower's four files and the index's two, with a card each


def test_the_server_configuration_names_the_bucket(release, root, uri, bucket, s3):
    release(1)
    release(2)
    releases.publish(root, uri)
    text = s3.get_object(Bucket=bucket, Key="serving/models.config")["Body"].read().decode()
    assert _pinned(text) == {
        "text_tower": (f"{uri}/text_tower", [1, 2]),
        "image_tower": (f"{uri}/image_tower", [1, 2]),
    }


def test_a_staged_release_is_the_published_one(release, root, uri, tmp_path, requests):
    release(1)
    published = releases.publish(root, uri)
    copy = tmp_path / "copy"
    assert releases.stage(uri, copy) == published == Release.load(copy)
    assert _tree(copy, 1) == _tree(root, 1)
    assert _pinned((copy / "models.config").read_text()) == {
        "text_tower": (str(copy / "text_tower"), [1]),
        "image_tower": (str(copy / "image_tower"), [1]),
    }
    before = len(requests("GET"))
    releases.stage(uri, copy)
    assert requests("GET")[before:] == ["serving/release.json", "serving/checksums/1.json"]


def test_publishing_again_copies_nothing_that_is_there(release, root, uri, requests):
    release(1)
    releases.publish(root, uri)
    before = len(requests("PUT"))
    releases.publish(root, uri)
    assert not [name for name in requests("PUT")[before:] if "tower" in name or "index" in name]


def test_a_killed_publication_leaves_the_release_before(release, root, uri, keys, tmp_path):
    release(1)
    releases.publish(root, uri)
    release(2, extra=30)
    process = subprocess.Popen(
        [sys.executable, "-c", PUBLISH, str(root), uri], cwd=REPOSITORY, start_new_session=True
    )
    try:
        wait_until(lambda: sum("_tower/2/" in name for name in keys()) > 10, 60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert "serving/checksums/2.json" not in keys()

    assert releases.stage(uri, tmp_path / "copy").version == 1
    assert _tree(tmp_path / "copy", 1) == _tree(root, 1)

    releases.publish(root, uri)
    assert releases.stage(uri, tmp_path / "copy").version == 2
    assert _tree(tmp_path / "copy", 2) == _tree(root, 2)


def test_a_killed_staging_is_finished_by_the_next(release, root, uri, tmp_path):
    release(1)
    releases.publish(root, uri)
    copy = tmp_path / "copy"
    # As a kill between two folders leaves it: one in place, one under a temporary name.
    shutil.copytree(root / "text_tower", copy / "text_tower")
    shutil.copytree(root / "index" / "1", copy / "index" / ".tmp-1-left")
    assert releases.stage(uri, copy).version == 1
    assert _tree(copy, 1) == _tree(root, 1)
    assert [path.name for path in (copy / "index").iterdir()] == ["1"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s3, **at: s3.put_object(**at, Body=b"other"), "does not match its checksum"),
        (lambda s3, **at: s3.delete_object(**at), "is missing"),
    ],
    ids=["changed", "missing"],
)
def test_a_damaged_release_is_not_staged(release, root, uri, bucket, s3, tmp_path, damage, message):
    release(1)
    releases.publish(root, uri)
    damage(s3, Bucket=bucket, Key="serving/text_tower/1/variables/part-001")
    with pytest.raises(UserError) as error:
        releases.stage(uri, tmp_path / "copy")
    assert str(error.value) == (
        f"{uri} is damaged: text_tower/1/variables/part-001 {message}. Restore that file, or roll "
        f"back with `vlsearch rollback {uri}`."
    )
    assert not (tmp_path / "copy" / "release.json").exists()


def test_a_copy_that_was_damaged_later_is_made_anew(release, root, uri, tmp_path):
    release(1)
    releases.publish(root, uri)
    cache = tmp_path / "cache"
    releases.stage(uri, cache, replace=True)
    path = cache / "text_tower" / "1" / "variables" / "part-000"
    good = path.read_bytes()
    path.write_bytes(good[::-1])
    releases.stage(uri, cache, replace=True)
    assert path.read_bytes() == good


def test_a_damaged_root_is_not_copied_to_the_bucket(release, root, uri, keys):
    release(1)
    (root / "index" / "1" / "index.faiss").write_text("other")
    with pytest.raises(ServingError, match=r"index\.faiss is damaged: release 1 lists"):
        releases.publish(root, uri)
    assert keys() == set()


def test_versions_of_the_same_number_are_told_apart(release, root, uri, tmp_path):
    release(1)
    releases.publish(root, uri)
    other = tmp_path / "other"
    _release(other, tmp_path / "more", 1, "of another machine")
    message = (
        f"{uri} holds another release 1 than {other}: it was published from elsewhere. Move "
        f"{other} away and run again, which starts from the release in the bucket, or name another "
        "release.publish_to."
    )
    for attempt in (releases.publish, lambda root, uri: releases.stage(uri, root)):
        with pytest.raises(UserError) as error:
            attempt(other, uri)
        assert str(error.value) == message
    # A cache folder is nobody's original.
    releases.stage(uri, other, replace=True)
    assert _tree(other, 1) == _tree(root, 1)


def test_rolling_back_in_the_bucket(release, root, uri, tmp_path, requests, s3, bucket):
    for version in (1, 2):
        release(version)
        releases.publish(root, uri)
    copy = tmp_path / "copy"
    assert releases.stage(uri, copy).version == 2

    before = len(requests("PUT"))
    assert releases.roll_back_bucket(uri).version == 1
    assert requests("PUT")[before:] == ["serving/release.json", "serving/models.config"]
    text = s3.get_object(Bucket=bucket, Key="serving/models.config")["Body"].read().decode()
    assert _pinned(text)["text_tower"] == (f"{uri}/text_tower", [1])

    assert releases.stage(uri, copy).version == 1
    assert Release.load(copy).version == 1
    assert _pinned((copy / "models.config").read_text())["text_tower"][1] == [1]
    with pytest.raises(UserError, match=rf"^Release 1 in {uri} has no release before it to roll"):
        releases.roll_back_bucket(uri)


def test_the_bucket_says_which_release_is_current(release, root, uri, tmp_path):
    assert releases.follow(root, uri) == 0
    for version in (1, 2):
        release(version)
        releases.publish(root, uri)
    roll_back(root)  # here alone
    assert releases.follow(root, uri) == 2
    assert Release.load(root).version == 2
    releases.roll_back_bucket(uri)
    assert releases.follow(root, uri) == 2
    assert Release.load(root).version == 1

    new_disk = tmp_path / "new" / "serving"
    assert releases.follow(new_disk, uri) == 2
    assert Release.load(new_disk).metrics == {"recall@10": 0.1}


def test_no_release_in_the_bucket(uri, tmp_path):
    with pytest.raises(UserError) as error:
        releases.stage(uri, tmp_path)
    assert str(error.value) == (
        f"{uri} is not a release root: it has no release.json. Publish one by `vlsearch run` with "
        "release.publish_to, or name the right folder."
    )
