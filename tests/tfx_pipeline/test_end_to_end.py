"""The whole way at a reduced size: click log, pipeline, release, server, answers."""

import json
import shutil
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

from serving.client import PredictClient
from serving.errors import ServingError
from serving.release import Release
from tests import preloaded
from tests.tfx_pipeline.conftest import REPOSITORY, TINY, VLSEARCH, vlsearch
from tests.tfx_pipeline.released import QUERIES, assert_same_content, content, served

pytestmark = pytest.mark.slow

STEPS = 11


def test_run_leaves_release_metrics_and_report(tiny_run):
    release = Release.load(tiny_run.serving)
    metrics = json.loads((tiny_run.output / "metrics.json").read_text(encoding="utf-8"))

    assert release.version == release.index == release.weights == 1
    assert release.models == {"image_tower": 1, "text_tower": 1}
    assert release.metrics == metrics
    assert 0 <= metrics["recall@1"] <= metrics["recall@5"] <= metrics["recall@10"] <= 1
    for key in ("mrr", "modality_gap", "language=zh/recall@10", "recall@10/image_to_text"):
        assert key in metrics
    assert len(release.data_span) == 7
    report = (tiny_run.output / "report.html").read_text(encoding="utf-8")
    assert "contrastive" in report  # the loss curve
    card = tiny_run.serving / "text_tower" / "1" / "MODEL_CARD.md"
    assert "# emoji, version 1" in card.read_text(encoding="utf-8")
    warmup = "assets.extra/tf_serving_warmup_requests"
    assert (tiny_run.serving / "text_tower" / "1" / warmup).stat().st_size > 0
    assert (tiny_run.serving / "image_tower" / "1" / warmup).stat().st_size > 0


def test_a_training_starts_from_the_release(tiny_run, tmp_path):
    """One step at a learning rate of next to nothing leaves the weights as they were released."""
    weights = tiny_run.serving / "weights" / "1"
    assert sorted(path.name for path in weights.iterdir()) == [
        "MODEL_CARD.md",
        "experiment.yaml",
        "vocabulary.txt",
        "weights.safetensors",
    ]
    settings = [
        *TINY,
        "train.steps=1",
        "train.global_batch_size=16",
        "train.learning_rate=1.0e-12",
        f"train.warm_start={{from: {tiny_run.serving}}}",
        f"vocabulary.pretrained={weights / 'vocabulary.txt'}",
    ]
    overrides = [part for setting in settings for part in ("--set", setting)]
    data = ("--data", str(tiny_run.data), "--run", str(tmp_path / "run"))
    vlsearch("train", "--config", "configs/emoji.yaml", *data, *overrides)
    released = safetensors.numpy.load_file(weights / "weights.safetensors")
    exported = tmp_path / "run" / "towers"
    again = safetensors.numpy.load_file(exported / "weights" / "weights.safetensors")
    assert again.keys() == released.keys()
    for path, values in again.items():
        np.testing.assert_allclose(values, released[path], atol=1e-5, err_msg=path)
    # The record says which release it was.
    text = (exported / "text_tower" / "assets.extra" / "experiment.yaml").read_text("utf-8")
    assert f"source: {tiny_run.serving}@1" in text


def test_a_lost_serving_root_is_filled_again(tiny_run, tmp_path):
    # The metadata names the artifacts of the tiny run by absolute path.
    output = tmp_path / "output"
    shutil.copytree(tiny_run.output, output, ignore=shutil.ignore_patterns("serving"))

    again = vlsearch(*tiny_run.command(output=output))

    assert "Released version 1" in again.stdout
    assert Release.load(output / "serving").version == 1
    assert_same_content(content(output / "serving"), content(tiny_run.serving))


def test_server_answers_over_grpc_and_rest(tiny_run):
    from urllib.request import Request, urlopen

    _, expected, _ = content(tiny_run.serving)
    with served(tiny_run.serving) as (grpc_port, rest_port):
        with PredictClient(f"127.0.0.1:{grpc_port}") as client:
            answer = client.predict("text_tower", {"query": QUERIES}, version=1)
            assert [status.state for status in client.model_status("image_tower")] == ["AVAILABLE"]
            with pytest.raises(ServingError, match="Servable not found"):
                client.predict("text_tower", {"query": QUERIES}, version=7)
        body = json.dumps({"inputs": {"query": QUERIES}}).encode()
        url = f"http://127.0.0.1:{rest_port}/v1/models/text_tower:predict"
        with urlopen(Request(url, body)) as response:
            over_rest = json.load(response)["outputs"]
    np.testing.assert_allclose(answer["embedding"], expected, atol=1e-5)
    np.testing.assert_allclose(over_rest, expected, atol=1e-5)


def test_query_prints_a_table_and_writes_a_contact_sheet(tiny_run, tmp_path):
    sheet = tmp_path / "sheet.html"
    arguments = ["-k", "3", "--release", str(tiny_run.serving)]
    _, _, hits = content(tiny_run.serving)

    with served(tiny_run.serving) as (grpc_port, _):
        server = ["--server", f"127.0.0.1:{grpc_port}"]
        english = vlsearch("query", QUERIES[0], *arguments, *server)
        chinese = vlsearch("query", QUERIES[2], *arguments, *server, "--html", str(sheet))
    embedded = vlsearch("query", QUERIES[0], *arguments)

    for image_id, _ in hits[0][:3]:
        assert image_id in english.stdout
    for image_id, _ in hits[2][:3]:
        assert image_id in chinese.stdout
    assert embedded.stdout == english.stdout
    assert sheet.read_text(encoding="utf-8").count("data:image/jpeg") == 3


def test_a_killed_run_goes_on_to_the_same_towers_under_a_new_number(tiny_run, tmp_path):
    """In a folder that lost what the pipeline had made."""
    shutil.copytree(tiny_run.serving, tmp_path / "serving")
    manifest = tmp_path / "serving" / "release.json"
    first = manifest.read_bytes()
    towers = {
        path: path.read_bytes() for path in (tmp_path / "serving" / "text_tower").rglob("*.pb")
    }
    arguments = tiny_run.command(output=tmp_path)
    process = preloaded.Process([VLSEARCH, *arguments], cwd=REPOSITORY)
    try:  # until the trainer has written a checkpoint
        deadline = time.monotonic() + 600
        while not list(tmp_path.glob("pipeline/training/*/checkpoints/*")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    assert manifest.read_bytes() == first

    resumed = vlsearch(*arguments)

    assert resumed.stdout.count("cached") >= 5  # what came before the trainer
    assert "Released version 2" in resumed.stdout
    assert_same_content(content(tmp_path / "serving"), content(tiny_run.serving))
    assert not list(tmp_path.glob("pipeline/training/*"))  # nothing half-done is left

    rolled_back = vlsearch("rollback", str(tmp_path / "serving"))

    assert rolled_back.stdout.endswith("version 1 is current.\n")
    assert all(path.read_bytes() == content for path, content in towers.items())


def test_a_new_day_of_clicks_makes_a_new_release_and_running_again_none(tiny_run, tmp_path):
    data, output = tmp_path / "data", tmp_path / "output"
    shutil.copytree(tiny_run.data, data)
    shutil.copytree(tiny_run.output, output)
    shutil.copytree(data / "log" / "span-20260107", data / "log" / "span-20260108")

    second = vlsearch(*tiny_run.command(data, output))

    assert "Released version 2" in second.stdout
    assert "cached" not in second.stdout.split("Trainer")[1].split("\n")[0]
    release = Release.load(output / "serving")
    assert (release.version, release.previous) == (2, 1)
    assert len(release.data_span) == 8
    assert len(Release.load(output / "serving", 1).data_span) == 7

    before = (output / "serving" / "release.json").read_bytes()

    again = vlsearch(*tiny_run.command(data, output))

    assert again.stdout.count("cached") == STEPS
    assert (output / "serving" / "release.json").read_bytes() == before


def test_a_candidate_below_its_threshold_is_not_released(tiny_run, tmp_path):
    output = tmp_path / "output"
    shutil.copytree(tiny_run.output, output)
    arguments = [*tiny_run.command(output=output), "--set", "evaluate.thresholds.mrr.min=1.0"]

    result = vlsearch(*arguments, check=False)

    assert result.returncode == 1
    assert "Not released: evaluation: mrr is 0." in result.stdout
    assert "below the minimum of 1.0000." in result.stdout
    assert Release.load(output / "serving").version == 1


def test_nothing_to_evaluate_on_is_said_before_training(tiny_run, tmp_path):
    splits = "data.splits={policy: by_query, train: 1, val: 0, test: 0}"
    result = vlsearch(*tiny_run.command(output=tmp_path), "--set", splits, check=False)
    assert result.returncode == 2
    assert "The test split is empty; pairs by split: train " in result.stderr
    assert "Trainer" not in result.stdout


def test_rejected_rows_are_kept_and_named(tiny_run, tmp_path):
    data, output = tmp_path / "data", tmp_path / "output"
    shutil.copytree(tiny_run.data, data)
    [first, *_] = sorted((data / "log").glob("*/*.parquet"))
    table = pq.read_table(first)
    lost = pa.array(["nowhere"] * len(table), table.schema.field("image_id").type)
    column = table.schema.get_field_index("image_id")
    pq.write_table(table.set_column(column, "image_id", lost), first)

    result = vlsearch(*tiny_run.command(data, output), check=False)

    assert result.returncode == 2
    assert "image_missing" in result.stderr
    assert "max_rejected_fraction" in result.stderr
    assert "Traceback" not in result.stderr
