"""The compiled spec, every step of it, through Kubeflow's own local orchestrator."""

import json
import re
import shutil
import subprocess
import time

import psutil
import pytest

from serving.client import PredictClient
from serving.release import Release
from tests.tfx_pipeline.conftest import REPOSITORY, TINY, VLSEARCH, vlsearch
from tests.tfx_pipeline.released import QUERIES, content, served
from tfx_pipeline.runners.experiment import SMOKE

pytestmark = pytest.mark.slow

STEPS = 11
DONE = re.compile(r"^\[ ?\d+/11\] (\S+) +(cached|[\d.]+ s)$", re.MULTILINE)


@pytest.fixture(scope="module")
def compiled(emoji_folder, tmp_path_factory):
    """(spec, output folder) of the tiny experiment, with paths of this machine."""
    folder = tmp_path_factory.mktemp("kubeflow")
    given = [*SMOKE, *TINY, "kubeflow.volume=null", f"data.folder={emoji_folder}"]
    given += [f"output={folder / 'output'}", "train.steps=40"]
    options = [part for override in given for part in ("--set", override)]
    spec = folder / "pipeline.yaml"
    vlsearch(
        "kubeflow", "compile", "--config", "configs/emoji.yaml", "--output", str(spec), *options
    )
    return spec, folder / "output"


def forked(pid):
    """Processes of steps: children of the one that has imported for them."""
    return [step for server in psutil.Process(pid).children() for step in server.children()]


@pytest.fixture(scope="module")
def runs(compiled):
    """What a run said whose trainer was killed, and what the run after it said."""
    spec, output = compiled
    command = [VLSEARCH, "kubeflow", "local", str(spec), "--root", str(output / "kubeflow")]
    first = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    said = ""
    for line in first.stdout:
        said += line
        if "text-transform" in line:  # the step before the trainer
            while not (step := forked(first.pid)):
                time.sleep(0.02)
            step[0].kill()
    assert first.wait() == 1
    second = vlsearch("kubeflow", "local", str(spec), "--root", str(output / "kubeflow"))
    return said, second.stdout


def test_a_killed_step_fails_the_run(runs, compiled):
    said, _ = runs

    assert [name for name, _ in DONE.findall(said)][-1] == "text-transform"
    assert "Failed: Step trainer failed (signal 9): " in said
    assert re.search(r"Its log: \S+/trainer/log.txt", said)


def test_running_again_resumes_behind_the_steps_that_ended(runs):
    said, again = runs

    done = dict(DONE.findall(again))
    assert len(done) == STEPS
    assert {name for name, how in done.items() if how == "cached"} == dict(
        DONE.findall(said)
    ).keys()
    assert "Released version 1" in again


def test_it_releases_what_the_local_runner_releases(runs, compiled, tiny_run):
    _, output = compiled

    release, texts, hits = content(output / "serving")
    expected, expected_texts, expected_hits = content(tiny_run.serving)

    assert release.models == expected.models and release.index == expected.index
    assert release.data_span == expected.data_span
    assert release.metrics.keys() == expected.metrics.keys()
    [evaluation] = tiny_run.output.glob("pipeline/RetrievalEvaluator/evaluation/*/intervals.json")
    intervals = json.loads(evaluation.read_text(encoding="utf-8"))["intervals"]
    for metric in ("recall@1", "recall@5", "recall@10", "mrr"):
        low, high = intervals[metric]
        assert low <= release.metrics[metric] <= high
    assert texts.shape == expected_texts.shape
    assert [len(row) for row in hits] == [len(row) for row in expected_hits]
    for tower in ("text_tower", "image_tower"):
        assert signatures(output / "serving", tower) == signatures(tiny_run.serving, tower)


def test_a_server_answers_from_its_release(runs, compiled):
    _, output = compiled
    _, expected, _ = content(output / "serving")

    with served(output / "serving") as (port, _), PredictClient(f"127.0.0.1:{port}") as client:
        answer = client.predict("text_tower", {"query": QUERIES}, version=1)["embedding"]

    assert answer == pytest.approx(expected, abs=1e-5)


def test_parameters_change_a_run_without_compiling(runs, compiled):
    spec, output = compiled
    options = ("--run-name", "strict", "--steps", "20", "--min", "recall@10=1.01")

    result = vlsearch(
        "kubeflow", "local", str(spec), "--root", str(output / "kubeflow"), *options, check=False
    )

    assert result.returncode == 1
    done = dict(DONE.findall(result.stdout))
    assert done["text-transform"] == "cached" != done["trainer"]
    assert re.search(
        r"Not released: evaluation: recall@10 is [\d.]+, below the minimum of 1.0100", result.stdout
    )
    assert Release.load(output / "serving").version == 1


def test_a_step_fails_with_its_own_message(compiled, tmp_path):
    spec, _ = compiled
    broken = tmp_path / "data"
    (broken / "log").mkdir(parents=True)
    (broken / "images").mkdir()
    (broken / "data.yaml").write_text("{kind: clicks, name: broken, log: log/*}", encoding="utf-8")
    (broken / "log" / "a.jsonl").write_text('{"query": "red"}\n', encoding="utf-8")

    options = ("--root", str(tmp_path / "root"), "--data", str(broken))
    result = vlsearch("kubeflow", "local", str(spec), *options, check=False)

    assert result.returncode == 1
    assert "Failed: Step click-example-gen failed (exit code 2): " in result.stdout
    assert "image_id" in result.stdout


def signatures(root, tower):
    """Names, types and shapes of a tower's inputs and outputs by signature."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    version = Release.load(root).models[tower]
    loaded = tf.saved_model.load(str(root / tower / str(version)))
    return {
        name: (function.structured_input_signature, function.structured_outputs)
        for name, function in loaded.signatures.items()
    }


def test_an_index_alone_is_a_spec_of_its_own(emoji_folder, tiny_run, tmp_path):
    """The same towers, imported by their files: five steps through the same orchestrator."""
    output, spec = tmp_path / "output", tmp_path / "index.yaml"
    shutil.copytree(tiny_run.serving, output / "serving", symlinks=True)
    given = [*SMOKE, *TINY, "kubeflow.volume=null", f"data.folder={emoji_folder}"]
    given += [f"output={output}", "kubeflow.resources={Trainer: {cpu: 2}}"]
    options = [part for override in given for part in ("--set", override)]
    compiled = ("--config", "configs/emoji.yaml", "--output", str(spec), "--index-only")
    vlsearch("kubeflow", "compile", *compiled, *options)
    told = vlsearch("kubeflow", "local", str(spec), "--root", str(tmp_path / "kubeflow")).stdout
    assert "5/5] index-pusher" in told and "Released version 2" in told
    release = Release.load(output / "serving")
    assert release.models == {"image_tower": 1, "text_tower": 1} and release.index == 2
    assert release.lineage["towers_of"] == 1
