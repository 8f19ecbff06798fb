"""VLMo's three stages, images, texts, pairs: what each changes, and going on after a kill."""

import numpy as np
import pytest
import tiny
import tiny_systems
from processes import assert_same_run, curves

from tests.vl_models.tasks.test_mim import write_tokenizer
from vl_models.models.registry import create_model, model_config_from_dict
from vl_models.training.checkpoint import load_checkpoint
from vl_models.training.config import TrainConfig
from vl_models.training.patterns import matches
from vl_models.training.trainer import Trainer

# The step of three stages is compiled anew each time.
pytestmark = pytest.mark.slow

STEPS = 3  # of each stage
SIZE = 16
TEXTS = (
    "text_embedding/*",
    "text_type/*",
    "encoder/block_*/text_*",
    "encoder/position_bias/text_table",
)
TEXTS += ("encoder/norm_after/*", "mlm_*")
STAGES = [
    ("images", {"mim": 1.0}, ("*",)),
    ("texts", {"mlm": 4.0}, TEXTS),
    ("pairs", {"itc": 1.0, "itm": 1.0, "mlm": 1.0}, ("*",)),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Record files and a tokeniser."""
    folder = tmp_path_factory.mktemp("stages")
    pattern = tiny.write_records(folder / "records", shards=2, per_shard=6)
    return pattern, write_tokenizer(folder / "codes", SIZE)


def make_trainer(run_dir, places, strategy, kill_at=None):
    pattern, tokenizer = places
    values = tiny_systems.SYSTEMS["vlmo"]
    values = {
        **values,
        "image_size": SIZE,
        "patch_size": 8,
        "tasks": [{"kind": "mim", "tokenizer": tokenizer}, *values["tasks"]],
    }
    stages = [
        {
            "name": name,
            "steps": STEPS,
            "phases": [{"sources": [name], "losses": losses, "variables": variables}],
        }
        for name, losses, variables in STAGES
    ]
    hooks = [{"name": "kill", "every": 1}]
    settings = tiny_systems.settings(
        steps=None, stages=stages, hooks=hooks, checkpoint_every=1, keep=20, deterministic=True
    )
    sources = [
        tiny.source(pattern, name, image_size=SIZE, text_fn=tiny.tokenize_words, rows=name)
        for name, _, _ in STAGES
    ]

    def kill(step, model):
        if step == kill_at:
            raise Killed
        return {}

    return Trainer(
        lambda: create_model(model_config_from_dict(values)),
        TrainConfig.model_validate(settings),
        run_dir,
        strategy,
        sources,
        {"kill": kill},
    )


class Killed(Exception):
    """Stands for the end of a process."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory, strategies, places):
    folder = tmp_path_factory.mktemp("whole")
    assert make_trainer(folder, places, strategies[1]).fit().step == 3 * STEPS
    return folder


def weights(run, step):
    return load_checkpoint(run / "checkpoints" / f"step-{step:010d}").weights


def changed(run, first, last):
    before, after = weights(run, first), weights(run, last)
    return {path for path in before if not np.array_equal(before[path], after[path])}


def test_texts_alone_leave_attention_and_images_as_they_are(whole):
    paths = changed(whole, STEPS, 2 * STEPS)
    assert paths and all(matches(path, TEXTS) for path in paths)
    assert "encoder/block_0/text_mlp_hidden/kernel" in paths
    assert not any("attention" in path or "image" in path for path in paths)


def test_images_alone_teach_nothing_to_the_experts_of_texts_and_pairs(whole):
    paths = changed(whole, 1, STEPS)
    assert "encoder/block_1/image_mlp_hidden/kernel" in paths
    assert "encoder/block_0/attention/qkv/kernel" in paths


def test_each_stage_has_its_own_losses(whole):
    rows = curves(whole)
    for place, (name, losses, _) in enumerate(STAGES):
        for row in rows[place * STEPS : (place + 1) * STEPS]:
            found = {key.split("/")[1] for key in row if key.startswith("loss/")}
            assert set(losses) <= found, name


def test_a_run_that_is_killed_in_each_stage_goes_on_to_the_bit(tmp_path, strategies, places, whole):
    for step in (2, 5, 8):
        with pytest.raises(Killed):
            make_trainer(tmp_path, places, strategies[1], kill_at=step).fit()
    make_trainer(tmp_path, places, strategies[1]).fit()
    assert_same_run(whole, tmp_path, 0)
