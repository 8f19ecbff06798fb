"""What each system says that its losses are for equal embeddings, beside its losses of those."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tests.vl_models.tiny_systems import make_batch, make_config
from vl_models.losses.collapsed import with_equal_logits, with_mean_embeddings
from vl_models.models.base import VisionLanguageModel
from vl_models.models.registry import build_model, model_class, model_config_from_dict

UNIT = np.eye(8, dtype=np.float32)


def rows_of(vector, rows):
    return tf.tile(tf.constant(vector)[None], [rows, 1])


def random_units(rows, seed):
    values = np.random.default_rng(seed).normal(size=(rows, 8))
    return tf.math.l2_normalize(tf.constant(values, tf.float32), axis=1)


def unrelated(rows=4, texts_per_image=1):
    """A batch without a known positive beside its pairs."""
    batch = make_batch(rows, texts_per_image)
    texts = rows * texts_per_image
    return batch | {
        "query_hash": tf.range(100, 100 + texts, dtype=tf.int64),
        "clicked_query_hashes": tf.fill([rows, 2], tf.constant(-1, tf.int64)),
    }


def both(model, batch, equal, other):
    """The losses of equal embeddings, and what the model says of them beside other outputs."""
    losses, said = model.own_losses(batch, equal), model.collapsed_losses(batch, other)
    assert losses.keys() == said.keys()
    return {name: (float(losses[name]), float(said[name])) for name in said}


@pytest.mark.parametrize(
    ("system", "changes", "value"),
    [
        ("clip", {}, math.log(4)),
        ("clip", {"label_smoothing": 0.1, "gather": "local"}, math.log(4)),
        ("align", {"direction_sum": True, "project_image": True}, 2 * math.log(4)),
        ("unicl", {}, math.log(4)),
        ("prefix_conditioning", {"sources": ["a", "b"], "test_prefix": "a"}, math.log(4)),
    ],
)
def test_a_softmax_collapses_to_ln_of_the_batch(system, changes, value):
    model = build_model(make_config(system, **changes))
    equal = {"image_embedding": rows_of(UNIT[0], 4), "text_embedding": rows_of(UNIT[0], 4)}
    other = {"image_embedding": random_units(4, 1), "text_embedding": random_units(4, 2)}
    [(loss, said)] = both(model, unrelated(), equal, other).values()
    assert loss == pytest.approx(value, rel=1e-5) and said == pytest.approx(value, rel=1e-5)


def test_several_texts_and_known_positives_are_counted_as_the_loss_does():
    batch = make_batch(texts_per_image=2)
    other = {"image_embedding": random_units(4, 1), "text_embedding": random_units(8, 2)}
    equal = {"image_embedding": rows_of(UNIT[0], 4), "text_embedding": rows_of(UNIT[0], 8)}
    values = {}
    for mode in ("pairs", "uniform", "hide"):
        model = build_model(make_config("clip", positives=mode))
        loss, said = both(model, batch, equal, other)["contrastive"]
        assert said == pytest.approx(loss, rel=1e-5)
        values[mode] = said
    assert values["pairs"] == pytest.approx((math.log(8) + math.log(4)) / 2, rel=1e-5)
    assert values["uniform"] == pytest.approx(values["pairs"], rel=1e-5)
    assert values["hide"] < values["pairs"] - 0.1  # known positives are no candidates


def test_weights_and_the_sampling_correction_are_in_it():
    model = build_model(make_config("clip", correct_sampling=True, weigh_queries=True))
    equal = {"image_embedding": rows_of(UNIT[0], 4), "text_embedding": rows_of(UNIT[0], 4)}
    other = {"image_embedding": random_units(4, 1), "text_embedding": random_units(4, 2)}
    loss, said = both(model, unrelated(), equal, other)["contrastive"]
    assert said == pytest.approx(loss, rel=1e-5) and abs(said - math.log(4)) > 0.01


@pytest.mark.parametrize("cosine", [1.0, 0.0])
def test_siglip_collapses_to_its_scale_and_bias(cosine):
    model = build_model(make_config("siglip", initial_bias=-4.0, positives="pairs"))
    text = UNIT[0] if cosine else UNIT[1]
    equal = {"image_embedding": rows_of(UNIT[0], 4), "text_embedding": rows_of(text, 4)}
    loss, said = both(model, unrelated(), equal, equal)["sigmoid"]
    logit = 10.0 * cosine - 4.0
    value = np.logaddexp(0, -logit) + 3 * np.logaddexp(0, logit)
    assert loss == pytest.approx(value, rel=1e-5) and said == pytest.approx(value, rel=1e-5)


def test_moco_collapses_to_ln_of_one_and_the_filled_queue():
    image = {"kind": "vit", "patch_size": 8, "width": 8, "depth": 1, "heads": 2}
    config = {"image": image, "image_size": 16, "embedding_dim": 8, "queue_size": 16}
    model = build_model(model_config_from_dict({"system": "moco", "warm_up": "masked", **config}))
    batch = unrelated()
    equal = {
        "image_embedding": rows_of(UNIT[0], 4),
        "image_2_key_embedding": rows_of(UNIT[0], 4),
    }
    other = {**equal, "image_embedding": random_units(4, 1)}
    assert both(model, batch, equal, other)["contrastive"] == (0.0, 0.0)
    model.queue.enqueue(
        rows_of(UNIT[0], 6), tf.range(50, 56, dtype=tf.int64), tf.fill([6, 1], np.int64(-1))
    )
    for found in both(model, batch, equal, other)["contrastive"]:
        assert found == pytest.approx(math.log(1 + 6), rel=1e-5)


@pytest.mark.parametrize("changes", [{}, {"label_smoothing": 0.1}, {"neighbours": 1}])
def test_wenlan_collapses_to_ln_of_one_and_its_queues(changes):
    model = build_model(make_config("wenlan", queue_size=16, warm_up="random", **changes))
    for queue in (model.queues.image, model.queues.text):
        queue.features.assign(rows_of(UNIT[0], 16))
    names = ("image_embedding", "text_embedding", "image_key_embedding", "text_key_embedding")
    equal = {name: rows_of(UNIT[0], 4) for name in names}
    queries = {"image_embedding": random_units(4, 1), "text_embedding": random_units(4, 2)}
    found = both(model, unrelated(), equal, {**equal, **queries})
    assert found.keys() == {"image_to_text", "text_to_image"}
    for loss, said in found.values():
        assert said == pytest.approx(loss, rel=1e-5)
        if "neighbours" not in changes:
            assert said == pytest.approx(math.log(1 + 16), rel=1e-5)


@pytest.mark.parametrize("system", ["acmr", "dscmr", "ssah", "tfnh", "ucal"])
def test_common_spaces_have_no_such_value(system):
    of_base = VisionLanguageModel.own_collapsed_losses
    assert model_class(system).own_collapsed_losses is of_base


def test_tasks_add_theirs_and_images_alone_have_none():
    model = build_model(make_config("clip", tasks=[{"kind": "pair_margin"}]))
    other = {"image_embedding": random_units(4, 1), "text_embedding": random_units(4, 2)}
    assert model.collapsed_losses(unrelated(), other).keys() == {"contrastive"}
    model.tasks[0].collapsed_losses = lambda batch, outputs: {"pair_margin": tf.constant(0.5)}
    assert float(model.collapsed_losses(unrelated(), other)["pair_margin"]) == 0.5
    assert model.own_collapsed_losses(unrelated(), {"image_embedding": random_units(4, 1)}) == {}


def test_other_outputs_stay():
    outputs = {"image_embedding": random_units(3, 1), "hidden": tf.ones([2])}
    zeros, means = with_equal_logits(outputs), with_mean_embeddings(outputs)
    assert zeros["hidden"] is outputs["hidden"] and means["hidden"] is outputs["hidden"]
    np.testing.assert_array_equal(zeros["image_embedding"], np.zeros((3, 8)))
    mean = np.mean(outputs["image_embedding"], axis=0)
    np.testing.assert_allclose(means["image_embedding"], [mean] * 3, rtol=1e-6)
