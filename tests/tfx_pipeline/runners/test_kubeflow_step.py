"""The entrypoint of a step's container."""

import json

import pytest

from tfx_pipeline.runners import kubeflow_step
from vl_models.errors import UserError

TYPE = {"instanceSchema": "title: vlsearch.Gallery\ntype: object\n"}


def invocation(folder):
    lost = {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}
    return {
        "inputs": {
            "artifacts": {
                "gallery": {"artifacts": [{"type": lost, "uri": "minio://bucket/run/gallery"}]}
            }
        },
        "outputs": {
            "artifacts": {"index": {"artifacts": [{"uri": f"{folder}/index"}]}},
            "outputFile": f"{folder}/executor_output.json",
        },
    }


def test_types_come_back_and_stores_become_paths(tmp_path):
    values = invocation(tmp_path)

    uris = kubeflow_step.complete(values, {"gallery": {"artifactType": TYPE}})

    [gallery] = values["inputs"]["artifacts"]["gallery"]["artifacts"]
    assert gallery == {"type": TYPE, "uri": "/minio/bucket/run/gallery"}
    assert uris == {f"{tmp_path}/index": f"{tmp_path}/index"}
    assert (tmp_path / "index").is_dir()


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("gs://bucket/a", "/gcs/bucket/a"),
        ("s3://bucket/a", "/s3/bucket/a"),
        ("minio://bucket/a", "/minio/bucket/a"),
        ("/vlsearch/a", "/vlsearch/a"),
    ],
)
def test_local_copies_are_where_kubeflows_own_sdk_looks(uri, path):
    from kfp import dsl

    assert kubeflow_step.local_path(uri) == path == dsl.Artifact(uri=uri).path


def test_reports_have_the_stores_uris():
    report = {"artifacts": {"index": {"artifacts": [{"uri": "/s3/b/index", "metadata": {"n": 1}}]}}}

    found = kubeflow_step.with_uris(json.dumps(report), {"/s3/b/index": "s3://b/index"})

    report["artifacts"]["index"]["artifacts"][0]["uri"] = "s3://b/index"
    assert json.loads(found) == report


def test_a_spec_of_another_version():
    kubeflow_step.check_version(None)
    kubeflow_step.check_version("0.1.0")
    with pytest.raises(UserError) as caught:
        kubeflow_step.check_version("0.0.9")
    assert str(caught.value) == (
        "The spec was compiled by vlsearch 0.0.9, and this image holds 0.1.0. Compile it anew "
        "with 0.1.0, or set kubeflow.image to an image of 0.0.9."
    )


def test_a_missing_gpu_is_one_line_and_exit_code_2(monkeypatch, capfd):
    monkeypatch.setenv("VLSEARCH_NEEDS_GPU", "64")

    assert kubeflow_step.main([]) == 2

    [line] = [line for line in capfd.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert line.startswith("Error: This step asks for 64 GPU (kubeflow.resources), and TensorFlow ")
    assert line.endswith("To run on CPUs set the step's gpu to 0.")
