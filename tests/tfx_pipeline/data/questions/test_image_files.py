import pytest

from tfx_pipeline.data.questions.image_files import ImageFiles
from vl_models.errors import UserError


def test_names_without_folder_or_suffix(tmp_path):
    for name in ("a.jpg", "train/17/b-img0.png", "x/c.png", "y/c.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    files = ImageFiles(tmp_path)
    assert files.find(["a.jpg"]) == files.find(["a"]) == files.find(["none", "a"]) == "a.jpg"
    assert files.find(["b-img0"]) == files.find(["b-img0.png"]) == "train/17/b-img0.png"
    assert files.find(["c"]) == "x/c.png"
    assert files.find(["y/c.png"]) == "y/c.png"
    assert files.find(["notes", "z"]) is None


def test_a_folder_without_images(tmp_path):
    with pytest.raises(UserError, match=r"none: no such image folder\. Give it with --images"):
        ImageFiles(tmp_path / "none")
    with pytest.raises(UserError, match="holds no image"):
        ImageFiles(tmp_path)
