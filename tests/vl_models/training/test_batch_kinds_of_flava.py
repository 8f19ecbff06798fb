"""FLAVA's three kinds of batch, which take turns: on two replicas, and after a kill."""

import pytest
import tiny
import tiny_systems
from processes import assert_same_run, curves

from tests.vl_models.tasks.test_mim import write_tokenizer
from vl_models.models.registry import create_model, model_config_from_dict
from vl_models.training.config import TrainConfig
from vl_models.training.trainer import Trainer

# The step of each kind of batch is compiled anew each time.
pytestmark = pytest.mark.slow

SIZE, STEPS, KILLED_AT = 16, 6, 4
ROWS = ("pairs", "images", "texts")


class Killed(Exception):
    """Stands for the end of a process."""


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Record files and a tokeniser."""
    folder = tmp_path_factory.mktemp("kinds")
    pattern = tiny.write_records(folder / "records", shards=2, per_shard=6)
    return pattern, write_tokenizer(folder / "codes", SIZE)


def make_trainer(run_dir, places, strategy, kill_at=None):
    pattern, tokenizer = places
    values = {
        "system": "flava",
        "image_size": SIZE,
        "patch_size": 8,
        "max_length": tiny.LENGTH,
        "vocabulary_size": tiny.VOCABULARY,
        "mask_id": 1,
        "width": 8,
        "depth": 1,
        "multimodal_depth": 1,
        "heads": 1,
        "dropout": 0.1,
        "negative_share": 0.5,
        "tasks": [
            {"kind": "itc", "bias": True},
            {"kind": "mmm", "tokenizer": tokenizer},
            {"kind": "itm", "negatives": "hard"},
            {"kind": "mim", "tokenizer": tokenizer, "on_pairs": False},
            {"kind": "mlm", "on_pairs": False},
        ],
    }
    hooks = [{"name": "kill", "every": 1}]
    settings = tiny_systems.settings(
        steps=STEPS, hooks=hooks, checkpoint_every=2, keep=20, deterministic=True
    )

    def kill(step, model):
        if step == kill_at:
            raise Killed
        return {}

    sources = [
        tiny.source(pattern, rows, image_size=SIZE, text_fn=tiny.tokenize_words, rows=rows)
        for rows in ROWS
    ]
    return Trainer(
        lambda: create_model(model_config_from_dict(values)),
        TrainConfig.model_validate(settings),
        run_dir,
        strategy,
        sources,
        {"kill": kill},
        "round_robin",
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory, strategies, places):
    folder = tmp_path_factory.mktemp("whole")
    make_trainer(folder, places, strategies[1]).fit()
    return folder


def test_kinds_take_turns_and_have_their_own_losses(whole):
    losses = [{key for key in row if key.startswith("loss/")} for row in curves(whole)]
    pairs = {"loss/itc", "loss/mmm_text", "loss/mmm_image", "loss/itm"}
    assert losses == 2 * [pairs, {"loss/mim"}, {"loss/mlm"}]


def test_two_replicas_equal_one(whole, tmp_path, strategies, places):
    make_trainer(tmp_path / "two", places, strategies[2]).fit()
    assert_same_run(whole, tmp_path / "two", 1e-5)


def test_a_killed_run_goes_on_with_the_kind_whose_turn_it_is(whole, tmp_path, strategies, places):
    with pytest.raises(Killed):
        make_trainer(tmp_path / "run", places, strategies[1], kill_at=KILLED_AT + 1).fit()
    make_trainer(tmp_path / "run", places, strategies[1]).fit()
    assert_same_run(whole, tmp_path / "run", 0)
