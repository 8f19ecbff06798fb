import hashlib
import json

import pyarrow.parquet as pq
import pytest
from PIL import Image

from tfx_pipeline.data.emoji_tasks.write import remove_tasks, write_tasks
from tfx_pipeline.data.folder import DataFolder
from vl_models.errors import UserError


@pytest.fixture
def images(pictures, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for picture in pictures:
        colour = (picture.number, 0, 0)
        Image.new("RGB", (8, 8), colour).save(folder / f"{picture.image_id}.png")
    return folder


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_three_data_folders_of_published_files(pictures, images, tmp_path):
    out = tmp_path / "out"
    summaries = write_tasks(out, pictures, images, seed=1)
    first = contents(out)
    splits = {}
    for form, summary in summaries.items():
        assert summary.rejected == summary.unanswered == 0
        assert min(summary.splits.values()) > 10
        folder = DataFolder.load(out / form)
        assert (folder.kind, folder.name) == ("answers", f"emoji-{form}")
        assert folder.image_root == str(out / form / "published/images")
        assert "Nobody was asked" in (out / form / "README.txt").read_text("utf-8")
        rows = pq.read_table(out / form / "log/questions.parquet").to_pylist()
        for row in rows:
            for name in filter(None, (row["image"], row["image_2"])):
                with Image.open(out / form / "published/images" / name) as image:
                    number = image.getpixel((0, 0))[0]
                splits.setdefault(number, set()).add(row["split"])
    assert splits == {picture.number: {picture.split} for picture in pictures}
    line = (out / "snli_ve/published/dev.jsonl").read_text("utf-8").splitlines()[0]
    assert {"Flickr30K_ID", "gold_label", "sentence1", "sentence2"} <= json.loads(line).keys()
    write_tasks(out, pictures, images, seed=1)
    assert contents(out) == first
    (out / "nlvr2/data.yaml").write_text("kind: clicks\nname: mine\n")
    remove_tasks(out)
    assert [path.name for path in out.iterdir()] == ["nlvr2"]  # which is another data set now


def test_too_few_pictures_are_told(pictures, images, tmp_path):
    with pytest.raises(UserError, match=r"snli_ve: the emoji are too few .* larger --limit"):
        few = [picture for picture in pictures if picture.top_group == "Food & Drink"]
        write_tasks(tmp_path / "out", few, images, seed=1)
