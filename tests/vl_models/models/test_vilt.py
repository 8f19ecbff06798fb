import numpy as np
import pytest
import tensorflow as tf

from tests.harness import check_replicas, check_variables
from tests.vl_models.fusion_systems import CNN, gradients_of, make_batch, vilt
from vl_models.errors import UserError
from vl_models.models.capabilities import ScoresPairs
from vl_models.models.registry import model_config_from_dict


def test_variables_and_replicas():
    batch = make_batch()
    model = vilt(depth=1)
    assert model.loss_names == ("mlm", "itm", "wpa")
    assert isinstance(model, ScoresPairs)
    check_variables(model, batch)
    check_replicas(lambda: vilt(depth=1), batch)


def test_a_full_extent_is_a_square_image():
    square, padded = vilt(), vilt(image_fit="pad")
    for old, new in zip(square.variables, padded.variables, strict=True):
        new.assign(old)
    batch = make_batch()
    full = {**batch, "image_extent": tf.fill([4, 2], 32)}
    np.testing.assert_allclose(square.score_pairs(batch), padded.score_pairs(full), atol=1e-5)


def test_order_of_texts_and_padding_change_nothing():
    model, batch = vilt(), make_batch()
    garbage = tf.where(batch["text_mask"], batch["token_ids"], 17)
    scores = model.score_pairs(batch)
    np.testing.assert_allclose(
        scores, model.score_pairs({**batch, "token_ids": garbage}), atol=1e-6
    )
    turned = {key: value[::-1] for key, value in batch.items()}
    np.testing.assert_allclose(model.score_pairs(turned)[::-1], scores, atol=1e-6)


def test_an_image_encoder_takes_the_place_of_patches():
    model = vilt(image=CNN, tasks=[{"kind": "itm"}])
    paths = {variable.path.split("/")[0] for variable in model.variables}
    assert "image_encoder" in paths
    assert model.image_embedding.projection.kernel.shape == (8, 16)
    batch = make_batch()
    other = {**batch, "image": 255 - batch["image"]}
    assert np.abs(model.score_pairs(batch) - model.score_pairs(other)).max() > 0


def test_images_and_words_are_aligned_before_they_are_fused():
    model = vilt(image=CNN, tasks=[{"kind": "itc"}, {"kind": "itm", "negatives": "hard"}])
    batch = make_batch()
    outputs = model.forward(batch, training=False)
    words = tf.boolean_mask(outputs["text_embedded"][0], batch["text_mask"][0])
    expected = model.tasks[0].own["text"](tf.reduce_mean(words, axis=0)[None])
    np.testing.assert_allclose(outputs["text_embedding"][:1], expected, atol=1e-5)
    np.testing.assert_allclose(model.encode_image(batch), outputs["image_embedding"], atol=1e-6)
    found = gradients_of(model, batch, "itc")
    assert np.any(found["image_encoder/stem/kernel"])
    assert not any(
        np.any(g) for path, g in found.items() if path.startswith("encoder/") and g is not None
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": [{"kind": "mim", "tokenizer": "x"}]}, "the system has no task mim; it has itc"),
        ({"tasks": [{"kind": "itc"}]}, "itc needs an image encoder apart"),
        (
            {"tasks": [{"kind": "itm"}, {"kind": "token_scoring"}]},
            "token_scoring needs an image encoder apart",
        ),
        ({"image": CNN, "image_fit": "pad"}, "image_fit: pad is for linear patches"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        model_config_from_dict({"system": "vilt", **changes})
