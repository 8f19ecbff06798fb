import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from PIL import Image
from typer.testing import CliRunner

from tfx_pipeline.data import cldr, emoji, glyphs
from tfx_pipeline.data.folder import DataFolder
from vl_models.errors import UserError

pytestmark = pytest.mark.skipif(
    not (glyphs.FONT.is_file() and cldr.CLDR.is_dir()),
    reason="needs the Debian packages fonts-noto-color-emoji and unicode-cldr-core",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The default data set."""
    out = tmp_path_factory.mktemp("emoji")
    return out, emoji.write_emoji(out), ds.dataset(out / "log").to_table()


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def pairs(table):
    return set(zip(table["query"].to_pylist(), table["image_id"].to_pylist(), strict=True))


def test_the_default_size(whole):
    _, summary, table = whole
    assert summary.images > 1500
    assert summary.pairs > 11_000
    assert summary.impressions >= 200_000
    assert table.num_rows == summary.impressions + summary.test_pairs
    assert summary.test_pairs == round(0.1 * summary.pairs)
    assert set(pc.unique(table["language"]).to_pylist()) == {"en", "zh"}


def test_held_out_pairs_are_shown_to_nobody(whole):
    _, summary, table = whole
    test = table.filter(pc.equal(table["split"], "test"))
    rest = table.filter(pc.not_equal(table["split"], "test"))
    assert len(pairs(test)) == test.num_rows == summary.test_pairs
    assert set(test["clicked"].to_pylist()) == {1}
    assert not pairs(test) & pairs(rest)


def test_a_query_in_another_writing_is_no_way_around_the_hold_out(whole):
    table = whole[2]
    test = table.filter(pc.equal(table["split"], "test"))
    rest = table.filter(pc.not_equal(table["split"], "test"))
    folded = [{(emoji._fold(q), i) for q, i in pairs(part)} for part in (test, rest)]
    assert not folded[0] & folded[1]


def test_no_pair_is_in_two_splits(whole):
    table = whole[2]
    found = table.group_by(["query", "image_id", "split"]).aggregate([])
    assert found.num_rows == len(pairs(table))


def test_noise_is_a_few_per_cent_and_train_pairs_have_clicks(whole):
    out, summary, table = whole
    annotations = {lang: cldr.read_annotations(lang) for lang in emoji.LANGUAGES}
    characters = {glyphs.image_id(c): c for c in annotations["en"]}
    true = {
        (emoji._fold(text), image)
        for image in {path.stem for path in (out / "images").glob("*.png")}
        for lang in emoji.LANGUAGES
        for annotation in [annotations[lang][characters[image]]]
        for text in (annotation.name, *annotation.keywords)
    }
    assert len(true) == summary.pairs
    clicked = table.filter(pc.equal(table["clicked"], 1))
    noise = [
        (emoji._fold(query), image) not in true
        for query, image in zip(
            clicked["query"].to_pylist(), clicked["image_id"].to_pylist(), strict=True
        )
    ]
    splits = clicked["split"].to_pylist()
    assert 0.01 < np.mean(noise) < 0.08
    assert not any(n for n, split in zip(noise, splits, strict=True) if split == "test")
    for split, share in (("train", 0.97), ("val", 0.9)):
        mine = {
            (emoji._fold(q), i)
            for (q, i) in pairs(clicked.filter(pc.equal(clicked["split"], split)))
        } & true
        expected = {"train": 0.85, "val": 0.05}[split] * summary.pairs
        assert len(mine) >= share * expected


def test_images_are_over_white_and_distinct(whole):
    out, summary, _ = whole
    files = sorted((out / "images").glob("*.png"))
    assert len(files) == summary.images
    with Image.open(out / "images/u1f600.png") as image:
        assert image.mode == "RGB"
        assert min(image.size) == 72
        pixels = np.asarray(image)
    assert (pixels[0, 0] == 255).all()
    assert pixels[36, 38, 2] < 150  # the yellow face
    assert len({path.read_bytes() for path in files}) > 0.995 * len(files)


def test_labels_are_cldr_groups(whole):
    table = whole[2]
    labels = dict(zip(table["image_id"].to_pylist(), table["label_text"].to_pylist(), strict=True))
    assert labels["u1f34e"] == "Food & Drink/food-fruit"
    assert labels["u1f600"] == "Smileys & People/face-positive"
    ids = table.group_by(["label", "label_text"]).aggregate([])
    assert len(pc.unique(ids["label"])) == len(pc.unique(ids["label_text"])) == ids.num_rows


def test_spans_are_days(whole):
    out, _, table = whole
    folder = DataFolder.load(out)
    resolved = folder.resolve(2)
    assert resolved.spans == (20260106, 20260107)
    last = ds.dataset(list(resolved.files)).to_table()
    days = pc.unique(pc.strftime(last["timestamp"], "%Y%m%d")).to_pylist()
    assert days == ["20260106", "20260107"]
    times = table["timestamp"].cast(pa.int64()).to_numpy()
    assert (np.diff(times) >= 0).all()


def test_the_data_says_what_is_real(whole):
    text = (whole[0] / "README.txt").read_text("utf-8")
    assert "Simulated: the clicks. Nobody searched." in text
    assert "clicks are simulated" in DataFolder.load(whole[0]).about


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        emoji.write_emoji(tmp_path / name, limit=60, impressions=3000, days=2, seed=seed)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert len(a) == 60 + 2 + 3
    assert a["images/u1f600.png"] == c["images/u1f600.png"]
    assert a["log/span-20260101/clicks.parquet"] != c["log/span-20260101/clicks.parquet"]


def test_images_of_test_are_shown_to_nobody(tmp_path):
    out = tmp_path / "a"
    summary = emoji.write_emoji(out, limit=60, impressions=4000, days=1, split="by_image")
    table = ds.dataset(out / "log").to_table()
    images = {
        split: set(table.filter(pc.equal(table["split"], split))["image_id"].to_pylist())
        for split in ("train", "val", "test")
    }
    assert [len(images[split]) for split in ("train", "val", "test")] == [51, 3, 6]
    assert sum(map(len, images.values())) == len(set.union(*images.values())) == 60
    test = table.filter(pc.equal(table["split"], "test"))
    assert test.num_rows == len(pairs(test)) == summary.test_pairs
    assert "(column `split`, by_image)" in (out / "README.txt").read_text("utf-8")
    noise = table.filter(pc.equal(table["clicked"], 0))
    assert "val" in noise["split"].to_pylist()


def test_questions_need_a_split_by_image(tmp_path):
    message = r"need --split by_image\. Received: split=by_pair"
    with pytest.raises(UserError, match=message):
        emoji.write_emoji(tmp_path / "a", limit=10, tasks=True)


def test_written_again_over_itself_but_over_nothing_else(tmp_path):
    emoji.write_emoji(tmp_path / "a", limit=20, impressions=500, days=3)
    emoji.write_emoji(tmp_path / "a", limit=10, impressions=500, days=1)
    assert len(list((tmp_path / "a/images").iterdir())) == 10
    assert len(list((tmp_path / "a/log").iterdir())) == 1
    DataFolder(kind="clicks", name="mine").save(tmp_path)
    with pytest.raises(UserError, match="holds another data set"):
        emoji.write_emoji(tmp_path, limit=10)


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(glyphs, "FONT", tmp_path / "no.ttf")
    with pytest.raises(UserError, match=r"apt-get install fonts-noto-color-emoji"):
        emoji.write_emoji(tmp_path / "a", limit=10)
    with pytest.raises(UserError, match=r"apt-get install unicode-cldr-core"):
        cldr.read_annotations("en", tmp_path)


@pytest.mark.parametrize("values", [{"days": 0}, {"impressions": 0}, {"size": 500}, {"limit": 1}])
def test_values_out_of_range_are_refused(tmp_path, values):
    [(name, value)] = values.items()
    with pytest.raises(UserError, match=rf"{name} must be between .* Received: {name}={value}"):
        emoji.write_emoji(tmp_path / "a", **values)


def test_unicode_sets():
    text = "[a-c\\-x{👨‍⚕️}\u2764\ufe0f]"
    assert cldr._unicode_set(text) == ["a", "b", "c", "-", "x", "👨‍⚕", "\u2764"]


def test_command_line(tmp_path, store):
    from tfx_pipeline.cli.data import app

    runner = CliRunner()
    out = tmp_path / "emoji"
    result = runner.invoke(app, ["emoji", str(out), "--limit", "10", "--impressions", "300"])
    assert result.exit_code == 0, result.output
    [line] = result.stdout.splitlines()
    assert line.startswith(f"{out}: 10 emoji, ")
    assert line.endswith("(simulated).")
    rows = [{"image": "a.jpg", "en": ["A dog", "Two"]}, {"image": "a.jpg", "caption": None}]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["captions", str(tmp_path / "c.jsonl"), "--images", str(store)]
    arguments += ["--out", str(tmp_path / "captions"), "--max-rejected-fraction", "0.5"]
    result = runner.invoke(app, arguments)
    assert result.stdout == (
        f"{tmp_path}/captions: 2 captions of 1 images (JSON lines). Read 3 = 2 accepted + 1 "
        "rejected.\nRejected rows: 1 of 3 (missing_query 1); each with its reason in "
        f"{tmp_path}/captions/rejected.\n"
    )
