import math

import numpy as np
import pytest
import tensorflow as tf

from tests.harness import check_replicas
from vl_models.models.capabilities import EncodesImages, EncodesTexts
from vl_models.models.registry import build_model, model_config_from_dict

VIT = {"kind": "vit", "patch_size": 8, "width": 8, "depth": 1, "heads": 2}
RESNET = {
    "kind": "keras_hub",
    "backbone": "ResNetBackbone",
    "arguments": {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [3],
        "stackwise_num_filters": [64],
        "stackwise_num_blocks": [1],
        "stackwise_num_strides": [1],
        "block_type": "basic_block",
        "image_shape": [16, 16, 3],
    },
}


def make_model(**changes):
    config = {
        "system": "moco",
        "embedding_dim": 8,
        "image": VIT,
        "image_size": 16,
        "queue_size": 16,
        "momentum": 0.9,
        "warm_up": "random",
        **changes,
    }
    return build_model(model_config_from_dict(config))


def make_batch(rows=4, seed=7):
    random = np.random.default_rng(seed)
    views = random.integers(0, 256, (2, rows, 16, 16, 3))
    return {
        "image": tf.constant(views[0], tf.uint8),
        "image_2": tf.constant(views[1], tf.uint8),
        "image_id_hash": tf.constant(random.integers(0, 100, rows)),
        "seed": tf.constant(random.integers(0, 1000, (rows, 2)), tf.int32),
    }


def loss(model, batch, training=True):
    return model.losses(batch, model.forward(batch, training))["contrastive"]


def test_replicas_agree():
    check_replicas(make_model, make_batch())


def test_config_round_trip_and_embeddings_bit_equal():
    model = make_model()
    clone = build_model(model_config_from_dict(model.get_config()))
    assert clone.get_config() == model.get_config()
    for source, target in zip(model.variables, clone.variables, strict=True):
        assert source.path == target.path
        target.assign(source)
    batch = make_batch()
    np.testing.assert_array_equal(clone.encode_image(batch), model.encode_image(batch))
    np.testing.assert_array_equal(loss(clone, batch), loss(model, batch))
    np.testing.assert_allclose(np.linalg.norm(model.encode_image(batch), axis=1), 1.0, atol=1e-5)


def test_zero_queue_and_orthogonal_pair_lose_ln_of_the_classes(golden):
    model = make_model(queue_size=7, temperature=0.07)
    model.queue.features.assign(np.zeros([7, 8]))
    unit = np.eye(8, dtype=np.float32)
    outputs = {
        "image_embedding": tf.constant(unit[:4]),
        "image_2_key_embedding": tf.constant(unit[4:]),
    }
    found = model.losses(make_batch(), outputs)["contrastive"]
    np.testing.assert_allclose(found, golden["moco"]["ln8"], atol=1e-6)


def test_published_temperatures_and_heads():
    v2 = make_model()
    assert float(v2.scalars()["temperature"]) == pytest.approx(0.2)
    v1 = make_model(head="linear", temperature=0.07)
    heads = [
        {v.path for v in model.variables if v.path.startswith("image_projection/")}
        for model in (v1, v2)
    ]
    assert heads[0] == {"image_projection/output/kernel", "image_projection/output/bias"}
    assert heads[1] - heads[0] == {
        "image_projection/hidden/kernel",
        "image_projection/hidden/bias",
    }


def test_equal_views_have_the_cosine_one_before_any_update():
    model = make_model()
    batch = make_batch()
    outputs = model.forward(batch | {"image_2": batch["image"]}, training=False)
    cosines = tf.reduce_sum(outputs["image_embedding"] * outputs["image_2_key_embedding"], axis=1)
    np.testing.assert_allclose(cosines, 1.0, atol=1e-5)


def test_no_gradient_reaches_the_twin_or_the_queue():
    model = make_model()
    trained = {v.path for v in model.trainable_variables}
    assert trained and not any("momentum" in p or p.startswith("queue") for p in trained)
    state = [v.value for v in model.variables if v.path not in trained and v.dtype == "float32"]
    with tf.GradientTape() as tape:
        tape.watch(state)
        value = loss(model, make_batch())
    assert tape.gradient(value, state) == [None] * len(state)


def test_loss_uses_the_queue_of_before_the_batch():
    model = make_model(mask_known=False)
    first, second = make_batch(seed=1), make_batch(seed=2)
    for batch in (first, second):
        saved = model.queue.features.numpy()
        outputs = model.forward(batch, training=True)
        found = model.losses(batch, outputs)["contrastive"]
        model.after_step(batch, outputs)
        query = outputs["image_embedding"].numpy()
        key = outputs["image_2_key_embedding"].numpy()
        logits = np.concatenate([np.sum(query * key, 1, keepdims=True), query @ saved.T], 1) / 0.2
        expected = np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[:, 0])
        # Logits of up to 5 are rounded to 2e-7.
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6)
    np.testing.assert_array_equal(model.queue.features.numpy()[4:8], key)
    np.testing.assert_array_equal(model.queue.image_id_hash.numpy()[4:8], second["image_id_hash"])
    assert int(model.queue.pointer.numpy()) == 8


def test_entries_of_the_same_image_are_no_negatives():
    batch = make_batch()
    model = make_model(warm_up="masked", temperature=1.0)
    np.testing.assert_allclose(loss(model, batch), 0.0, atol=1e-6)  # the queue is empty
    model.after_step(batch, model.forward(batch, training=True))
    model.queue.image_id_hash.assign(tf.fill([16], tf.cast(batch["image_id_hash"][0], tf.int64)))
    one = {key: value[:1] for key, value in batch.items()}
    np.testing.assert_allclose(loss(model, one), 0.0, atol=1e-6)
    other = one | {"image_id_hash": one["image_id_hash"] + 1}
    # Cosines differ by two at most: each of the four entries counts as much as e^-2.
    assert float(loss(model, other)) >= math.log1p(4 * math.exp(-2))


def test_shuffled_batch_normalisation_of_two_replicas_is_that_of_two_virtual_devices():
    batch = make_batch(rows=8)
    single = make_model(image=RESNET, virtual_devices=2)
    plain = make_model(image=RESNET)
    for source, target in zip(single.variables, plain.variables, strict=True):
        target.assign(source)
    grouped, whole = (m.forward(batch, training=True) for m in (single, plain))
    for name in grouped:
        assert np.abs(grouped[name] - whole[name]).max() > 1e-3, name

    def model():
        """One replica splits its batch, two have it split."""
        divided = tf.distribute.get_strategy().num_replicas_in_sync == 2
        return make_model(image=RESNET, virtual_devices=1 if divided else 2)

    check_replicas(model, batch)


def test_a_batch_without_second_view_has_no_loss_and_leaves_the_queue_alone():
    model = make_model()
    batch = {"image": make_batch()["image"]}
    outputs = model.forward(batch, training=True)
    assert model.losses(batch, outputs) == {}
    model.after_step(batch, outputs)
    assert int(model.queue.passes.numpy()) == 0
    keyless = {key: make_batch()[key] for key in ("image", "image_2")}
    model.after_step(keyless, model.forward(keyless, training=True))
    np.testing.assert_array_equal(model.queue.image_id_hash.numpy(), -1)


def test_twin_follows_after_an_update_and_after_a_warm_start():
    model = make_model()
    variables = {v.path: v for v in model.variables}
    query, key = (variables[p + "image_projection/output/bias"] for p in ("", "momentum_"))
    query.assign(np.ones(8))
    model.after_update()
    np.testing.assert_allclose(key, 0.1, rtol=1e-5)
    model.after_warm_start([query.path])
    np.testing.assert_array_equal(key, query)
    scalars = {name: float(value) for name, value in model.scalars().items()}
    assert scalars["momentum"] == pytest.approx(0.9)
    assert scalars["queue/age"] == scalars["queue/filled_share"] == 0.0


def test_there_is_no_text_tower():
    model = make_model()
    assert model.inputs == ("image", "image_2")
    assert isinstance(model, EncodesImages) and not isinstance(model, EncodesTexts)


def test_initial_loss_is_about_ln_of_the_classes():
    model = make_model(queue_size=500, temperature=100.0)
    # Cosines differ by two at most, and logits by two hundredths.
    assert float(loss(model, make_batch())) == pytest.approx(math.log(501), abs=0.02)
