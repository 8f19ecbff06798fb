import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.errors import ServingError
from serving.files import checksums, exclusive_lock
from serving.publish import publish_release, roll_back, stage_release
from serving.release import Release, next_version


def _parts(folder: Path, content: str, files: int = 3) -> tuple[dict[str, Path], Path]:
    """Folders that look like SavedModels and an index; publishing never opens a model."""
    towers = {}
    for name in ("text_tower", "image_tower"):
        towers[name] = folder / name
        (towers[name] / "variables").mkdir(parents=True)
        (towers[name] / "saved_model.pb").write_text(content)
        for i in range(files):
            (towers[name] / "variables" / f"part-{i}").write_text(content * 1000)
    index = folder / "index"
    index.mkdir()
    (index / "index.json").write_text(json.dumps({"tower_version": None, "count": 1}))
    (index / "index.faiss").write_text(content)
    return towers, index


@pytest.fixture
def parts(tmp_path):
    """(number) -> towers and index whose content differs from number to number."""
    made: dict[int, tuple[dict[str, Path], Path]] = {}

    def get(number: int):
        if number not in made:
            made[number] = _parts(tmp_path / f"parts-{number}", f"content {number}")
        return made[number]

    return get


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def _config(root):
    config = text_format.Parse((root / "models.config").read_text(), ModelServerConfig())
    return {
        c.name: (c.base_path, list(c.model_version_policy.specific.versions), c.model_platform)
        for c in config.model_config_list.config
    }


def _tree(root):
    return {k: v for k, v in checksums(root).items() if k != ".publish.lock"}


def test_layout_of_a_first_release(root, parts):
    release = publish_release(
        root, 1, *parts(1), metrics={"recall@10": 0.25}, lineage={"run": "r1"},
        data_span=["2026-01-01", "2026-01-07"], model_card="# Card\n\nFor tests only.",
    )  # fmt: skip
    assert release == Release.load(root)
    assert release.models == {"text_tower": 1, "image_tower": 1}
    assert (release.version, release.index, release.previous) == (1, 1, None)
    assert release.metrics == {"recall@10": 0.25}
    assert release.data_span == ["2026-01-01", "2026-01-07"]
    assert release.created.endswith("+00:00")
    assert (root / "text_tower/1/variables/part-0").read_text() == "content 1" * 1000
    assert json.loads((root / "index/1/index.json").read_text())["tower_version"] == 1
    for name in ("text_tower", "image_tower", "index"):
        card = (root / name / "1" / "MODEL_CARD.md").read_text()
        assert card.startswith("# Card\n\nFor tests only.\n\n## Metrics")
        assert "| recall@10 | 0.25 |" in card
        for path, digest in checksums(root / name / "1").items():
            assert path == "MODEL_CARD.md" or f"{digest}  {path}" in card
    assert _config(root) == {
        name: (str(root.resolve() / name), [1], "tensorflow") for name in release.models
    }


def test_second_release_pins_both_and_keeps_the_old(root, parts):
    publish_release(root, 1, *parts(1))
    release = publish_release(root, 2, *parts(2))
    assert release.previous == 1
    assert {versions for _, v, _ in _config(root).values() for versions in [tuple(v)]} == {(1, 2)}
    publish_release(root, 5, *parts(5))
    assert _config(root)["text_tower"][1] == [2, 5]
    assert (root / "text_tower/1/saved_model.pb").exists()
    assert next_version(root) == 6


def test_paths_with_quotes_stay_readable(tmp_path, parts):
    root = tmp_path / 'odd "name" \\ 猫'
    publish_release(root, 1, *parts(1))
    assert _config(root)["text_tower"][0] == str(root / "text_tower")


def test_publishing_the_current_content_again_changes_nothing(root, parts):
    publish_release(root, 1, *parts(1), metrics={"m": 1.0})
    before = _tree(root)
    assert publish_release(root, 1, *parts(1)).metrics == {"m": 1.0}
    assert _tree(root) == before


def test_taken_and_old_versions_are_refused(root, parts):
    publish_release(root, 1, *parts(1))
    publish_release(root, 3, *parts(3))
    with pytest.raises(ServingError, match=r"3 is already published .*different content .*text_to"):
        publish_release(root, 3, *parts(1))
    with pytest.raises(ServingError, match=r"2 is not newer than the current release 3 .* as vers"):
        publish_release(root, 2, *parts(2))
    assert Release.load(root).version == 3


def test_folder_that_no_release_names_is_replaced(root, parts):
    publish_release(root, 1, *parts(1))
    stray = root / "text_tower/2"
    stray.mkdir()
    (stray / "saved_model.pb").write_text("half written")
    assert next_version(root) == 2
    publish_release(root, 2, *parts(2))
    assert (stray / "saved_model.pb").read_text() == "content 2"


def test_leftovers_are_removed(root, parts):
    publish_release(root, 1, *parts(1))
    leftover = root / "text_tower/.tmp-2-abc"
    leftover.mkdir()
    (leftover / "big").write_text("x")
    (root / ".tmp-release.json-def").write_text("{")
    publish_release(root, 2, *parts(2))
    assert not list(root.rglob(".tmp-*"))


def test_roll_back_and_forward(root, parts):
    for number in (1, 2, 3):
        publish_release(root, number, *parts(number))
    assert roll_back(root).version == 2
    assert Release.load(root).previous == 1
    assert _config(root)["text_tower"][1] == [1, 2]
    assert roll_back(root).version == 1
    assert _config(root)["text_tower"][1] == [1]
    with pytest.raises(ServingError, match="no release before it"):
        roll_back(root)
    again = publish_release(root, 3, *parts(3))
    assert (again.version, again.previous) == (3, 1)


def test_roll_back_to_a_release_that_was_deleted(root, parts):
    for number in (1, 2):
        publish_release(root, number, *parts(number))
    (root / "text_tower/1/saved_model.pb").unlink()
    with pytest.raises(ServingError, match="Release folder without a model: release 1"):
        roll_back(root)
    assert Release.load(root).version == 2


@pytest.mark.parametrize("lost", ["text_tower/2", "index/2"])
def test_damaged_current_release_is_rolled_back(root, parts, lost):
    for number in (1, 2):
        publish_release(root, number, *parts(number))
    shutil.rmtree(root / lost)
    with pytest.raises(ServingError, match=f"roll back with `vlsearch rollback {root}`"):
        Release.load(root)
    assert roll_back(root).version == 1
    assert Release.load(root).version == 1
    assert _config(root)["text_tower"][1] == [1]


def test_damaged_current_release_is_replaced(root, parts):
    for number in (1, 2):
        publish_release(root, number, *parts(number))
    shutil.rmtree(root / "image_tower/2")
    assert publish_release(root, 3, *parts(3)).previous is None
    assert Release.load(root).version == 3
    assert _config(root)["image_tower"][1] == [3]


def test_undefined_metric_is_a_dash_in_the_card(root, parts):
    publish_release(root, 1, *parts(1), metrics={"auc": None, "mrr": 0.5})
    assert Release.load(root).metrics == {"auc": None, "mrr": 0.5}
    assert "| auc | – |\n| mrr | 0.5 |" in (root / "index/1/MODEL_CARD.md").read_text()


@pytest.mark.parametrize(
    "details",
    [{"metrics": {"mrr": float("nan")}}, {"lineage": {"run": object()}}, {"data_span": [1e999]}],
)
def test_what_a_manifest_cannot_hold_is_refused_before_anything_is_copied(root, parts, details):
    with pytest.raises(ServingError, match="are what JSON can hold"):
        publish_release(root, 1, *parts(1), **details)
    assert not [path for path in root.rglob("*") if path.is_file() and path.name[0] != "."]


def test_stage(root, parts):
    towers, _ = parts(1)
    assert stage_release(root, 4, towers).index is None
    with pytest.raises(ServingError, match="not empty"):
        stage_release(root, 4, towers)


def test_sources_that_are_none(root, tmp_path, parts):
    towers, index = parts(1)
    with pytest.raises(ServingError, match="is not a SavedModel"):
        publish_release(root, 1, {"text_tower": tmp_path / "absent"}, index)
    with pytest.raises(ServingError, match="is not an index"):
        publish_release(root, 1, towers, tmp_path)
    with pytest.raises(ServingError, match="'index' cannot be the name of a model"):
        publish_release(root, 1, {"index": towers["text_tower"]}, None)
    with pytest.raises(ServingError, match="version=0"):
        publish_release(root, 0, towers, index)
    (index / "index.json").write_text('{"tower_version": 4}')
    with pytest.raises(ServingError, match="built with tower version 4 and cannot be released as"):
        publish_release(root, 1, towers, index)
    assert not root.exists()


def _publish_many(root, parts_folder, first):
    for _ in range(3):
        towers, index = _parts(parts_folder / str(random.random()), f"by {first}")
        for _attempt in range(20):
            try:
                publish_release(root, next_version(root), towers, index)
                break
            except ServingError:
                continue


def test_publishers_do_not_interleave(root, tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_publish_many, args=(root, tmp_path / str(i), i)) for i in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    manifests = sorted(int(p.stem) for p in (root / "releases").iterdir())
    assert manifests == [1, 2, 3, 4, 5, 6]
    for version in manifests:
        release = Release.load(root, version)
        texts = {(root / n / str(version) / "saved_model.pb").read_text() for n in release.models}
        texts.add((root / "index" / str(version) / "index.faiss").read_text())
        assert len(texts) == 1, "towers and index of two publishers were mixed"


def test_a_lock_that_is_held_is_an_error_after_the_timeout(root, parts):
    publish_release(root, 1, *parts(1))
    with (
        exclusive_lock(root / ".publish.lock", 1),
        pytest.raises(ServingError, match=r"held the lock .publish.lock for 0\.1 s"),
    ):
        publish_release(root, 2, *parts(2), lock_timeout=0.1)


PUBLISHER = """
import sys
from pathlib import Path
from serving.publish import publish_release
root, parts = Path(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
publish_release(root, 2, {n: parts / n for n in ("text_tower", "image_tower")}, parts / "index")
"""


def _publisher(root: Path, parts: Path) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, root, parts], stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.slow
@pytest.mark.timing
def test_killed_publisher_leaves_the_old_release_and_publishing_again_finishes(tmp_path):
    """SIGKILL when various shares of the new files are there."""
    old = _parts(tmp_path / "old", "old")
    _parts(tmp_path / "new", "new", files=60)
    reference = tmp_path / "reference"
    publish_release(reference, 1, *old)
    before = _count(reference)
    assert _publisher(reference, tmp_path / "new").wait() == 0
    added = _count(reference) - before

    interrupted = 0
    for i, share in enumerate((0.0, 0.05, 0.2, 0.4, 0.48, 0.6, 0.8, 0.9, 0.97, 0.985, 0.99)):
        root = tmp_path / f"root-{i}"
        publish_release(root, 1, *old)
        process = _publisher(root, tmp_path / "new")
        while _count(root) < before + share * added and process.poll() is None:
            pass
        process.send_signal(signal.SIGKILL)
        interrupted += process.wait() == -signal.SIGKILL
        _assert_complete(root, tmp_path)

        assert _publisher(root, tmp_path / "new").wait() == 0
        finished, undisturbed = _tree(root), _tree(reference)
        # Manifests carry the time and models.config the root: compared by content.
        for path in ("release.json", "releases/2.json", "releases/1.json", "models.config"):
            del finished[path], undisturbed[path]
        assert finished == undisturbed
        assert (Release.load(root).version, Release.load(root).previous) == (2, 1)
    assert interrupted >= 5, "the publisher was too quick to be killed: give it more files"


def _count(root: Path) -> int:
    """Files and folders under a root that a publisher may be changing."""
    return sum(len(folders) + len(files) for _, folders, files in os.walk(root))


def _assert_complete(root: Path, sources: Path) -> None:
    """What release.json and models.config name is there, with the content it was made from."""
    release = Release.load(root)
    for name in ("text_tower", "image_tower"):
        base_path, versions, _ = _config(root)[name]
        assert release.version in versions
        for version in versions:
            source = sources / {1: "old", 2: "new"}[version] / name
            assert checksums(source).items() <= checksums(Path(base_path) / str(version)).items()
