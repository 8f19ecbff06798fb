import pytest

from tfx_pipeline.storage.listing import list_files
from vl_models.errors import UserError


def test_a_folder_of_the_disk(tmp_path):
    for name in ("[2024] x/b/c", "[2024] x/a", "2/a"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    root = f"{tmp_path}/[2024] x"
    stamp = (tmp_path / "[2024] x/a").stat()
    assert list_files(root)[0] == (f"{root}/a", 10, stamp.st_mtime)
    assert [found.uri for found in list_files(root)] == [f"{root}/a", f"{root}/b/c"]
    assert [found.uri for found in list_files(f"{root}/a")] == [f"{root}/a"]
    assert list_files(f"{tmp_path}/gone") == []


def test_links_to_folders_are_followed_but_not_in_a_circle(tmp_path):
    (tmp_path / "store/a").mkdir(parents=True)
    (tmp_path / "store/a/x").write_text("x")
    for name, target in (("b", "a"), ("a/up", ".."), ("itself", "itself"), ("gone", "nothing")):
        (tmp_path / "store" / name).symlink_to(target)
    found = [stamp.uri[len(str(tmp_path)) :] for stamp in list_files(f"{tmp_path}/store")]
    assert found == ["/store/a/x", "/store/b/x"]


def test_a_folder_of_a_bucket(bucket, s3):
    for key in ("[1] x/b c", "[1] x/a", "1 x/a", "[1] x.csv"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    root = f"s3://{bucket}"
    assert [stamp.uri for stamp in list_files(f"{root}/[1] x")] == [
        f"{root}/[1] x/a",
        f"{root}/[1] x/b c",
    ]
    assert [stamp.uri for stamp in list_files(f"{root}/[1] x.csv")] == [f"{root}/[1] x.csv"]
    assert len(list_files(root)) == 4
    assert list_files(f"{root}/[1]") == []
    with pytest.raises(UserError, match="NoSuchBucket"):
        list_files(f"{root}-of-nobody")
