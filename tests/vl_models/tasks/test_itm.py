import numpy as np
import pytest
import tensorflow as tf

from tests.vl_models.fusion_systems import (
    CNN,
    images_alone,
    make_batch,
    texts_alone,
    vilt,
    vlmo,
)
from vl_models.errors import UserError

HARD = [{"kind": "itc"}, {"kind": "itm", "negatives": "hard"}]


@pytest.fixture(scope="module")
def hard():
    return vlmo(tasks=HARD)


def test_three_rows_for_each_pair_of_which_one_matches(hard):
    batch = make_batch()
    outputs = hard.forward(batch, training=True)
    assert outputs["itm_logits"].shape == (12, 2)
    np.testing.assert_array_equal(outputs["itm_labels"], [1] * 4 + [0] * 8)
    texts, images = (outputs[key].numpy().reshape(3, 4) for key in ("itm_texts", "itm_images"))
    own = np.arange(4)
    np.testing.assert_array_equal(texts[:2], [own, own])
    np.testing.assert_array_equal(images[[0, 2]], [own, own])
    assert np.all(images[1] != own) and np.all(texts[2] != own)


def test_a_row_reads_the_text_and_image_that_it_names(hard):
    batch = make_batch()
    outputs = hard.forward(batch, training=False)
    text, image = (
        tf.gather(batch[key], outputs[name])
        for key, name in (("token_ids", "itm_texts"), ("image", "itm_images"))
    )
    mask = tf.gather(batch["text_mask"], outputs["itm_texts"])
    again = hard.score_pairs({"token_ids": text, "text_mask": mask, "image": image})
    logits = outputs["itm_logits"]
    np.testing.assert_allclose(again, logits[:, 1] - logits[:, 0], atol=1e-5)


def test_images_of_the_same_queries_are_the_negatives_that_clicks_draw():
    model = vilt(depth=1, tasks=[{"kind": "itm", "layout": "triple", "negatives": "similar"}])
    assert model.config.learns_from_click_graph
    batch = make_batch(rows=40)
    # Images 2 i and 2 i + 1 were clicked for the same query, which neither is drawn with.
    clicks = np.full((40, 2), -1, np.int64)
    clicks[:, 0] = 1000 + np.arange(40) // 2
    batch["clicked_query_hashes"] = tf.constant(clicks)
    batch["clicked_query_weight"] = tf.constant([[1.0, 0.0]] * 40)
    outputs = model.forward(batch, training=False)
    texts = outputs["itm_texts"].numpy().reshape(3, 40)[2]
    twin = np.arange(40) ^ 1
    assert (texts == twin).mean() > 0.9  # exp(10) against 38


@pytest.mark.parametrize("known", ["image_id_hash", "query_hash", "clicked_query_hashes"])
def test_what_is_known_to_match_is_never_drawn(hard, known):
    batch = make_batch(rows=3)
    if known == "clicked_query_hashes":
        # The query of row 1 is a known click of image 0.
        clicks = np.full((3, 2), -1, np.int64)
        clicks[0, 0] = batch["query_hash"][1]
        batch[known] = tf.constant(clicks)
    else:
        values = batch[known].numpy()
        values[1] = values[0]
        batch[known] = tf.constant(values)
    drawn_from = tf.function(lambda one: hard.forward(one, training=True), autograph=False)
    for seed in range(20):
        batch["seed"] = tf.constant(
            np.random.default_rng(seed).integers(0, 2**31 - 1, (3, 2)), tf.int32
        )
        outputs = drawn_from(batch)
        drawn = list(zip(outputs["itm_texts"].numpy()[3:], outputs["itm_images"].numpy()[3:]))
        assert (1, 0) not in drawn
        if known != "clicked_query_hashes":
            assert (0, 1) not in drawn


def test_the_published_form_draws_known_matches_but_never_the_pair():
    model = vilt(tasks=[{"kind": "itm", "exclude_known": False}])
    batch = make_batch(rows=3)
    batch["image_id_hash"] = tf.zeros(3, tf.int64)
    outputs = model.forward(batch, training=True)
    assert np.all(np.asarray(outputs["itm_weights"]) == 1.0)
    assert np.all(outputs["itm_texts"][3:] != outputs["itm_images"][3:])


def test_rows_without_a_negative_count_for_nothing():
    model = vilt(tasks=[{"kind": "itm"}])
    batch = make_batch(rows=3)
    batch["image_id_hash"] = tf.zeros(3, tf.int64)
    outputs = model.forward(batch, training=True)
    np.testing.assert_array_equal(outputs["itm_weights"], [1] * 3 + [0] * 6)
    pairs = -tf.nn.log_softmax(outputs["itm_logits"])[:3, 1]
    np.testing.assert_allclose(model.losses(batch, outputs)["itm"], np.mean(pairs), rtol=1e-6)


@pytest.mark.parametrize("rows", [4, 5])
def test_half_of_the_texts_get_another_image(rows):
    model = vilt(tasks=[{"kind": "itm", "layout": "half"}])
    outputs = model.forward(make_batch(rows), training=True)
    labels = np.asarray(outputs["itm_labels"])
    assert labels.sum() == (rows + 1) // 2
    np.testing.assert_array_equal(outputs["itm_texts"], np.arange(rows))
    np.testing.assert_array_equal(outputs["itm_images"].numpy() == np.arange(rows), labels == 1)


def test_hard_negatives_prefer_what_the_contrast_takes_for_a_match(hard):
    batch = make_batch(rows=4)
    outputs = hard.encode(batch, training=True)
    outputs |= {
        "image_embedding": tf.eye(4),
        "text_embedding": tf.constant(np.eye(4)[[0, 0, 2, 3]], tf.float32),
        "itc_scale": tf.constant(50.0),
    }
    added = hard.tasks[1].forward(hard, batch, outputs, training=True)
    # Text 1 looks like image 0, and image 0 like text 1.
    assert added["itm_images"][4 + 1] == 0 and added["itm_texts"][8 + 0] == 1


def test_one_modality_alone_has_no_loss(hard):
    batch = make_batch()
    for part in (images_alone(batch), texts_alone(batch)):
        assert "itm" not in hard.losses(part, hard.forward(part, training=True))


@pytest.mark.parametrize("make", [vilt, vlmo])
def test_stored_images_are_scored_as_fresh_ones(make):
    tasks = [{"kind": "grounding"}, {"kind": "itm", "store_tokens": True}]
    model, batch = make(image=CNN, tasks=tasks), make_batch()
    tokens = model.encode_image_tokens(images_alone(batch))
    assert tokens.shape == (4, 17, 16) and tokens.dtype == tf.float32
    scores = model.score_tokens(texts_alone(batch), tokens)
    np.testing.assert_allclose(scores, model.score_pairs(batch), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": None}, "store_tokens needs an image encoder apart"),
        ({"width": 512}, "at most 8192 numbers of an image, here 17 tokens · width 512"),
        (
            {"tasks": [{"kind": "itm", "store_tokens": True}, {"kind": "token_scoring"}]},
            "store_tokens or the task token_scoring",
        ),
    ],
)
def test_what_cannot_be_stored_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        vlmo(**{"image": CNN, "tasks": [{"kind": "itm", "store_tokens": True}], **changes})
