"""`vlsearch serving manifests`: real processes, exit codes, texts."""

import shutil

import pytest

from serving.publish import publish_release
from tests.serving.manifests.kustomize import build
from tests.tfx_pipeline.conftest import vlsearch


@pytest.fixture
def root(tmp_path):
    tower = tmp_path / "tower"
    tower.mkdir()
    (tower / "saved_model.pb").write_text("a model", encoding="utf-8")
    publish_release(tmp_path / "root", 1, {"text_tower": tower}, index=None)
    return tmp_path / "root"


def names(folder):
    return {document["metadata"]["name"] for document in build(folder)}


def test_manifests_are_written_and_written_again(root, tmp_path):
    output = tmp_path / "k8s"
    arguments = ["serving", "manifests", str(root), "--output", str(output)]
    options = ["--name", "search", "--storage", "pvc:volume/emoji", "--gpu", "2", "--cpu", "1500m"]

    result = vlsearch(*arguments, *options)

    assert result.stdout == (
        f"{output}: apply it with `kubectl apply -k {output}/overlays/cpu` (gpu, kserve).\n"
    )
    assert names(output) == {"search", "search-config"}
    assert names(output / "overlays/kserve") > {"search-text-tower"}
    vlsearch(*arguments)
    assert names(output) == {"vlsearch-serving", "vlsearch-serving-config"}
    shutil.rmtree(root)
    assert "is not a release root" in vlsearch(*arguments, check=False).stderr
    assert (output / "base/deployment.yaml").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--memory", "4GB"],
            "--memory must be bytes with a suffix, such as 4Gi. Received: '4GB'.",
        ),
        (["--canary", "101"], "--canary is a percentage, from 0 to 100. Received: --canary 101."),
        (["--storage", "ftp://x"], "--storage is pvc:CLAIM[/subpath], s3://bucket[/path] or gs:"),
        (["--output", "{root}"], "was not written by `vlsearch serving manifests`. Give --output"),
    ],
)
def test_wrong_input_is_one_line(root, tmp_path, options, message):
    output = tmp_path / "k8s"
    given = [option.format(root=root) for option in options]
    command = ["serving", "manifests", str(root), "--output", str(output), *given]

    result = vlsearch(*command, check=False)

    assert result.returncode == 2
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ") and message in line
    assert not output.exists()
