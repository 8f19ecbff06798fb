"""An S3 server on loopback, as MinIO or AWS would be."""

import hashlib
import os

import pytest

VARIABLES = {
    "AWS_ACCESS_KEY_ID": "a key of the tests",
    "AWS_SECRET_ACCESS_KEY": "a secret of the tests",
    "AWS_DEFAULT_REGION": "us-east-1",
    # None of the machine's own settings.
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="package")
def s3_server():
    """Address of a server that is told to clients by the environment."""
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as patch:
        for name, value in VARIABLES.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        patch.delenv("AWS_SESSION_TOKEN", raising=False)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}:{port}")
        yield f"http://{host}:{port}"
        server.stop()


@pytest.fixture(scope="package")
def s3(s3_server):
    """A client beside the ones under test."""
    import boto3

    return boto3.client("s3", endpoint_url=s3_server)


@pytest.fixture
def bucket(s3, request):
    """The name of an empty bucket of this test."""
    name = f"test-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def upload_folder(s3, bucket):
    """upload_folder(folder, prefix) copies a folder's files into the bucket."""

    def copy(folder, prefix):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(folder).as_posix()}"
                s3.upload_file(str(path), bucket, key)
        return f"s3://{bucket}/{prefix}"

    return copy
