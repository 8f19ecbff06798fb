"""Both clients against a running model server."""

import asyncio
import inspect
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

from serving.client import (
    AsyncPredictClient,
    PredictClient,
    RetryPolicy,
    ServedModelConfig,
    SignatureInfo,
    TensorInfo,
)
from serving.errors import Code, ServingError, StatusError

METHODS = [
    name
    for name, member in vars(PredictClient).items()
    if inspect.isfunction(member) and not name.startswith("_")
]


@pytest.fixture(scope="module")
def examples_server(half_plus_two, arithmetic):
    """A server of `half_plus_two` (123) that has the health service; its models may be changed."""
    from serving.model_server.server import ModelServer, ServerOptions

    options = ServerOptions(
        port=None,
        rest_api_port=0,
        model_name="half_plus_two",
        model_base_path=str(half_plus_two),
        enable_grpc_healthcheck_service=True,
        max_num_load_retries=0,
    )
    with ModelServer(options) as server:
        yield server


@pytest.fixture
def examples_client(make_client, examples_server, half_plus_two):
    client = make_client(f"127.0.0.1:{examples_server.grpc_port}")
    yield client
    client.reload_config([ServedModelConfig("half_plus_two", str(half_plus_two))])


@pytest.mark.parametrize("name", METHODS)
def test_both_clients_have_the_same_methods(name):
    sync = inspect.signature(getattr(PredictClient, name))
    aio = getattr(AsyncPredictClient, name)
    assert inspect.iscoroutinefunction(aio)
    assert inspect.signature(aio) == sync


def test_import_brings_nothing_heavy():
    program = (
        "import sys\n"
        "import serving.client, serving.release\n"
        "heavy = {'tensorflow', 'faiss', 'pyarrow', 'tensorflow_serving', 'uvicorn'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout == "[]\n"


def test_predict_returns_arrays_and_the_newest_version_answers(client):
    outputs = client.predict("arithmetic", {"x": [1.0, 2.0, 5.0]})
    np.testing.assert_allclose(outputs["y"], [3.5, 4.0, 5.5])


@pytest.mark.parametrize(
    ("choice", "expected"),
    [({"version": 1}, 2.5), ({"version_label": "stable"}, 2.5), ({"version_label": "canary"}, 3.5)],
)
def test_version_and_label(client, choice, expected):
    outputs = client.predict("arithmetic", {"x": np.ones(1, np.float32)}, **choice)
    assert outputs["y"] == [expected]


def test_version_and_label_together(client):
    with pytest.raises(ServingError, match="either version or version_label"):
        client.predict("arithmetic", {"x": [1.0]}, version=1, version_label="stable")


def test_strings_and_signature(client):
    outputs = client.predict("arithmetic", {"s": ["abc", b"\xff\x00"]}, signature_name="text")
    assert outputs["upper"].tolist()[0] == b"ABC"
    assert outputs["raw_bytes"].tolist() == [b"abc", b"\xff\x00"]


def test_output_filter(client):
    inputs = {"a": [3.0], "b": [1.0]}
    outputs = client.predict("arithmetic", inputs, "pair", output_filter=["difference"])
    assert outputs == {"difference": [2.0]}


def test_tower_with_tf_text_operators(client):
    embedding = client.predict("text_tower", {"query": ["猫", "Tea Pot", "tea pot"]})["embedding"]
    assert embedding.shape == (3, 8)
    np.testing.assert_array_equal(embedding[1], embedding[2])
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-6)


def test_messages_larger_than_grpc_allows_by_default(client):
    x = np.ones((1500, 1000), np.float32)
    outputs = client.predict("arithmetic", {"x": x}, signature_name="matrix")
    assert outputs["doubled"].shape == x.shape
    assert outputs["size"] == x.size


def test_an_input_that_is_no_tensor_is_named(client):
    with pytest.raises(ServingError, match=r"^Input x: The rows of an input differ in length"):
        client.predict("arithmetic", {"x": [[1.0], [1.0, 2.0]]})


def test_status(client):
    assert [(s.version, s.state) for s in client.model_status("arithmetic")] == [
        (2, "AVAILABLE"),
        (1, "AVAILABLE"),
    ]
    assert [s.version for s in client.model_status("arithmetic", 1)] == [1]
    # The directory is called 0007.
    assert [s.version for s in client.model_status("text_tower")] == [7]


def test_error_of_the_server_has_its_code_and_text(client):
    with pytest.raises(StatusError) as caught:
        client.predict("nothing", {"x": [1.0]})
    assert caught.value.code == Code.NOT_FOUND
    assert str(caught.value) == "Servable not found for request: Latest(nothing)"


def test_deadline(client):
    for arguments in ({"timeout": 0.2}, {}):
        with pytest.raises(StatusError, match=r"did not answer within 0\.2 s") as caught:
            client.predict("arithmetic", {"seconds": 1.0}, "slow", **arguments)
        assert caught.value.code == Code.DEADLINE_EXCEEDED
        # The second time as the client's own.
        getattr(client, "_client", client).timeout = 0.2


def test_metadata(client):
    metadata = client.model_metadata("arithmetic")
    assert (metadata.name, metadata.version) == ("arithmetic", 2)
    assert metadata.signatures["typed"] == SignatureInfo(
        inputs={"flag": TensorInfo("bool", (None,)), "i": TensorInfo("int64", (None,))},
        outputs={
            "flag": TensorInfo("bool", (None,)),
            "half": TensorInfo("float16", (None,)),
            "i": TensorInfo("int64", (None,)),
        },
        method_name="tensorflow/serving/predict",
    )
    assert metadata.signatures["text"].inputs == {"s": TensorInfo("string", (None,))}
    assert metadata.signatures["matrix"].outputs["size"] == TensorInfo("int32", ())
    tower = client.model_metadata("text_tower").signatures["encode_text"]
    assert tower.outputs == {"embedding": TensorInfo("float32", (None, 8))}
    assert client.model_metadata("arithmetic", version_label="stable").version == 1
    with pytest.raises(StatusError, match=r"^Servable not found for request: Specific\(x, 3\)$"):
        client.model_metadata("x", 3)


ROWS = [{"x": 2.0, "name": "a"}, {"x": np.float32(10), "name": "猫".encode()}]


def test_classify(examples_client):
    classes = examples_client.classify("half_plus_two", ROWS, "classify_both")
    assert classes == [[("a-low", 4 - 1), ("a-high", 4)], [("猫-low", 7), ("猫-high", 8)]]
    assert classes[0][0].label == "a-low" and classes[0][0].score == 3.0


def test_regress(examples_client):
    values = examples_client.regress("half_plus_two", ROWS, "regress_x_to_y", version=123)
    assert values.dtype == np.float32
    assert values.tolist() == [3.0, 7.0]


def test_context(examples_client):
    """A feature of the row wins over the same feature of the context."""
    rows, context = [{}, {"x": 4.0}], {"x": 2.0, "name": "a"}
    values = examples_client.regress("half_plus_two", rows, "regress_x_to_y", context=context)
    assert values.tolist() == [3.0, 4.0]
    classes = examples_client.classify("half_plus_two", rows, "classify_classes", context=context)
    assert classes == [[("a-low", 0.0), ("a-high", 0.0)]] * 2


def test_multi_inference(examples_client):
    methods = {"regress_x_to_y2": "regress", "classify_x_to_y": "classify"}
    results = examples_client.multi_inference("half_plus_two", ROWS, methods)
    assert list(results) == list(methods)
    assert results["regress_x_to_y2"].tolist() == [4.0, 8.0]
    assert results["classify_x_to_y"] == [[("", 3.0)], [("", 7.0)]]
    with pytest.raises(ServingError, match=r"to 'classify' or to 'regress'. Received: 'predict'"):
        examples_client.multi_inference("half_plus_two", ROWS, {"serving_default": "predict"})


def test_no_examples(examples_client):
    for method in ("classify", "regress"):
        with pytest.raises(StatusError, match=r"^Input is empty\.$") as caught:
            getattr(examples_client, method)("half_plus_two", [], f"{method}_x_to_y")
        assert caught.value.code == Code.INVALID_ARGUMENT


def test_reload_config(examples_client, half_plus_two, arithmetic):
    labels = {"stable": 1}
    examples_client.reload_config(
        [
            ServedModelConfig("half_plus_two", str(half_plus_two)),
            ServedModelConfig("sums", str(arithmetic), versions=[1, 2]),
        ]
    )
    examples_client.reload_config([ServedModelConfig("sums", str(arithmetic), [1, 2], labels)])
    outputs = examples_client.predict("sums", {"x": [1.0]}, version_label="stable")
    assert outputs["y"] == [2.5]
    with pytest.raises(StatusError, match="Servable not found"):
        examples_client.predict("half_plus_two", {"x": [1.0]})

    examples_client.reload_config(
        f"""model_config_list {{ config {{
          name: "text" base_path: "{half_plus_two}" model_platform: "tensorflow" }} }}"""
    )
    assert examples_client.predict("text", {"x": [2.0]})["y"] == [3.0]


def test_reload_that_is_refused(examples_client, half_plus_two):
    twice = [ServedModelConfig("half_plus_two", str(half_plus_two))] * 2
    with pytest.raises(StatusError) as caught:
        examples_client.reload_config(twice)
    assert caught.value.code == Code.INVALID_ARGUMENT
    assert str(caught.value) == (
        "Illegal to list model half_plus_two multiple times in config list"
    )


def test_health_of_a_server_with_and_without_the_service(examples_client, client):
    assert examples_client.is_healthy()
    assert client.is_healthy()


def test_health_of_nobody(make_client):
    assert not make_client("127.0.0.1:1").is_healthy(timeout=30)


def test_ready(examples_client):
    examples_client.wait_until_ready(30)
    examples_client.wait_until_ready(30, "half_plus_two")


def test_not_ready(make_client, examples_client):
    with pytest.raises(StatusError) as caught:
        make_client("127.0.0.1:1").wait_until_ready(0.3)
    assert caught.value.code == Code.DEADLINE_EXCEEDED
    assert str(caught.value).startswith(
        "The model server at 127.0.0.1:1 was not ready within 0.3 s: No model server answers at "
        "127.0.0.1:1 (failed to connect"
    )
    with pytest.raises(
        StatusError, match=r"within 0\.3 s: Could not find any versions of model nothing\."
    ):
        examples_client.wait_until_ready(0.3, "nothing")


def test_model_that_failed_to_load(examples_client, half_plus_two, tmp_path):
    (tmp_path / "broken" / "1").mkdir(parents=True)
    models = [
        ServedModelConfig("half_plus_two", str(half_plus_two)),
        ServedModelConfig("broken", str(tmp_path / "broken")),
    ]
    with pytest.raises(StatusError, match="did not become available"):
        examples_client.reload_config(models)
    with pytest.raises(StatusError, match="no version of model broken is available: version 1 END"):
        examples_client.wait_until_ready(0.3, "broken")


@pytest.mark.slow
def test_ready_once_the_server_has_started(make_client, half_plus_two):
    """The client waits while the server, in a process of its own, imports TensorFlow and loads."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = (
        "import sys, time\n"
        "from serving.model_server.server import ModelServer, ServerOptions\n"
        "options = ServerOptions(port=int(sys.argv[1]), rest_api_port=0, model_name='m',\n"
        "                        model_base_path=sys.argv[2])\n"
        "with ModelServer(options):\n"
        "    sys.stdin.read()\n"
    )
    client = make_client(f"127.0.0.1:{port}", retry=RetryPolicy(attempts=1))
    assert not client.is_healthy()
    with subprocess.Popen(
        [sys.executable, "-c", program, str(port), str(half_plus_two)], stdin=subprocess.PIPE
    ) as process:
        try:
            client.wait_until_ready(300, "m")
            assert client.predict("m", {"x": [2.0]})["y"] == [3.0]
        finally:
            process.communicate()


def test_calls_of_one_event_loop_run_together(server):
    async def run():
        async with AsyncPredictClient(f"127.0.0.1:{server.grpc_port}") as client:
            calls = (client.predict("arithmetic", {"x": [float(n)]}) for n in range(50))
            return [outputs["y"].item() for outputs in await asyncio.gather(*calls)]

    assert asyncio.run(run()) == [n / 2 + 3 for n in range(50)]


def test_a_cancelled_call_is_cancelled_on_the_server(scripted):
    """Its handler still waits, for a second caller."""
    servicer, address = scripted(meeting=threading.Barrier(2))

    async def run():
        async with AsyncPredictClient(address) as client:
            call = asyncio.create_task(client.predict("m", {"x": [1.0]}))
            while not servicer.requests:
                await asyncio.sleep(0.01)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await asyncio.to_thread(servicer.ended.wait, 30)
            return await client.predict("m", {"x": [2.0]})

    assert asyncio.run(run())["x"].tolist() == [2.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.predict("m", "cake"), r"inputs is a mapping .* Received: str\."),
        (
            lambda c: c.predict("m", {"x": [1.0]}, output_filter="y"),
            r"output_filter is a list of texts; one text is a list of one: \['y'\]",
        ),
        (lambda c: c.predict("m", {}, version="1"), "version is a whole number, at least 0 and"),
        (lambda c: c.predict("m", {}, version=True), "version is a whole number"),
        (lambda c: c.predict("m", {}, version=2**63), "version is a whole number"),
        (lambda c: c.predict("", {}), r"model_name is a str that is not empty\. Received: ''"),
        (lambda c: c.predict(b"m", {}), "model_name is a str"),
        (lambda c: c.predict("m", {}, 7), "signature_name is a str"),
        (lambda c: c.model_status(None), "model_name is a str"),
        (lambda c: c.classify("m", {"x": 1.0}), r"examples is a list of rows.* Received: dict"),
        (lambda c: c.regress("m", "row"), r"examples is a list of rows.* Received: str"),
        (lambda c: c.classify("m", ["x"]), r"A row is a mapping .* Received: row 0 is str"),
        (lambda c: c.reload_config(b"config"), r"models is a list .* Received: bytes"),
        (lambda c: c.reload_config(ServedModelConfig("m", "/m")), "models is a list of"),
        (lambda c: c.reload_config(["m"]), r"models is a list of .* Received one str\."),
        (lambda c: c.reload_config([ServedModelConfig(7, "/m")]), "name of a model is a str"),
        (lambda c: c.reload_config([ServedModelConfig("m", "/m", [1.5])]), "version is a whole"),
        (
            lambda c: c.reload_config([ServedModelConfig("m", "/m", None, {"stable": "1"})]),
            "version is a whole number",
        ),
        (lambda c: c.predict("m", {1: [1.0]}), "name of an input is a str"),
        (lambda c: c.predict("m", {"x": ["a", "\ud800"]}), "Input x: .* not valid UTF-8: item 1"),
    ],
)
def test_arguments_of_another_kind(make_client, call, message):
    with pytest.raises(ServingError, match=message):
        call(make_client("127.0.0.1:1"))
