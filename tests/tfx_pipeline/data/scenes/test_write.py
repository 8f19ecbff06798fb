import hashlib

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.data.scenes.write import write_scenes
from vl_models.errors import UserError

pytestmark = pytest.mark.usefixtures("emoji_packages")

SCENES, PICTURES = 200, 7


@pytest.fixture(scope="module")
def written(tmp_path_factory, emoji_packages):
    """A small data set: its folder, summary, log and items, both as dicts."""
    out = tmp_path_factory.mktemp("scenes")
    summary = write_scenes(out, SCENES, pictures=PICTURES, size=32)
    log = pq.read_table(out / "log/scenes.parquet").to_pylist()
    items = {row["id"]: row for row in pq.read_table(out / "items.parquet").to_pylist()}
    return out, summary, log, items


def test_every_scene_has_an_image_and_an_item(written):
    out, summary, log, items = written
    files = {path.stem for path in (out / "images").glob("*.png")}
    assert len(files) == summary.scenes == SCENES
    assert files == items.keys() == {row["image_id"] for row in log}
    assert summary.rows == len(log)
    assert summary.sentences == len({row["query"] for row in log})
    assert {row["clicked"] for row in log} == {1}
    assert {row["language"] for row in log} == {"en", "zh"}


def test_twins_are_in_the_gallery_and_show_the_same_pictures(written):
    items = written[3]
    paired = [item for item in items.values() if item["relation"] != "alone"]
    assert {item["split"] for item in paired} == {"train", "val", "test"}
    for item in paired:
        twin = items[item["twin"]]
        assert twin["twin"] == item["id"]
        assert twin["relation"] == item["relation"]
        assert twin["split"] == item["split"]
        assert set(twin["pictures"]) == set(item["pictures"])


def test_main_captions_are_true_of_the_scene_and_false_of_its_twin(written):
    _, _, log, items = written
    true = {(row["query"], row["image_id"]) for row in log}
    for item in items.values():
        for caption in (item["caption_en"], item["caption_zh"]):
            assert (caption, item["id"]) in true
            assert (caption, item["twin"]) not in true


def test_no_combination_of_pictures_is_in_two_splits(written):
    _, _, log, items = written
    splits, of_image = {}, {}
    for row in log:
        combination = frozenset(items[row["image_id"]]["pictures"])
        splits.setdefault(combination, set()).add(row["split"])
        of_image.setdefault(row["image_id"], set()).add(row["split"])
    assert all(len(found) == 1 for found in [*splits.values(), *of_image.values()])
    single = {next(iter(c)) for c, found in splits.items() if len(c) == 1 and found == {"train"}}
    assert single == {picture for item in items.values() for picture in item["pictures"]}


def test_sentences_of_test_are_those_of_no_other_split(written):
    log = written[2]
    test = {row["query"] for row in log if row["split"] == "test"}
    assert test
    assert not test & {row["query"] for row in log if row["split"] != "test"}


def test_both_twins_have_what_is_true_of_both(written):
    """Else a batch would take "a dog and a cat" as false of one of them."""
    _, _, log, items = written
    clicked = {}
    for row in log:
        clicked.setdefault(row["query"], set()).add(row["image_id"])
    plain = [query for query in clicked if query.count(" and ") and query.split()[0] in ("a", "an")]
    plain = [query for query in plain if not {"big", "small", "two"} & set(query.split())]
    assert len(plain) >= 10
    for query in plain:
        [first, *_] = clicked[query]
        combination = set(items[first]["pictures"])
        showing = {name for name, i in items.items() if set(i["pictures"]) == combination}
        assert clicked[query] == showing


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    def contents(name, seed):
        write_scenes(tmp_path / name, 104, pictures=5, size=32, seed=seed)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        return {
            str(path.relative_to(tmp_path / name)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }

    first = contents("a", 3)
    assert first == contents("b", 3)
    assert first == contents("a", 3)  # written over itself
    other = contents("c", 4)
    assert other["log/scenes.parquet"] != first["log/scenes.parquet"]


def test_numbers_that_the_pictures_do_not_give(tmp_path):
    message = r"5 pictures make 104 to 120 scenes\. Received: scenes=200\. Give another number"
    with pytest.raises(UserError, match=message):
        write_scenes(tmp_path, 200, pictures=5)
    with pytest.raises(UserError, match=r"size must be between 32 and 256\. Received: size=8"):
        write_scenes(tmp_path, 104, pictures=5, size=8)
    DataFolder(kind="clicks", name="mine").save(tmp_path)
    with pytest.raises(UserError, match="holds another data set"):
        write_scenes(tmp_path, 104, pictures=5)


def test_command_line(tmp_path):
    from tfx_pipeline.cli.data import app

    out = tmp_path / "scenes"
    arguments = ["emoji", str(out), "--scenes", "104", "--pictures", "5", "--size", "32"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{out}: 104 scenes of 5 emoji (8 of val, 16 of test), ")
    assert result.stdout.endswith(" sentences.\n")
    assert DataFolder.load(out).name == "emoji-scenes"
    refused = CliRunner().invoke(app, [*arguments, "--days", "3"])
    assert str(refused.exception) == "--days says nothing to --scenes. Leave it out."
    refused = CliRunner().invoke(app, ["emoji", str(out), "--pictures", "5"])
    assert str(refused.exception).startswith("--pictures says nothing to an emoji set without")
    text = CliRunner().invoke(app, ["emoji", "--help"]).stdout
    assert "--scenes" in text
    assert "--pictures" in text
