"""MultiInference through the real stub: answers, codes and exact texts."""

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import inference_pb2, predict_pb2

from tests.serving.models import CLASSIFY, PREDICT, REGRESS, example, fill_input


def _request(*tasks, model="half_plus_two", examples=None):
    """Tasks are pairs of signature and method, or triples that begin with another model."""
    request = inference_pb2.MultiInferenceRequest()
    for *other, signature, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name = other[0] if other else model
        task.model_spec.signature_name = signature
    fill_input(request.input, *([example(x=2.0)] if examples is None else examples))
    return request


def _runs(stub):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "half_plus_two"
    request.model_spec.signature_name = "runs"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([0.0]))
    return stub.Predict(request).outputs["runs"].int64_val[0]


def test_results_are_those_of_the_tasks(examples_stub):
    request = _request(
        ("regress_x_to_y", REGRESS),
        ("classify_both", CLASSIFY),
        ("regress_x_to_y2", REGRESS),
        examples=[example(x=2.0, name="a"), example(x=10.0, name="b")],
    )
    first, second, third = examples_stub.MultiInference(request).results
    assert [item.value for item in first.regression_result.regressions] == [3.0, 7.0]
    assert [
        [(item.label, item.score) for item in row.classes]
        for row in second.classification_result.classifications
    ] == [[("a-low", 3.0), ("a-high", 4.0)], [("b-low", 7.0), ("b-high", 8.0)]]
    assert [item.value for item in third.regression_result.regressions] == [4.0, 8.0]
    assert [result.model_spec.signature_name for result in (first, second, third)] == [
        "regress_x_to_y",
        "classify_both",
        "regress_x_to_y2",
    ]
    assert {result.model_spec.version.value for result in (first, second, third)} == {123}


def test_all_tasks_share_one_session_run(examples_stub):
    before = _runs(examples_stub)
    examples_stub.MultiInference(
        _request(("regress_x_to_y", REGRESS), ("classify_both", CLASSIFY), ("odd", REGRESS))
    )
    assert _runs(examples_stub) == before + 1


def test_signatures_with_placeholders_of_their_own(examples_stub):
    """So TensorFlow 2 exports them; each gets the same examples."""
    request = _request(
        ("regress", REGRESS), ("", CLASSIFY), model="examples", examples=[example(x=0.0)]
    )
    first, second = examples_stub.MultiInference(request).results
    assert [item.value for item in first.regression_result.regressions] == [0.0]
    assert [
        (item.label, item.score) for item in second.classification_result.classifications[0].classes
    ] == [("yes", 0.5), ("no", 0.5)]
    assert second.model_spec.signature_name == "serving_default"


CASES = {
    "no tasks": (_request(), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    "second task without a name": (
        _request(("regress_x_to_y", REGRESS), ("", "classify_both", CLASSIFY)),
        "INVALID_ARGUMENT",
        "Found ModelSpec with an empty model name.",
    ),
    "two models": (
        _request(("regress_x_to_y", REGRESS), ("half_plus_three", "classify_both", CLASSIFY)),
        "INVALID_ARGUMENT",
        "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
    ),
    "a signature twice": (
        _request(("regress_x_to_y", REGRESS), ("regress_x_to_y", REGRESS)),
        "INVALID_ARGUMENT",
        "Duplicate evaluation of signature: regress_x_to_y",
    ),
    "unknown signature": (
        _request(("nope", REGRESS)),
        "INVALID_ARGUMENT",
        "Requested signature not found in model graph: nope",
    ),
    "another method": (
        _request(("regress_x_to_y", PREDICT)),
        "UNIMPLEMENTED",
        "Unsupported signature method_name: tensorflow/serving/predict",
    ),
    "no method": (
        _request(("regress_x_to_y", "")),
        "UNIMPLEMENTED",
        "Unsupported signature method_name: ",
    ),
    "a classification of another form": (
        _request(("regress_x_to_y", REGRESS), ("classify_three", CLASSIFY)),
        "INVALID_ARGUMENT",
        "Expected one or two output Tensors, found 3",
    ),
    "a signature of another form": (
        _request(("regress_two", REGRESS)),
        "INVALID_ARGUMENT",
        "Expected one output Tensor.",
    ),
    "an output of another form": (
        _request(("classify_both", CLASSIFY), ("regress_integers", REGRESS)),
        "INVALID_ARGUMENT",
        "Expected output Tensor of DT_FLOAT.  Got: DT_INT32",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(examples_stub, case):
    request, code, text = CASES[case]
    with pytest.raises(grpc.RpcError) as caught:
        examples_stub.MultiInference(request)
    assert (caught.value.code().name, caught.value.details()) == (code, text)
