import numpy as np
import pytest
import tensorflow as tf

from tests.vl_models.fusion_systems import make_batch, vilt
from vl_models.losses.optimal_transport import transport_distance
from vl_models.tasks.wpa import inner_tokens

TASKS = [{"kind": "itm", "layout": "half"}, {"kind": "wpa"}]


@pytest.fixture(scope="module")
def model():
    return vilt(tasks=TASKS)


def test_first_and_last_tokens_do_not_take_part():
    mask = tf.constant([[True] * 4 + [False], [True, True, False, False, False]])
    np.testing.assert_array_equal(inner_tokens(mask)[0], [False, True, True, False, False])
    assert not np.any(inner_tokens(mask)[1])


def test_distances_of_pairs_minus_those_of_others(model):
    batch = make_batch()
    outputs = model.forward(batch, training=True)
    image_mask = np.asarray(outputs["itm_image_mask"]).copy()
    image_mask[:, 0] = False
    distance = transport_distance(
        outputs["itm_text_tokens"],
        outputs["itm_image_tokens"],
        inner_tokens(outputs["itm_text_mask"]),
        image_mask,
    )
    sign = np.where(np.asarray(outputs["itm_labels"]) == 1, 1.0, -1.0)
    loss = model.losses(batch, outputs)["wpa"]
    np.testing.assert_allclose(loss, 0.1 * np.mean(sign * distance), rtol=1e-5)


def test_masked_patches_take_no_part():
    model = vilt(tasks=TASKS, image_fit="pad")
    batch = make_batch()
    batch["image_extent"] = tf.constant([[32, 16], [16, 32], [32, 32], [8, 8]])
    outputs = model.forward(batch, training=False)
    loss = model.losses(batch, outputs)["wpa"]
    tokens = outputs["itm_image_tokens"]
    noise = tf.where(outputs["itm_image_mask"][:, :, None], tokens, 1e3)
    again = model.losses(batch, {**outputs, "itm_image_tokens": noise})["wpa"]
    np.testing.assert_allclose(loss, again, rtol=1e-6)
    # Beyond the extent pixels change nothing at all.
    pixels = batch["image"].numpy()
    pixels[0, :, 16:], pixels[3, 8:] = 255, 9
    other = model.forward({**batch, "image": tf.constant(pixels)}, training=False)
    np.testing.assert_allclose(other["itm_logits"], outputs["itm_logits"], atol=1e-5)
