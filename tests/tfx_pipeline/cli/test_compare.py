"""`vlsearch compare`: real trainings; interrupted, continued, one of them failing."""

import csv
import json
import signal
import time
from types import SimpleNamespace

import pytest

from tests import preloaded
from tests.tfx_pipeline.conftest import REPOSITORY, VLSEARCH, vlsearch
from tests.tfx_pipeline.tiny_experiment import write_tiny

# Several processes after each other, each of which imports TensorFlow.
pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def compared(emoji_folder, tmp_path_factory):
    """A comparison that was interrupted in its first training and then run to its end."""
    folder = tmp_path_factory.mktemp("compare")
    output = folder / "out"
    configs = [
        write_tiny(folder / "tiny.yaml"),
        write_tiny(folder / "half.yaml", name="half", batch=8),
        write_tiny(folder / "broken.yaml", name="broken"),
    ]
    text = configs[2].read_text(encoding="utf-8")
    configs[2].write_text(text.replace("size: 400", "pretrained: /nowhere/vocab.txt"))
    arguments = ["compare", *map(str, configs), "--data", str(emoji_folder)]
    arguments += ["--output", str(output), "--samples", "4800", "--metric", "ndcg@10"]

    process = preloaded.Process([VLSEARCH, *arguments], cwd=REPOSITORY)
    deadline = time.monotonic() + 600
    while not list(output.glob("runs/tiny-*/training/history.jsonl")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    interrupted = SimpleNamespace(
        code=process.returncode,
        told=told,
        steps=[path.name for path in output.glob("runs/tiny-*/training/checkpoints/*")],
        runs=[path.name for path in output.glob("runs/*")],
    )
    finished = vlsearch(*arguments, check=False)
    return SimpleNamespace(
        arguments=arguments, output=output, interrupted=interrupted, finished=finished
    )


def rows(output):
    with (output / "comparison.csv").open(encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


@pytest.mark.slow
def test_an_interrupted_comparison_stops_with_a_checkpoint_and_goes_on(compared):
    assert compared.interrupted.code == 130
    assert "Stopped: SIGINT; run the same command again to continue." in compared.interrupted.told
    [run], [checkpoint] = compared.interrupted.runs, compared.interrupted.steps
    log = (compared.output / "runs" / run / "run.log").read_text(encoding="utf-8")
    assert f"resumed from step {int(checkpoint.removeprefix('step-'))} of 300" in log


@pytest.mark.slow
def test_all_see_the_same_number_of_images(compared):
    table = rows(compared.output)

    assert {name: row["samples"] for name, row in table.items()} == dict.fromkeys(table, "4800")
    assert (table["tiny"]["steps"], table["half"]["steps"]) == ("300", "600")
    assert (table["tiny"]["warmup_steps"], table["half"]["warmup_steps"]) == ("30", "60")
    for name, steps in (("tiny", 300), ("half", 600)):
        [history] = compared.output.glob(f"runs/{name}-*/training/history.jsonl")
        lines = history.read_text(encoding="utf-8").splitlines()
        assert json.loads(lines[-1])["step"] == steps


@pytest.mark.slow
def test_the_table_holds_quality_and_cost(compared):
    table = rows(compared.output)
    first, second = table["tiny"], table["half"]

    [evaluation] = compared.output.glob("runs/half-*/evaluation")
    metrics = json.loads((evaluation / "metrics.json").read_text(encoding="utf-8"))
    intervals = json.loads((evaluation / "intervals.json").read_text("utf-8"))["intervals"]
    for key in ("recall@1", "recall@10", "mrr", "ndcg@10", "language=zh/recall@10"):
        assert float(second[key]) == pytest.approx(metrics[key])
        interval = [float(second[f"{key}/low"]), float(second[f"{key}/high"])]
        assert interval == pytest.approx(intervals[key])
        assert second[f"{key}/verdict"] in ("better", "worse", "within")
        assert first[f"{key}/verdict"] == ""
    assert first["parameters_total_m"] == second["parameters_total_m"]
    towers = [float(first[f"parameters_{name}_tower_m"]) for name in ("image", "text")]
    assert 0 < sum(towers) <= float(first["parameters_total_m"]) < 0.1
    for row in (first, second):
        assert float(row["samples_per_second"]) > 0
        assert 100 < float(row["peak_memory_mib"]) < 4000
    page = (compared.output / "comparison.html").read_text(encoding="utf-8")
    assert "half" in page and "language=en/recall@10" in page


@pytest.mark.slow
def test_a_failing_experiment_is_reported_and_the_others_go_on(compared):
    assert compared.finished.returncode == 1
    broken = rows(compared.output)["broken"]
    assert broken["status"] == "failed"
    assert "/nowhere/vocab.txt" in broken["error"]
    assert "broken" in compared.finished.stdout and "/nowhere/vocab.txt" in compared.finished.stdout


@pytest.mark.slow
def test_data_are_prepared_once_and_what_is_finished_is_not_trained_again(compared):
    [_] = (compared.output / "data").iterdir()
    [_] = (compared.output / "data").glob("*/vocabularies/*.txt")
    before = {path: path.stat().st_mtime_ns for path in compared.output.glob("runs/*/*")}
    table = rows(compared.output)

    again = vlsearch(*compared.arguments, check=False)

    assert again.returncode == 1
    after = {path: path.stat().st_mtime_ns for path in compared.output.glob("runs/[th]*/*")}
    assert after and all(before[path] == time for path, time in after.items())
    assert rows(compared.output) == table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "3", "--samples", "9"], "--steps, --samples and --own-budgets exclude each"),
        (["--own-budgets", "--samples", "9"], "--steps, --samples and --own-budgets exclude each"),
        (["--seeds", "0,0"], "--seeds takes different whole numbers with commas between them"),
        (["--set", "train.stepz=3"], "did you mean 'train.steps'?"),
        (["tiny.yaml"], "Give the experiments or their files different names"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_trained(arguments, message, tmp_path):
    config = write_tiny(tmp_path / "tiny.yaml")
    arguments = [str(config) if argument == "tiny.yaml" else argument for argument in arguments]
    output = tmp_path / "out"

    result = vlsearch(
        "compare", str(config), "--data", "/nowhere", "--output", str(output), *arguments,
        check=False,
    )  # fmt: skip

    assert result.returncode == 2
    assert message in result.stderr
    assert not output.exists()
