"""Release roots that were copied, moved, linked or damaged: what is served is what was named."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.client import PredictClient
from serving.errors import ServingError
from serving.model_server.options import release_options
from serving.model_server.server import ModelServer
from serving.publish import adopt_release, publish_release, repair_config, roll_back
from serving.release import Release
from serving.search import SearchService, embedded_server
from tests.serving.waiting import wait_until


def _config(root: Path) -> dict[str, tuple[str, list[int]]]:
    config = text_format.Parse((root / "models.config").read_text(), ModelServerConfig())
    return {
        e.name: (e.base_path, list(e.model_version_policy.specific.versions))
        for e in config.model_config_list.config
    }


def _first(root) -> str:
    with embedded_server(root) as client:
        return SearchService(root, client).search(["猫"], 1)[0][0].uri


def _spoil(folder: Path) -> None:
    """Make a tower of a place unusable, so that serving it by mistake is seen."""
    (folder / "saved_model.pb").write_bytes(b"not a model")


@pytest.fixture
def copied(release_root, tmp_path) -> Path:
    """A copy of a root, whose models.config names the old place, which has other towers now."""
    copy = tmp_path / "copy"
    shutil.copytree(release_root, copy)
    _spoil(release_root / "text_tower" / "1")
    _spoil(release_root / "image_tower" / "1")
    return copy


def test_a_copy_is_served_and_not_the_place_it_was_copied_from(copied, release_root):
    before = (copied / "models.config").read_bytes()
    assert _config(copied)["text_tower"][0] == str(release_root / "text_tower")
    assert _first(copied) == "version-1/猫"
    assert (copied / "models.config").read_bytes() == before, "whoever serves does not write"


def test_a_moved_root_is_served(release_root, tmp_path):
    moved = release_root.rename(tmp_path / "moved")
    assert _first(moved) == "version-1/猫"


def test_a_copy_is_followed(copied, publish):
    with embedded_server(copied) as client:
        service = SearchService(copied, client)
        publish(copied, 2)
        wait_until(lambda: service.search(["猫"], 1)[0][0].uri == "version-2/猫")
    assert _config(copied)["text_tower"] == (str(copied / "text_tower"), [1, 2])


def test_a_copy_that_is_copied_from_another_publisher_is_followed(release_root, publish, tmp_path):
    """As rsync brings it: the folders first, then models.config and release.json."""
    copy = tmp_path / "copy"
    shutil.copytree(release_root, copy)
    with embedded_server(copy) as client:
        service = SearchService(copy, client)
        publish(release_root, 2)
        for name in ("text_tower", "image_tower", "index"):
            shutil.copytree(release_root / name / "2", copy / name / "2")
        for name in ("releases/2.json", "models.config", "release.json"):
            shutil.copyfile(release_root / name, copy / ".new")
            (copy / ".new").rename(copy / name)
        wait_until(lambda: service.search(["猫"], 1)[0][0].uri == "version-2/猫")


@pytest.mark.parametrize("name", ["a \"b\" 'c' \\", "br[ack]et*?", "猫😀", "new\nline", "{x} #y"])
def test_odd_names(release_root, tmp_path, name):
    odd = release_root.rename(tmp_path / name)
    assert _first(odd) == "version-1/猫"
    repair_config(odd)
    assert _config(odd)["text_tower"][0] == str(odd / "text_tower")
    assert _first(odd) == "version-1/猫"


def test_a_name_that_models_config_cannot_hold_is_told(release_root, tmp_path, publish):
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(ServingError, match=r"caf\\udce9' is not UTF-8, and models\.config cannot"):
        publish(odd, 1)
    assert not [path for path in odd.rglob("*") if path.is_file() and path.name[0] != "."]
    odd = release_root.rename(odd / "root")
    with pytest.raises(ServingError, match=r"is not UTF-8, and models\.config cannot name it"):
        release_options(odd)


def test_other_ways_to_name_a_root(copied, tmp_path, monkeypatch):
    link = tmp_path / "link"
    link.symlink_to(copied)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for root in (link, Path("copy"), "copy/", "./copy/../copy", "~/copy"):
        assert _first(root) == "version-1/猫", root
    repair_config(link)
    assert _config(copied)["text_tower"][0] == str(copied / "text_tower")
    assert _first(link) == "version-1/猫"


def test_a_root_that_is_read_only_is_served_without_a_write(copied):
    """The user root may write everywhere, so that times are looked at, too."""

    def times():
        paths = [copied, *sorted(copied.rglob("*"))]
        return {p: (p.stat().st_mtime_ns, p.stat().st_ctime_ns) for p in paths}

    for path in copied.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    copied.chmod(0o555)
    before = times()
    assert _first(copied) == "version-1/猫"
    assert times() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"has a release\.json but no models\.config"),
        (b"", r"models\.config names no model"),
        (b"model_config_list {}", r"models\.config names no model"),
        (b"model_config_list { config { name: ", r"models\.config is no ModelServerConfig"),
        (b"\xff\xfe\x00", r"models\.config is not UTF-8"),
        (b'{"a": 1}', r"models\.config is no ModelServerConfig"),
        (
            b'model_config_list { config { name: "x" base_path: "/x" model_platform: "y" } }',
            r"models\.config names no model of release 1, which has",
        ),
    ],
)
def test_a_models_config_that_is_none_is_told_and_repaired(release_root, content, message):
    path = release_root / "models.config"
    good = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ServingError, match=message) as caught:
        release_options(release_root)
    assert "`vlsearch serving repair ROOT` writes it anew." in str(caught.value)
    repair_config(release_root)
    names = _config(release_root)
    assert names.keys() - {"x"} == {"text_tower", "image_tower"}
    if "x" not in names:
        assert path.read_bytes() == good
    release_options(release_root)


def test_a_folder_in_the_place_of_models_config(release_root):
    path = release_root / "models.config"
    path.unlink()
    path.mkdir()
    with pytest.raises(ServingError, match=r"models\.config is not a file"):
        release_options(release_root)
    repair_config(release_root)
    assert (release_root / "models.config.unreadable").is_dir()
    release_options(release_root)


def test_what_people_wrote_into_it_stays(release_root, publish, tmp_path):
    path = release_root / "models.config"
    text = path.read_text()
    label = '    version_labels { key: "stable" value: 1 }\n'
    added = (
        f'  config {{ name: "ours" base_path: "{tmp_path}/ours" model_platform: "tensorflow"\n'
        '    version_labels { key: "猫" value: 4 } }\n}\n'
    )
    text = text.replace('    name: "text_tower"\n', f'    name: "text_tower"\n{label}')
    path.write_text("# Ours, do not touch.\n" + text.rstrip("}\n") + "\n  }\n" + added)
    assert _config(release_root).keys() == {"text_tower", "image_tower", "ours"}
    publish(release_root, 2)
    after = path.read_text()
    assert after.startswith("# Ours, do not touch.\n")
    config = text_format.Parse(after, ModelServerConfig())
    entries = {e.name: e for e in config.model_config_list.config}
    assert entries["ours"].base_path == f"{tmp_path}/ours"
    assert dict(entries["ours"].version_labels) == {"猫": 4}
    assert dict(entries["text_tower"].version_labels) == {"stable": 1}
    assert list(entries["text_tower"].model_version_policy.specific.versions) == [1, 2]
    publish(release_root, 3)
    config = text_format.Parse(path.read_text(), ModelServerConfig())
    entries = {e.name: e for e in config.model_config_list.config}
    assert not entries["text_tower"].version_labels, "TF Serving would refuse the file for it"
    assert entries["ours"].base_path == f"{tmp_path}/ours"
    roll_back(release_root)
    assert "ours" in _config(release_root)


def test_a_model_that_no_longer_belongs_to_the_release_goes(tmp_path, release_parts):
    root = tmp_path / "root"
    towers, index = release_parts(1)
    publish_release(root, 1, towers, index)
    for version in (2, 3):
        towers, _ = release_parts(version)
        publish_release(root, version, {"text_tower": towers["text_tower"]}, None)
    assert _config(root) == {"text_tower": (str(root / "text_tower"), [2, 3])}


def test_a_tower_that_is_meant_to_be_elsewhere_is_refused(release_root, publish, tmp_path):
    path = release_root / "models.config"
    elsewhere = tmp_path / "elsewhere" / "text_tower"
    before = path.read_text().replace(str(release_root / "text_tower"), str(elsewhere))
    path.write_text(before)
    for action in (
        lambda: release_options(release_root),
        lambda: publish(release_root, 2),
        lambda: repair_config(release_root),
    ):
        with pytest.raises(ServingError) as caught:
            action()
        assert f"outside {release_root}: text_tower in {elsewhere}." in str(caught.value)
        assert path.read_text() == before
    assert [p.name for p in (release_root / "releases").iterdir()] == ["1.json"]
    assert [p.name for p in (release_root / "text_tower").iterdir()] == ["1"]


def test_a_model_of_the_old_place_that_did_not_come_along_is_told(copied, release_root):
    path = copied / "models.config"
    extra = f'config {{ name: "x" base_path: "{release_root}/x" model_platform: "tensorflow" }}'
    path.write_text(path.read_text().rstrip("}\n") + "}\n" + extra + "}")
    with pytest.raises(ServingError, match=f"there is no {copied}/x"):
        release_options(copied)


@contextlib.contextmanager
def _server(root):
    options = release_options(root, port=None, rest_api_port=0, max_num_load_retries=0)
    with ModelServer(options) as server, PredictClient(f"127.0.0.1:{server.grpc_port}") as client:
        yield client


def _served(client) -> list[int]:
    statuses = client.model_status("text_tower")
    return sorted(s.version for s in statuses if s.state == "AVAILABLE")


def test_a_publication_that_was_killed_between_the_two_files(release_root, publish):
    manifest = (release_root / "release.json").read_bytes()
    publish(release_root, 2)
    (release_root / "release.json").write_bytes(manifest)
    with _server(release_root) as client:
        assert _served(client) == [1, 2]
        assert SearchService(release_root, client).release.version == 1


def test_a_models_config_of_another_release_does_not_hide_the_current_one(release_root, publish):
    first = (release_root / "models.config").read_bytes()
    publish(release_root, 2)
    (release_root / "models.config").write_bytes(first)
    with _server(release_root) as client:
        assert _served(client) == [1, 2]
        assert SearchService(release_root, client).release.version == 2


def test_a_damaged_release_before_the_current_one_is_left_out(release_root, publish, caplog):
    publish(release_root, 2)
    _spoil(release_root / "text_tower" / "1")
    with _server(release_root) as client:
        assert _served(client) == [2]
    assert "text_tower 1 is not served: " in caplog.text


def test_a_damaged_new_release_is_not_loaded(release_root, publish, tmp_path, caplog):
    """Brought here by copying; what is served goes on."""
    other = tmp_path / "other"
    shutil.copytree(release_root, other)
    publish(other, 2)
    _spoil(other / "text_tower" / "2")
    with _server(release_root) as client:
        service = SearchService(release_root, client)
        for name in ("text_tower", "image_tower", "index"):
            shutil.copytree(other / name / "2", release_root / name / "2")
        for name in ("releases/2.json", "models.config", "release.json"):
            shutil.copyfile(other / name, release_root / ".new")
            (release_root / ".new").rename(release_root / name)
        wait_until(lambda: "text_tower 2 is not served: " in caplog.text)
        assert service.search(["猫"], 1)[0][0].uri == "version-1/猫"
        assert _served(client) == [1]


def test_models_config_turning_bad_changes_nothing(release_root, publish, caplog):
    with _server(release_root) as client:
        (release_root / "models.config").write_text("model_config_list { config {")
        wait_until(lambda: "The model configuration stays as it was: " in caplog.text)
        assert _served(client) == [1]
        publish(release_root, 2)
        wait_until(lambda: _served(client) == [1, 2])
    assert (release_root / "models.config.unreadable").read_text().endswith("config {")
    assert caplog.text.count("The model configuration stays as it was: ") == 1


def test_adopting_what_is_current_already_repairs_models_config(copied):
    adopt_release(copied, Release.load(copied))
    assert _config(copied)["text_tower"] == (str(copied / "text_tower"), [1])


def test_publishing_what_is_current_already_repairs_models_config(copied, publish):
    publish(copied, 1)
    assert _config(copied)["text_tower"] == (str(copied / "text_tower"), [1])
