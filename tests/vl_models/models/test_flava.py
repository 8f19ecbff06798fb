import numpy as np
import pytest
import tensorflow as tf

from tests.harness import check_replicas, check_variables
from tests.vl_models.fusion_systems import (
    gradients_of,
    images_alone,
    make_batch,
    make_fusion,
    texts_alone,
)
from vl_models.errors import UserError
from vl_models.models.capabilities import EncodesImages, EncodesTexts, ScoresPairs
from vl_models.models.registry import model_config_from_dict


@pytest.fixture(scope="module")
def tasks(image_tokenizer):
    return [
        {"kind": "itc", "bias": True},
        {"kind": "mmm", "tokenizer": image_tokenizer, "masked": 5, "smallest_block": 2},
        {"kind": "itm"},
        {"kind": "mim", "tokenizer": image_tokenizer, "on_pairs": False, "transform": True},
        {"kind": "mlm", "on_pairs": False},
    ]


@pytest.fixture(scope="module")
def flava(tasks):
    def make(**changes):
        return make_fusion(
            "flava", **{"depth": 1, "multimodal_depth": 1, "tasks": tasks, **changes}
        )

    return make


def shaken(model, seed=0):
    random = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign_add(random.normal(scale=0.1, size=variable.shape))
    return model


def test_variables_and_replicas(flava):
    batch = make_batch()
    model = flava()
    assert model.loss_names == ("itc", "mmm_text", "mmm_image", "itm", "mim", "mlm")
    for capability in (EncodesImages, EncodesTexts, ScoresPairs):
        assert isinstance(model, capability)
    check_variables(model, batch)
    check_replicas(lambda: flava(negative_share=0.5), batch)
    check_replicas(flava, images_alone(batch))


def test_what_a_batch_holds_decides_which_losses_there_are_and_what_they_reach(flava):
    model, batch = flava(), make_batch()
    kinds = {
        "images": (images_alone(batch), {"mim"}, ("image_",), "mim"),
        "texts": (texts_alone(batch), {"mlm"}, ("text_",), "mlm"),
    }
    for values, names, own, loss in kinds.values():
        outputs = model.forward(values, training=True)
        assert set(model.losses(values, outputs)) == names
        found = gradients_of(model, values, loss)
        reached = {p for p, g in found.items() if g is not None and np.any(tf.convert_to_tensor(g))}
        assert reached and all(path.startswith((*own, f"{loss}_head")) for path in reached)
    losses = model.losses(batch, model.forward(batch, training=True))
    assert set(losses) == {"itc", "mmm_text", "mmm_image", "itm"}


def test_even_logits(flava, image_tokenizer):
    model, batch = flava(), make_batch()
    for variable in model.variables:
        if "_head/" in variable.path:
            variable.assign(tf.zeros_like(variable))
    codes = model.tasks[1].tokenizer.codes
    losses = model.losses(batch, model.forward(batch, training=False))
    np.testing.assert_allclose(losses["mmm_text"], np.log(60), rtol=1e-5)
    np.testing.assert_allclose(losses["mmm_image"], np.log(codes), rtol=1e-5)
    np.testing.assert_allclose(losses["itm"], np.log(2), rtol=1e-5)


def test_what_is_no_pair_counts_for_matching_alone(flava):
    model, batch = shaken(flava(negative_share=0.5)), make_batch(rows=6)
    outputs = model.forward(batch, training=False)
    negative = np.flatnonzero(outputs["pass_labels"].numpy() == 0.0)
    assert 0 < len(negative) < 6
    image = batch["image"].numpy()
    image[negative[0]] = 255 - image[negative[0]]
    other = {**batch, "image": tf.constant(image)}
    again = model.forward(other, training=False)
    one, two = model.losses(batch, outputs), model.losses(other, again)
    for name in ("mmm_text", "mmm_image"):
        np.testing.assert_allclose(two[name], one[name], atol=1e-6)
    assert abs(one["itm"] - two["itm"]) > 1e-5
    # Of the contrast its row does not count; it stays a candidate of the other texts.
    rows = outputs["pass_positive"].numpy()
    cosines = outputs["image_embedding"].numpy() @ outputs["text_embedding"].numpy().T
    logits = float(outputs["itc_scale"]) * cosines
    log = [x - np.log(np.exp(x).sum(1, keepdims=True)) for x in (logits, logits.T)]
    expected = -sum((rows * np.diag(x)).sum() for x in log) / (2 * rows.sum())
    np.testing.assert_allclose(one["itc"], expected, rtol=1e-5)


def test_a_batch_without_pairs_counts_as_a_whole(flava):
    model, batch = flava(negative_share=1.0), make_batch()
    outputs = model.forward(batch, training=False)
    assert not outputs["pass_labels"].numpy().any()
    np.testing.assert_array_equal(outputs["pass_positive"], np.ones(4))


def test_negatives_have_their_share_and_never_match(flava):
    model = flava(negative_share=0.3)
    batch = make_batch(rows=200)
    batch["query_hash"] = batch["query_hash"] // 4  # some rows share their query
    outputs = model.pretraining_pass(batch, model.encode(batch, False), training=False)
    replaced = outputs["pass_labels"].numpy() == 0.0
    assert abs(replaced.mean() - 0.3) < 0.08
    queries = batch["query_hash"].numpy()
    chosen = outputs["itm_texts"].numpy()
    assert not (queries[chosen] == queries)[replaced].any()
    np.testing.assert_array_equal(chosen[~replaced], np.flatnonzero(~replaced))


def test_the_joint_sequence_has_a_class_token_in_front(flava):
    model, batch = flava(), make_batch()
    fused = model.fuse_batch(batch)
    assert fused.image.values.shape == (4, 17, 16) and fused.text.values.shape == (4, 8, 16)
    assert model.encoder.class_vector.shape == (16,)


def test_patches_are_guessed_at_their_own_places(flava):
    """The state at patch i of the shared pass is that of patch i, not of its neighbour."""
    model, batch = shaken(flava()), make_batch(rows=1)
    outputs = model.forward(batch, training=False)
    hidden = outputs["pass_cells"].numpy()[0]
    masked = model.embed_image(batch, False, masked=tf.constant(hidden[None])).values.numpy()
    seen = model.embed_image(batch, False).values.numpy()
    changed = np.abs(masked - seen).max(axis=2)[0, 1:] > 1e-6
    np.testing.assert_array_equal(changed, hidden)
    assert outputs["pass_image"].shape == (1, 16, 16) and outputs["mmm_codes"].shape == (1, 16)


def test_padding_changes_nothing(flava):
    model, batch = shaken(flava()), make_batch()
    garbage = {**batch, "token_ids": tf.where(batch["text_mask"], batch["token_ids"], 17)}
    for ability in (model.score_pairs, model.encode_text):
        np.testing.assert_allclose(ability(garbage), ability(batch), atol=1e-6)


def test_hard_negatives_need_the_contrast_before_the_pass(flava, tasks):
    hard = [tasks[0], {"kind": "itm", "negatives": "hard"}, tasks[1]]
    model, batch = flava(tasks=hard, negative_share=0.9), make_batch()
    outputs = model.forward(batch, training=True)
    assert np.isfinite(model.losses(batch, outputs)["itm"])
    with pytest.raises(UserError, match="negatives: hard of itm needs the task itc before it"):
        model_config_from_dict({"system": "flava", "tasks": hard[1:]})
    with pytest.raises(UserError, match="itc before mmm"):
        model_config_from_dict({"system": "flava", "tasks": [hard[2], hard[0], hard[1]]})
    with pytest.raises(UserError, match="FLAVA reads square images"):
        model_config_from_dict({"system": "flava", "image_fit": "pad"})


def test_matching_may_see_the_pairs_as_they_are(flava, tasks):
    open_eyed = [tasks[0], tasks[1], {"kind": "itm", "masked": False}]
    model, batch = shaken(flava(tasks=open_eyed, negative_share=0.5)), make_batch()
    outputs = model.forward(batch, training=False)
    text, image = (
        tf.gather(batch[key], outputs[name])
        for key, name in (("token_ids", "itm_texts"), ("image", "itm_images"))
    )
    mask = tf.gather(batch["text_mask"], outputs["itm_texts"])
    scores = model.score_pairs({"token_ids": text, "text_mask": mask, "image": image})
    logits = outputs["itm_logits"]
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], scores, atol=1e-5)
    masked = shaken(flava(tasks=tasks[:3], negative_share=0.5)).forward(batch, training=False)
    assert np.abs(masked["itm_logits"] - logits).max() > 1e-4
