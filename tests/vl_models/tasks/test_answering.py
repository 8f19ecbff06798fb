import math

import numpy as np
import pytest
import tensorflow as tf

from tests.vl_models.fusion_systems import make_batch, vilt, vlmo
from vl_models.errors import UserError
from vl_models.models.capabilities import Answers

NAMES = ["no", "yes", "maybe"]


def answers(scores):
    return tf.constant(scores, tf.float32)


def test_zero_logits_of_questions_lose_ln_2_for_each_answer(golden):
    model = vilt(tasks=[{"kind": "vqa"}], answers=NAMES)
    batch = {**make_batch(2), "answer": answers([[0.3, 1.0, 0.0], [0.0, 0.0, 0.6]])}
    outputs = model.forward(batch, training=True)
    zeros = {**outputs, "answer_logits": tf.zeros([2, 3129])}
    batch["answer"] = tf.random.stateless_uniform([2, 3129], seed=(1, 2))
    expected = golden["misc"]["vqa_bce_zero_logits_3129"]
    np.testing.assert_allclose(model.losses(batch, zeros)["vqa"], expected, rtol=1e-6)


def test_classes_are_a_softmax_and_rows_of_unknown_classes_do_not_count():
    model = vlmo(tasks=[{"kind": "snli_ve"}], answers=NAMES)
    batch = {**make_batch(3), "answer": answers([[0, 1, 0], [0, 0, 0], [1, 0, 0]])}
    outputs = model.forward(batch, training=True)
    log = tf.nn.log_softmax(outputs["answer_logits"])
    expected = -(log[0, 1] + log[2, 0]) / 2
    np.testing.assert_allclose(model.losses(batch, outputs)["snli_ve"], expected, rtol=1e-5)
    flat = {**outputs, "answer_logits": tf.zeros([3, 3])}
    np.testing.assert_allclose(model.losses(batch, flat)["snli_ve"], math.log(3), rtol=1e-6)


@pytest.mark.parametrize("make", [vilt, vlmo])
def test_two_images_are_told_apart_by_their_order(make):
    model = make(tasks=[{"kind": "nlvr2"}], answers=NAMES[:2])
    batch = make_batch(3)
    batch["image_2"] = batch["image"][::-1]
    scores = model.answer(batch)
    assert isinstance(model, Answers) and scores.shape == (3, 2)
    np.testing.assert_allclose(np.sum(scores, axis=1), 1.0, rtol=1e-5)
    turned = model.answer({**batch, "image": batch["image_2"], "image_2": batch["image"]})
    assert np.abs(scores - turned)[0].max() > 1e-7


def test_data_without_answers_is_refused():
    with pytest.raises(UserError, match="vqa learns answers, and the data have none"):
        vilt(tasks=[{"kind": "vqa"}])
