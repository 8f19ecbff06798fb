import numpy as np
import pydantic
import pytest
import tensorflow as tf

from tests.harness import run_model_test
from tests.vl_models.models.feature_batch import CLASSES, SIDES, feature_batch
from tests.vl_models.models.test_ucal import gradients
from vl_models.errors import UserError
from vl_models.hashing import sign, unpack
from vl_models.models.registry import build_model
from vl_models.models.ssah_config import SSAHConfig

SMALL = {"embedding_dim": 8, "feature_dim": 6, "label_hidden_width": 5, "bank_size": 10}


def make(**options):
    return build_model(SSAHConfig.model_validate({**SIDES, **SMALL, **options}))


@pytest.mark.parametrize("texts", [1, 2])
def test_contract(texts):
    run_model_test(make, feature_batch(texts=texts), dim=8)


def test_gradients_reach_their_own_networks():
    model, batch = make(), feature_batch()
    model.after_step(batch, model.forward(batch, True))
    reached = {
        name: {path.split("/")[0] for path, g in gradients(model, batch, [name]).items() if g.any()}
        for name in ("label_network", "image_network", "text_network", "discriminators")
    }
    assert reached["label_network"] == {"label_encoder", "label_hash", "label_scores"}
    image = {"image_encoder", "image_features", "image_projection", "image_scores"}
    # Through the features that it judges, the discriminator's own variables are reached, too:
    # which of them a phase may change is the configuration's.
    assert reached["image_network"] == image | {"image_discriminator"}
    assert not any(name.startswith("image") for name in reached["text_network"])
    judged = {"label_encoder", "image_encoder", "image_features", "text_encoder", "text_features"}
    judges = {"image_discriminator", "text_discriminator"}
    assert reached["discriminators"] == judged | judges


@pytest.mark.parametrize("balance", [False, True])
def test_label_network_by_hand(balance):
    options = {"feature_weight": 2.0, "quantization_weight": 0.3, "balance_pairs": balance}
    model, batch = make(**options), feature_batch()
    outputs = model.forward(batch, True)
    features, code = outputs["label_features"].numpy(), outputs["label_code"].numpy()
    scores, y = outputs["label_scores"].numpy(), batch["label"].numpy()
    same = y @ y.T

    def likelihood(a):
        theta = 0.5 * a @ a.T
        pairs = np.log1p(np.exp(theta)) - same * theta
        if balance:
            return 0.5 * (pairs[same > 0].mean() + pairs[same == 0].mean())
        return pairs.mean()

    total = outputs["label_code"] + outputs["image_code"] + outputs["text_code"]
    quantization = np.square(code - sign(total).numpy()).mean()
    labels = (np.log1p(np.exp(scores)) - y * scores).mean()
    expected = 2.0 * likelihood(features) + likelihood(code) + 0.3 * quantization + labels
    found = float(model.losses(batch, outputs)["label_network"])
    assert found == pytest.approx(expected, rel=1e-4)


def test_bank_keeps_the_newest_rows_and_leaves_the_others_alone():
    model = make()
    first, second = feature_batch(seed=0), feature_batch(seed=1)
    model.after_step(first, model.forward(first, True))
    before = model.bank.read("features").numpy()
    assert model.bank.usable().numpy().tolist() == [1.0] * 6 + [0.0] * 4
    outputs = model.forward(second, True)
    model.after_step(second, outputs)
    after = model.bank.read("features").numpy()
    # Of 10 rows, the second six are written to 6, 7, 8, 9, 0, 1.
    np.testing.assert_array_equal(after[2:6], before[2:6])
    order = [6, 7, 8, 9, 0, 1]
    np.testing.assert_array_equal(after[order], outputs["label_features"])
    np.testing.assert_array_equal(model.bank.read("label").numpy()[order], second["label"])
    assert model.bank.usable().numpy().all()


def test_an_empty_bank_counts_for_nothing():
    model, batch = make(), feature_batch()
    outputs = model.forward(batch, True)
    with_bank = model.losses(batch, outputs)["image_network"]
    for variable in model.bank.rows.values():
        variable.assign(tf.random.stateless_normal(variable.shape, [1, 2]))
    np.testing.assert_allclose(model.losses(batch, outputs)["image_network"], with_bank, rtol=1e-6)


def test_codes_are_the_signs_of_the_hash_layers():
    model, batch = make(), feature_batch()
    outputs = model.forward(batch, False)
    np.testing.assert_array_equal(
        unpack(model.hash_image(batch).numpy()), sign(outputs["image_code"])
    )
    np.testing.assert_array_equal(
        unpack(model.hash_text(batch).numpy()), sign(outputs["text_code"])
    )


def test_wrong_configurations_are_refused():
    with pytest.raises(pydantic.ValidationError, match="a multiple of 8"):
        make(embedding_dim=12)
    with pytest.raises(UserError, match="System 'ssah' learns from classes"):
        make(num_labels=None)
    assert make().config.num_labels == CLASSES
