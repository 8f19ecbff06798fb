"""Every change of a file of a release is found when it is loaded."""

import json
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from serving.checksums import check_folder, check_release
from serving.errors import ServingError
from serving.index import SearchIndex, build_index
from serving.publish import publish_release, roll_back
from serving.release import Release
from serving.search import SearchService, embedded_server

KINDS = ("flat", "hnsw", "binary")
INDEX_FILES = ("index.json", "index.faiss", "items.parquet")


def _build(folder: Path, kind: str, seed: int = 0) -> Path:
    vectors = np.random.default_rng(seed).normal(size=(60, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"{seed}-{i}" for i in range(len(vectors))]
    build_index(vectors, ids, ids, folder, kind=kind)
    return folder


@pytest.fixture
def model(tmp_path) -> Path:
    """A folder like a SavedModel; nobody opens it."""
    for name in ("saved_model.pb", "variables/variables.index", "assets/vocabulary.txt"):
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 50)
    path = tmp_path / "model" / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    path.write_bytes(b"")
    return tmp_path / "model"


def _changes(content: bytes, chance: random.Random):
    """(what, changed content), at random places."""
    for _ in range(12):
        place = chance.randrange(len(content))
        other = bytes([content[place] ^ chance.randrange(1, 256)])
        yield f"byte {place}", content[:place] + other + content[place + 1 :]
    place = chance.randrange(len(content))
    yield f"cut at {place}", content[:place]
    yield "empty", b""
    yield "longer", content + b"\0"
    yield f"inserted at {place}", content[:place] + b"x" + content[place:]


@pytest.mark.parametrize("kind", KINDS)
def test_every_change_of_an_index_is_found(tmp_path, model, kind):
    root = tmp_path / "root"
    release = publish_release(root, 1, {"text_tower": model}, _build(tmp_path / "i", kind))
    folder = root / "index" / "1"
    other = _build(tmp_path / "other", kind, seed=1)
    chance = random.Random(kind)
    for name in INDEX_FILES:
        path = folder / name
        content = path.read_bytes()
        changes = [*_changes(content, chance), ("swapped", (other / name).read_bytes())]
        for what, changed in changes:
            path.write_bytes(changed)
            for check in (SearchIndex.load, lambda _: check_release(root, release)):
                with pytest.raises(ServingError, match=re.escape(str(path))):
                    check(folder)
                    pytest.fail(f"{name}: {what} was not found")
        path.unlink()
        with pytest.raises(ServingError, match=name):
            SearchIndex.load(folder)
        path.write_bytes(content)
    assert len(SearchIndex.load(folder)) == 60


def test_every_change_of_a_model_is_found(tmp_path, model):
    root = tmp_path / "root"
    release = publish_release(root, 1, {"text_tower": model}, None)
    folder = root / "text_tower" / "1"
    chance = random.Random(0)
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "MODEL_CARD.md"):
        content = path.read_bytes()
        for what, changed in _changes(content, chance) if content else [("longer", b"x")]:
            path.write_bytes(changed)
            for listing in (lambda: check_release(root, release), lambda: check_folder(folder, ())):
                with pytest.raises(ServingError, match=re.escape(str(path))):
                    listing()
                    pytest.fail(f"{path}: {what} was not found")
        path.unlink()
        with pytest.raises(ServingError, match=re.escape(f"{path} is missing: release 1 lists it")):
            check_release(root, release)
        path.write_bytes(content)
    check_release(root, release)


def test_the_message_names_file_release_and_remedy(tmp_path, model):
    root = tmp_path / "root"
    release = publish_release(root, 1, {"text_tower": model}, None)
    path = root / "text_tower" / "1" / "saved_model.pb"
    path.write_bytes(b"other")
    with pytest.raises(ServingError) as caught:
        check_release(root, release)
    assert re.fullmatch(
        rf"{re.escape(str(path))} is damaged: release 1 lists the SHA-256 [0-9a-f]{{12}}…, the "
        r"file has [0-9a-f]{12}…\. Restore it from a copy, or go back to the release before with "
        r"`vlsearch rollback`, or publish again\.",
        str(caught.value),
    )


def test_folders_that_changed_places_are_found(tmp_path, model):
    root = tmp_path / "root"
    for version in (1, 2):
        (model / "saved_model.pb").write_text(str(version))
        publish_release(root, version, {"text_tower": model}, None)
    base = root / "text_tower"
    (base / "1").rename(base / "aside")
    (base / "2").rename(base / "1")
    (base / "aside").rename(base / "2")
    with pytest.raises(ServingError, match=r"text_tower/2/saved_model\.pb is damaged: release 2"):
        check_release(root, Release.load(root))


def test_every_damage_of_a_card_is_said_or_harmless(tmp_path, model, caplog):
    """The manifest has the checksums, too, so that the release can be served."""
    root = tmp_path / "root"
    release = publish_release(root, 1, {"text_tower": model}, _build(tmp_path / "i", "flat"))
    folder = root / "index" / "1"
    card = folder / "MODEL_CARD.md"
    content = card.read_bytes()
    chance = random.Random(0)
    for what, changed in _changes(content, chance):
        card.write_bytes(changed)
        caplog.clear()
        check_release(root, release)
        text = changed.decode(errors="replace")
        listed = re.findall(r"^([0-9a-f]{64})  (\S+)$", text, re.MULTILINE)
        if {name: digest for digest, name in listed} != release.checksums["index"]:
            assert str(card) in caplog.text, what
        try:
            assert len(SearchIndex.load(folder)) == 60
        except ServingError as error:
            assert str(folder) in str(error)
    card.unlink()
    caplog.clear()
    check_release(root, release)
    assert str(card) in caplog.text


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: "# Ours\n\nRead this first. 猫\n\n" + text,
        lambda text: text + "\n## Notes\n\n```\nnot a checksum\n```\n",
        lambda text: "\ufeff" + text.replace("\n", "\r\n"),
        lambda text: text.replace("# text_tower, version 1", "# Renamed"),
        lambda text: text.replace("## Files", "One more line.\n\n## Files"),
    ],
)
def test_people_may_write_into_the_card(tmp_path, model, caplog, edit):
    root = tmp_path / "root"
    release = publish_release(root, 1, {"text_tower": model}, None)
    folder = root / "text_tower" / "1"
    card = folder / "MODEL_CARD.md"
    text = card.read_text()
    assert edit(text) != text
    card.write_text(edit(text), newline="")
    check_release(root, release)
    check_folder(folder, ["saved_model.pb"])
    assert not caplog.records
    (folder / "saved_model.pb").write_text("x")
    with pytest.raises(ServingError, match=r"saved_model\.pb is damaged: .*MODEL_CARD\.md lists"):
        check_folder(folder, ())


def test_a_release_of_old_is_loaded_and_one_line_says_so(tmp_path, model, caplog):
    root = tmp_path / "root"
    publish_release(root, 1, {"text_tower": model}, _build(tmp_path / "i", "flat"))
    for path in (root / "release.json", root / "releases" / "1.json"):
        manifest = json.loads(path.read_text())
        del manifest["checksums"]
        path.write_text(json.dumps(manifest))
    card = root / "index" / "1" / "MODEL_CARD.md"
    card.write_text(card.read_text().partition("## Files")[0])
    for _ in range(3):
        check_release(root, Release.load(root))
        SearchIndex.load(card.parent)
    assert [record.getMessage() for record in caplog.records] == [
        f"{card} lists no checksums, so the files beside it are not checked."
    ]


def test_a_damaged_release_is_not_rolled_back_to(tmp_path, model):
    root = tmp_path / "root"
    for version in (1, 2):
        publish_release(root, version, {"text_tower": model}, None)
    path = root / "text_tower" / "1" / "assets" / "vocabulary.txt"
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(ServingError, match=r"vocabulary\.txt is damaged: release 1"):
        roll_back(root)
    assert Release.load(root).version == 2


def test_a_list_without_the_model_is_none(tmp_path, model):
    root = tmp_path / "root"
    release = publish_release(root, 1, {"text_tower": model}, None)
    release.checksums["text_tower"].clear()
    with pytest.raises(ServingError, match=r"saved_model\.pb cannot be checked: release 1 lists"):
        check_release(root, release)


def test_files_that_are_not_listed_are_in_nobodys_way(tmp_path, model):
    root = tmp_path / "root"
    release = publish_release(root, 1, {"text_tower": model}, None)
    (root / "text_tower" / "1" / ".DS_Store").write_bytes(b"x")
    check_release(root, release)


def test_a_damaged_tower_is_not_served(release_root):
    [path] = (release_root / "text_tower" / "1" / "variables").glob("variables.data*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with (
        pytest.raises(ServingError, match=f"{path} is damaged: release 1 lists"),
        embedded_server(release_root),
    ):
        pass


def test_a_damaged_index_is_not_searched(release_root):
    with embedded_server(release_root) as client:
        path = release_root / "index" / "1" / "items.parquet"
        path.write_bytes(path.read_bytes().replace(b"bicycle", b"tricycl"))
        with pytest.raises(ServingError, match=f"{path} is damaged: release 1 lists"):
            SearchService(release_root, client)


def test_an_index_that_was_never_released_is_read_with_care(tmp_path):
    """Without checksums: an error or an index, never another exception."""
    folder = _build(tmp_path / "index", "flat")
    kept = tmp_path / "kept"
    shutil.copytree(folder, kept)
    chance = random.Random(0)
    for name in INDEX_FILES:
        for _, changed in _changes((kept / name).read_bytes(), chance):
            (folder / name).write_bytes(changed)
            try:
                index = SearchIndex.load(folder)
                index.search(np.ones((1, 16), np.float32), 3)
            except ServingError as error:
                assert str(folder) in str(error) or "dimensions" in str(error)
        shutil.copyfile(kept / name, folder / name)
