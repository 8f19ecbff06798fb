"""Releases of a bucket as people meet them: real processes of the command line."""

import subprocess

import pytest

from serving.client import PredictClient
from serving.search import SearchService
from tests.serving.conftest import publish, release_parts  # noqa: F401 -- fixtures
from tests.serving.waiting import wait_until
from tests.tfx_pipeline.conftest import REPOSITORY, VLSEARCH, vlsearch
from tfx_pipeline.storage import releases


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The cache folder of this test's processes, and of the test itself."""
    monkeypatch.setenv(releases.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "cache"


@pytest.mark.slow
def test_a_server_over_a_bucket_follows_it(publish, bucket, tmp_path, cache):  # noqa: F811
    root, uri, socket_path = tmp_path / "serving", f"s3://{bucket}/serving", tmp_path / "s"
    publish(root, 1)
    releases.publish(root, uri)
    arguments = [*("--port", "0", "--rest-port", "0"), *("--grpc-socket-path", str(socket_path))]
    process = subprocess.Popen(
        [VLSEARCH, "serve", uri, *arguments], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == f"Serving {uri}: gRPC unix:{socket_path}. Ctrl-C stops.\n"

        address = f"unix:{socket_path}"
        shown = vlsearch("query", "猫", "-k", "1", "--server", address, "--release", uri)
        assert "version-1/猫" in shown.stdout

        publish(root, 2)
        releases.publish(root, uri)
        [staged] = (cache / "releases").iterdir()
        with PredictClient(address) as client:
            service = SearchService(staged, client)
            assert service.search(["猫"], 1)[0][0].uri == "version-1/猫"
            wait_until(lambda: service.search(["猫"], 1)[0][0].uri == "version-2/猫", 60)

            done = vlsearch("rollback", uri)
            assert done.stdout == f"{uri}: version 1 is current.\n"
            wait_until(lambda: service.search(["猫"], 1)[0][0].uri == "version-1/猫", 60)
    finally:
        process.terminate()
        assert process.wait(60) == 0


def test_a_bucket_that_is_not_there(bucket, cache):
    uri = f"s3://{bucket}-of-nobody/serving"
    done = vlsearch("query", "x", "--release", uri, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        f"Error: {uri} cannot be listed: An error occurred (NoSuchBucket) when calling the "
        "ListObjectsV2 operation: The specified bucket does not exist. Check bucket, endpoint "
        "(AWS_ENDPOINT_URL_S3) and credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
        "AWS_PROFILE).\n"
    )


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("run", "--config", "configs/emoji.yaml", "--output"), "--output"),
        (("train", "--config", "configs/emoji.yaml", "--run"), "--output"),
        (("data", "emoji"), "OUT"),
    ],
    ids=["run", "train", "data"],
)
def test_what_is_written_lies_on_a_disk(arguments, name):
    done = vlsearch(*arguments, "s3://bucket/folder", check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "Error: s3:/bucket/folder is not a path, and this must lie on a local or mounted disk. "
        f"{name} names a folder there.\n"
    )
    assert not (REPOSITORY / "s3:").exists()
