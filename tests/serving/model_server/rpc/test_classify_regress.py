"""Classify and Regress through the real stub: answers, codes and exact texts."""

import re

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

from tests.serving.models import REGRESS, example, fill_input

REQUESTS = {
    "Classify": (classification_pb2.ClassificationRequest, "classify_both"),
    "Regress": (regression_pb2.RegressionRequest, "regress_x_to_y"),
    "MultiInference": (inference_pb2.MultiInferenceRequest, "regress_x_to_y"),
}
BOTH = ("Classify", "Regress")


def _call(stub, method, signature=None, *, model="half_plus_two", examples=None, **given):
    """The answer of a method; MultiInference has one task."""
    make, default = REQUESTS[method]
    request = make()
    task = request.tasks.add(method_name=REGRESS) if method == "MultiInference" else request
    task.model_spec.name = model
    task.model_spec.signature_name = default if signature is None else signature
    if "version" in given:
        task.model_spec.version.value = given["version"]
    if "label" in given:
        task.model_spec.version_label = given["label"]
    examples = [example(x=2.0)] if examples is None else examples
    fill_input(request.input, *examples, context=given.get("context"))
    return getattr(stub, method)(request)


def _refusal(call, *arguments, **given):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **given)
    return caught.value.code().name, caught.value.details()


def _classes(response):
    return [
        [(item.label, item.score) for item in row.classes]
        for row in response.result.classifications
    ]


def _values(response):
    return [item.value for item in response.result.regressions]


def test_classes_with_labels_and_scores(examples_stub):
    examples = [example(x=2.0, name="a"), example(x=10.0, name="猫")]
    response = _call(examples_stub, "Classify", examples=examples)
    assert _classes(response) == [
        [("a-low", 3.0), ("a-high", 4.0)],
        [("猫-low", 7.0), ("猫-high", 8.0)],
    ]
    assert response.model_spec.name == "half_plus_two"
    assert response.model_spec.version.value == 123
    assert response.model_spec.signature_name == "classify_both"


def test_scores_alone_have_empty_labels(examples_stub):
    assert _classes(_call(examples_stub, "Classify", "classify_x_to_y")) == [[("", 3.0)]]


def test_classes_alone_have_zero_scores(examples_stub):
    response = _call(examples_stub, "Classify", "classify_classes", examples=[example(name="a")])
    assert _classes(response) == [[("a-low", 0.0), ("a-high", 0.0)]]


def test_context_is_merged_into_each_example(examples_stub):
    """A feature of the example wins over the same feature of the context."""
    examples = [example(), example(x=4.0), example(name="b")]
    response = _call(examples_stub, "Classify", examples=examples, context=example(x=2.0, name="a"))
    assert _classes(response) == [
        [("a-low", 3.0), ("a-high", 4.0)],
        [("a-low", 4.0), ("a-high", 5.0)],
        [("b-low", 3.0), ("b-high", 4.0)],
    ]
    response = _call(examples_stub, "Regress", examples=examples[:2], context=example(x=2.0))
    assert _values(response) == [3.0, 4.0]


def test_default_signature_of_tensorflow_2(examples_stub):
    examples = [example(x=0.0), example(x=2.0)]
    response = _call(examples_stub, "Classify", "", model="examples", examples=examples)
    assert response.model_spec.signature_name == "serving_default"
    (first, second) = _classes(response)
    assert first == [("yes", 0.5), ("no", 0.5)]
    np.testing.assert_allclose(second[0][1], 1 / (1 + np.exp(-2.0)), rtol=1e-6)


@pytest.mark.parametrize("signature", ["regress_x_to_y", "regress_flat"])
def test_values_of_both_shapes(examples_stub, signature):
    """[N, 1] and [N]."""
    examples = [example(x=2.0), example(), example(x=-1.0)]
    response = _call(examples_stub, "Regress", signature, examples=examples)
    assert _values(response) == [3.0, 2.0, 1.5]
    assert response.model_spec.name == "half_plus_two"
    assert response.model_spec.version.value == 123
    assert response.model_spec.signature_name == signature


def test_models_side_by_side(examples_stub):
    answers = [
        _values(_call(examples_stub, "Regress", model=model))
        for model in ("half_plus_two", "half_plus_three")
    ]
    assert answers == [[3.0], [4.0]]


def test_method_name_is_not_checked(examples_stub):
    """Signatures of TensorFlow 2 all say Predict."""
    response = _call(
        examples_stub, "Regress", "regress", model="examples", examples=[example(x=1.5)]
    )
    assert _values(response) == [3.0]
    assert _values(_call(examples_stub, "Regress", "odd")) == [3.0]


@pytest.mark.parametrize("method", REQUESTS)
@pytest.mark.parametrize(
    ("given", "code", "text"),
    [
        ({"model": "", "label": "a"}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ({"model": "m"}, "NOT_FOUND", "Servable not found for request: Latest(m)"),
        (
            {"version": 9},
            "NOT_FOUND",
            "Servable not found for request: Specific(half_plus_two, 9)",
        ),
        (
            {"label": "gold"},
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: gold",
        ),
        ({"signature": "regress_two_inputs"}, "INVALID_ARGUMENT", "Expected one input Tensor."),
        ({"examples": []}, "INVALID_ARGUMENT", "Input is empty."),
        (
            {"examples": [], "context": example(x=1.0)},
            "INVALID_ARGUMENT",
            "Input is empty.",
        ),
    ],
)
def test_refused_by_all(examples_stub, method, given, code, text):
    assert _refusal(_call, examples_stub, method, **given) == (code, text)


@pytest.mark.parametrize("method", BOTH)
def test_refused_by_both(examples_stub, method):
    call = getattr(examples_stub, method)
    make, signature = REQUESTS[method]
    spec = {"name": "half_plus_two", "signature_name": signature}
    assert _refusal(call, make()) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    assert _refusal(call, make(model_spec=spec)) == ("INVALID_ARGUMENT", "Input is empty.")
    assert _refusal(_call, examples_stub, method, "nope") == (
        "INVALID_ARGUMENT",
        "No signature was found with the name: nope",
    )


@pytest.mark.parametrize(
    ("method", "signature", "text"),
    [
        ("Classify", "classify_three", "Expected one or two output Tensors, found 3"),
        (
            "Classify",
            "classify_flat",
            "Expected Tensor shape: [batch_size num_classes] but got [3]",
        ),
        (
            "Classify",
            "classify_float_classes",
            "Expected classes Tensor of DT_STRING. Got: DT_FLOAT",
        ),
        (
            "Classify",
            "classify_integer_scores",
            "Expected scores Tensor of DT_FLOAT. Got: DT_INT32",
        ),
        (
            "Classify",
            "classify_few_classes",
            "Expected classes output batch size of 3. Got: 2",
        ),
        ("Classify", "classify_few_scores", "Expected scores output batch size of 3. Got: 2"),
        (
            "Classify",
            "classify_uneven",
            "Tensors class and score should match in dim_size(1). Got 2 vs. 3",
        ),
        ("Regress", "regress_two", "Expected one output Tensor."),
        (
            "Regress",
            "regress_matrix",
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            "[3,2]",
        ),
        (
            "Regress",
            "regress_few",
            "Input batch size did not match output batch size: 3 vs. 2",
        ),
        ("Regress", "regress_integers", "Expected output Tensor of DT_FLOAT.  Got: DT_INT32"),
    ],
)
def test_refused_signatures(examples_stub, method, signature, text):
    refusal = _refusal(_call, examples_stub, method, signature, examples=[example()] * 3)
    assert refusal == ("INVALID_ARGUMENT", text)


@pytest.mark.parametrize(
    ("method", "signature", "text"),
    [
        ("Classify", "classify_named_x", "No classification inputs found in SignatureDef: "),
        (
            "Classify",
            "classify_named_y",
            "Expected classification signature outputs to contain at least one of "
            '"classes" or "scores". Signature was: ',
        ),
        ("Regress", "regress_named_x", "No regression inputs found in SignatureDef: "),
        ("Regress", "regress_named_y", "No regression outputs found in SignatureDef: "),
    ],
)
def test_refused_with_the_signature(examples_stub, method, signature, text):
    code, details = _refusal(_call, examples_stub, method, signature)
    assert code == "INVALID_ARGUMENT"
    assert re.match(re.escape(text) + r'inputs \{\n  key: "', details)


@pytest.mark.parametrize("method", BOTH)
def test_an_example_that_the_graph_refuses(examples_stub, method):
    code, details = _refusal(_call, examples_stub, method, examples=[example(x="text")])
    assert code == "INVALID_ARGUMENT"
    assert "Key: x" in details
