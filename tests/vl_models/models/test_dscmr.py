import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_model_test
from tests.vl_models.models.feature_batch import SIDES, feature_batch
from vl_models.errors import UserError
from vl_models.models.dscmr_config import DSCMRConfig
from vl_models.models.registry import build_model

WIDE = {side: {**SIDES[side], "hidden_widths": [8]} for side in ("image", "text")}


def make(**options):
    values = {**SIDES, **WIDE, "embedding_dim": 4, **options}
    return build_model(DSCMRConfig.model_validate(values))


@pytest.mark.parametrize("texts", [1, 2])
def test_contract(texts):
    run_model_test(make, feature_batch(texts=texts), dim=4)


def test_the_three_terms_by_hand():
    batch, model = feature_batch(), make(likelihood_weight=0.5, pair_weight=0.25)
    outputs = model.forward(batch, True)
    u, v = outputs["image_vector"].numpy(), outputs["text_vector"].numpy()
    y = batch["label"].numpy()
    scores = [model.class_scores(vector).numpy() for vector in (u, v)]
    j1 = sum(np.linalg.norm(score - y, axis=1).mean() for score in scores)

    def likelihood(a, b):
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
        theta = 0.5 * a @ b.T
        return (np.log1p(np.exp(theta)) - (y @ y.T) * theta).mean()

    j2 = likelihood(u, u) + likelihood(u, v) + likelihood(v, v)
    j3 = np.linalg.norm(u - v, axis=1).mean()
    losses = {key: float(value) for key, value in model.losses(batch, outputs).items()}
    assert losses == pytest.approx(
        {"label_distance": j1, "likelihood": 0.5 * j2, "pair_distance": 0.25 * j3}, rel=1e-4
    )


def test_a_permutation_of_the_batch_changes_nothing():
    batch, model = feature_batch(), make()
    order = [3, 0, 5, 1, 4, 2]
    shuffled = {key: tf.gather(value, order) for key, value in batch.items()}
    losses = [model.losses(b, model.forward(b, True)) for b in (batch, shuffled)]
    for name in losses[0]:
        np.testing.assert_allclose(losses[0][name], losses[1][name], rtol=1e-5)


def test_last_layer_and_classifier_are_one_for_both_modalities():
    model = make()
    assert model.image_projection is model.text_projection
    paths = [v.path for v in model.variables]
    assert len(paths) == len(set(paths))
    assert "shared_projection/dense/kernel" in paths and "class_scores/scores/kernel" in paths


def test_data_without_labels_are_refused():
    with pytest.raises(UserError, match="System 'dscmr' learns from classes"):
        make(num_labels=None)


def test_search_by_classes_is_by_the_scores_above_zero():
    model, batch = make(search_by="classes"), feature_batch()
    scores = model.class_scores(model.forward(batch, training=False)["image_vector"]).numpy()
    expected = np.maximum(scores, 0.0) + 1e-6
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(model.encode_image(batch), expected, atol=1e-5)


def test_a_label_classifier_beside_is_searched_by_instead():
    model = make(search_by="classes", tasks=[{"kind": "label_classifier"}])
    batch = feature_batch()
    vector = model.forward(batch, training=False)["image_vector"]
    expected = tf.nn.softmax(model.tasks[0].classifiers[0](vector)).numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(model.encode_image(batch), expected, atol=1e-5)
