"""The three forms over two replicas, against one device on the concatenated batch."""

import numpy as np
import pytest
import tensorflow as tf

from tests.harness import two_replicas
from vl_models.layers.projection import l2_normalize
from vl_models.losses.gathered import gathered_contrastive_loss
from vl_models.losses.positives import PairHashes

ROWS, TEXTS, DIM = 4, 2, 3
LOG_SCALE = 1.5
OPTIONS = {
    "pairs": {"mode": "pairs"},
    "every_option": {"mode": "hide", "label_smoothing": 0.1},
    "labels": {"mode": "uniform"},
    "graph": {"mode": "graph"},
}


def make_batch():
    random = np.random.default_rng(5)
    return {
        "image": random.normal(size=(ROWS, DIM)).astype(np.float32),
        "text": random.normal(size=(ROWS * TEXTS, DIM)).astype(np.float32),
        "image_id_hash": np.array([1, 2, 1, 3]),
        "query_hash": random.integers(0, 5, ROWS * TEXTS),
        "clicked_query_hashes": random.integers(-1, 5, (ROWS, 2)),
        "clicked_query_weight": random.uniform(0.2, 0.7, (ROWS, 2)).astype(np.float32),
        "label_id": np.array([0, -1, -1, 0], np.int32),
        "query_weight": random.uniform(0.5, 2.0, ROWS * TEXTS).astype(np.float32),
        "image_log_q": np.log(random.uniform(0.1, 0.4, ROWS)).astype(np.float32),
    }


def loss_and_gradients(batch, form, case, replicas=1):
    """The contract of the trainer: every replica differentiates loss / replicas."""
    log_scale = tf.constant(LOG_SCALE)
    with tf.GradientTape() as tape:
        tape.watch([batch["image"], batch["text"], log_scale])
        weighed = case == "every_option"
        loss = gathered_contrastive_loss(
            l2_normalize(batch["image"]),
            l2_normalize(batch["text"]),
            tf.exp(log_scale),
            PairHashes.of_batch(
                batch, len(batch["image"]), len(batch["text"]), use_labels=case == "labels"
            ),
            form=form,
            weights=batch["query_weight"] if weighed else None,
            image_log_q=batch["image_log_q"] if weighed else None,
            **OPTIONS[case],
        )
        total = loss / replicas
    return loss, tape.gradient(total, [batch["image"], batch["text"], log_scale])


def on_two_replicas(batch, form, case):
    """Losses of the replicas, and the gradients put together again."""
    strategy = two_replicas()

    def half(values):
        def take(context):
            rows = len(values) // 2
            index = context.replica_id_in_sync_group
            return tf.constant(values[index * rows : (index + 1) * rows])

        return strategy.experimental_distribute_values_from_function(take)

    distributed = {name: half(values) for name, values in batch.items()}

    @tf.function
    def run():
        return strategy.run(lambda b: loss_and_gradients(b, form, case, 2), args=(distributed,))

    losses, (images, texts, scales) = run()
    local = strategy.experimental_local_results
    return (
        [float(loss) for loss in local(losses)],
        [np.concatenate(local(images)), np.concatenate(local(texts)), np.sum(local(scales))],
    )


@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize("form", ["global", "local"])
def test_forms_with_gradient_equal_one_device(form, case):
    batch = make_batch()
    loss, gradients = loss_and_gradients({k: tf.constant(v) for k, v in batch.items()}, form, case)
    losses, found = on_two_replicas(batch, form, case)
    np.testing.assert_allclose(losses, [loss, loss], rtol=1e-6)
    for gradient, expected in zip(found, gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", OPTIONS)
def test_detached_form_has_half_the_gradient_of_the_towers_and_all_of_the_temperature(case):
    batch = make_batch()
    loss, gradients = loss_and_gradients(
        {k: tf.constant(v) for k, v in batch.items()}, "global", case
    )
    losses, found = on_two_replicas(batch, "detached", case)
    np.testing.assert_allclose(losses, [loss, loss], rtol=1e-6)
    for gradient, expected, factor in zip(found, gradients, (0.5, 0.5, 1.0), strict=True):
        np.testing.assert_allclose(gradient, factor * expected, rtol=1e-6, atol=1e-6)


def test_all_forms_are_one_on_one_device():
    batch = {k: tf.constant(v) for k, v in make_batch().items()}
    losses = {
        form: float(loss_and_gradients(batch, form, "every_option")[0])
        for form in ("global", "local", "detached")
    }
    np.testing.assert_allclose(list(losses.values()), losses["global"], rtol=1e-6)
