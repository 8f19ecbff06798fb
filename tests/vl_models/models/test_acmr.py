import numpy as np
import pydantic
import pytest
import tensorflow as tf

from tests.harness import run_model_test
from tests.vl_models.models.feature_batch import SIDES, feature_batch
from tests.vl_models.models.test_ucal import gradients
from vl_models.errors import UserError
from vl_models.losses.class_triplet import batch_hinge, class_triplet_rows
from vl_models.models.acmr_config import ACMRConfig
from vl_models.models.registry import build_model

CONSTANT = {"kind": "modality_adversary", "reversal": {"kind": "constant", "maximum": 1.0}}


def make(**options):
    return build_model(ACMRConfig.model_validate({**SIDES, "embedding_dim": 4, **options}))


@pytest.mark.parametrize("texts", [1, 2])
def test_contract(texts):
    run_model_test(lambda: make(weight_norms=0.1), feature_batch(texts=texts), dim=4)


def test_triplets_are_those_of_both_directions():
    batch, model = feature_batch(), make(triplet_weight=3.0, margin=0.8, push_weight=0.4)
    outputs = model.forward(batch, True)
    same = tf.constant(np.equal.outer(batch["label_id"], batch["label_id"]))
    v, w = outputs["image_vector"], outputs["text_vector"]
    rows = [class_triplet_rows(a, b, same, 0.8, 0.4) for a, b in ((v, w), (w, v))]
    expected = 3.0 * sum(float(tf.reduce_mean(row)) for row in rows)
    assert float(model.losses(batch, outputs)["triplet"]) == pytest.approx(expected, rel=1e-5)


def test_gradients_reach_what_they_must():
    model, batch = make(tasks=[{"kind": "label_classifier"}, CONSTANT]), feature_batch()
    towers = ("image_", "text_")
    reached = {
        name: {path for path, g in gradients(model, batch, [name]).items() if np.any(g)}
        for name in ("triplet", "label_classifier", "modality_adversary")
    }
    trainable = {v.path for v in model.trainable_variables}
    of_towers = {path for path in trainable if path.startswith(towers)}
    assert reached["triplet"] == of_towers
    labels = {path for path in trainable if path.startswith("label_classifier")}
    assert reached["label_classifier"] == of_towers | labels
    modality = {path for path in trainable if path.startswith("modality_classifier")}
    assert reached["modality_adversary"] >= of_towers | {p for p in modality if "scores" in p}


def test_only_the_heads_learn_without_weights_and_reversal():
    silent = {"kind": "modality_adversary", "reversal": {"kind": "constant", "maximum": 0.0}}
    model = make(triplet_weight=0.0, tasks=[{"kind": "label_classifier", "weight": 0}, silent])
    batch = feature_batch()
    names = list(model.losses(batch, model.forward(batch, True)))
    moved = {path for path, g in gradients(model, batch, names).items() if np.any(g)}
    assert moved and all(path.startswith("modality_classifier") for path in moved)


def test_weight_norms_are_those_of_the_towers_matrices():
    model, batch = make(weight_norms=1.0), feature_batch()
    paths = {v.path: np.linalg.norm(v) for v in model.trainable_variables if "kernel" in v.path}
    expected = sum(norm for path, norm in paths.items() if path.startswith(("image_", "text_")))
    losses = model.losses(batch, model.forward(batch, True))
    assert float(losses["weight_norms"]) == pytest.approx(expected, rel=1e-5)


def test_data_without_labels_are_refused():
    with pytest.raises(UserError, match=r"System 'acmr' learns from classes.*'ucal'"):
        make(num_labels=None)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_search_by_classes_is_by_the_direction_of_their_chances(temperature):
    model, batch = make(search_by="classes", class_temperature=temperature), feature_batch()
    (task,) = (o for o in model.tasks if o.config.kind == "label_classifier")
    vector = model.forward(batch, training=False)["text_vector"]
    probabilities = tf.nn.softmax(task.classifiers[1](vector) / temperature).numpy()
    found = model.encode_text(batch).numpy()
    assert found.shape == (6, 3)
    np.testing.assert_allclose(
        found, probabilities / np.linalg.norm(probabilities, axis=1, keepdims=True), atol=1e-6
    )


def test_contract_of_a_search_by_classes():
    run_model_test(lambda: make(search_by="classes"), feature_batch(), dim=3)


def test_search_by_classes_needs_a_classifier():
    with pytest.raises(pydantic.ValidationError, match="search_by 'classes' needs a classifier"):
        make(search_by="classes", tasks=[])


@pytest.mark.parametrize("texts", [1, 2])
def test_contract_of_the_reference_demo(texts):
    run_model_test(lambda: make(reference_demo=True), feature_batch(texts=texts), dim=4)


def test_the_reference_demo_pushes_the_hardest_item_of_another_class():
    batch, model = feature_batch(), make(reference_demo=True)
    outputs = model.forward(batch, True)
    v, w = outputs["image_vector"].numpy(), outputs["text_vector"].numpy()

    def hardest(features):
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        classes = batch["label_id"].numpy()
        cosine = np.where(classes[:, None] == classes[None, :], -np.inf, unit @ unit.T)
        return cosine.argmax(axis=1)

    expected = batch_hinge(
        v,
        w,
        v[hardest(batch["text_features"].numpy())],
        w[hardest(batch["image_features"].numpy())],
    )
    assert float(model.losses(batch, outputs)["triplet"]) == pytest.approx(
        float(expected), rel=1e-5
    )


def test_the_reference_demo_only_pulls_where_all_are_of_one_class():
    batch, model = feature_batch(), make(reference_demo=True)
    batch["label"] = tf.one_hot([1] * 6, 3)
    outputs = model.forward(batch, True)
    square = np.sum((outputs["image_vector"] - outputs["text_vector"]).numpy() ** 2)
    # 0.1 + 5 · ½‖V - W‖² for each modality.
    assert float(model.losses(batch, outputs)["triplet"]) == pytest.approx(
        0.2 + 5 * square, rel=1e-5
    )


def test_the_reference_demo_is_not_adversarial_and_its_classifier_never_learns():
    tasks = [{"kind": "label_classifier", "weight": 100.0}, CONSTANT]
    model, batch = make(reference_demo=True, tasks=tasks), feature_batch()
    adversary = gradients(model, batch, ["modality_adversary"])
    assert {path.split("/")[0] for path, g in adversary.items() if np.any(g)} == {
        "modality_classifier"
    }
    labels = gradients(model, batch, ["label_classifier"])
    assert any(np.any(g) for path, g in labels.items() if path.startswith("image_"))
    assert not any(path.startswith("label_classifier") for path in labels)


def test_the_reference_demo_reads_features():
    image = {"kind": "vit", "width": 16, "depth": 1, "heads": 2, "patch_size": 8}
    with pytest.raises(pydantic.ValidationError, match="reference_demo needs features"):
        make(reference_demo=True, image=image)
