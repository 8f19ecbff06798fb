import numpy as np
import pydantic
import pytest
import tensorflow as tf

from tests.vl_models.test_export import TOKENIZER, make_model
from vl_models.errors import UserError
from vl_models.strict_config import explain_validation_error
from vl_models.zero_shot import (
    ZeroShotClassifier,
    build_classifier,
    class_embeddings,
    fill_templates,
)
from vl_models.zero_shot_config import DEFAULT_TEMPLATES, ZeroShotConfig


@pytest.fixture(scope="module")
def model():
    return make_model()


def message(values):
    with pytest.raises(pydantic.ValidationError) as caught:
        ZeroShotConfig.model_validate(values)
    return explain_validation_error(caught.value, "x.yaml", ZeroShotConfig)


def test_templates_are_normalised_before_they_are_averaged():
    # Lengths 3 and 1: averaged as they are, the first would count three times.
    texts = np.array([[3, 0], [0, 1]], np.float32)
    np.testing.assert_allclose(class_embeddings(texts, 2), [[0.5**0.5, 0.5**0.5]], rtol=1e-6)
    plain = texts.mean(axis=0) / np.linalg.norm(texts.mean(axis=0))
    np.testing.assert_allclose(plain, [3 / 10**0.5, 1 / 10**0.5], rtol=1e-6)


def test_one_template_is_the_text_itself_and_the_order_of_templates_does_not_matter():
    texts = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    unit = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    np.testing.assert_allclose(class_embeddings(texts, 1), unit, rtol=1e-6)
    swapped = texts.reshape(2, 3, 4)[:, ::-1].reshape(6, 4)
    np.testing.assert_allclose(class_embeddings(swapped, 3), class_embeddings(texts, 3), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(class_embeddings(texts, 3), axis=1), 1, rtol=1e-6)


def test_templates_are_filled_class_by_class():
    assert fill_templates(["a {b}", "猫"], ["{}", "一张{}的图片"]) == [
        "a {b}",
        "一张a {b}的图片",
        "猫",
        "一张猫的图片",
    ]


def test_the_default_templates_are_valid_and_in_both_languages():
    assert ZeroShotConfig(templates=DEFAULT_TEMPLATES) == ZeroShotConfig()
    assert any("图片" in template for template in DEFAULT_TEMPLATES)
    assert any("picture" in template for template in DEFAULT_TEMPLATES)


def test_scores_are_the_softmax_of_scaled_cosines():
    embeddings = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    classifier = ZeroShotClassifier(("right", "上", "left"), embeddings, 2.0, 2, ("{}",))
    answer = classifier.classify(tf.constant([[0.6, 0.8], [-1.0, 0.0]]))
    logits = 2 * np.array([[0.6, 0.8, -0.6], [-1, 0, 1]])
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answer["scores"], -np.sort(-softmax)[:, :2], rtol=1e-6)
    assert answer["classes"].numpy().tolist() == [
        ["上".encode(), b"right"],
        [b"left", "上".encode()],
    ]


def test_classes_are_encoded_with_the_model(model):
    config = ZeroShotConfig(templates=("{}", "red {}"), top_k=9)
    built = build_classifier(model, TOKENIZER, config, ["cat", "猫", "red"])
    texts = tf.constant(["cat", "red cat", "猫", "red 猫", "red", "red red"])
    encoded = model.encode_text({**TOKENIZER.tokenize(texts)}).numpy()
    means = encoded.reshape(3, 2, -1).mean(axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(built.embeddings, means, atol=1e-6)
    assert built.top_k == 3  # as many as there are
    assert built.scale == pytest.approx(float(model.temperature.scale()))


def test_many_classes_are_encoded_in_parts(model):
    names = [f"cat {'red ' * (number % 4)}{number}" for number in range(150)]
    config = ZeroShotConfig(templates=("{}", "red {}"))
    whole = build_classifier(model, TOKENIZER, config, names).embeddings
    for at in (0, 127, 128, 149):
        alone = build_classifier(model, TOKENIZER, config, names[at : at + 1]).embeddings
        np.testing.assert_allclose(whole[at : at + 1], alone, atol=1e-6)


def test_a_prefix_that_the_model_lacks_is_refused(model):
    with pytest.raises(UserError) as error:
        build_classifier(model, TOKENIZER, ZeroShotConfig(prefix="labels"), ["cat"])
    assert str(error.value) == (
        "zero_shot.prefix: the model has no such text prefix; it has: none. "
        "Received: prefix='labels'"
    )


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        ([], "zero_shot.classes: at least one of the class names is needed. Received: 0 classes."),
        (
            ["cat", "cat "],
            "zero_shot.classes: the class names must differ: 'cat' occurs 2 times. "
            "Received: 2 classes.",
        ),
    ],
)
def test_wrong_classes_are_refused(model, classes, text):
    with pytest.raises(UserError) as error:
        build_classifier(model, TOKENIZER, ZeroShotConfig(), classes)
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"classes": "label"},
            "x.yaml: Key 'classes' has a wrong value. Received: 'label'. "
            "Allowed: 'labels' or a list of names.",
        ),
        (
            {"classes": ["a", "b", "a"]},
            "x.yaml: Key 'classes' has a wrong value. Received: ['a', 'b', 'a']. "
            "the class names must differ: 'a' occurs 2 times.",
        ),
        (
            {"classes": []},
            "x.yaml: Key 'classes' has a wrong value. Received: []. "
            "at least one of the class names is needed.",
        ),
        (
            {"classes": [" "]},
            "x.yaml: Key 'classes' has a wrong value. Received: [' ']. "
            "the class names must not be empty texts.",
        ),
        (
            {"templates": ["a {} of {}"]},
            "x.yaml: Key 'templates' has a wrong value. Received: ['a {} of {}']. "
            "a template has exactly one {}, where the name goes: 'a {} of {}' has 2.",
        ),
        (
            {"templates": ["a photo"]},
            "x.yaml: Key 'templates' has a wrong value. Received: ['a photo']. "
            "a template has exactly one {}, where the name goes: 'a photo' has 0.",
        ),
    ],
)
def test_wrong_values_are_explained(values, text):
    assert message(values) == text


def test_the_configuration_survives_writing():
    config = ZeroShotConfig(classes=["猫", "dog"], templates=["{}"], prefix="labels", top_k=2)
    assert ZeroShotConfig.model_validate(config.model_dump(mode="json")) == config
