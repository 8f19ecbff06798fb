import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_model_test
from tests.vl_models.tiny_systems import (
    TOKENIZER,
    copy_weights,
    make_batch,
    make_config,
    pair_losses,
)
from vl_models.models.registry import build_model

PUBLISHED = {
    "embedding_dim": 16,
    "text": {"kind": "transformer", "width": 16, "depth": 2, "heads": 2, "pooling": "cls"},
}


def test_align_satisfies_the_model_contract(tmp_path):
    config = make_config("align", **PUBLISHED)
    batch = make_batch(texts_per_image=2)
    run_model_test(lambda: build_model(config), batch, dim=16, tokenizer=TOKENIZER, folder=tmp_path)


@pytest.mark.parametrize(("name", "direction_sum"), [("sum_i2t_t2i", True), ("mean", False)])
def test_golden_values(golden, name, direction_sum):
    unnormalised = golden["clip"]
    image, text = (
        tf.math.l2_normalize(tf.constant(unnormalised[key], tf.float32), axis=1)
        for key in ("I_unnorm", "T_unnorm")
    )
    model = build_model(make_config("align", **PUBLISHED, direction_sum=direction_sum))
    loss = pair_losses(model, {}, image, text)["contrastive"]
    np.testing.assert_allclose(loss, golden["align"][f"sigma1_ls0.1_{name}"], rtol=1e-6)


def test_without_smoothing_the_sum_is_twice_the_loss_of_clip():
    align = build_model(
        make_config("align", project_image=True, label_smoothing=0.0, initial_temperature=0.1)
    )
    clip = build_model(make_config("clip", initial_temperature=0.1))
    copy_weights(align, clip)
    batch = make_batch()
    twice = align.losses(batch, align.forward(batch, True))["contrastive"]
    np.testing.assert_allclose(
        twice, 2.0 * clip.losses(batch, clip.forward(batch, True))["contrastive"], rtol=1e-5
    )


def test_image_side_has_no_projection_as_published():
    paths = {variable.path for variable in build_model(make_config("align", **PUBLISHED)).variables}
    assert "text_projection/kernel" in paths
    assert not any(path.startswith("image_projection") for path in paths)


def test_width_of_the_image_encoder_is_that_of_the_embedding():
    with pytest.raises(ValueError, match=r"width of the image encoder, 16.*embedding_dim=8"):
        build_model(make_config("align"))


def test_temperature_divides_and_stays_positive():
    model = build_model(make_config("align", **PUBLISHED))
    model.temperature.sigma.assign(0.5)
    np.testing.assert_allclose(model.logit_scale(), 2.0)
    model.temperature.sigma.assign(-3.0)
    model.after_update()
    np.testing.assert_allclose(model.scalars()["temperature"], 1e-3, rtol=1e-6)
