"""The REST interface over real sockets: bodies, HTTP codes and exact texts."""

import base64
import gzip
import json
import urllib.error
import urllib.request

import pytest


@pytest.fixture(scope="module")
def call(server):
    # Loopback is reached directly, whatever proxy the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(path, body=None, method=None, headers=None):
        data = body if body is None or isinstance(body, bytes) else body.encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.rest_port}{path}", data, headers or {}, method=method
        )
        try:
            with opener.open(request) as response:
                return response.status, response.read().decode("utf-8", "replace"), response.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), error.headers

    return call


@pytest.fixture(scope="module")
def predict(call):
    def predict(body, path="/v1/models/arithmetic:predict"):
        status, text, headers = call(path, body)
        assert headers["Content-Type"] == "application/json"
        return status, text

    return predict


def test_rows(predict):
    status, text = predict('{"instances": [1.0, 2.0, 3]}')
    assert (status, json.loads(text)) == (200, {"predictions": [3.5, 4.0, 4.5]})


def test_columns(predict):
    status, text = predict('{"inputs": [1.0, 2.0]}')
    assert (status, json.loads(text)) == (200, {"outputs": [3.5, 4.0]})


def test_rows_with_several_inputs_and_outputs(predict):
    body = '{"signature_name": "pair", "instances": [{"a": 1, "b": 2}, {"b": 0.5, "a": 0.2}]}'
    status, text = predict(body)
    assert status == 200
    assert json.loads(text) == {
        "predictions": [{"difference": -1.0, "sum": 3.0}, {"difference": -0.3, "sum": 0.7}]
    }


def test_columns_with_several_inputs_ignore_extra_keys(predict):
    body = '{"signature_name": "pair", "inputs": {"a": [1], "b": [2], "c": "whatever"}}'
    status, text = predict(body)
    assert (status, json.loads(text)) == (200, {"outputs": {"sum": [3.0], "difference": [-1.0]}})


def test_nested_rows(predict):
    status, text = predict('{"signature_name": "matrix", "inputs": [[1, 2], [3, 4]]}')
    assert status == 200
    assert json.loads(text) == {"outputs": {"doubled": [[2.0, 4.0], [6.0, 8.0]], "size": 4}}


def test_strings_and_bytes(predict):
    raw = base64.b64encode(b"\x00\xff").decode()
    body = json.dumps({"signature_name": "text", "instances": ["héllo 猫", {"b64": raw}]})
    status, text = predict(body)
    assert status == 200
    first, second = json.loads(text)["predictions"]
    assert first["upper"].startswith("H")
    assert base64.b64decode(first["raw_bytes"]["b64"]).decode() == "héllo 猫"
    assert second["raw_bytes"] == {"b64": raw}


def test_integers_booleans_and_half(predict):
    body = '{"signature_name": "typed", "instances": [{"i": 4, "flag": true}]}'
    status, text = predict(body)
    assert status == 200
    assert json.loads(text)["predictions"] == [{"i": 5, "flag": False, "half": 4.0}]


def test_not_a_number_in_and_out_and_text_after_the_document(predict):
    status, text = predict('{"instances": [NaN, Infinity, -Infinity]} and more')
    assert (status, text) == (200, '{"predictions": [NaN, Infinity, -Infinity]}')


def test_gzip_body(call):
    body = gzip.compress(b'{"instances": [1.0]}')
    headers = {"Content-Encoding": "gzip"}
    status, text, _ = call("/v1/models/arithmetic:predict", body, headers=headers)
    assert (status, json.loads(text)) == (200, {"predictions": [3.5]})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/models/arithmetic/versions/1:predict", 2.5),
        ("/v1/models/arithmetic/labels/stable:predict", 2.5),
        ("/v1/models/arithmetic/labels/canary:predict", 3.5),
        ("/V1/Models/arithmetic:predict", 3.5),
        ("/v1/models/%61rithmetic:predict", 3.5),
        ("/v1/models/arithmetic:predict?x=1", 3.5),
    ],
)
def test_paths(predict, path, expected):
    assert json.loads(predict('{"instances": [1]}', path)[1]) == {"predictions": [expected]}


PREDICT_ERRORS = [
    ("", "JSON Parse error: The document is empty"),
    ("[1]", "JSON Value: [\n    1\n] Is not object"),
    ('{"signature_name": 5}',
     'JSON Value: {\n    "signature_name": 5\n} not formatted correctly. '
     "'signature_name' key must be a string value."),
    ('{"signature_name": "nope", "instances": [1]}',
     'Serving signature name: "nope" not found in signature def'),
    ("{}", "Missing 'inputs' or 'instances' key"),
    ('{"inputs": 1, "instances": 2}',
     'JSON Value: {\n    "inputs": 1,\n    "instances": 2\n} Not formatted correctly expecting '
     "only one of 'inputs' or 'instances' keys to exist "),
    ('{"instances": 1}',
     'JSON Value: {\n    "instances": 1\n} Expecting \'instances\' to be an list/array'),
    ('{"instances": []}',
     'JSON Value: {\n    "instances": []\n} No values in \'instances\' array'),
    ('{"signature_name": "pair", "instances": [1]}',
     "instances is a plain list, but expecting list of objects as multiple input tensors required "
     "as per tensorinfo_map"),
    ('{"signature_name": "pair", "inputs": [1]}',
     "inputs is a plain value/list, but expecting an object as multiple input tensors required as "
     "per tensorinfo_map"),
    ('{"signature_name": "pair", "inputs": {"a": [1]}}',
     "Missing named input: b in 'inputs' object."),
    ('{"instances": [1, "a"]}',
     "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: "
     '"a" Type: String is not of expected type: float'),
    ('{"instances": [true]}',
     "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: "
     "true Type: True is not of expected type: float"),
    ('{"instances": [{"x": null}]}',
     "Failed to process element: 0 key: x of 'instances' list. Error: INVALID_ARGUMENT: JSON "
     "Value: null Type: Null is not of expected type: float"),
    ('{"instances": [{"z": 1}]}',
     "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: JSON "
     "object: does not have named input: z"),
    ('{"signature_name": "pair", "instances": [{"a": 1}]}',
     "Failed to process element: 0 of 'instances' list. JSON object: {\n    \"a\": 1\n} keys must "
     "be equal to: a,b"),
    ('{"instances": [{"x": 1}, 2]}', "Expecting object but got list at item 1 of input list"),
    ('{"instances": [1, {"x": 1}]}', "Expecting value/list but got object at item 1 of input list"),
    ('{"instances": [[1, 2], [3]]}',
     "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor "
     "size: 2 but got: 1"),
    ('{"instances": [[1, 2], [[3, 4]]]}',
     "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape "
     "[2] but got: [1,2]"),
    ('{"inputs": [1, [2]]}', "Encountered list at unexpected level: 1 expected < 1"),
    ('{"inputs": [[1], [2, 3]]}',
     "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
    ('{"inputs": [[1], 2]}',
     "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
    ('{"signature_name": "text", "inputs": [{"c": 1}]}',
     'JSON Value: {\n    "c": 1\n} not formatted correctly for base64 data'),
    ('{"signature_name": "text", "inputs": [{"b64": "_-"}]}', "Unable to base64 decode"),
    ('{"inputs": 16777217}',
     "Cannot convert JSON value: 16777217 to float without loss of precision."),
    ('{"signature_name": "matrix", "instances": [[1, 2]]}',
     "Tensor name: size has no shape information "),
]  # fmt: skip


@pytest.mark.parametrize(("body", "text"), PREDICT_ERRORS)
def test_refused_predict(predict, body, text):
    status, answer = predict(body)
    assert (status, json.loads(answer)) == (400, {"error": text})


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ("  ", " at offset: 2"),
        ('{"instances": [x]}', " at offset: 15"),
        ('{"instances": [1 2]}', " at offset: 17"),
        ('{"instances": [1] "a"}', " at offset: 18"),
        ("{1}", " at offset: 1"),
        ("[" * 100_000, "Nested too deeply. A tensor has at most 64 dimensions."),
        ('{"inputs": ' + "1" * 5000 + "}", " at offset: 11"),
    ],
)
def test_broken_json(predict, body, place):
    status, answer = predict(body)
    assert status == 400
    assert json.loads(answer)["error"].startswith("JSON Parse error: ")
    assert json.loads(answer)["error"].endswith(place)


def test_error_body_layout_and_long_echo(predict):
    assert predict("{}")[1] == "{\n    \"error\": \"Missing 'inputs' or 'instances' key\"\n}"
    status, answer = predict(json.dumps({"instances": "é" * 1000}))
    assert status == 400
    assert len(json.loads(answer)["error"].encode()) < 400


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("POST", "/v1/models/m:predict", 404, "Servable not found for request: Latest(m)"),
        ("POST", "/v1/models/arithmetic/versions/9:predict", 404,
         "Servable not found for request: Specific(arithmetic, 9)"),
        ("POST", "/v1/models/arithmetic/labels/gold:predict", 400,
         "Unrecognized servable version label: gold"),
        ("POST", "/v1/models/arithmetic:PREDICT", 400,
         "Malformed request: POST /v1/models/arithmetic:PREDICT"),
        ("POST", "/v1/models/arithmetic", 400, "Malformed request: POST /v1/models/arithmetic"),
        ("PUT", "/v1/models/arithmetic", 400, "Malformed request: PUT /v1/models/arithmetic"),
        ("GET", "/v1/models/arithmetic/nope", 400,
         "Malformed request: GET /v1/models/arithmetic/nope"),
        ("GET", "/v1/models/arithmetic/METADATA", 400,
         "Malformed request: GET /v1/models/arithmetic/METADATA"),
        ("GET", "/v1/models/arithmetic/versions/9223372036854775808", 400,
         "Failed to convert version: 9223372036854775808 to numeric."),
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/m", 404, "Could not find any versions of model m"),
        ("GET", "/v1/models/arithmetic/versions/9", 404,
         "Could not find version 9 of model arithmetic"),
    ],
)  # fmt: skip
def test_refused_path(call, method, path, status, text):
    body = '{"instances": [1]}' if method == "POST" else None
    answer = call(path, body, method)
    assert (answer[0], json.loads(answer[1])) == (status, {"error": text})


def test_paths_outside_the_api(call):
    status, text, headers = call("/health")
    assert (status, headers["Content-Type"]) == (404, "text/html")
    assert "<TITLE>404 Not Found</TITLE>" in text


def test_preflight(call):
    assert call("/v1/models/m", method="OPTIONS", headers={"Origin": "https://a.b"})[0] == 200
    assert call("/v1/models/m", method="OPTIONS")[:2] == (400, "")


def test_status(call):
    status, text, _ = call("/v1/models/arithmetic")
    fine = {"error_code": "OK", "error_message": ""}
    assert (status, json.loads(text)) == (200, {
        "model_version_status": [
            {"version": "2", "state": "AVAILABLE", "status": fine},
            {"version": "1", "state": "AVAILABLE", "status": fine},
        ]
    })  # fmt: skip
    _, text, _ = call("/v1/models/arithmetic/versions/1")
    assert [v["version"] for v in json.loads(text)["model_version_status"]] == ["1"]


def test_metadata(call):
    status, text, _ = call("/v1/models/arithmetic/labels/stable/metadata")
    answer = json.loads(text)
    assert status == 200
    assert answer["model_spec"] == {"name": "arithmetic", "signature_name": "", "version": "1"}
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["defaults"] == {}
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert signature["inputs"]["x"]["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}],
        "unknown_rank": False,
    }
