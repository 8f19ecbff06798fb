"""Whether a run says that it collapsed: real runs that do, and one that does not."""

import json
import math

import pytest
import tiny
from tiny_systems import make_trainer

from vl_models.training.ending import Ending, EndingLoss

# Every step halves all kernels: only biases are left, the same for all rows.
COLLAPSES = {
    **{"optimizer": "sgd", "learning_rate": 0.5, "weight_decay": 1.0},
    **{"steps": 30, "warmup_steps": 0, "decay": "constant"},
}
LEARNS = {"learning_rate": 0.01, "steps": 60, "warmup_steps": 5}
# Four images, eight texts.
EQUAL = (math.log(4) + math.log(8)) / 2


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    return tiny.write_records(tmp_path_factory.mktemp("records"), shards=3, per_shard=7)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_run_that_collapses_is_called_so(tmp_path, strategies, pattern, caplog, accumulation):
    changes = {**COLLAPSES, "accumulation_steps": accumulation}
    result = make_trainer("clip", tmp_path, pattern, strategies[1], **changes).fit()

    loss = result.ending.losses["contrastive"]
    assert result.ending.collapsed and loss.equal_embeddings == pytest.approx(EQUAL, rel=1e-5)
    assert loss.loss == pytest.approx(EQUAL, rel=0.01)
    content = json.loads((tmp_path / "ending.json").read_text(encoding="utf-8"))
    assert (content["step"], content["collapsed"]) == (30, True)
    assert content["losses"]["contrastive"]["collapsed"] is True
    # TensorFlow may warn, too: of functions that other tests have traced.
    own = [record for record in caplog.records if record.name.startswith("vl_models")]
    [warning] = [record for record in own if record.levelname == "WARNING"]
    assert warning.getMessage() == (
        f"The run ended collapsed: contrastive {loss.loss:.4g} (equal embeddings: 1.733): it "
        "learnt to tell nothing apart. Train anew with a longer warm-up (train.warmup_steps) or a "
        "smaller train.learning_rate."
    )
    assert "collapsed/contrastive" not in (tmp_path / "history.jsonl").read_text(encoding="utf-8")


def test_a_run_that_learns_is_not(tmp_path, strategies, pattern, caplog):
    result = make_trainer("clip", tmp_path, pattern, strategies[1], **LEARNS).fit()

    content = json.loads((tmp_path / "ending.json").read_text(encoding="utf-8"))
    assert (content["step"], content["collapsed"]) == (60, False)
    assert content["losses"]["contrastive"]["loss"] < EQUAL - 0.3
    assert Ending.read(tmp_path) == result.ending and result.ending.describe() == ""
    assert "collapsed" not in caplog.text


def test_two_replicas_say_the_same(tmp_path, strategies, pattern):
    endings = [
        make_trainer("wenlan", tmp_path / str(n), pattern, strategies[n]).fit().ending
        for n in (1, 2)
    ]
    for name in ("image_to_text", "text_to_image"):
        one, two = (ending.losses[name] for ending in endings)
        assert two.equal_embeddings == pytest.approx(one.equal_embeddings, rel=1e-5)
        assert two.loss == pytest.approx(one.loss, rel=1e-4)


def test_a_run_that_ended_keeps_its_ending_and_a_longer_one_gets_another(
    tmp_path, strategies, pattern
):
    first = make_trainer("clip", tmp_path, pattern, strategies[1]).fit().ending
    assert make_trainer("clip", tmp_path, pattern, strategies[1]).fit().ending == first
    longer = make_trainer("clip", tmp_path, pattern, strategies[1], steps=7).fit().ending
    assert (first.step, longer.step) == (5, 7) and Ending.read(tmp_path) == longer


def test_the_last_ten_steps_count_each_beside_its_own_batch():
    results = [
        {"loss/a": 1.0, "collapsed/a": 3.0, "loss/b": 9.0},
        {"loss/c": 2.0, "collapsed/c": 2.0},
        {"loss/a": 2.0, "collapsed/a": 5.0, "gradient_norm": 1.0},
    ]
    ending = Ending.of_steps(8, results)
    assert ending.losses == {"a": EndingLoss(1.5, 4.0), "c": EndingLoss(2.0, 2.0)}
    assert ending.describe() == "collapsed: c 2 (equal embeddings: 2)"


@pytest.mark.parametrize(
    ("loss", "equal", "collapsed"),
    [(0.991, 1.0, True), (1.009, 1.0, True), (0.98, 1.0, False), (1.02, 1.0, False), (0, 0, False)],
)
def test_one_per_cent_is_the_bound_and_nothing_is_no_collapse(loss, equal, collapsed):
    assert EndingLoss(loss, equal).collapsed is collapsed
