"""Images and texts whose label sets differ: from arrays to the classifiers' losses."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfx_pipeline.conftest import REPOSITORY
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.data.feature_examples import write_feature_examples
from tfx_pipeline.data.feature_set import read_feature_set
from tfx_pipeline.training.setup import prepare_training
from vl_models.errors import UserError
from vl_models.input.records import START
from vl_models.input.source import Feed

ROWS = 24
IMAGE_CLASS = np.arange(ROWS) % 3
TOPIC = np.array(["art", "news"])[np.arange(ROWS) % 2]
TASKS = "model.tasks=[{kind: label_classifier, shared: %s}]"


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    generator = np.random.default_rng(0)
    np.savez(
        folder / "set.npz",
        image=generator.normal(size=(ROWS, 6)),
        text=generator.normal(size=(ROWS, 5)),
        label=IMAGE_CLASS,
        topic=TOPIC,
        split=np.full(ROWS, "train"),
    )
    keys = {name: name for name in ("image", "text", "label", "split")}
    data = read_feature_set([folder / "set.npz"], **keys, text_label="topic", val_share=0.0)
    write_feature_examples(data, folder / "examples", "made")
    return folder / "examples"


def setup_of(examples, *overrides):
    given = ["data.folder=unused", "train.hooks=[]", "train.keep_best=null", *overrides]
    config = ExperimentConfig.load(REPOSITORY / "configs" / "acmr.yaml", given)
    return prepare_training(config, examples, examples)


def build(setup):
    model = setup.model_fn()
    model.build()
    return model


def test_each_classifier_learns_the_labels_of_its_side(examples):
    setup = setup_of(examples, TASKS % "false", "model.search_by=vector")
    data = setup.facts.data
    assert (data.classes, data.text_classes) == (("0", "1", "2"), ("art", "news"))
    (source,) = setup.sources
    batch, _ = next(source.open(Feed(batch_size=8, seed=1, source_id=0), START))
    row = batch["row"].numpy() % ROWS
    np.testing.assert_array_equal(batch["label"].numpy(), np.eye(3)[IMAGE_CLASS[row]])
    np.testing.assert_array_equal(
        batch["text_label"].numpy(), np.eye(2)[(TOPIC[row] == "news").astype(int)]
    )
    model = build(setup)
    outputs = model.forward(batch, training=False)
    (task,) = model.tasks
    expected = 0.0
    for side, key, classifier in zip(("image", "text"), ("label", "text_label"), task.classifiers):
        scores = classifier(outputs[f"{side}_vector"])
        expected += np.mean(tf.nn.softmax_cross_entropy_with_logits(batch[key], scores))
    found = float(model.losses(batch, outputs)["label_classifier"])
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_shared_classifier_goes_by_the_images_labels(examples):
    setup = setup_of(examples, TASKS % "true")
    model = build(setup)
    assert [layer.classes for layer in model.tasks[0].layers] == [3]


def test_classes_of_different_systems_cannot_be_compared(examples):
    setup = setup_of(examples, TASKS % "false", "model.search_by=classes")
    with pytest.raises(UserError, match=r"search_by: classes compares.*search_by: vector"):
        build(setup)
