"""What a running search does when files of the release root turn bad, and good again."""

import logging
import shutil

import pytest

from serving.search import SearchService, embedded_server
from tests.serving.broken_manifests import CONTENTS, PLACES
from tests.serving.waiting import wait_until


@pytest.fixture
def searching(release_root):
    """A SearchService over release 1, and a function that tells which release answers."""
    with embedded_server(release_root) as client:
        service = SearchService(release_root, client)
        yield service, lambda: service.search(["猫"], 1)[0][0].uri


def _warnings(caplog):
    found = [r for r in caplog.records if r.name == "serving.current_release"]
    return [r.getMessage() for r in found if r.levelno == logging.WARNING]


def test_a_manifest_that_turned_bad_costs_no_query(release_root, searching, caplog):
    path = release_root / "release.json"
    good = path.read_text()
    _, first_uri = searching
    for name, spoil in {
        **{name: lambda path, c=content: path.write_bytes(c) for name, content in CONTENTS.items()},
        **PLACES,
    }.items():
        caplog.clear()
        spoil(path)
        for _ in range(3):
            assert first_uri() == "version-1/猫", name
        [warning] = _warnings(caplog)
        assert warning.startswith(f"Release 1 of {release_root} goes on answering: "), name
        assert str(release_root) in warning.partition(" answering: ")[2], name
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.write_text(good)
        assert first_uri() == "version-1/猫", name
        assert len(_warnings(caplog)) == 1, name


def test_a_good_manifest_after_a_bad_one_is_taken_up(release_root, searching, publish):
    _, first_uri = searching
    publish(release_root, 2)
    good = (release_root / "release.json").read_text()
    (release_root / "release.json").write_text(good[:50])
    assert first_uri() == "version-1/猫"
    (release_root / "release.json").write_text(good)
    wait_until(lambda: first_uri() == "version-2/猫")


@pytest.mark.parametrize("lost", ["index/2", "image_tower/2", "text_tower/2/saved_model.pb"])
def test_a_release_whose_folders_are_gone_is_taken_up_when_they_are_back(
    release_root, searching, publish, caplog, tmp_path, lost
):
    _, first_uri = searching
    publish(tmp_path / "other", 2)
    publish(tmp_path / "other", 3)  # so that the manifest of 2 is not the first one of that root
    for folder in ("text_tower", "image_tower", "index"):
        shutil.copytree(tmp_path / "other" / folder / "2", release_root / folder / "2")
    aside = tmp_path / "aside"
    (release_root / lost).rename(aside)
    config = (tmp_path / "other" / "models.config").read_text()
    config = config.replace(str(tmp_path / "other"), str(release_root)).replace(" versions: 3", "")
    (release_root / "models.config").write_text(config.replace("versions: 2", "versions: [1, 2]"))
    manifest = (tmp_path / "other" / "releases" / "2.json").read_text()
    (release_root / "release.json").write_text(manifest)
    assert first_uri() == "version-1/猫"
    assert first_uri() == "version-1/猫"
    [warning] = _warnings(caplog)
    assert str(release_root / lost) in warning or str((release_root / lost).parent) in warning
    aside.rename(release_root / lost)
    wait_until(lambda: first_uri() == "version-2/猫")


def test_a_root_that_vanishes_and_comes_back(release_root, searching, publish):
    _, first_uri = searching
    release_root.rename(release_root.with_name("away"))
    assert first_uri() == "version-1/猫"
    release_root.with_name("away").rename(release_root)
    publish(release_root, 2)
    wait_until(lambda: first_uri() == "version-2/猫")


def test_a_newer_release_with_a_broken_index_is_left_alone(
    release_root, searching, publish, caplog
):
    service, first_uri = searching
    publish(release_root, 2)
    index = release_root / "index/2/index.faiss"
    good = index.read_bytes()
    index.write_bytes(good[: len(good) // 2])
    wait_until(lambda: first_uri() and _warnings(caplog))
    for _ in range(3):
        assert first_uri() == "version-1/猫"
    assert service.release.version == 1
    [warning] = _warnings(caplog)
    assert f"Release 1 of {release_root} goes on answering: " in warning
    assert str(index) in warning
    index.write_bytes(good)
    wait_until(lambda: first_uri() == "version-2/猫")
