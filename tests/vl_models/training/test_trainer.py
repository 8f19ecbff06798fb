"""The loop as a whole: replicas, exact resume, phases, accumulation, diverging."""

import json

import numpy as np
import pytest
import tensorflow as tf
import tiny
from processes import TIMES
from processes import curves as history

from vl_models.errors import UserError
from vl_models.training.checkpoint import load_checkpoint, read_weights
from vl_models.training.config import TrainConfig
from vl_models.training.logging import TrainingDiverged
from vl_models.training.trainer import Trainer


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    return tiny.write_records(tmp_path_factory.mktemp("records"), shards=3, per_shard=7)


def config(**changes):
    base = {
        "seed": 3,
        "global_batch_size": 4,
        "texts_per_image": 2,
        "shuffle_buffer": 5,
        "steps": 10,
        "learning_rate": 0.02,
        "warmup_steps": 2,
        "clip_norm": 0.3,
        "log_every": 1,
        "checkpoint_every": 3,
    }
    values = {key: value for key, value in {**base, **changes}.items() if value is not None}
    return TrainConfig.model_validate(values)


def trainer(run_dir, strategy, pattern, configuration, hooks=None, **model):
    return Trainer(
        lambda: tiny.LinearDualEncoder(**model),
        configuration,
        run_dir,
        strategy,
        [tiny.source(pattern)],
        hooks,
    )


SGD = {"optimizers": [{"kind": "sgd", "learning_rate": 0.5, "weight_decay": 0.01}]}
GROUPS = {
    "optimizers": [
        {"kind": "sgd", "variables": ["image_tower/*"], "learning_rate": 0.5, "clip_norm": 0.1},
        {"kind": "adamw", "learning_rate": 0.02, "weight_decay": 0.1},
    ]
}
LAMB = {"optimizers": [{"kind": "lamb", "learning_rate": 0.02, "weight_decay": 0.01}]}


@pytest.mark.gpu
@pytest.mark.parametrize(
    "optimizers", [{}, SGD, GROUPS, LAMB], ids=["adamw", "sgd", "groups", "lamb"]
)
def test_one_and_two_replicas_give_the_same_training(tmp_path, strategies, pattern, optimizers):
    for replicas, strategy in strategies.items():
        settings = config(accumulation_steps=2, steps=5, **optimizers)
        trainer(tmp_path / str(replicas), strategy, pattern, settings).fit()
    one, two = history(tmp_path / "1"), history(tmp_path / "2")
    assert len(one) == len(two) == 5
    for left, right in zip(one, two):
        assert left.keys() == right.keys()
        for key in left.keys() - {"stage", "phase"}:
            assert left[key] == pytest.approx(right[key], rel=1e-5, abs=1e-5), (key, left["step"])
    assert one[0]["gradient_norm"] > 0.3  # clipping was at work
    assert one[0]["loss/contrastive"] != one[-1]["loss/contrastive"]
    left, right = read_weights(tmp_path / "1"), read_weights(tmp_path / "2")
    for path in left:
        np.testing.assert_allclose(left[path], right[path], atol=1e-5, err_msg=path)
    assert left["temperature/counter"] == 10.0  # once per forward pass


def test_initial_weights_depend_on_the_seed_of_the_run_alone(tmp_path, strategies, pattern):
    from vl_models.models.registry import create_model, model_config_from_dict

    small = {"kind": "transformer", "width": 8, "depth": 1, "heads": 1}
    image = {"kind": "cnn", "widths": [4], "blocks": [0]}
    values = {"system": "clip", "image_size": 8, "vocabulary_size": 10, "image": image}
    clip = model_config_from_dict({**values, "text": small})

    def weights(folder, process_seed, run_seed):
        tf.random.set_seed(process_seed)
        made = Trainer(
            lambda: create_model(clip),
            config(seed=run_seed),
            tmp_path / folder,
            strategies[1],
            [tiny.source(pattern)],
        )
        return np.concatenate([np.ravel(v) for v in made.model.trainable_variables])

    first = weights("a", 1, run_seed=5)
    np.testing.assert_array_equal(first, weights("b", 2, run_seed=5))
    assert not np.array_equal(first, weights("c", 1, run_seed=6))


@pytest.mark.parametrize("replicas", [1, 2])
def test_resume_is_bit_identical(tmp_path, strategies, pattern, replicas):
    strategy = strategies[replicas]
    whole = trainer(tmp_path / "whole", strategy, pattern, config()).fit()
    assert (whole.step, whole.interrupted) == (10, None)

    class Killed(Exception):
        pass

    def kill(step, model):
        raise Killed

    settings = config(hooks=[{"name": "kill", "every": 8}])
    with pytest.raises(Killed):  # after the checkpoint of step 6
        trainer(tmp_path / "cut", strategy, pattern, settings, {"kill": kill}).fit()
    assert len(history(tmp_path / "cut")) == 8
    resumed = trainer(tmp_path / "cut", strategy, pattern, config())
    assert resumed.fit().step == 10
    assert history(tmp_path / "cut") == history(tmp_path / "whole")
    last = [
        load_checkpoint(tmp_path / run / "checkpoints" / "step-0000000010")
        for run in ("whole", "cut")
    ]
    for tensors in ("weights", "optimizer"):
        left, right = getattr(last[0], tensors), getattr(last[1], tensors)
        assert left.keys() == right.keys()
        for key in left:
            np.testing.assert_array_equal(left[key], right[key], err_msg=key)
    assert last[0].state["inputs"] == last[1].state["inputs"]


def test_a_finished_run_is_left_alone(tmp_path, strategies, pattern):
    trainer(tmp_path, strategies[1], pattern, config(steps=2)).fit()
    before = history(tmp_path)
    assert trainer(tmp_path, strategies[1], pattern, config(steps=2)).fit().step == 2
    assert history(tmp_path) == before
    with pytest.raises(UserError, match="already holds a run"):
        trainer(tmp_path, strategies[1], pattern, config(steps=2)).fit(resume=False)


def test_resume_with_another_input_order_is_refused(tmp_path, strategies, pattern):
    trainer(tmp_path, strategies[1], pattern, config(steps=2)).fit()
    with pytest.raises(UserError, match="seed=3, so training cannot continue"):
        trainer(tmp_path, strategies[1], pattern, config(seed=4)).fit()


def test_frozen_variables_stay_bit_identical_and_keep_their_optimizer(
    tmp_path, strategies, pattern
):
    stages = [
        {"name": "both", "steps": 3},
        {"name": "text", "steps": 3, "phases": [{"name": "t", "variables": ["text_tower/*"]}]},
        {"name": "again", "steps": 1},
    ]
    settings = config(steps=None, stages=stages, checkpoint_every=1, keep=10)
    run = trainer(tmp_path, strategies[2], pattern, settings)
    optimizers = {id(group.optimizer) for groups in run._groups.values() for group in groups}
    run.fit()
    assert len(optimizers) == 1
    at = {s: load_checkpoint(tmp_path / f"checkpoints/step-{s:010d}") for s in (3, 6, 7)}
    for path in at[3].weights:
        same = np.array_equal(at[3].weights[path], at[6].weights[path])
        assert same == (path not in ("text_tower/embeddings", "temperature/counter")), path
        assert not np.array_equal(at[6].weights[path], at[7].weights[path]) or "head" in path
    slots = [k for k in at[3].optimizer if "image_tower" in k]
    assert len(slots) == 4  # momentum and velocity of kernel and bias
    for key in slots:
        np.testing.assert_array_equal(at[3].optimizer[key], at[6].optimizer[key])
        assert np.any(at[6].optimizer[key] != at[7].optimizer[key])


def test_frozen_of_the_short_form_stays_and_is_checked(tmp_path, strategies, pattern):
    settings = config(steps=2, frozen=["image_tower/*"], checkpoint_every=1)
    run = trainer(tmp_path, strategies[1], pattern, settings)
    before = {path: np.array(v) for path, v in run._variables.items()}
    run.fit()
    for path, value in read_weights(tmp_path).items():
        assert np.array_equal(value, before[path]) == path.startswith("image_tower/"), path
    with pytest.raises(UserError, match=r"'image_towr/\*'; nearest path: 'image_tower/kernel'"):
        trainer(tmp_path / "b", strategies[1], pattern, config(frozen=["image_towr/*"]))


def test_the_model_is_told_what_a_warm_start_loaded(tmp_path, strategies, pattern):
    trainer(tmp_path / "a", strategies[1], pattern, config(steps=1)).fit()
    told = []

    class Told(tiny.LinearDualEncoder):
        def after_warm_start(self, loaded):
            told.append((sorted(loaded), self.image_tower.kernel.numpy()))

    settings = config(steps=1, warm_start={"from": str(tmp_path / "a"), "only": ["image_tower/*"]})
    Trainer(Told, settings, tmp_path / "b", strategies[1], [tiny.source(pattern)]).fit()
    [(paths, kernel)] = told
    assert paths == ["image_tower/bias", "image_tower/kernel"]
    np.testing.assert_array_equal(kernel, read_weights(tmp_path / "a")["image_tower/kernel"])


def test_two_to_one_schedule_changes_only_own_variables(tmp_path, strategies, pattern):
    adam = [{"kind": "adam", "learning_rate": 0.01, "betas": [0.5, 0.999]}]
    phases = [
        {
            "name": "towers",
            "repeats": 2,
            "variables": ["*_tower/*", "temperature/*"],
            "losses": {"contrastive": 1.0, "adversary": -0.5},
        },
        {
            "name": "head",
            "variables": ["modality_head/*"],
            "losses": {"adversary": 1.0},
            "optimizers": adam,
        },
    ]
    stage = {"steps": 6, "phases": phases}
    settings = config(steps=None, stages=[stage], checkpoint_every=1, keep=10)
    trainer(tmp_path, strategies[1], pattern, settings).fit()
    weights = [
        load_checkpoint(tmp_path / f"checkpoints/step-{s:010d}").weights for s in range(1, 7)
    ]
    assert [row["phase"] for row in history(tmp_path)] == ["towers", "towers", "head"] * 2
    for before, after, phase in zip(weights, weights[1:], ["towers", "head", "towers", "towers"]):
        changed = {p for p in before if not np.array_equal(before[p], after[p])}
        changed.discard("temperature/counter")
        if phase == "head":
            assert changed == {"modality_head/kernel", "modality_head/bias"}
        else:
            assert changed == {
                "image_tower/kernel", "image_tower/bias",
                "text_tower/embeddings", "temperature/logit_scale",
            }  # fmt: skip
    assert "loss/contrastive" not in history(tmp_path)[2]


def test_sweeps_alternate_by_passes_over_the_data(tmp_path, strategies, pattern):
    phases = [{"name": "a"}, {"name": "b", "repeats": 2}]
    stage = {"steps": 20, "schedule": "per_sweep", "phases": phases}
    run = trainer(tmp_path, strategies[1], pattern, config(steps=None, stages=[stage]))
    (plan,) = run.plans
    # 21 records in batches of 4: 5 steps a sweep
    assert [plan.phase_at(step) for step in range(20)] == [0] * 5 + [1] * 10 + [0] * 5


def test_epochs_are_counted_from_the_files(tmp_path, strategies, pattern):
    settings = config(steps=None, epochs=3, accumulation_steps=2)
    assert trainer(tmp_path, strategies[1], pattern, settings).total_steps == 6


@pytest.mark.parametrize("replicas", [1, 2])
def test_nan_names_the_loss_and_keeps_the_last_checkpoint(tmp_path, strategies, pattern, replicas):
    settings = config(log_every=5, checkpoint_every=3)
    with pytest.raises(TrainingDiverged, match="Loss 'contrastive' became nan at step 5"):
        trainer(tmp_path, strategies[replicas], pattern, settings, nan_after=4).fit()
    weights = read_weights(tmp_path)
    assert weights["temperature/counter"] == 3.0
    assert all(np.all(np.isfinite(value)) for value in weights.values())


def test_a_truncated_checkpoint_falls_back_to_the_one_before(tmp_path, strategies, pattern, caplog):
    trainer(tmp_path, strategies[1], pattern, config(keep=3)).fit()
    expected = history(tmp_path)
    with (tmp_path / "checkpoints/step-0000000010/weights.safetensors").open("rb+") as file:
        file.truncate(100)
    result = trainer(tmp_path, strategies[1], pattern, config(keep=3)).fit()
    assert result.step == 10
    assert "step-0000000010 is damaged: weights.safetensors has 100 bytes" in caplog.text
    assert history(tmp_path) == expected
    for path in (tmp_path / "checkpoints").glob("*/state.json"):
        path.write_text("{")
    with pytest.raises(UserError, match=r"No checkpoint in .* is whole \(3 damaged\)"):
        trainer(tmp_path, strategies[1], pattern, config()).fit()


def test_hooks_run_with_their_period_and_are_logged(tmp_path, strategies, pattern):
    settings = config(steps=6, hooks=[{"name": "eval", "every": 3}])
    hook = {"eval": lambda step, model: {"recall@1": step / 10}}
    trainer(tmp_path, strategies[1], pattern, settings, hook).fit()
    rows = [row for row in history(tmp_path) if "hook" in row]
    assert rows == [
        {"step": 3, "hook": "eval", "eval/recall@1": 0.3},
        {"step": 6, "hook": "eval", "eval/recall@1": 0.6},
    ]
    with pytest.raises(UserError, match=r"No hook is called 'eval'\. Hooks: none"):
        trainer(tmp_path, strategies[1], pattern, settings)


def test_log_row_line_and_tensorboard_tell_everything(tmp_path, strategies, pattern, caplog):
    caplog.set_level("INFO")
    trainer(tmp_path, strategies[1], pattern, config(steps=2)).fit()
    row = json.loads((tmp_path / "history.jsonl").read_text().splitlines()[0])
    expected = {
        "step", "stage", "phase", "loss/contrastive", "loss/adversary", "gradient_norm",
        "temperature", "learning_rate/adamw", *TIMES,
    }  # fmt: skip
    assert row.keys() == expected
    assert row["learning_rate/adamw"] == pytest.approx(0.01)  # warm-up: first of two steps
    assert row["temperature"] == pytest.approx(1 / 5, rel=0.1)
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("step 1/2")]
    assert len(lines) == 1
    assert "contrastive" in lines[0] and "eta 0:00:" in lines[0]
    tags = set()
    for file in (tmp_path / "tensorboard").glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            tags |= {value.tag for value in event.summary.value}
    assert tags == expected - {"step", "stage", "phase"}


def test_short_form_and_stages_exclude_each_other():
    with pytest.raises(ValueError, match="with stages, put steps into each stage"):
        TrainConfig(steps=3, stages=[{"steps": 3}])
    with pytest.raises(ValueError, match="exactly one of steps and epochs"):
        TrainConfig()


def test_global_batch_is_computed_in_one_place():
    assert TrainConfig(steps=1, batch_size_per_replica=8).global_batch(4) == 32
    assert TrainConfig(steps=1, global_batch_size=12).global_batch(4) == 12
    with pytest.raises(UserError, match="evenly over 5 replicas"):
        TrainConfig(steps=1, global_batch_size=12).global_batch(5)
