import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.harness import check_variables, run_model_test, two_replicas
from tests.vl_models import tiny_systems
from tests.vl_models.tiny_systems import TOKENIZER, make_batch
from vl_models.models.clip import CLIP
from vl_models.models.registry import build_model, model_config_from_dict
from vl_models.training.checkpoint import (
    Checkpoint,
    assign_values,
    latest_checkpoint,
    save_checkpoint,
    variable_values,
)


def make_config(**changes):
    return tiny_systems.make_config("clip", **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "image": {"kind": "cnn", "widths": [8, 16], "blocks": [1, 1]},
            "positives": "hide",
            "correct_sampling": True,
            "weigh_queries": True,
            "label_smoothing": 0.1,
        },
    ],
    ids=["vit", "cnn_with_every_option"],
)
def test_clip_satisfies_the_model_contract(changes, tmp_path):
    config = make_config(**changes)
    batch = make_batch(texts_per_image=2)
    run_model_test(lambda: build_model(config), batch, dim=8, tokenizer=TOKENIZER, folder=tmp_path)


def test_mixed_precision_embeds_close_to_float32_and_loses_in_float32():
    single = build_model(make_config())
    mixed = build_model(make_config(precision="mixed_bfloat16"))
    for source, target in zip(single.variables, mixed.variables, strict=True):
        target.assign(source)
    batch = make_batch()
    outputs = mixed.forward(batch, training=True)
    assert mixed.losses(batch, outputs)["contrastive"].dtype == tf.float32
    assert outputs["image_embedding"].dtype == tf.float32
    np.testing.assert_allclose(
        outputs["image_embedding"], single.forward(batch, True)["image_embedding"], atol=0.05
    )


def test_one_modality_alone_is_encoded_and_has_no_loss():
    model = build_model(make_config())
    batch = make_batch()
    images = {"image": batch["image"]}
    outputs = model.forward(images, training=True)
    assert set(outputs) == {"image_embedding"}
    assert model.losses(images, outputs) == {}
    texts = {key: batch[key] for key in ("token_ids", "text_mask")}
    assert set(model.forward(texts, training=True)) == {"text_embedding"}


def test_known_clicks_change_the_loss_unless_pairs_are_asked_for():
    batch = make_batch()
    losses = {}
    for positives in ("pairs", "uniform", "hide"):
        keras.utils.set_random_seed(0)
        model = build_model(make_config(positives=positives))
        losses[positives] = float(model.losses(batch, model.forward(batch, False))["contrastive"])
    assert len({round(loss, 5) for loss in losses.values()}) == 3
    assert losses["hide"] < losses["pairs"]


def test_temperature_starts_at_its_configuration_and_is_clamped_after_the_update():
    model = build_model(make_config())
    np.testing.assert_allclose(model.scalars()["temperature"], 0.07, rtol=1e-6)
    model.temperature.log_scale.assign(9.0)
    model.after_update()
    np.testing.assert_allclose(model.scalars()["temperature"], 0.01, rtol=1e-6)


def test_temperature_is_clamped_on_every_replica_from_replica_context():
    strategy = two_replicas()
    with strategy.scope():
        model = build_model(make_config())
    model.temperature.log_scale.assign(9.0)
    tf.function(lambda: strategy.run(model.after_update))()
    scales = strategy.experimental_local_results(model.temperature.log_scale.value)
    np.testing.assert_allclose([scale.numpy() for scale in scales], np.log(100.0), rtol=1e-6)


def test_variable_paths_are_public():
    paths = {variable.path for variable in build_model(make_config()).variables}
    assert {
        "image_encoder/patch_embedding/kernel",
        "image_encoder/block_1/attention/qkv/kernel",
        "image_projection/kernel",
        "text_encoder/token_embedding",
        "text_encoder/block_0/mlp_output/bias",
        "text_projection/kernel",
        "temperature/log_scale",
    } <= paths


def test_model_needs_the_vocabulary_size():
    with pytest.raises(ValueError, match="vocabulary_size"):
        CLIP(make_config(vocabulary_size=None))


def test_config_survives_plain_values():
    config = make_config(positives="hide")
    assert model_config_from_dict(config.model_dump(mode="json")) == config


class Unlisted(CLIP):
    """CLIP with a layer on the image side that nobody lists."""

    def __init__(self, config):
        super().__init__(config)
        self.extra = keras.layers.Dense(8, name="extra")

    def embed_image(self, batch, training):
        return tf.math.l2_normalize(self.extra(super().embed_image(batch, training)), axis=1)


class OutOfSight(Unlisted):
    """The same, but the layer is in no attribute that is looked at."""

    def __init__(self, config):
        super().__init__(config)
        layer = self.__dict__.pop("extra")
        type(self).extra = property(lambda self: layer)


def test_a_layer_that_nobody_lists_is_trained_saved_and_restored(tmp_path):
    config = make_config()

    def make():
        model = Unlisted(config)
        model.build()
        return model

    run_model_test(make, make_batch(), dim=8)
    one, two = make(), make()
    paths = {"extra/kernel", "extra/bias"}
    assert paths <= {variable.path for variable in one.trainable_variables}
    by_path = {variable.path: variable for variable in one.variables}
    save_checkpoint(tmp_path, Checkpoint(1, variable_values(by_path), {}, {}), keep=1)
    restored = {variable.path: variable for variable in two.variables}
    assign_values(restored, latest_checkpoint(tmp_path).weights, "the checkpoint")
    batch = make_batch()
    np.testing.assert_array_equal(two.encode_image(batch), one.encode_image(batch))


def test_the_harness_refuses_a_layer_that_the_model_does_not_know():
    model = OutOfSight(make_config())
    model.build()
    with pytest.raises(AssertionError, match=r"does not know variables that it uses: .*extra"):
        check_variables(model, make_batch())
