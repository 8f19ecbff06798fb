"""Tasks on CLIP and WenLan: what they cost, what they move, one device and two."""

import numpy as np
import pydantic
import pytest
import tensorflow as tf

from tests.harness import run_model_test
from tests.vl_models.tiny_systems import TOKENIZER, make_batch, make_config
from vl_models.errors import UserError
from vl_models.models.registry import build_model

ALL = [
    {"kind": "modality_adversary", "weight": 0.5, "reversal": {"kind": "constant"}},
    {"kind": "pair_margin", "weight": 2.0, "margin": 0.7},
    {"kind": "label_classifier", "shared": False},
]


def labelled_batch(**options):
    batch = make_batch(**options)
    label = np.zeros((batch["image"].shape[0], 3), np.float32)
    label[0, 0] = label[1, 1] = label[1, 2] = label[2, 2] = 1.0  # the last row has none
    rows = tf.range(len(label), dtype=tf.int64)
    return {**batch, "label": tf.constant(label), "row": rows}


@pytest.mark.parametrize("system", ["clip", "siglip", "wenlan"])
def test_any_dual_encoder_takes_all_of_them(system, tmp_path):
    extra = {"queue_size": 6, "queue_query_hashes": 2} if system == "wenlan" else {}
    config = make_config(system, tasks=ALL, num_labels=3, **extra)
    batch = labelled_batch(texts_per_image=2)
    run_model_test(lambda: build_model(config), batch, dim=8, tokenizer=TOKENIZER, folder=tmp_path)
    model = build_model(config)
    losses = model.losses(batch, model.forward(batch, True))
    assert {"modality_adversary", "pair_margin", "label_classifier"} < losses.keys()
    model.after_step(batch, model.forward(batch, True))
    assert float(model.scalars()["modality_adversary/lambda"]) == 1.0


def test_a_system_without_tasks_is_as_it_was():
    plain = build_model(make_config("clip"))
    adorned = build_model(make_config("clip", tasks=ALL, num_labels=3))
    assert [v.path for v in adorned.variables][: len(plain.variables) - 1] == [
        v.path for v in plain.variables
    ][:-1]  # towers first; the temperature comes last in both
    batch = labelled_batch()
    assert plain.losses(batch, plain.forward(batch, True)).keys() == {"contrastive"}


def test_pair_margin_by_hand():
    model = build_model(make_config("clip", tasks=[ALL[1]]))
    batch = {key: value for key, value in make_batch().items() if "hash" not in key}
    outputs = model.forward(batch, True)
    image, text = outputs["image_embedding"].numpy(), outputs["text_embedding"].numpy()
    distance = np.linalg.norm(image[:, None] - text[None], axis=2)
    pairs = np.eye(4, dtype=bool)
    far = np.square(np.maximum(0.7 - distance[~pairs], 0)).mean()
    expected = 2.0 * (np.square(distance[pairs]).mean() + far)
    found = float(model.losses(batch, outputs)["pair_margin"])
    assert found == pytest.approx(expected, rel=1e-4)


def test_known_clicks_are_no_negatives_of_pair_margin():
    model = build_model(make_config("clip", tasks=[{**ALL[1], "margin": 2.0}]))
    batch = make_batch()
    batch["query_hash"] = tf.constant([7, 7, 7, 7], tf.int64)  # every image was clicked for it
    outputs = model.forward(batch, True)
    squares = np.square(
        np.linalg.norm(
            outputs["image_embedding"][:, None] - outputs["text_embedding"][None], axis=2
        )
    )
    found = float(model.losses(batch, outputs)["pair_margin"])
    assert found == pytest.approx(2.0 * squares.mean(), rel=1e-4)


def test_rows_without_labels_count_for_nothing_and_targets_are_shared():
    model = build_model(make_config("clip", tasks=[ALL[2]], num_labels=3))
    batch = labelled_batch()
    outputs = model.forward(batch, True)
    task = model.tasks[0]
    total = 0.0
    for side, classifier in zip(("image", "text"), task.classifiers):
        scores = classifier(outputs[f"{side}_embedding"]).numpy()
        log = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        total -= (log[0, 0] + 0.5 * (log[1, 1] + log[1, 2]) + log[2, 2]) / 3
    found = float(model.losses(batch, outputs)["label_classifier"])
    assert found == pytest.approx(total, rel=1e-5)


def test_a_shared_projection_is_one_layer():
    model = build_model(make_config("clip", shared_projection=True))
    paths = [v.path for v in model.variables]
    assert [path for path in paths if "projection" in path] == ["shared_projection/kernel"]
    run_model_test(
        lambda: build_model(make_config("clip", shared_projection=True)), make_batch(), dim=8
    )


def test_wrong_configurations_are_refused():
    with pytest.raises(UserError, match="each kind of task once; repeated: pair_margin"):
        make_config("clip", tasks=[ALL[1], ALL[1]])
    with pytest.raises(UserError, match="label_classifier needs classes"):
        build_model(make_config("clip", tasks=[ALL[2]]))
    with pytest.raises((UserError, pydantic.ValidationError), match="momentum encoders"):
        make_config("wenlan", shared_projection=True)
