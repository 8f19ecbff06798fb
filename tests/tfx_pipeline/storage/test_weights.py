"""The weights of releases in a bucket: fetched for warm starts, not for servers."""

import pytest

from tests.tfx_pipeline.release.test_warm_start import kernel, pinned, publish, train
from tfx_pipeline.release.warm_start import fingerprint_warm_starts, local_warm_starts
from tfx_pipeline.storage import releases
from vl_models.errors import UserError


@pytest.fixture
def root(tmp_path):
    """A root whose current release is 2."""
    root = tmp_path / "serving"
    publish(root, 1)
    publish(root, 2)
    return root


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv(releases.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_release_in_a_bucket(root, bucket, cache):
    uri = f"s3://{bucket}/serving"
    releases.publish(root, uri)
    assert pinned(uri) == f"{uri}@2"
    assert kernel(local_warm_starts(train(uri))) == 2
    assert not list(cache.rglob("saved_model.pb"))
    assert kernel(local_warm_starts(train(f"{uri}@1"))) == 1
    one, two = (fingerprint_warm_starts(train(f"{uri}@{version}")) for version in (1, 2))
    assert one and two and one != two
    with pytest.raises(UserError, match=f"there is no release 9 at {uri}"):
        pinned(f"{uri}@9")


def test_servers_of_a_bucket_do_without_weights(root, bucket, cache, tmp_path):
    uri = f"s3://{bucket}/serving"
    releases.publish(root, uri)
    staged, release = releases.stage_to_cache(uri)
    assert (staged / "text_tower" / "2").is_dir() and not (staged / "weights").exists()
    assert release.weights == 2
    # A root that goes on publishing has them all.
    releases.follow(tmp_path / "other", uri)
    assert (tmp_path / "other" / "weights" / "2" / "weights.safetensors").is_file()
