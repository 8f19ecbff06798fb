import numpy as np
import pytest
import tensorflow as tf

from tests.harness import check_replicas, check_variables
from tests.vl_models.fusion_systems import CNN, gradients_of, make_batch, texts_alone, vilt, vlmo
from vl_models.errors import UserError

TASKS = [{"kind": "grounding", "dim": 6}, {"kind": "itm"}]
SYSTEMS = {"vilt": vilt, "vlmo": vlmo}


@pytest.fixture(params=SYSTEMS)
def make(request):
    return lambda: SYSTEMS[request.param](image=CNN, tasks=TASKS, depth=2)


def test_variables(make):
    check_variables(make(), make_batch())


def test_two_replicas_equal_one():
    check_replicas(lambda: vilt(image=CNN, tasks=TASKS, depth=1), make_batch())


def test_the_loss_contrasts_the_means_of_words_and_patches(make):
    model, batch = make(), make_batch()
    outputs = model.forward(batch, training=False)
    mask = batch["text_mask"].numpy()[:, :, None]
    words = (outputs["text_embedded"].numpy() * mask).sum(axis=1) / mask.sum(axis=1)
    patches = outputs["image_embedded"].numpy()[:, 1:].mean(axis=1)
    words = words @ model.grounding.words.kernel.numpy()
    patches = patches @ model.grounding.patches.kernel.numpy()
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    patches /= np.linalg.norm(patches, axis=1, keepdims=True)
    logits = patches @ words.T / 0.07
    by_row, by_column = (np.log(np.exp(logits).sum(axis=axis)) for axis in (1, 0))
    own = np.diag(logits)
    expected = 0.5 * (by_row - own).mean() + 0.5 * (by_column - own).mean()
    np.testing.assert_allclose(model.losses(batch, outputs)["grounding"], expected, rtol=1e-5)


def test_it_shapes_what_is_before_the_joint_encoder(make):
    found = gradients_of(make(), make_batch(), "grounding")
    assert np.any(found["image_encoder/stem/kernel"])
    assert np.any(found["word_grounding/words/kernel"])
    assert not any(np.any(g) for p, g in found.items() if g is not None and p.startswith("encoder"))


def test_matching_sees_where_a_word_is(make):
    """Of matching, too, the gradient reaches the projections: they learn what tells pairs apart."""
    found = gradients_of(make(), make_batch(), "itm")
    assert np.any(found["word_grounding/patches/kernel"])
    assert np.any(found["word_grounding/place/kernel"])


def test_temperatures_stay_within_their_bounds(make):
    model = make()
    for temperature in (model.grounding.temperature, model.tasks[0].temperature):
        temperature.log_scale.assign(9.0)
    model.after_update()
    for temperature in (model.grounding.temperature, model.tasks[0].temperature):
        np.testing.assert_allclose(temperature.scale(), 100.0, rtol=1e-5)


def test_texts_alone_have_no_loss(make):
    model, batch = make(), texts_alone(make_batch())
    assert "grounding" not in model.losses(batch, model.forward(batch, training=False))


def test_a_system_without_the_task_has_no_such_layer():
    model = vilt(image=CNN, tasks=[{"kind": "itm"}])
    assert not [v.path for v in model.variables if "grounding" in v.path]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": None}, "grounding needs an image encoder apart"),
        ({"image": CNN, "maximum_patches": 3}, "maximum_patches must be at least 16"),
    ],
)
def test_what_it_cannot_read_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        vilt(tasks=TASKS, **changes)


def test_padding_changes_nothing(make):
    model, batch = make(), make_batch()
    garbage = tf.where(batch["text_mask"], batch["token_ids"], 17)
    np.testing.assert_allclose(
        model.score_pairs(batch), model.score_pairs({**batch, "token_ids": garbage}), atol=1e-5
    )
