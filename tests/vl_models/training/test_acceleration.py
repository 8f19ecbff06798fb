"""bfloat16 and XLA: what may differ from float32 without XLA, and what must not."""

import numpy as np
import pytest
import tiny
from processes import assert_same_run, curves
from tiny_systems import DUAL_ENCODERS, SIZE, make_model, make_trainer

from tests.harness import check_export, two_replicas
from vl_models.errors import UserError
from vl_models.input.records import START
from vl_models.input.source import Feed
from vl_models.text.vocabulary import SPECIAL_TOKENS
from vl_models.text.wordpiece import WordPieceTokenizer
from vl_models.training.checkpoint import assign_values, by_path, read_weights

MIXED = {"precision": "mixed_bfloat16"}


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    return tiny.write_records(tmp_path_factory.mktemp("records"), shards=3, per_shard=7)


class Killed(Exception):
    pass


@pytest.mark.gpu
@pytest.mark.parametrize("system", DUAL_ENCODERS)
def test_bfloat16_trains_resumes_and_exports(tmp_path, strategies, pattern, system):
    def run(folder, functions=None, **changes):
        trainer = make_trainer(
            system,
            tmp_path / folder,
            pattern,
            strategies[1],
            model=MIXED,
            functions=functions,
            **changes,
        )
        trainer.fit()
        return trainer.model

    def kill(step, model):
        raise Killed

    model = run("whole")
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    with pytest.raises(Killed):  # after the checkpoint of step 3
        run("killed", {"kill": kill}, hooks=[{"name": "kill", "every": 4}])
    run("killed")
    assert_same_run(tmp_path / "whole", tmp_path / "killed", 1e-5)

    words = [f"word{i}" for i in range(tiny.VOCABULARY - len(SPECIAL_TOKENS))]
    tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, *words], max_length=tiny.LENGTH)
    # Two attentional poolers, without a norm behind them, round more than a mean does.
    tolerance = 0.06 if system == "coca" else 0.02
    check_export(model, tokenizer, tmp_path / "towers", tolerance=tolerance)


@pytest.mark.parametrize("system", DUAL_ENCODERS)
def test_bfloat16_embeds_close_to_float32_after_training(tmp_path, strategies, pattern, system):
    make_trainer(system, tmp_path, pattern, strategies[1], steps=2).fit()
    batch, _ = next(tiny.source(pattern, image_size=SIZE).open(Feed(4), START))
    embeddings = []
    for changes in ({}, MIXED):
        model = make_model(system, **changes)
        model.build()
        assign_values(by_path(model.variables), read_weights(tmp_path), "test")
        embeddings.append((model.encode_image(batch), model.encode_text(batch)))
    for single, mixed in zip(*embeddings):
        np.testing.assert_allclose(single, mixed, atol=0.05)


@pytest.mark.gpu
def test_xla_trains_the_same(tmp_path, strategies, pattern):
    options = {"accumulation_steps": 2, "steps": 3}
    for jit in (False, True):
        make_trainer(
            "clip", tmp_path / str(jit), pattern, strategies[1], jit_compile=jit, **options
        ).fit()
    plain, compiled = curves(tmp_path / "False"), curves(tmp_path / "True")
    for one, two in zip(plain, compiled, strict=True):
        assert one.keys() == two.keys()
        assert one["loss/contrastive"] == pytest.approx(two["loss/contrastive"], rel=1e-5)
        assert one["gradient_norm"] == pytest.approx(two["gradient_norm"], rel=1e-4)


def test_xla_over_several_replicas_is_refused(tmp_path, pattern):
    with pytest.raises(UserError) as error:
        make_trainer("clip", tmp_path, pattern, two_replicas(), jit_compile=True)
    assert str(error.value) == (
        "train.jit_compile works on one device, but this run has 2 replicas: XLA cannot compile a "
        "step whose variables are on several devices. Set train.jit_compile: false, or train on "
        "one device."
    )
