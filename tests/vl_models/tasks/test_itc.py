import math

import numpy as np
import pytest
import tensorflow as tf

from tests.vl_models.fusion_systems import gradients_of, images_alone, make_batch, vlmo

ITC = [{"kind": "itc"}]


@pytest.fixture(scope="module")
def model():
    return vlmo(tasks=ITC)


def test_equal_embeddings_lose_the_logarithm_of_the_batch(model):
    batch = make_batch()
    losses = model.collapsed_losses(batch, model.forward(batch, training=True))
    np.testing.assert_allclose(losses["itc"], math.log(4), rtol=1e-6)


def test_the_loss_is_the_mean_of_both_branches(model):
    batch = make_batch()
    outputs = model.forward(batch, training=True)
    pairs = (("image_embedding", "text_embedding"),)
    pairs += (("pair_image_embedding", "pair_text_embedding"),)
    expected = []
    for image, text in pairs:
        logits = tf.matmul(outputs[image], outputs[text], transpose_b=True) / 0.07
        rows = tf.range(4)
        both = (logits, tf.transpose(logits))
        ways = [tf.nn.sparse_softmax_cross_entropy_with_logits(rows, way) for way in both]
        expected.append(np.mean(ways))
    np.testing.assert_allclose(model.losses(batch, outputs)["itc"], np.mean(expected), rtol=1e-5)
    assert expected[0] != pytest.approx(expected[1])


def test_an_encoder_without_experts_of_pairs_has_one_branch():
    plain = vlmo(tasks=ITC, pair_from=4)
    outputs = plain.forward(make_batch(), training=True)
    assert "image_embedding" in outputs and "pair_image_embedding" not in outputs


def test_images_do_not_see_the_experts_of_texts(model):
    batch = make_batch()
    with tf.GradientTape() as tape:
        embedding = model.encode_image(batch)
        total = tf.reduce_sum(embedding[:, 0])
    values = [variable.value for variable in model.trainable_variables]
    found = tape.gradient(total, values)
    for variable, gradient in zip(model.trainable_variables, found):
        if "text" in variable.path or "pair_" in variable.path:
            assert gradient is None or not np.any(gradient), variable.path
    np.testing.assert_allclose(embedding, model.encode_image(images_alone(batch)), atol=1e-6)


def test_the_shared_attention_learns_from_both_sides(model):
    found = gradients_of(model, make_batch(), "itc")
    for index in range(4):
        assert np.any(found[f"encoder/block_{index}/attention/qkv/kernel"])
        assert np.any(found[f"encoder/block_{index}/text_mlp_hidden/kernel"])
        assert np.any(found[f"encoder/block_{index}/image_mlp_hidden/kernel"])
    assert np.any(found["encoder/block_2/pair_mlp_hidden/kernel"])


@pytest.mark.parametrize(("maximum", "expected"), [(100.0, 0.01), (None, 0.001)])
def test_the_temperature_is_bounded_unless_asked_otherwise(maximum, expected):
    model = vlmo(tasks=[{"kind": "itc", "maximum_scale": maximum}])
    model.tasks[0].own["temperature"].log_scale.assign(math.log(1000.0))
    model.after_update()
    np.testing.assert_allclose(model.scalars()["temperature"], expected, rtol=1e-5)


def test_several_texts_of_an_image_are_all_contrasted(model):
    batch = make_batch()
    double = {**batch, **{key: tf.repeat(batch[key], 2, 0) for key in ("token_ids", "text_mask")}}
    double["query_hash"] = tf.repeat(batch["query_hash"], 2)
    outputs = model.forward(double, training=True)
    assert outputs["text_embedding"].shape == (8, 16)
    np.testing.assert_allclose(outputs["text_embedding"][0], outputs["text_embedding"][1])
