import math

import numpy as np
import pytest
import tensorflow as tf

from tests.vl_models.fusion_systems import make_batch, vilt

TASK = [{"kind": "retrieval", "negatives": 15}]


@pytest.fixture(scope="module")
def model():
    return vilt(tasks=TASK)


def test_equal_scores_lose_the_logarithm_of_all_texts(model):
    batch = make_batch(18)
    outputs = model.forward(batch, training=False)
    assert outputs["retrieval_logits"].shape == (18, 16)
    flat = {**outputs, "retrieval_logits": tf.zeros([18, 16])}
    np.testing.assert_allclose(model.losses(batch, flat)["retrieval"], math.log(16), rtol=1e-6)


def test_the_first_text_is_the_own_one(model):
    batch = make_batch(4)
    outputs = model.forward(batch, training=False)
    np.testing.assert_allclose(
        outputs["retrieval_logits"][:, 0], model.score_pairs(batch), atol=1e-5
    )


def test_texts_that_match_are_left_out(model):
    batch = make_batch(4)
    batch["image_id_hash"] = tf.constant([0, 0, 1, 2], tf.int64)
    outputs = model.forward(batch, training=True)
    np.testing.assert_array_equal(np.sum(outputs["retrieval_mask"], axis=1), [3, 3, 4, 4])
    logits = outputs["retrieval_logits"].numpy()
    expected = []
    for row, mask in zip(logits, outputs["retrieval_mask"].numpy()):
        expected.append(np.log(np.exp(row[mask]).sum()) - row[0])
    np.testing.assert_allclose(
        model.losses(batch, outputs)["retrieval"], np.mean(expected), rtol=1e-5
    )


def test_a_warm_start_takes_the_row_of_pairs_of_a_matching_head():
    model = vilt(tasks=TASK)
    task = model.tasks[0]
    kernel = np.arange(32, dtype=np.float32).reshape(16, 2)
    task.matching_head.kernel.assign(kernel)
    task.matching_head.bias.assign([3.0, 4.0])
    model.after_warm_start(["itm_head/kernel", "itm_head/bias"])
    np.testing.assert_array_equal(task.head.kernel, kernel[:, 1:])
    np.testing.assert_array_equal(task.head.bias, [4.0])
    assert not any(
        path.startswith("itm_head") for path in (v.path for v in model.trainable_variables)
    )
    task.head.kernel.assign(np.zeros((16, 1)))
    model.after_warm_start(["itm_head/kernel", "retrieval_head/kernel"])
    assert not np.any(task.head.kernel)
