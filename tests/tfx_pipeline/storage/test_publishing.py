"""What a submission and the pusher do with `release.publish_to`."""

import json
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from serving.publish import publish_release
from serving.release import Release
from tests.tfx_pipeline.conftest import REPOSITORY
from tfx_pipeline.components.artifacts import METRICS_FILE, Evaluation, PushedRelease, VectorIndex
from tfx_pipeline.components.release_pusher import ReleasePusher
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.storage import releases
from tfx_pipeline.submission import submit

EMOJI = REPOSITORY / "configs" / "emoji.yaml"


@pytest.fixture
def submission(tmp_path):
    """submission(*overrides, output) submits the emoji experiment on a log of one line."""
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    (data / "log.csv").write_text("query,image_id,clicked\nq,a,1\n")
    DataFolder(kind="clicks", name="x", log="log.csv").save(data)

    def make(*overrides, output=tmp_path / "out"):
        given = [f"data.folder={data}", f"output={output}", *overrides]
        return submit(ExperimentConfig.load(EMOJI, given))

    return make


def _publish(made, folder, recall):
    """The release of a submission, with a tower that nobody loads."""
    tower = folder / f"tower-{made.key}"
    tower.mkdir(exist_ok=True)
    (tower / "saved_model.pb").write_bytes(made.key.encode())
    publish_release(
        made.serving_root,
        made.version,
        models={"text_tower": tower},
        index=None,
        metrics={"recall@10": recall},
        lineage=json.loads(made.lineage),
    )
    releases.publish(made.serving_root, made.config.release.publish_to)


def test_where_a_run_happens_is_not_in_its_key(submission, bucket):
    key = submission().key
    assert submission(f"release.publish_to=s3://{bucket}/serving").key == key
    assert submission("metadata=postgresql://u@h/d").key == key
    assert submission("release.validation_queries=5").key != key


def test_a_run_on_a_new_disk_is_compared_with_the_bucket(submission, bucket, tmp_path):
    target = f"release.publish_to=s3://{bucket}/serving"
    _publish(submission(target), tmp_path, 0.4)
    _publish(submission(target, "train.steps=7"), tmp_path, 0.5)

    made = submission(target, "train.steps=8", output=tmp_path / "new")
    assert (made.version, made.baseline) == (3, '{"recall@10": 0.5}')

    releases.roll_back_bucket(f"s3://{bucket}/serving")
    for output in (tmp_path / "out", tmp_path / "newer"):
        made = submission(target, "train.steps=8", output=output)
        assert (made.version, made.baseline) == (3, '{"recall@10": 0.4}')


def test_the_pusher_runs_again_if_the_bucket_lacks_the_release(submission, bucket, tmp_path):
    first = submission(f"release.publish_to=s3://{bucket}/one")
    _publish(first, tmp_path, 0.4)
    assert submission(f"release.publish_to=s3://{bucket}/one") == first
    other = submission(f"release.publish_to=s3://{bucket}/two")
    assert (other.version, other.key) == (first.version, first.key)
    assert other.submitted != first.submitted


def test_a_release_that_reached_the_disk_only_is_taken_up_again(submission, bucket, tmp_path):
    target = f"release.publish_to=s3://{bucket}/serving"
    _publish(submission(target), tmp_path, 0.4)
    second = submission(target, "train.steps=7")
    _publish(second, tmp_path, 0.5)
    releases.roll_back_bucket(f"s3://{bucket}/serving")  # as if killed before its end

    again = submission(target, "train.steps=7")
    assert (again.version, again.baseline) == (second.version, second.baseline)
    assert again.submitted != second.submitted


def _artifact(kind, folder: Path, **properties: int):
    artifact = kind()
    artifact.uri = str(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in properties.items():
        artifact.set_int_custom_property(name, value)
    return artifact


@pytest.mark.parametrize("blessed", [1, 0])
def test_the_pusher_publishes_what_is_blessed(bucket, s3, tmp_path, blessed):
    model = _artifact(standard_artifacts.Model, tmp_path / "model")
    tower = tmp_path / "model" / "Format-Serving" / "text_tower"
    tower.mkdir(parents=True)
    (tower / "saved_model.pb").write_text("a model")
    index = _artifact(VectorIndex, tmp_path / "index")
    (tmp_path / "index" / "index").mkdir()
    (tmp_path / "index" / "index" / "index.json").write_text('{"tower_version": null}')
    evaluation = _artifact(Evaluation, tmp_path / "evaluation")
    (tmp_path / "evaluation" / METRICS_FILE).write_text('{"recall@10": 0.5}')
    verdict = _artifact(standard_artifacts.ModelBlessing, tmp_path / "b", blessed=blessed)
    infra = _artifact(standard_artifacts.InfraBlessing, tmp_path / "i", blessed=1)
    release = _artifact(PushedRelease, tmp_path / "release")
    inputs = {
        "model": model,
        "index": index,
        "evaluation": evaluation,
        "blessing": verdict,
        "infra_blessing": infra,
    }
    uri = f"s3://{bucket}/serving"

    ReleasePusher.EXECUTOR_SPEC.executor_class().Do(
        {name: [artifact] for name, artifact in inputs.items()},
        {"release": [release]},
        {
            "serving_root": str(tmp_path / "serving"),
            "version": 1,
            "experiment": ExperimentConfig.load(EMOJI, ["data.folder=x"]).to_yaml(),
            "lineage": "{}",
            "data_span": "[]",
            "publish_to": uri,
            "file_system_options": '["--s3_region_name=us-east-1"]',
        },
    )

    if blessed:
        assert releases.stage(uri, tmp_path / "copy") == Release.load(tmp_path / "serving")
        assert release.get_string_custom_property("published_to") == uri
    else:
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
