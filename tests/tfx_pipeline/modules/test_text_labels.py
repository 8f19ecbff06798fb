"""Images and texts whose label sets differ: from arrays to the classifiers' losses."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfx_pipeline.conftest import REPOSITORY
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.data.feature_examples import write_feature_examples
from tfx_pipeline.data.feature_set import read_feature_set
from tfx_pipeline.modules.data_facts import read_data_facts
from tfx_pipeline.modules.sources import train_sources
from vl_models.errors import UserError
from vl_models.input.records import START
from vl_models.input.source import Feed
from vl_models.models.registry import build_model

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


def facts_of(examples, *overrides):
    given = ["data.folder=unused", *overrides]
    config = ExperimentConfig.load(REPOSITORY / "configs" / "acmr.yaml", given)
    return config, read_data_facts(config, examples, None)


def test_each_classifier_learns_the_labels_of_its_side(examples):
    config, facts = facts_of(examples, TASKS % "false", "model.search_by=vector")
    assert facts.labels == {"classes": ("0", "1", "2"), "text_classes": ("art", "news")}
    (source,) = train_sources(config.input, facts.model, examples, None, None, facts.labels)
    batch, _ = next(source.open(Feed(batch_size=8, seed=1, source_id=0), START))
    row = batch["row"].numpy() % ROWS
    np.testing.assert_array_equal(batch["label"].numpy(), np.eye(3)[IMAGE_CLASS[row]])
    np.testing.assert_array_equal(
        batch["text_label"].numpy(), np.eye(2)[(TOPIC[row] == "news").astype(int)]
    )
    model = build_model(facts.model)
    outputs = model.forward(batch, training=False)
    (task,) = model.tasks
    expected = 0.0
    for side, key, classifier in zip(("image", "text"), ("label", "text_label"), task.classifiers):
        scores = classifier(outputs[f"{side}_vector"])
        expected += np.mean(tf.nn.softmax_cross_entropy_with_logits(batch[key], scores))
    found = float(model.losses(batch, outputs)["label_classifier"])
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_shared_classifier_goes_by_the_images_labels(examples):
    _, facts = facts_of(examples, TASKS % "true")
    model = build_model(facts.model)
    assert [layer.classes for layer in model.tasks[0].layers] == [3]


def test_classes_of_different_systems_cannot_be_compared(examples):
    _, facts = facts_of(examples, TASKS % "false", "model.search_by=classes")
    with pytest.raises(UserError, match=r"search_by: classes compares.*search_by: vector"):
        build_model(facts.model)
