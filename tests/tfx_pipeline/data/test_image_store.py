import unicodedata

import pytest

from tfx_pipeline.data.config import ImageConfig
from tfx_pipeline.data.image_store import SimilarFiles, list_folder
from vl_models.errors import UserError


def test_a_folder_is_listed_at_any_depth(tmp_path):
    for name in ("b.jpg", "sub/a.png", "notes.txt", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    root = str(tmp_path)
    assert list(list_folder(ImageConfig(root=root))) == [
        ("b", f"{root}/b.jpg"),
        ("sub/a", f"{root}/sub/a.png"),
    ]
    names = [image_id for image_id, _ in list_folder(ImageConfig(root=root, ids="name"))]
    assert names == ["b.jpg", "sub/a.png"]


def test_two_files_of_one_id_are_refused(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "a.png").touch()
    with pytest.raises(UserError) as error:
        list(list_folder(ImageConfig(root=str(tmp_path))))
    assert str(error.value) == (
        f"{tmp_path}/a.png and {tmp_path}/a.jpg: two images share the id 'a'. Rename one, or set "
        "`image_ids: name` in data.yaml to keep the suffix in the ids."
    )
    with pytest.raises(UserError, match="no such image folder"):
        list(list_folder(ImageConfig(root=str(tmp_path / "gone"))))


def test_folders_behind_links_are_part_of_the_store(tmp_path):
    (tmp_path / "[1] store/own").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a.png").touch()
    (tmp_path / "[1] store/shots").symlink_to("../elsewhere")
    (tmp_path / "[1] store/own/up").symlink_to("..")
    root = f"{tmp_path}/[1] store"
    assert list(list_folder(ImageConfig(root=root))) == [("shots/a", f"{root}/shots/a.png")]


FILES = (
    "cat.heic",
    "dog",
    f"{unicodedata.normalize('NFD', 'café')}.jpg",
    "007.png",
    "100.png",
    "a b.png",
    "Bird.JPG",
    "shots/2024/fish.png",
    "v1.2.webp",
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat", "; there is 'cat.heic', which differs in the suffix, whose name ends with none of"),
        ("dog.jpg", "; there is 'dog', which differs in the suffix, whose name ends with none of"),
        ("dog", "; there is 'dog', whose name ends with none of .jpg, .jpeg, .png, .webp, .gif"),
        ("café", f"; there is {FILES[2]!r}, which differs in the Unicode form (NFC, NFD)"),
        ("7", "; there is '007.png', which differs in leading zeros"),
        ("0100.png", "; there is '100.png', which differs in leading zeros"),
        ("a%20b", "; there is 'a b.png', which differs in percent-encoding"),
        ("bird", "; there is 'Bird.JPG', which differs in upper and lower case"),
        ("bird.png", "; there is 'Bird.JPG', which differs in the suffix and upper and lower case"),
        ("fish", "; there is 'shots/2024/fish.png', which differs in the folder"),
        ("other/fish.png", "; there is 'shots/2024/fish.png', which differs in the folder"),
        (r"C:\shots\fish.png", "; there is 'shots/2024/fish.png', which differs in the folder"),
        ("v1.2.png", "; there is 'v1.2.webp', which differs in the suffix"),
        ("10", ""),
        ("v1", ""),
        ("horse", ""),
    ],
)
def test_what_is_there_instead_of_a_missing_image(tmp_path, name, expected):
    for file in FILES:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    similar = SimilarFiles(ImageConfig(root=str(tmp_path)))
    found = similar.describe(name)
    assert found.startswith(expected)
    assert bool(found) == bool(expected)
    assert similar.describe(f"{tmp_path}/{name}") == found


def test_the_nearest_name_is_the_one_that_is_told(tmp_path):
    for file in ("x/A.png", "a.gif", "A.JPG"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    stems = SimilarFiles(ImageConfig(root=str(tmp_path)))
    assert stems.describe("y/a.gif") == "; there is 'a.gif', which differs in the folder"
    assert stems.same_stem("a") == ["a.gif"]
    assert stems.same_stem("a.gif") == stems.same_stem("b") == []
    names = SimilarFiles(ImageConfig(root=str(tmp_path), ids="name"))
    assert names.describe("a") == "; there is 'a.gif', which differs in the suffix"
    assert SimilarFiles(ImageConfig(root=None)).describe("a") == ""
