import math

import numpy as np
import pytest
import tensorflow as tf

from tests.harness import check_replicas, run_model_test
from tests.vl_models.tiny_systems import TOKENIZER, copy_weights, make_batch, make_config
from vl_models.errors import UserError
from vl_models.export import export_members
from vl_models.losses.contrastive import multi_positive_cross_entropy
from vl_models.models.registry import build_model

TOWERS = {
    "image": {"kind": "vit", "patch_size": 8, "width": 8, "depth": 1, "heads": 2},
    "text": {"kind": "transformer", "width": 8, "depth": 1, "heads": 2},
}
STATE = {"queue_size": 16, "momentum": 0.9, "warm_up": "random"}
UNIT = np.eye(8, dtype=np.float32)
KEYS = ("image_id_hash", "query_hash", "clicked_query_hashes")


def make_model(**changes):
    return build_model(make_config("wenlan", **{**TOWERS, **STATE, **changes}))


def embeddings(image, text, image_key, text_key):
    names = ("image_embedding", "text_embedding", "image_key_embedding", "text_key_embedding")
    return dict(zip(names, (image, text, image_key, text_key), strict=True))


def random_unit(shape, seed):
    x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return tf.constant(x / np.linalg.norm(x, axis=-1, keepdims=True))


def fill(queue, vector):
    queue.features.assign(np.tile(np.asarray(vector, np.float32), [queue.size, 1]))


def losses(model, batch, training=True):
    found = model.losses(batch, model.forward(batch, training))
    return np.array([found["image_to_text"], found["text_to_image"]])


def at_least(negatives):
    """Bound of a loss at temperature 1, where cosines, hence logits, differ by two at most."""
    return math.log1p(negatives * math.exp(-2))


def test_wenlan_satisfies_the_model_contract(tmp_path):
    batch = make_batch(texts_per_image=2)
    run_model_test(make_model, batch, dim=8, tokenizer=TOKENIZER, folder=tmp_path)


def test_every_option_satisfies_the_model_contract():
    def model():
        return make_model(
            projection="linear",
            patch_pooling={"grids": [1, 2], "depth": 1, "heads": 2},
            text_pooling={"depth": 1, "heads": 2},
            learn_temperature=True,
            batch_negatives=True,
            weigh_queries=True,
            neighbours=1,
        )

    paths = {v.path for v in model().variables}
    assert {
        "image_regions/convolution/kernel",
        "image_pooling/block_0/attention/qkv/kernel",
        "text_pooling/block_0/mlp_norm/gamma",
        "momentum_image_regions/convolution/kernel",
        "momentum_image_pooling/block_0/attention/qkv/kernel",
        "momentum_text_encoder/token_embedding",
        "image_queue/features",
        "text_queue/pointer",
        "temperature/log_scale",
    } <= paths
    check_replicas(model, make_batch())


def test_zero_queues_and_orthogonal_pairs_lose_twice_ln_of_the_classes():
    model = make_model()
    for queue in model.queues.layers:
        fill(queue, np.zeros(8))
    outputs = embeddings(UNIT[:2], UNIT[2:4], UNIT[4:6], UNIT[6:8])
    found = model.losses({}, {name: tf.constant(x) for name, x in outputs.items()})
    np.testing.assert_allclose(sum(found.values()), 2 * math.log(1 + 16), rtol=1e-6)


def test_image_queries_meet_text_keys_and_text_queries_image_keys():
    model = make_model(temperature=1.0)
    fill(model.queues.text, UNIT[0])
    fill(model.queues.image, UNIT[1])

    def loss(image, text, image_key, text_key):
        one = embeddings(*(tf.constant(UNIT[[i]]) for i in (image, text, image_key, text_key)))
        return {name: float(value) for name, value in model.losses({}, one).items()}

    met, unmet = math.log(1 + 16 * math.e), math.log(1 + 16)
    tagged = loss(image=0, text=1, image_key=4, text_key=5)
    assert tagged == pytest.approx({"image_to_text": met, "text_to_image": met}, rel=1e-6)
    crossed = loss(image=1, text=0, image_key=4, text_key=5)
    assert crossed == pytest.approx({"image_to_text": unmet, "text_to_image": unmet}, rel=1e-6)
    # The positive of an image is its text's key, that of a text its image's.
    own = loss(image=2, text=3, image_key=2, text_key=3)
    assert own == pytest.approx({"image_to_text": unmet, "text_to_image": unmet}, rel=1e-6)
    paired = loss(image=2, text=3, image_key=3, text_key=2)
    near = math.log(1 + 16 / math.e)
    assert paired == pytest.approx({"image_to_text": near, "text_to_image": near}, rel=1e-6)


def test_queues_get_the_keys_of_their_own_modality():
    model = make_model()
    batch = make_batch(texts_per_image=2)
    outputs = model.forward(batch, training=True)
    before = model.queues.image.features.numpy()
    model.after_step(batch, outputs)
    images, texts = model.queues.image, model.queues.text
    np.testing.assert_array_equal(images.features.numpy()[:4], outputs["image_key_embedding"])
    np.testing.assert_array_equal(texts.features.numpy()[:8], outputs["text_key_embedding"])
    np.testing.assert_array_equal(images.features.numpy()[4:], before[4:])
    assert (int(images.pointer.numpy()), int(texts.pointer.numpy())) == (4, 8)
    single = make_batch()
    model.after_step(single, model.forward(single, training=True))
    assert (int(images.pointer.numpy()), int(texts.pointer.numpy())) == (8, 12)


def test_swapping_the_modalities_swaps_the_losses():
    model = make_model(batch_negatives=True)
    image, text, image_key, text_key = (random_unit([4, 8], seed) for seed in range(4))
    found = model.losses({}, embeddings(image, text, image_key, text_key))
    queues = [queue.features.numpy() for queue in model.queues.layers]
    for queue, features in zip(model.queues.layers, reversed(queues), strict=True):
        queue.features.assign(features)
    swapped = model.losses({}, embeddings(text, image, text_key, image_key))
    np.testing.assert_allclose(found["image_to_text"], swapped["text_to_image"], rtol=1e-6)
    np.testing.assert_allclose(found["text_to_image"], swapped["image_to_text"], rtol=1e-6)
    assert float(found["image_to_text"]) != pytest.approx(float(found["text_to_image"]))


def test_losses_use_the_queues_of_before_the_batch():
    model = make_model(mask_known=False)
    batch = make_batch(texts_per_image=2)
    for _ in range(2):
        images, texts = (queue.features.numpy() for queue in model.queues.layers)
        outputs = model.forward(batch, training=True)
        found = model.losses(batch, outputs)
        model.after_step(batch, outputs)
        q_image, q_text, k_image, k_text = (
            outputs[name].numpy() for name in embeddings(*[None] * 4)
        )
        pairs = ((q_image.repeat(2, 0), k_text, texts), (q_text, k_image.repeat(2, 0), images))
        for name, (query, key, queue) in zip(found, pairs, strict=True):
            positive = np.sum(query * key, axis=1, keepdims=True)
            logits = np.concatenate([positive, query @ queue.T], axis=1) / 0.07
            expected = np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[:, 0])
            # Logits of up to 1 / 0.07 are rounded to 1e-6.
            np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-5, err_msg=name)


def test_no_gradient_reaches_twins_or_queues():
    model = make_model()
    trained = {v.path for v in model.trainable_variables}
    assert trained and not any("momentum" in path or "queue" in path for path in trained)
    state = [v.value for v in model.variables if v.path not in trained and v.dtype == "float32"]
    batch = make_batch()
    with tf.GradientTape() as tape:
        tape.watch(state)
        total = sum(model.losses(batch, model.forward(batch, training=True)).values())
    assert tape.gradient(total, state) == [None] * len(state)


def test_empty_queues_have_no_negatives_unless_random_ones_are_asked_for():
    batch = make_batch()
    np.testing.assert_allclose(losses(make_model(warm_up="masked"), batch), 0.0, atol=1e-6)
    assert np.all(losses(make_model(warm_up="random", temperature=1.0), batch) >= at_least(16))


def test_what_is_known_to_fit_is_no_negative():
    """After one step the queues hold the batch itself."""
    batch = make_batch(texts_per_image=2) | {"query_hash": tf.constant([1, 2] * 4, tf.int64)}
    masked = make_model(warm_up="masked", temperature=1.0)
    published = make_model(warm_up="masked", temperature=1.0, mask_known=False)
    for model in (masked, published):
        model.after_step(batch, model.forward(batch, training=True))
    np.testing.assert_allclose(losses(masked, batch), 0.0, atol=1e-6)
    assert np.all(losses(published, batch) >= [at_least(8), at_least(4)])


def test_other_keys_of_the_batch_become_negatives_if_asked():
    batch = make_batch(texts_per_image=2)
    model = make_model(warm_up="masked", batch_negatives=True, mask_known=False, temperature=0.5)
    outputs = model.forward(batch, training=True)
    found = model.losses(batch, outputs)
    images, keys = outputs["image_embedding"].numpy(), outputs["text_key_embedding"].numpy()
    cosines = images.repeat(2, axis=0) @ keys.T / 0.5
    rows = []
    for text in range(8):
        others = np.arange(8) // 2 != text // 2  # the image's other text is no negative
        rows.append(np.log1p(np.exp(cosines[text, others] - cosines[text, text]).sum()))
    np.testing.assert_allclose(found["image_to_text"], np.mean(rows), rtol=1e-5)
    known = make_model(warm_up="masked", batch_negatives=True)
    copy_weights(model, known)
    same_query = batch | {"query_hash": tf.ones([8], tf.int64)}
    np.testing.assert_allclose(losses(known, same_query), 0.0, atol=1e-6)


def test_known_fits_of_the_batch_become_targets_if_asked():
    """One text per image and an empty queue: UniCL's targets, the keys of momentum encoders."""
    batch = make_batch(texts_per_image=1) | {"query_hash": tf.constant([1, 2, 1, 3], tf.int64)}
    batch["clicked_query_hashes"] = tf.fill([4, 2], tf.constant(-1, tf.int64))
    options = {"warm_up": "masked", "batch_negatives": True, "temperature": 0.5}
    model = make_model(**options, batch_positives=True)
    outputs = model.forward(batch, training=True)
    found = model.losses(batch, outputs)
    hidden = make_model(**options)
    copy_weights(model, hidden)
    found_hidden = hidden.losses(batch, outputs)
    targets = tf.constant([[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]])
    negatives = targets.numpy() == 0
    for name, query, key in (
        ("image_to_text", "image_embedding", "text_key_embedding"),
        ("text_to_image", "text_embedding", "image_key_embedding"),
    ):
        logits = tf.matmul(outputs[query], outputs[key], transpose_b=True) / 0.5
        expected = tf.reduce_mean(multi_positive_cross_entropy(logits, targets))
        np.testing.assert_allclose(found[name], expected, rtol=1e-5)
        against_own = logits.numpy() - np.diag(logits)[:, None]
        alone = np.log1p(np.where(negatives, np.exp(against_own), 0.0).sum(axis=1)).mean()
        np.testing.assert_allclose(found_hidden[name], alone, rtol=1e-5)


@pytest.mark.parametrize(
    "changes", [{}, {"batch_negatives": True, "neighbours": 1}], ids=["alone", "neighbours"]
)
def test_targets_of_the_batch_need_its_keys_and_no_neighbours(changes):
    with pytest.raises(UserError, match="batch_positives"):
        make_model(batch_positives=True, **changes)


def test_clicks_weigh_the_pairs():
    batch = make_batch()
    model = make_model(weigh_queries=True)
    only_first = batch | {"query_weight": tf.constant([2.0, 0.0, 0.0, 0.0])}
    one = {key: value[:1] for key, value in batch.items()}
    # Logits of up to 1 / 0.07 are rounded to 1e-6.
    np.testing.assert_allclose(losses(model, only_first), losses(model, one), rtol=1e-5, atol=1e-5)


def test_mutual_neighbours_are_positives_too():
    model = make_model(neighbours=1, temperature=1.0)
    fill(model.queues.image, UNIT[0])
    fill(model.queues.text, UNIT[0])
    for queue in model.queues.layers:
        features = queue.features.numpy()
        features[3] = UNIT[1]
        queue.features.assign(features)
    near = tf.constant(UNIT[[1]])
    found = model.losses({}, embeddings(near, near, near, near))
    # Class 0 and slot 3 have the logit 1, the 15 other slots 0; both are positives.
    expected = 2 * (math.log(2 * math.e + 15) - 1)
    np.testing.assert_allclose(list(found.values()), expected, rtol=1e-6)
    with pytest.raises(UserError, match=r"Received: 4 images with 8 texts"):
        losses(model, make_batch(texts_per_image=2))


def test_temperature_is_fixed_unless_it_is_learned():
    fixed, learned = make_model(), make_model(learn_temperature=True)
    for model in (fixed, learned):
        np.testing.assert_allclose(model.scalars()["temperature"], 0.07, rtol=1e-6)
    assert not any("temperature" in v.path for v in fixed.variables)
    learned.temperature.log_scale.assign(9.0)
    learned.after_update()
    np.testing.assert_allclose(learned.scalars()["temperature"], 0.01, rtol=1e-6)


def test_twins_follow_after_an_update_and_after_a_warm_start():
    model = make_model()
    variables = {v.path: v for v in model.variables}
    paths = ("image_projection/output/bias", "text_projection/output/bias")
    for path in paths:
        variables[path].assign(np.ones(8))
    for step in range(1, 4):
        model.after_update()
        for path in paths:
            np.testing.assert_allclose(variables["momentum_" + path], 1 - 0.9**step, rtol=1e-5)
    model.after_warm_start([*paths, "momentum_" + paths[1]])
    np.testing.assert_array_equal(variables["momentum_" + paths[0]], 1.0)
    np.testing.assert_allclose(variables["momentum_" + paths[1]], 1 - 0.9**3, rtol=1e-5)


def test_reloaded_state_gives_bit_equal_losses():
    model = make_model()
    batch = make_batch()
    model.after_step(batch, model.forward(batch, training=True))
    clone = make_model()
    copy_weights(model, clone)
    np.testing.assert_array_equal(losses(clone, batch), losses(model, batch))
    for source, target in zip(model.queues.layers, clone.queues.layers, strict=True):
        assert int(target.pointer.numpy()) == int(source.pointer.numpy()) == 4


def test_exports_hold_nothing_of_twins_and_queues(tmp_path):
    model = make_model(queue_size=4096)
    towers = export_members(model, TOKENIZER, tmp_path)
    for tower, layers in (
        ("image_tower", (model.image_encoder, model.image_projection)),
        ("text_tower", (model.text_encoder, model.text_projection)),
    ):
        expected = sorted(tuple(v.shape) for layer in layers for v in layer.variables)
        loaded = tf.saved_model.load(str(towers[tower]))
        held = sorted(tuple(v.shape) for v in loaded.tower_variables)
        assert held == expected
        size = sum(f.stat().st_size for f in (towers[tower] / "variables").iterdir())
        assert size < 4 * sum(np.prod(shape) for shape in expected) + 16384 < 4 * 4096 * 8


def test_one_modality_alone_is_encoded_and_nothing_else_happens():
    model = make_model(temperature=1.0)
    for names in (("image", "image_id_hash"), ("token_ids", "text_mask", "query_hash")):
        batch = {name: make_batch()[name] for name in names}
        outputs = model.forward(batch, training=True)
        assert len(outputs) == 1
        assert model.losses(batch, outputs) == {}
        model.after_step(batch, outputs)
    assert int(model.queues.image.passes.numpy()) == int(model.queues.text.passes.numpy()) == 0
    batch = {key: value for key, value in make_batch().items() if key not in KEYS}
    assert np.all(losses(model, batch) >= at_least(16))
