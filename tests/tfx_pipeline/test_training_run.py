"""`vlsearch train` and `vlsearch evaluate`: real commands on a tiny data folder."""

import json
import signal
import time

import pytest

from tests import preloaded
from tests.tfx_pipeline.conftest import REPOSITORY, TINY, VLSEARCH, vlsearch
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.training_run import TrainingRun
from vl_models.errors import UserError
from vl_models.training.config import RUN_FORMAT

# Less often than `TINY`: of 400 steps, the measuring would take most of the time.
VALIDATE = "train.hooks=[{name: validation, every: 100}]"


def command(data, run, *overrides):
    arguments = ["train", "--config", "configs/emoji.yaml", "--data", str(data), "--run", str(run)]
    for override in (*TINY, "train.global_batch_size=16", *overrides):
        arguments += ["--set", override]
    return arguments


@pytest.mark.slow
def test_a_run_is_interrupted_continued_and_evaluated(emoji_folder, tmp_path):
    arguments = command(
        emoji_folder, tmp_path, "train.steps=400", "train.checkpoint_every=1000", VALIDATE
    )
    process = preloaded.Process([VLSEARCH, *arguments], cwd=REPOSITORY)
    history = tmp_path / "training" / "history.jsonl"
    deadline = time.monotonic() + 600
    while not (history.is_file() and history.stat().st_size):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.startswith("Stopped: SIGINT at step ") and "run the same command again" in told
    [checkpoint] = (tmp_path / "training" / "checkpoints").iterdir()
    assert not (tmp_path / "towers").exists()

    finished = vlsearch(*arguments)

    assert f"Towers: {tmp_path}/towers" in finished.stdout
    rows = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]
    steps = [row["step"] for row in rows if "hook" not in row]
    assert steps == sorted(set(steps)) and steps[-1] == 400
    assert f"resumed from step {int(checkpoint.name.split('-')[1])} of 400" in (
        tmp_path / "run.log"
    ).read_text(encoding="utf-8")

    evaluated = vlsearch("evaluate", "--run", str(tmp_path), "--set", "evaluate.splits=[train]")
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    assert f"recall@10                    {metrics['recall@10']:.4f}" in evaluated.stdout

    changed = vlsearch(*arguments, "--set", "train.learning_rate=0.1", check=False)
    assert changed.returncode == 2
    assert "holds a training of other data or settings" in changed.stderr
    assert "(train.learning_rate: 0.002 → 0.1), which cannot be continued" in changed.stderr
    assert "--fresh" in changed.stderr


def test_what_differs_is_named_before_the_examples_are_replaced(tmp_path):
    (tmp_path / "training.key").write_text(f"format {RUN_FORMAT}\nabc", encoding="utf-8")
    before = ExperimentConfig.load(
        REPOSITORY / "configs" / "emoji.yaml", ["data.folder=missing", "train.steps=7"]
    )
    (tmp_path / "experiment.yaml").write_text(before.to_yaml(), encoding="utf-8")
    now = [
        "data.folder=gone",
        "train.log_every=3",
        "train.seed=5",
        "model.embedding_dim=8",
    ]
    config = ExperimentConfig.load(REPOSITORY / "configs" / "emoji.yaml", now)
    with pytest.raises(UserError) as caught:
        TrainingRun(tmp_path).prepare(config)
    assert str(caught.value) == (
        f"{tmp_path} holds a training of other data or settings (model.embedding_dim: 128 → 8; "
        "train.seed: 0 → 5), which cannot be continued with these. Name another folder with --run, "
        "or give --fresh to forget that training."
    )


@pytest.mark.slow
def test_other_data_are_named_or_said_to_have_changed(emoji_folder, tmp_path):
    def prepare(*overrides):
        given = (*TINY, f"data.folder={emoji_folder}", *overrides)
        config = ExperimentConfig.load(REPOSITORY / "configs" / "emoji.yaml", given)
        TrainingRun(tmp_path).prepare(config)

    prepare()
    with pytest.raises(UserError, match=r"settings \(data\.shorter_side: 40 → 36\), which"):
        prepare("data.shorter_side=36")
    prepare()
    (tmp_path / "training.key").write_text(f"format {RUN_FORMAT}\nabc", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        prepare()
    assert f"(what {emoji_folder} holds, or the version of vlsearch, is not" in str(caught.value)


@pytest.mark.parametrize("key", ["0123456789abcdef", f"format {RUN_FORMAT + 1}\n0123456789abcdef"])
def test_a_run_folder_of_another_version_is_refused_before_anything_is_made(tmp_path, key):
    config = ExperimentConfig.load(REPOSITORY / "configs" / "emoji.yaml", ["data.folder=missing"])
    (tmp_path / "training.key").write_text(key, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        TrainingRun(tmp_path).prepare(config)
    assert str(caught.value) == (
        f"{tmp_path} holds a training of another version of vlsearch, whose variables and settings "
        "have other names, which cannot be continued with this one. Name another folder with "
        "--run, or give --fresh to forget that training."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["training.key"]


@pytest.mark.parametrize(
    ("kind", "model", "message"),
    [
        ("answers", [], "kind is answers, and no task of this experiment learns answers. Give"),
        (
            "clicks",
            ["model={system: vilt, tasks: [{kind: vqa}]}"],
            "kind is clicks, and a task of this experiment learns answers. Take data of kind",
        ),
    ],
)
def test_data_and_tasks_of_answers_go_together(tmp_path, kind, model, message):
    DataFolder(kind=kind, name="any").save(tmp_path)
    overrides = [f"data.folder={tmp_path}", *model]
    config = ExperimentConfig.load(REPOSITORY / "configs" / "emoji.yaml", overrides)
    with pytest.raises(UserError, match=message):
        TrainingRun(tmp_path / "run").make_examples(config)
