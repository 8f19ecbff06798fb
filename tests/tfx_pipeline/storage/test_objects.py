import pytest

from tfx_pipeline.storage import objects
from tfx_pipeline.storage.options import use_file_system_options
from vl_models.errors import UserError


def test_files_of_any_size_go_up_and_down(bucket, tmp_path):
    # 17 MB: more than one part of a multipart upload and more than one read buffer.
    for name, content in (("empty", b""), ("small", b"x"), ("large", bytes(17_000_000) + b"end")):
        (tmp_path / name).write_bytes(content)
        uri = f"s3://{bucket}/folder/{name}"
        objects.upload(tmp_path / name, uri)
        objects.download(uri, tmp_path / "back" / name)
        assert (tmp_path / "back" / name).read_bytes() == content
        assert objects.read_bytes(uri, 20) == content[:20]


def test_a_folder_is_listed_at_any_depth_with_sizes(bucket, s3):
    for key in ("f/b/c", "f/a", "g/a", "f/empty/"):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    found = objects.list_objects(f"s3://{bucket}/f")
    assert [(stamp.uri, stamp.size) for stamp in found] == [
        (f"s3://{bucket}/f/a", 3),
        (f"s3://{bucket}/f/b/c", 5),
    ]
    assert all(stamp.modified > 1.7e9 for stamp in found)
    assert objects.list_objects(f"s3://{bucket}/nothing") == []


def test_what_is_not_there(bucket):
    with pytest.raises(FileNotFoundError):
        objects.read_bytes(f"s3://{bucket}/nothing")
    with pytest.raises(UserError) as error:
        objects.check_access(f"s3://{bucket}-of-nobody/f/")
    assert str(error.value) == (
        f"s3://{bucket}-of-nobody/f cannot be listed: An error occurred (NoSuchBucket) when "
        "calling the ListObjectsV2 operation: The specified bucket does not exist. Check bucket, "
        "endpoint (AWS_ENDPOINT_URL_S3) and credentials (AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)."
    )


@pytest.fixture
def new_client():
    """Clients made from the environment as it is now; they are kept per set of options."""
    use_file_system_options(["--s3_region_name=us-east-1"])
    yield
    use_file_system_options(["--s3_region_name=us-east-1"])


def test_missing_credentials_are_said_at_once(bucket, monkeypatch, new_client):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(UserError, match=r"cannot be listed: Unable to locate credentials\. Check"):
        objects.check_access(f"s3://{bucket}/f")
    with pytest.raises(UserError, match=r"/f cannot be read: Unable to locate credentials\. Check"):
        objects.read_bytes(f"s3://{bucket}/f")


def test_an_endpoint_that_does_not_answer_is_said_at_once(bucket, monkeypatch, new_client):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    with pytest.raises(UserError, match=r'endpoint URL: "http://127\.0\.0\.1:1/'):
        objects.check_access(f"s3://{bucket}/f")


def test_a_failed_upload_leaves_no_object(bucket, s3, tmp_path):
    with pytest.raises(IsADirectoryError):
        objects.upload(tmp_path, f"s3://{bucket}/folder")
    with pytest.raises(UserError, match=r"cannot be written: .*NoSuchBucket"):
        (tmp_path / "file").write_bytes(b"x")
        objects.upload(tmp_path / "file", f"s3://{bucket}-of-nobody/file")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
