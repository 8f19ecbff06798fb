"""Sources as artifact stores give them, published by whoever may only read them."""

import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from serving.copying import copy_tree
from serving.errors import DiskError, ServingError
from serving.files import remove_leftovers
from serving.publish import publish_release
from serving.release import Release


@pytest.fixture
def model(tmp_path) -> Path:
    """A folder like a SavedModel, with 64 KiB of weights."""
    folder = tmp_path / "source" / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text("graph")
    (folder / "variables" / "weights").write_bytes(bytes(range(256)) * 256)
    return folder


def _make_read_only(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)


def _modes(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): oct(stat.S_IMODE(p.stat().st_mode))
        for p in sorted((folder, *folder.rglob("*")))
    }


# What is imported late may lie where another user cannot read: everything is used once before.
_AS_ANOTHER_USER = """
import os, pathlib, resource, sys, tempfile
from serving.errors import ServingError
from serving.publish import publish_release, roll_back
model, root = map(pathlib.Path, sys.argv[1:])
with tempfile.TemporaryDirectory() as folder:
    for version in (1, 2):
        publish_release(folder, version, {"text_tower": model}, None)
    roll_back(folder)
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""


def _as_another_user(script: str, model: Path, root: Path, owner: bool = True) -> str:
    """Run a script as the user nobody, who owns the root or not; return what it prints."""
    for folder in model.parents:
        if folder.stat().st_uid == os.getuid():
            folder.chmod(folder.stat().st_mode | 0o055)
    if owner and os.getuid() == 0:
        os.chown(root, 65534, 65534)
    done = subprocess.run(
        [sys.executable, "-c", _AS_ANOTHER_USER + script, model, root],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_read_only_source_is_published_by_another_user_again_and_again(model, tmp_path):
    _make_read_only(model)
    before = _modes(model)
    root = tmp_path / "root"
    root.mkdir()
    script = """
os.umask(0o027)
for version in (1, 2):
    publish_release(root, version, {"text_tower": model}, None)
leftover = root / "text_tower" / ".tmp-3-x"
(leftover / "inner").mkdir(parents=True)
(leftover / "inner" / "file").touch()
(leftover / "inner").chmod(0o555)
leftover.chmod(0)
publish_release(root, 3, {"text_tower": model}, None)
roll_back(root)
"""
    _as_another_user(script, model, root)
    assert Release.load(root).version == 2
    assert _modes(model) == before
    assert sorted(p.name for p in (root / "text_tower").iterdir()) == ["1", "2", "3"]
    modes = _modes(root / "text_tower" / "3")
    assert modes["."] == modes["variables"] == "0o750"
    assert (
        modes["saved_model.pb"] == modes["variables/weights"] == modes["MODEL_CARD.md"] == "0o640"
    )


@pytest.mark.parametrize(("umask", "of_files"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_modes_follow_the_umask_alone(model, tmp_path, umask, of_files):
    (model / "saved_model.pb").chmod(0o400)
    (model / "variables" / "weights").chmod(0o4777)
    model.chmod(0o500)
    before = os.umask(umask)
    try:
        publish_release(tmp_path / "root", 1, {"text_tower": model}, None)
    finally:
        os.umask(before)
    for path in (tmp_path / "root").rglob("*"):
        if path.name != ".publish.lock":
            expected = 0o777 & ~umask if path.is_dir() else of_files
            assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_a_group_folder_stays_one(model, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    root.chmod(0o2775)
    publish_release(root, 1, {"text_tower": model}, None)
    for path in (p for p in root.rglob("*") if p.is_dir()):
        assert path.stat().st_mode & stat.S_ISGID, path


def test_a_source_that_another_user_may_not_read_leaves_nothing(model, tmp_path):
    secret = model / "variables" / "weights"
    secret.chmod(0)
    root = tmp_path / "root"
    root.mkdir()
    script = """
try:
    publish_release(root, 1, {"text_tower": model}, None)
except ServingError as error:
    print(error)
"""
    if os.getuid() != 0:
        pytest.skip("needs a user who may read everything to try another one")
    assert f"{secret} cannot be copied to {root}/text_tower: permission denied." in (
        _as_another_user(script, model, root)
    )
    assert list((root / "text_tower").iterdir()) == []
    assert not (root / "release.json").exists()


def test_a_root_that_must_not_be_written_is_told(model, tmp_path):
    if os.getuid() != 0:
        pytest.skip("needs another user")
    root = tmp_path / "root"
    publish_release(root, 1, {"text_tower": model}, None)
    (root / ".publish.lock").chmod(0o600)
    script = """
for action in (
    lambda: publish_release(root / "below", 1, {"text_tower": model}, None),
    lambda: roll_back(root),
):
    try:
        action()
    except ServingError as error:
        print(error)
"""
    lines = _as_another_user(script, model, root, owner=False).splitlines()
    remedy = "cannot be written: permission denied. Give this user the right to it"
    assert lines[0].startswith(f"{root}/below {remedy}")
    assert lines[1].startswith(f"{root}/.publish.lock {remedy}")


def test_a_write_that_fails_is_told_and_leaves_nothing(model, tmp_path):
    """A limit on the size of files stands for a full disk."""
    root = tmp_path / "root"
    root.mkdir()
    script = """
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    publish_release(root, 1, {"text_tower": model}, None)
except ServingError as error:
    print(type(error).__name__, error)
"""
    said = _as_another_user(script, model, root)
    assert said.startswith("DiskError ")
    assert f"{model}/variables/weights" in said
    assert "file too large. Raise the limit on the size of files (ulimit -f)" in said
    assert list((root / "text_tower").iterdir()) == []
    assert sorted(p.name for p in root.iterdir()) == [".publish.lock", "releases", "text_tower"]


def test_links_are_followed_and_the_copy_stands_alone(model, tmp_path):
    weights = model / "variables" / "weights"
    content = weights.read_bytes()
    kept = tmp_path / "store"
    weights.rename(kept)
    weights.symlink_to(kept)
    (model / "assets").symlink_to("variables")
    os.link(kept, model / "hard")
    copy_tree(model, tmp_path / "copy")
    kept.write_bytes(b"")
    for name in ("variables/weights", "assets/weights", "hard"):
        path = tmp_path / "copy" / name
        assert path.read_bytes() == content
        assert not path.is_symlink() and path.stat().st_nlink == 1
    assert not (tmp_path / "copy" / "assets").is_symlink()


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # paths of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("pipe", os.mkfifo, "is neither a file nor a folder"),
        ("socket", _socket, "is neither a file nor a folder"),
        ("link", lambda path: path.symlink_to("nowhere"), "is a link to nothing"),
        ("loop", lambda path: path.symlink_to(path), "is a link to nothing"),
        ("up", lambda path: path.symlink_to(".."), "is a link to a folder above it"),
        ("a\nb", lambda path: path.touch(), "has a name that cannot be printed"),
    ],
)
def test_what_cannot_be_copied_is_named(model, tmp_path, name, make, message):
    path = model / "variables" / name
    make(path)
    root = tmp_path / "root"
    with pytest.raises(ServingError, match=message) as caught:
        publish_release(root, 1, {"text_tower": model}, None)
    assert str(model) in str(caught.value)
    assert re.search(re.escape(repr(name)[1:-1]) + "|variables", str(caught.value))
    assert list((root / "text_tower").iterdir()) == []


def test_leftovers_are_links_or_folders_or_files(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    folder = tmp_path / "folder"
    (folder / ".tmp-folder" / "inner").mkdir(parents=True)
    (folder / ".tmp-folder" / "inner").chmod(0)
    (folder / ".tmp-folder" / "link").symlink_to(outside)
    (folder / ".tmp-link").symlink_to(outside)
    (folder / ".tmp-file").touch()
    remove_leftovers(folder)
    assert list(folder.iterdir()) == []
    assert (outside / "kept").exists()


def test_a_source_that_vanishes_is_an_error_of_ours(tmp_path):
    with pytest.raises(
        ServingError, match=r"absent cannot be copied to .*: no such file"
    ) as caught:
        copy_tree(tmp_path / "absent", tmp_path / "copy")
    assert not isinstance(caught.value, DiskError)
    assert not (tmp_path / "copy").exists()
