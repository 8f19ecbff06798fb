"""Data folders in a bucket: the same Examples as from the disk."""

import gzip

import pytest

from serving.index import Hit
from tests.tfx_pipeline.conftest import REPOSITORY
from tests.tfx_pipeline.data.conftest import noise_image, write_csv, write_jsonl, write_tfrecord
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.data.config import SplitConfig
from tfx_pipeline.data.examples import materialize_examples
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.data.readers import read_batches
from tfx_pipeline.data.writers import read_records
from tfx_pipeline.report.contact_sheet import render_contact_sheet
from tfx_pipeline.storage.options import use_file_system_options
from vl_models.errors import UserError
from vl_models.features import SPLITS

EMOJI = REPOSITORY / "configs" / "emoji.yaml"
ROWS = [
    {"query": f"query {i % 7}", "image_id": f"{i % 4}", "clicked": 1, "position": 1 + i % 3}
    for i in range(40)
]


@pytest.fixture
def folder(tmp_path):
    """A data folder: two spans, one of them compressed, and images at two depths."""
    root = tmp_path / "data"
    for span in (1, 2):
        (root / f"log/span-{span}").mkdir(parents=True)
    write_csv(root / "log/span-1/a.csv", ROWS[:20])
    write_jsonl(root / "log/span-2/b.jsonl", ROWS[20:])
    (root / "log/span-2/b.jsonl.gz").write_bytes(
        gzip.compress((root / "log/span-2/b.jsonl").read_bytes())
    )
    (root / "log/span-2/b.jsonl").unlink()
    (root / "images/deep").mkdir(parents=True)
    for i in range(3):
        noise_image(i).save(root / f"images/{i}.jpg")
    noise_image(9).save(root / "images/deep/far.png")
    noise_image(3).save(root / "images/3.png")
    DataFolder(kind="clicks", name="shop", log="log/span-{SPAN}/*").save(root)
    return root


def _content(built):
    return {
        split: sorted(
            record.SerializeToString(deterministic=True)
            for path in (built.examples_dir / f"Split-{split}").iterdir()
            for record in read_records(str(path))
        )
        for split in SPLITS
    }


def test_examples_from_a_bucket_are_those_from_the_disk(folder, upload_folder, tmp_path):
    uri = upload_folder(folder, "shop")
    remote = DataFolder.load(f"{uri}/")
    assert (remote.root, remote.image_root) == (uri, f"{uri}/images")
    assert remote.resolve().files == (f"{uri}/log/span-1/a.csv", f"{uri}/log/span-2/b.jsonl.gz")
    assert remote.resolve(1).spans == (2,)

    from_bucket = materialize_examples(remote, tmp_path / "from-bucket")
    from_disk = materialize_examples(DataFolder.load(folder), tmp_path / "from-disk")

    assert _content(from_bucket) == _content(from_disk)
    assert from_bucket.counters == from_disk.counters
    assert from_bucket.counters["counters"]["images"] == 5
    uris = {
        record.features.feature["image/uri"].bytes_list.value[0].decode()
        for path in from_bucket.gallery_dir.iterdir()
        for record in read_records(str(path))
    }
    assert f"{uri}/images/deep/far.png" in uris


def test_the_fingerprint_follows_the_objects(folder, upload_folder, s3, bucket):
    uri = upload_folder(folder, "shop")
    seen = {DataFolder.load(uri).resolve().fingerprint}
    assert {DataFolder.load(uri).resolve().fingerprint} == seen
    for key, body in (("images/0.jpg", b"other"), ("images/new.jpg", b""), ("log/span-2/c", b"")):
        s3.put_object(Bucket=bucket, Key=f"shop/{key}", Body=body)
        seen.add(DataFolder.load(uri).resolve().fingerprint)
    assert len(seen) == 4


def test_tfrecords_of_a_bucket_are_staged(bucket, s3, tmp_path):
    write_tfrecord(tmp_path / "log.tfrecord", ROWS)
    s3.upload_file(str(tmp_path / "log.tfrecord"), bucket, "log.tfrecord")
    [batch] = read_batches(f"s3://{bucket}/log.tfrecord")
    assert batch.file == f"s3://{bucket}/log.tfrecord"
    assert batch.columns["query"].to_pylist()[:2] == [b"query 0", b"query 1"]
    cut = (tmp_path / "log.tfrecord").read_bytes()[:-5]
    s3.put_object(Bucket=bucket, Key="cut.tfrecord", Body=cut)
    with pytest.raises(UserError, match=rf"^s3://{bucket}/cut\.tfrecord: cannot be read to its"):
        list(read_batches(f"s3://{bucket}/cut.tfrecord"))


@pytest.mark.parametrize("name", ["gone.csv", "gone.parquet", "gone.tfrecord"])
def test_a_log_file_that_is_gone_is_named(bucket, name):
    with pytest.raises(UserError, match=rf"^s3://{bucket}/{name}: cannot be opened \("):
        list(read_batches(f"s3://{bucket}/{name}"))


def test_images_by_uri_that_cannot_be_read_are_rejected_rows(bucket, s3, tmp_path):
    noise_image(1).save(tmp_path / "a.png")
    s3.upload_file(str(tmp_path / "a.png"), bucket, "a.png")
    root = tmp_path / "data"
    root.mkdir()
    uris = [f"s3://{bucket}/a.png", f"s3://{bucket}/gone.png", "hdfs://node/x.png", "http://h/x"]
    rows = [
        {"query": query, "image_id": str(i), "clicked": 1, "image_uri": uri}
        for i, uri in enumerate(uris)
        for query in ("q", "r")
    ]
    write_csv(root / "log.csv", rows)
    DataFolder(kind="clicks", name="x", log="log.csv", images=None).save(root)
    loaded = DataFolder.load(root)
    splits = SplitConfig(train=1, val=0, test=0)
    config = loaded.example_config(max_rejected_fraction=1.0, splits=splits)
    built = materialize_examples(loaded, tmp_path / "out", config)
    lines = "".join(path.read_text() for path in built.rejected_dir.glob("rejected-*"))
    assert built.counters["counters"]["images"] == 1
    assert f"s3://{bucket}/gone.png: cannot be opened (" in lines
    assert "hdfs://node/x.png is on a file system that is not supported. Supported are" in lines
    assert "images are not fetched over HTTP" in lines


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (
            "hdfs://node/emoji",
            "data.folder: hdfs://node/emoji is on a file system that is not supported. Supported "
            "are paths of local and mounted disks, s3:// and gs://. Copy it to one of these, or "
            "mount it and give the path.",
        ),
        (
            "s3a://bucket/emoji",
            "data.folder: s3a://bucket/emoji is on a file system that is not supported. Supported "
            "are paths of local and mounted disks, s3:// and gs://. Write s3:// instead of s3a://.",
        ),
        (
            "s3:///emoji",
            "data.folder: s3:///emoji names no bucket. Write s3://BUCKET/FOLDER. Received: "
            "'s3:///emoji'.",
        ),
    ],
)
def test_unsupported_places_are_explained(place, message):
    with pytest.raises(UserError) as error:
        DataFolder.load(place)
    assert str(error.value) == message


def test_an_empty_place_in_a_bucket_is_no_data_folder(bucket):
    with pytest.raises(UserError, match=rf"^s3://{bucket}/x/data.yaml: no such file. A data"):
        DataFolder.load(f"s3://{bucket}/x")


def test_images_on_an_unsupported_file_system_name_the_file(tmp_path):
    DataFolder(kind="clicks", name="x", images="hdfs://node/images").save(tmp_path)
    with pytest.raises(UserError, match=rf"^{tmp_path}/data.yaml: hdfs://node/images is on a file"):
        DataFolder.load(tmp_path).resolve()


def test_features_are_not_read_from_a_bucket(upload_folder, tmp_path):
    saved = DataFolder(kind="features", name="x", images=None, features="features")
    saved.save(tmp_path)
    loaded = DataFolder.load(upload_folder(tmp_path, "set"))
    with pytest.raises(UserError, match="are read from a local or mounted disk only"):
        _ = loaded.feature_file


def test_the_endpoint_may_come_from_the_beam_arguments(
    folder, upload_folder, s3_server, monkeypatch
):
    uri = upload_folder(folder, "shop")
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    arguments = [f"--s3_endpoint_url={s3_server}", "--s3_region_name=us-east-1"]
    config = ExperimentConfig.load(EMOJI, [f"data.folder={uri}", f"beam_pipeline_args={arguments}"])
    try:
        assert config.load_data_folder().name == "shop"
    finally:
        use_file_system_options(["--s3_region_name=us-east-1"])


def test_credentials_do_not_belong_into_the_arguments():
    with pytest.raises(UserError) as error:
        ExperimentConfig.load(EMOJI, ["beam_pipeline_args=[--s3_secret_access_key=hidden]"])
    assert str(error.value) == (
        "beam_pipeline_args: --s3_secret_access_key would be written into the run folder and the "
        "metadata store. Take it out, and give credentials by the environment: AWS_ACCESS_KEY_ID "
        "and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "output=s3://bucket/run",
            "Key 'output' has a wrong value. Received: 's3://bucket/run'. s3://bucket/run is not a "
            "path, and this must lie on a local or mounted disk. Name a folder there; "
            "release.publish_to copies each release to a bucket.",
        ),
        (
            "release.publish_to=/srv/serving",
            "Key 'release.publish_to' has a wrong value. Received: '/srv/serving'. publish_to is a "
            "folder in a bucket, such as s3://bucket/serving; releases are on the local disk "
            "anyway, in serving/ of the output folder.",
        ),
        (
            "release.publish_to=hdfs://node/serving",
            "Key 'release.publish_to' has a wrong value. Received: 'hdfs://node/serving'. "
            "hdfs://node/serving is on a file system that is not supported. Supported are paths of "
            "local and mounted disks, s3:// and gs://. Copy it to one of these, or mount it and "
            "give the path.",
        ),
    ],
)
def test_wrong_places_of_an_experiment(override, message):
    with pytest.raises(UserError) as error:
        ExperimentConfig.load(EMOJI, [override])
    assert str(error.value) == f"{EMOJI}: {message}"


def test_a_contact_sheet_shows_images_of_a_bucket(bucket, s3, tmp_path):
    noise_image(1).save(tmp_path / "a.png")
    s3.upload_file(str(tmp_path / "a.png"), bucket, "a.png")
    uris = [f"s3://{bucket}/a.png", f"s3://{bucket}/gone.png"]
    page = render_contact_sheet("q", [Hit("a", uri, 0.5) for uri in uris])
    assert page.count("data:image/jpeg;base64,") == 1
    assert f"<p>{uris[1]}</p>" in page
