import numpy as np
import pytest
import tensorflow as tf

from tests.vl_models.fusion_systems import CNN, images_alone, make_batch, vilt, vlmo
from vl_models.models.capabilities import ScoresImageTokens

SCORING = {"kind": "token_scoring", "tokens": 3, "token_width": 5, "width": 8, "heads": 2}


def make(system, distillation=0.5):
    tasks = [{"kind": "itm"}, {**SCORING, "distillation": distillation}]
    return vilt(image=CNN, tasks=tasks) if system == "vilt" else vlmo(tasks=tasks)


@pytest.mark.parametrize("system", ["vilt", "vlmo"])
def test_images_are_read_before_there_is_a_text(system):
    model, batch = make(system), make_batch()
    assert isinstance(model, ScoresImageTokens)
    tokens = model.encode_image_tokens(images_alone(batch))
    assert tokens.shape == (4, 3, 5) and tokens.dtype == tf.float32
    scores = model.score_tokens(batch, tokens)
    assert scores.shape == (4,)
    alone = model.score_tokens(
        {key: batch[key][:1] for key in ("token_ids", "text_mask")}, tokens[:1]
    )
    np.testing.assert_allclose(alone, scores[:1], atol=1e-6)


def test_the_same_pairs_are_scored_as_by_the_full_encoder():
    model, batch = make("vlmo"), make_batch()
    outputs = model.forward(batch, training=False)
    tokens = tf.gather(model.encode_image_tokens(batch), outputs["itm_images"])
    texts = {key: tf.gather(batch[key], outputs["itm_texts"]) for key in ("token_ids", "text_mask")}
    np.testing.assert_allclose(
        model.score_tokens(texts, tokens), outputs["token_logits"], atol=1e-5
    )


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_loss_is_between_truth_and_teacher(share):
    model, batch = make("vlmo", share), make_batch()
    outputs = model.forward(batch, training=False)
    logits = outputs["itm_logits"].numpy()
    teacher = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    target = (1 - share) * outputs["itm_labels"].numpy() + share * teacher
    student = outputs["token_logits"].numpy()
    expected = np.log1p(np.exp(student)) - target * student
    np.testing.assert_allclose(
        model.losses(batch, outputs)["token_scoring"], expected.mean(), rtol=1e-5
    )


def test_the_teacher_learns_nothing_from_its_student():
    model, batch = make("vlmo", 1.0), make_batch()
    head = model.tasks[0].head.kernel.value
    with tf.GradientTape() as tape:
        loss = model.losses(batch, model.forward(batch, training=True))["token_scoring"]
    assert tape.gradient(loss, head) is None
