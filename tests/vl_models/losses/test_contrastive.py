import numpy as np
import pytest
import tensorflow as tf

from vl_models.layers.projection import l2_normalize
from vl_models.losses.contrastive import (
    contrastive_logits,
    multi_positive_cross_entropy,
    sampling_correction,
    symmetric_contrastive_loss,
)


def clip_loss(image, text, scale, **options):
    logits = contrastive_logits(l2_normalize(image), l2_normalize(text), scale)
    return symmetric_contrastive_loss(logits, **options)


@pytest.fixture
def embeddings():
    random = np.random.default_rng(3)
    return (tf.constant(random.normal(size=(6, 5)), tf.float32) for _ in range(2))


@pytest.mark.parametrize(
    ("scale", "name"), [(1.0, "loss_scale_1"), (1 / 0.07, "loss_scale_1_over_0.07")]
)
def test_clip_golden_values(golden, scale, name):
    values = golden["clip"]
    image, text = (tf.constant(values[key], tf.float32) for key in ("I_unnorm", "T_unnorm"))
    np.testing.assert_allclose(clip_loss(image, text, scale), values[name], rtol=1e-6)


def test_align_golden_values(golden):
    clip = golden["clip"]
    image, text = (tf.constant(clip[key], tf.float32) for key in ("I_unnorm", "T_unnorm"))
    loss = clip_loss(image, text, 1.0, label_smoothing=0.1)
    np.testing.assert_allclose(loss, golden["align"]["sigma1_ls0.1_mean"], rtol=1e-6)


def test_unicl_golden_values(golden):
    values = golden["unicl"]
    targets = tf.constant(values["targets"]) > 0
    logits = tf.constant(values["logits"])
    rows = multi_positive_cross_entropy(logits, targets)
    columns = multi_positive_cross_entropy(tf.transpose(logits), targets)
    np.testing.assert_allclose(np.mean(rows), values["i2t"], rtol=1e-6)
    np.testing.assert_allclose(np.mean(columns), values["t2i"], rtol=1e-6)
    np.testing.assert_allclose(
        symmetric_contrastive_loss(logits, targets), values["mean"], rtol=1e-6
    )


def test_one_label_and_uniform_logits_lose_the_logarithm_of_the_batch(golden):
    loss = symmetric_contrastive_loss(tf.zeros([5, 5]), tf.ones([5, 5], tf.bool))
    expected = golden["unicl"]["all_same_label_uniform_logits_B5"]
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_swapping_towers_with_their_targets_changes_nothing(golden):
    values = golden["unicl"]
    logits, targets = tf.constant(values["logits"]), tf.constant(values["targets"]) > 0
    swapped = symmetric_contrastive_loss(tf.transpose(logits), tf.transpose(targets))
    np.testing.assert_allclose(swapped, symmetric_contrastive_loss(logits, targets), rtol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
def test_equal_embeddings_lose_the_logarithm_of_the_batch(scale):
    same = tf.ones([4, 3])
    np.testing.assert_allclose(clip_loss(same, same, scale), np.log(4), rtol=1e-6)


def test_two_orthogonal_pairs():
    loss = clip_loss(tf.eye(2), tf.eye(2), 1 / 0.07)
    # 6e-7: the sum 1 + 6e-7 that it is the logarithm of is rounded to 1.2e-7.
    np.testing.assert_allclose(loss, np.log1p(np.exp(-1 / 0.07)), atol=2.4e-7)


def test_permutation_of_pairs_and_swap_of_towers_change_nothing(embeddings):
    image, text = embeddings
    order = [3, 1, 5, 0, 2, 4]
    loss = clip_loss(image, text, 7.0)
    shuffled = clip_loss(tf.gather(image, order), tf.gather(text, order), 7.0)
    np.testing.assert_allclose(shuffled, loss, rtol=1e-6)
    np.testing.assert_allclose(clip_loss(text, image, 7.0), loss, rtol=1e-6)


def test_length_of_a_vector_does_not_matter_and_the_gradient_is_orthogonal_to_it(embeddings):
    image, text = embeddings
    np.testing.assert_allclose(
        clip_loss(3.0 * image, 0.2 * text, 7.0), clip_loss(image, text, 7.0), rtol=1e-5
    )
    with tf.GradientTape() as tape:
        tape.watch(image)
        loss = clip_loss(image, text, 7.0)
    along = tf.reduce_sum(tape.gradient(loss, image) * image, axis=1)
    np.testing.assert_allclose(along, np.zeros(6), atol=1e-6)


def test_hidden_positives_equal_their_removal_from_the_softmax():
    logits = tf.constant([[2.0, 1.0, 0.5], [0.3, 1.5, 0.1], [0.2, 0.4, 3.0]])
    positives = tf.constant([[True, True, False], [False, True, False], [False, False, True]])
    loss = symmetric_contrastive_loss(logits, positives, mode="hide")

    def cross_entropy(row, target):
        return np.log(np.sum(np.exp(row))) - target

    to_text = [
        cross_entropy([2.0, 0.5], 2.0),
        cross_entropy([0.3, 1.5, 0.1], 1.5),
        cross_entropy([0.2, 0.4, 3.0], 3.0),
    ]
    to_image = [
        cross_entropy([2.0, 0.3, 0.2], 2.0),
        cross_entropy([1.5, 0.4], 1.5),
        cross_entropy([0.5, 0.1, 3.0], 3.0),
    ]
    np.testing.assert_allclose(loss, (np.mean(to_text) + np.mean(to_image)) / 2, rtol=1e-6)


def test_hidden_entries_have_no_gradient_and_smoothing_skips_them():
    logits = tf.constant([[2.0, 1.0, 0.5]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = multi_positive_cross_entropy(
            logits,
            tf.constant([[True, False, False]]),
            excluded=tf.constant([[False, True, False]]),
            label_smoothing=0.2,
        )
    assert tape.gradient(loss, logits)[0, 1] == 0.0
    visible = np.log(np.sum(np.exp([2.0, 0.5]))) - np.array([2.0, 0.5])
    np.testing.assert_allclose(loss, [0.9 * visible[0] + 0.1 * visible[1]], rtol=1e-6)


def test_weighted_targets_are_normalised():
    logits = tf.constant([[2.0, 1.0, 0.5]])
    log_probability = tf.nn.log_softmax(logits)[0].numpy()
    loss = multi_positive_cross_entropy(logits, tf.constant([[3.0, 1.0, 0.0]]))
    np.testing.assert_allclose(
        loss, [-(0.75 * log_probability[0] + 0.25 * log_probability[1])], rtol=1e-6
    )


def test_row_without_positive_loses_nothing():
    loss = multi_positive_cross_entropy(
        tf.zeros([1, 3]), tf.zeros([1, 3], tf.bool), label_smoothing=0.1
    )
    np.testing.assert_array_equal(loss, [0.0])


def test_weight_zero_removes_a_pair_from_the_mean_but_not_from_the_candidates(embeddings):
    image, text = embeddings
    logits = contrastive_logits(l2_normalize(image), l2_normalize(text), 4.0)
    weights = tf.constant([1.0, 1.0, 0.0, 2.0, 1.0, 1.0])
    rows = multi_positive_cross_entropy(logits, tf.eye(6)).numpy()
    columns = multi_positive_cross_entropy(tf.transpose(logits), tf.eye(6)).numpy()
    expected = (np.average(rows, weights=weights) + np.average(columns, weights=weights)) / 2
    np.testing.assert_allclose(
        symmetric_contrastive_loss(logits, weights=weights), expected, rtol=1e-6
    )


def test_every_text_twice_adds_ln_2_to_the_image_direction_only(embeddings):
    image, text = embeddings
    image, text = l2_normalize(image), l2_normalize(text)
    once = symmetric_contrastive_loss(contrastive_logits(image, text, 4.0))
    doubled = contrastive_logits(image, tf.repeat(text, 2, axis=0), 4.0)
    np.testing.assert_allclose(
        symmetric_contrastive_loss(doubled), once + 0.5 * np.log(2.0), rtol=1e-6
    )


def test_sampling_correction_of_equal_shares_changes_nothing(embeddings):
    image, text = embeddings
    loss = clip_loss(image, text, 4.0)
    corrected = clip_loss(image, text, 4.0, image_log_q=tf.fill([6], -2.0))
    np.testing.assert_allclose(corrected, loss, rtol=1e-5)


def test_sampling_correction_is_the_importance_weighted_softmax():
    logits, share = np.array([[1.0, 2.0, 0.0]], np.float32), np.array([0.5, 0.25, 0.25])
    corrected = sampling_correction(tf.constant(logits), np.log(share))
    weights = np.exp(logits) / share
    np.testing.assert_allclose(tf.nn.softmax(corrected), weights / weights.sum(), rtol=1e-5)


def test_unknown_mode_is_named():
    with pytest.raises(ValueError, match="Received: mode='all'"):
        symmetric_contrastive_loss(tf.zeros([2, 2]), mode="all")
