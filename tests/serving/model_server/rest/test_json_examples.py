"""Classify and regress over REST: bodies of a real server, and each text of a refusal."""

import json
import urllib.error
import urllib.request

import numpy as np
import pytest
from tensorflow_serving.apis import classification_pb2, input_pb2, regression_pb2

from serving.errors import StatusError
from serving.model_server.rest.json_examples import (
    classification_text,
    fill_examples,
    regression_text,
)
from serving.model_server.rest.json_parser import parse_object


@pytest.fixture(scope="module")
def post(examples_server):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def post(path, body):
        url = f"http://127.0.0.1:{examples_server.rest_port}/v1/models/{path}"
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            with opener.open(urllib.request.Request(url, data)) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())["error"]

    return post


def test_classify(post):
    body = {
        "signature_name": "classify_both",
        "examples": [{"x": 2.0, "name": "a"}, {"x": [-4.1], "name": ["猫"]}],
    }
    status, text = post("half_plus_two:classify", body)
    scores = [float(np.float32(-2.05) + 2), float(np.float32(-2.05) + 3)]
    assert (status, json.loads(text)) == (
        200,
        {
            "results": [
                [["a-low", 3.0], ["a-high", 4.0]],
                [["猫-low", pytest.approx(scores[0])], ["猫-high", pytest.approx(scores[1])]],
            ]
        },
    )


def test_regress(post):
    body = {"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}, {}, {"x": 0.4}]}
    status, text = post("half_plus_two:regress", body)
    assert (status, json.loads(text)) == (200, {"results": [3.0, 2.0, 2.2]})


def test_versions_and_the_default_signature(post):
    body = {"examples": [{"x": 0.0}]}
    status, text = post("examples/versions/1:classify", body)
    assert (status, json.loads(text)) == (200, {"results": [[["yes", 0.5], ["no", 0.5]]]})


def test_context(post):
    body = {
        "signature_name": "regress_x_to_y",
        "context": {"x": 2.0},
        "examples": [{}, {"x": 4.0}, {"name": "b"}],
    }
    status, text = post("half_plus_two:regress", body)
    assert (status, json.loads(text)) == (200, {"results": [3.0, 4.0, 3.0]})


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("m:classify", {"examples": [{}]}, 404, "Servable not found for request: Latest(m)"),
        (
            "half_plus_two/versions/9:regress",
            {"examples": [{}]},
            404,
            "Servable not found for request: Specific(half_plus_two, 9)",
        ),
        (
            "half_plus_two/labels/gold:regress",
            {"examples": [{}]},
            400,
            "Unrecognized servable version label: gold",
        ),
        # What is wrong with the body is said before the model is looked for.
        (
            "m:regress",
            b"{",
            400,
            "JSON Parse error: Expecting property name enclosed in double quotes at offset: 1",
        ),
        (
            "half_plus_two:classify",
            {"signature_name": "nope", "examples": [{}]},
            400,
            "No signature was found with the name: nope",
        ),
        (
            "half_plus_two:regress",
            {"signature_name": "regress_two", "examples": [{}]},
            400,
            "Expected one output Tensor.",
        ),
    ],
)
def test_refused_requests(post, path, body, status, text):
    assert post(path, body) == (status, text)


def test_an_example_that_the_graph_refuses(post):
    body = {"signature_name": "regress_x_to_y", "examples": [{"x": "text"}]}
    status, text = post("half_plus_two:regress", body)
    assert status == 400
    assert "Key: x" in text


def test_predict_without_inputs(post):
    body = {"signature_name": "no_inputs", "instances": [1]}
    text = "Failed to get input map for signature: no_inputs"
    assert post("half_plus_two:predict", body) == (400, text)


def _fill(body):
    target = input_pb2.Input()
    fill_examples(parse_object(body.encode()), target)
    return target


def _features(example):
    return {
        name: (kind := feature.WhichOneof("kind")) and (kind, list(getattr(feature, kind).value))
        for name, feature in example.features.feature.items()
    }


def test_features_of_each_kind():
    source = _fill(
        '{"examples": [{"i": [1, -9223372036854775808], "flags": [1, true, false], "f": 0.5,'
        ' "fs": [8.0, NaN, -Infinity], "s": ["a", {"b64": "AP8="}], "empty": []}]}'
    )
    (example,) = source.example_list.examples
    features = _features(example)
    kind, values = features.pop("fs")
    assert kind == "float_list"
    np.testing.assert_array_equal(values, [8.0, np.nan, -np.inf])
    assert features == {
        "i": ("int64_list", [1, -(2**63)]),
        "flags": ("int64_list", [1, 1, 0]),
        "f": ("float_list", [0.5]),
        "s": ("bytes_list", [b"a", b"\x00\xff"]),
        "empty": None,
    }


def test_examples_with_context():
    source = _fill('{"context": {"query": "pizza"}, "examples": [{"x": 1}, {}]}')
    assert source.WhichOneof("kind") == "example_list_with_context"
    assert _features(source.example_list_with_context.context) == {
        "query": ("bytes_list", [b"pizza"])
    }
    assert [_features(e) for e in source.example_list_with_context.examples] == [
        {"x": ("int64_list", [1])},
        {},
    ]


def test_the_last_of_repeated_features_counts():
    (example,) = _fill('{"examples": [{"x": 1, "x": ["a"]}]}').example_list.examples
    assert _features(example) == {"x": ("bytes_list", [b"a"])}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            "{}",
            "JSON Value: {} When method is classify, key 'examples' is expected and was not found",
        ),
        (
            '{"examples": {}}',
            "JSON Value: {\n    \"examples\": {}\n} Expecting 'examples' value to be an list/array",
        ),
        (
            '{"examples": []}',
            "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array",
        ),
        ('{"examples": [[{}]]}', "Example must be JSON object but got JSON Array"),
        ('{"examples": [{}, 1]}', "Example must be JSON object but got JSON Number"),
        ('{"examples": ["a"]}', "Example must be JSON object but got JSON String"),
        ('{"examples": [null]}', "Example must be JSON object but got JSON Null"),
        ('{"examples": [true]}', "Example must be JSON object but got JSON True"),
        ('{"context": [{}], "examples": [{}]}', "Example must be JSON object but got JSON Array"),
        (
            '{"examples": [{"f": null}]}',
            "Feature: f has element with unexpected JSON type: Null",
        ),
        (
            '{"examples": [{"f": [1, [2]]}]}',
            "Feature: f has element with unexpected JSON type: Array",
        ),
        (
            '{"examples": [{"f": {"c": 1}}]}',
            "Feature: f has element with unexpected JSON type: Object",
        ),
        (
            '{"examples": [{"f": [1, 1.0]}]}',
            "Unexpected element type in feature: f expecting type: int64",
        ),
        (
            '{"examples": [{"f": [1.0, true]}]}',
            "Unexpected element type in feature: f expecting type: float",
        ),
        (
            '{"examples": [{"f": ["a", 1]}]}',
            "Unexpected element type in feature: f expecting type: bytes",
        ),
        (
            '{"examples": [{"f": [1, {"b64": "AA=="}]}]}',
            "Unexpected element type in feature: f expecting type: int64",
        ),
        ('{"examples": [{"f": {"b64": "A"}}]}', "Unable to base64 decode"),
        (
            '{"examples": [{"f": 9223372036854775808}]}',
            "Feature: f has uint64_t element. Only int64_t is supported.",
        ),
        (
            '{"examples": [{"f": 1e39}]}',
            "Cannot convert JSON value: 1e+39 to float without loss of precision.",
        ),
    ],
)
def test_refused_examples(body, text):
    with pytest.raises(StatusError) as caught:
        _fill(body)
    assert caught.value.text == f"INVALID_ARGUMENT: {text}"


def test_numbers_of_results_are_those_of_tensors():
    result = regression_pb2.RegressionResult()
    values = np.float32([0.2, np.inf, 9e6, -np.inf, np.nan, -0.0])
    for value in values:
        result.regressions.add(value=value)
    assert "[0.2" in regression_text(result)
    np.testing.assert_array_equal(
        np.float32(json.loads(regression_text(result))["results"]), values
    )


def test_classes_of_different_numbers():
    result = classification_pb2.ClassificationResult()
    result.classifications.add()
    result.classifications.add().classes.add(label='a"', score=0.1)
    assert json.loads(classification_text(result)) == {"results": [[], [['a"', 0.1]]]}
