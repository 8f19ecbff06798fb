"""What clients see while versions, labels and lists of models change: real files, real sockets."""

import shutil
import tempfile
import threading
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.errors import Code
from serving.model_server.server import ModelServer, ServerOptions
from serving.warmup import WARMUP_FILE, write_warmup
from tests.serving.waiting import wait_until

pytestmark = pytest.mark.timing

STATES = {10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
ALL = "model_version_policy { all {} }"


class Client:
    """The stubs of both services, with short forms of their calls."""

    def __init__(self, server: ModelServer):
        self.server = server
        self._channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def predict(self, name="m", version=None, label=None):
        """(version that answered, the offset that it added)."""
        request = predict_pb2.PredictRequest()
        request.model_spec.name = name
        if version is not None:
            request.model_spec.version.value = version
        if label is not None:
            request.model_spec.version_label = label
        request.inputs["x"].CopyFrom(tf.make_tensor_proto([2.0]))
        response = self.predictions.Predict(request, timeout=30)
        return response.model_spec.version.value, response.outputs["y"].float_val[0] - 2

    def slow(self, seconds, name="m"):
        """A future; the request holds its version for so long."""
        request = predict_pb2.PredictRequest()
        request.model_spec.name = name
        request.model_spec.signature_name = "slow"
        request.inputs["seconds"].CopyFrom(tf.make_tensor_proto(float(seconds)))
        return self.predictions.Predict.future(request, timeout=30)

    def states(self, name="m"):
        """[(version, state)]; [] for a model that is not known."""
        return [(item.version, STATES[item.state]) for item in self.statuses(name)]

    def statuses(self, name="m"):
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        try:
            return list(self.models.GetModelStatus(request, timeout=30).model_version_status)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND
            return []

    def reload(self, text, timeout=30, metrics=()):
        request = model_management_pb2.ReloadConfigRequest(metric_names=metrics)
        text_format.Parse(text, request.config)
        return self.models.HandleReloadConfigRequest(request, timeout=timeout)

    def refused(self, call, *arguments, **options):
        """(code, text) with which a call is refused."""
        with pytest.raises(grpc.RpcError) as caught:
            call(*arguments, **options)
        return caught.value.code().name, caught.value.details()

    def close(self):
        self._channel.close()


@pytest.fixture
def serve(tmp_path):
    """(text of the model list, **options) -> a client of a ready server."""
    opened = []

    def serve(config, **options):
        path = tmp_path / "models.config"
        path.write_text(config)
        defaults = {
            "port": None,
            "rest_api_port": 0,
            "max_num_load_retries": 0,
            "file_system_poll_wait_seconds": 0.03,
        }
        server = ModelServer(ServerOptions(model_config_file=str(path), **{**defaults, **options}))
        opened.append(server)
        server.start()
        server.wait_until_ready(60)
        client = Client(server)
        opened.append(client)
        return client

    yield serve
    for item in reversed(opened):
        item.close() if isinstance(item, Client) else item.stop()


@pytest.fixture
def base(arithmetic, tmp_path):
    """Base path with version 1; `push` adds others."""
    base = tmp_path / "m"
    base.mkdir()
    _push(arithmetic, base, 1)
    return base


def _push(arithmetic, base, version, number=None):
    """A version appears at once, as every version should."""
    staged = base.parent / f"staged-{version}"
    shutil.copytree(arithmetic / str(version), staged)
    staged.rename(base / str(number or version))


def _list(*models):
    return "model_config_list {" + "".join(f"config {{ {model} }}" for model in models) + "}"


def _model(base, rest="", name="m"):
    return f'name: "{name}" base_path: "{base}" model_platform: "tensorflow" {rest}'


def test_forward_and_back(serve, arithmetic, base):
    client = serve(_list(_model(base)))
    assert client.predict() == (1, 1.0)
    _push(arithmetic, base, 2)
    wait_until(lambda: client.states() == [(2, "AVAILABLE"), (1, "END")])
    assert client.predict() == (2, 2.0)
    assert client.refused(client.predict, version=1) == (
        "NOT_FOUND",
        "Servable not found for request: Specific(m, 1)",
    )
    # Rolling back is taking the new version away.
    (base / "2").rename(base.parent / "withdrawn")
    wait_until(lambda: client.states() == [(2, "END"), (1, "AVAILABLE")])
    assert client.predict() == (1, 1.0)
    # And forward again, under the number that was served before.
    (base.parent / "withdrawn").rename(base / "2")
    wait_until(lambda: client.states() == [(2, "AVAILABLE"), (1, "END")])
    assert client.predict() == (2, 2.0)


@pytest.mark.parametrize("batching", [False, True])
def test_a_model_is_never_without_a_version(serve, arithmetic, base, batching):
    """Every request of a client that never pauses is answered, by the version that it names."""
    client = serve(_list(_model(base)), enable_batching=batching)
    answers, stop = [], threading.Event()

    def request():
        while not stop.is_set():
            answers.append(client.predict())

    thread = threading.Thread(target=request)
    thread.start()
    try:
        for version in (2, 1, 2, 1):
            if version == 2:
                _push(arithmetic, base, 2)
            else:
                shutil.rmtree((base / "2").rename(base.parent / "withdrawn"))
            wait_until(lambda version=version: answers and answers[-1][0] == version)
    finally:
        stop.set()
        thread.join()
    assert set(answers) == {(1, 1.0), (2, 2.0)}


def test_an_empty_base_path_unloads_and_a_missing_one_does_not(serve, arithmetic, base):
    client = serve(_list(_model(base)))
    away = base.rename(base.with_name("away"))
    # Polls go on meanwhile: another model under the same server shows that they do.
    other = base.with_name("other")
    other.mkdir()
    _push(arithmetic, other, 2)
    client.reload(_list(_model(base), _model(other, name="other")))
    assert client.predict() == (1, 1.0)
    away.rename(base)
    (base / "1").rename(base.parent / "taken")
    wait_until(lambda: client.states() == [(1, "END")])
    assert client.refused(client.predict) == (
        "NOT_FOUND",
        "Servable not found for request: Latest(m)",
    )
    (base.parent / "taken").rename(base / "1")
    wait_until(lambda: client.states() == [(1, "AVAILABLE")])
    assert client.predict() == (1, 1.0)


def test_version_numbers_with_zeros_and_other_names(serve, arithmetic, base):
    (base / "1").rename(base / "00000123")
    (base / "v200").mkdir()
    (base / ".tmp-300").mkdir()
    client = serve(_list(_model(base)))
    assert client.predict() == (123, 1.0)
    assert client.states() == [(123, "AVAILABLE")]


def test_policies(serve, arithmetic, base):
    _push(arithmetic, base, 2)
    client = serve(_list(_model(base)))
    assert client.states() == [(2, "AVAILABLE")]
    client.reload(_list(_model(base, ALL)))
    wait_until(lambda: client.states() == [(2, "AVAILABLE"), (1, "AVAILABLE")])
    assert client.predict(version=1) == (1, 1.0)
    assert client.predict() == (2, 2.0)
    client.reload(_list(_model(base, "model_version_policy { specific { versions: 1 } }")))
    wait_until(lambda: client.states() == [(2, "END"), (1, "AVAILABLE")])
    client.reload(_list(_model(base, "model_version_policy { latest { num_versions: 2 } }")))
    wait_until(lambda: client.states() == [(2, "AVAILABLE"), (1, "AVAILABLE")])


def test_a_version_that_fails_while_another_serves(serve, arithmetic, base):
    client = serve(_list(_model(base)))
    (base / "2").mkdir()
    wait_until(lambda: client.states() == [(2, "END"), (1, "AVAILABLE")])
    failed, good = client.statuses()
    assert failed.status.error_code == 5
    assert failed.status.error_message.startswith(
        f"SavedModel file does not exist at: {base / '2'}"
    )
    assert (good.status.error_code, good.status.error_message) == (0, "")
    assert client.predict() == (1, 1.0)
    # Repaired in place it is not tried again; what comes after it is served.
    shutil.copytree(arithmetic / "2", base / "2", dirs_exist_ok=True)
    _push(arithmetic, base, 1, number=3)
    wait_until(lambda: client.states() == [(3, "AVAILABLE"), (2, "END"), (1, "END")])
    # It is once it has been away.
    (base / "3").rename(base.parent / "three")
    wait_until(lambda: client.states()[0] == (3, "END"))
    (base / "2").rename(base.parent / "two")
    wait_until(lambda: (1, "AVAILABLE") in client.states())
    (base.parent / "two").rename(base / "2")
    wait_until(lambda: client.states() == [(3, "END"), (2, "AVAILABLE"), (1, "END")])
    assert client.predict() == (2, 2.0)


def test_a_version_that_fails_is_retried(serve, arithmetic, base):
    client = serve(
        _list(_model(base)), max_num_load_retries=1000, load_retry_interval_micros=50_000
    )
    (base / "2").mkdir()
    wait_until(lambda: client.states() == [(2, "LOADING"), (1, "AVAILABLE")])
    assert [item.status.error_code for item in client.statuses()] == [0, 0]
    shutil.rmtree(base / "2")
    _push(arithmetic, base, 2)
    wait_until(lambda: client.states() == [(2, "AVAILABLE"), (1, "END")])


def test_a_version_whose_warm_up_fails_does_not_replace_another(serve, arithmetic, base):
    client = serve(_list(_model(base)))
    broken = base.parent / "broken"
    shutil.copytree(arithmetic / "2", broken)
    write_warmup(broken, [("positive", {"x": np.float32([1.0])})], "m")
    path = broken / WARMUP_FILE
    path.write_bytes(path.read_bytes()[:-1])
    broken.rename(base / "2")
    wait_until(lambda: client.states() == [(2, "END"), (1, "AVAILABLE")])
    status = client.statuses()[0].status
    assert status.error_code == Code.DATA_LOSS
    assert status.error_message.endswith(". Please verify your warmup data is in TFRecord format.")
    assert client.predict() == (1, 1.0)


def test_requests_under_way_end_on_the_version_they_began_with(serve, arithmetic, base):
    client = serve(_list(_model(base)))
    under_way = client.slow(1.5)
    wait_until(lambda: under_way.running())
    # Until the request holds the version there is nothing to see.
    _push(arithmetic, base, 2)
    wait_until(lambda: client.states() == [(2, "AVAILABLE"), (1, "UNLOADING")])
    assert not under_way.done()
    assert client.predict() == (2, 2.0)
    assert under_way.result().model_spec.version.value == 1
    wait_until(lambda: client.states() == [(2, "AVAILABLE"), (1, "END")])


LABEL_REFUSED = (
    "FAILED_PRECONDITION",
    "Request to assign label to version {} of model m, which is not currently available for "
    "inference",
)


def _labels(**labels):
    return "".join(f' version_labels {{ key: "{k}" value: {v} }}' for k, v in labels.items())


def test_labels_move_between_loaded_versions_only(serve, arithmetic, base):
    _push(arithmetic, base, 2)
    client = serve(_list(_model(base, ALL)))
    assert client.refused(client.predict, label="stable") == (
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: stable",
    )
    client.reload(_list(_model(base, ALL + _labels(stable=1, canary=2))))
    assert client.predict(label="stable") == (1, 1.0)
    assert client.predict(label="canary") == (2, 2.0)
    client.reload(_list(_model(base, ALL + _labels(stable=2, canary=2))))
    assert client.predict(label="stable") == (2, 2.0)
    # One label that is refused refuses the whole list, and the old labels stay.
    refused = client.refused(client.reload, _list(_model(base, ALL + _labels(stable=1, canary=3))))
    assert refused == (LABEL_REFUSED[0], LABEL_REFUSED[1].format(3))
    assert client.predict(label="stable") == (2, 2.0)
    # A label that the list no longer has is gone.
    client.reload(_list(_model(base, ALL + _labels(stable=2))))
    assert client.refused(client.predict, label="canary")[0] == "INVALID_ARGUMENT"


def test_labels_for_versions_to_come(serve, arithmetic, base):
    """Only with the flag, and only labels that are not in use."""
    client = serve(
        _list(_model(base, ALL + _labels(stable=1, canary=2))),
        allow_version_labels_for_unavailable_models=True,
    )
    assert client.predict(label="stable") == (1, 1.0)
    assert client.refused(client.predict, label="canary") == (
        "NOT_FOUND",
        "Servable not found for request: Specific(m, 2)",
    )
    refused = client.refused(client.reload, _list(_model(base, ALL + _labels(stable=2, canary=2))))
    assert refused == (LABEL_REFUSED[0], LABEL_REFUSED[1].format(2))
    # The same version again is no move, whether it is loaded or not.
    client.reload(_list(_model(base, ALL + _labels(stable=1, canary=2))))
    _push(arithmetic, base, 2)
    wait_until(lambda: client.states() == [(2, "AVAILABLE"), (1, "AVAILABLE")])
    assert client.predict(label="canary") == (2, 2.0)
    client.reload(_list(_model(base, ALL + _labels(stable=2, canary=2))))
    assert client.predict(label="stable") == (2, 2.0)


def test_reload_returns_when_new_models_are_available_and_old_ones_go(serve, arithmetic, base):
    client = serve(_list(_model(base)))
    response = client.reload(_list(_model(arithmetic, name="n")))
    assert response == model_management_pb2.ReloadConfigResponse(status={})
    assert client.states("n") == [(2, "AVAILABLE")]
    assert client.predict("n") == (2, 2.0)
    wait_until(lambda: client.states() == [(1, "END")])
    client.reload(_list())
    wait_until(lambda: client.states("n") == [(2, "END")])


def test_reload_of_models_that_cannot_be_loaded(serve, arithmetic, base):
    broken = base.with_name("broken")
    (broken / "7").mkdir(parents=True)
    client = serve(_list(_model(base)))
    models = (_model(broken, name="b"), _model(arithmetic, name="n"))
    code, text = client.refused(client.reload, _list(*models))
    assert code == "UNKNOWN"
    assert text.startswith(
        "1 model(s) did not become available: {{{name: b version: 7} due to error: NOT_FOUND: "
        "SavedModel file does not exist at"
    )
    # The list stays: the good model is served, what is no longer listed goes.
    assert client.predict("n") == (2, 2.0)
    wait_until(lambda: client.states() == [(1, "END")])
    # The broken one is not new any more.
    client.reload(_list(*models))


@pytest.mark.parametrize(
    ("config", "code", "text"),
    [
        (
            "",
            "INVALID_ARGUMENT",
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
            "ModelConfigList is currently supported",
        ),
        (
            "custom_model_config {}",
            "INVALID_ARGUMENT",
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
            "ModelConfigList is currently supported",
        ),
        (
            _list(_model("/m"), _model("/m")),
            "INVALID_ARGUMENT",
            "Illegal to list model m multiple times in config list",
        ),
        (
            _list(_model("m")),
            "INVALID_ARGUMENT",
            "Expected model m to have an absolute path or URI; got base_path()=m",
        ),
        (
            _list('name: "m" base_path: "/m"'),
            "INVALID_ARGUMENT",
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            "ModelServerConfig::model_platform, model name is m",
        ),
        (
            _list(_model("/m", "model_type: TENSORFLOW")),
            "INVALID_ARGUMENT",
            "Illegal setting both ModelServerConfig::model_type (deprecated) and "
            "ModelServerConfig::model_platform, model name is m",
        ),
        (
            _list('name: "m" base_path: "/m" model_platform: "torch"'),
            "INVALID_ARGUMENT",
            "Illegal to change a model's platform. For model m platform was tensorflow and new "
            "platform requested is torch",
        ),
        (
            _list('name: "n" base_path: "/m" model_platform: "torch"'),
            "INVALID_ARGUMENT",
            "Model n requests unsupported platform torch",
        ),
    ],
)
def test_refused_reloads_change_nothing(serve, base, config, code, text):
    client = serve(_list(_model(base)))
    assert client.refused(client.reload, config) == (code, text)
    assert client.states() == [(1, "AVAILABLE")]
    assert client.predict() == (1, 1.0)


def test_the_deprecated_type_means_the_same_platform(serve, base):
    client = serve(_list(f'name: "m" base_path: "{base}" model_type: TENSORFLOW'))
    client.reload(_list(_model(base)))
    assert client.predict() == (1, 1.0)


def test_reload_tells_how_much_metrics_grew(serve, base):
    client = serve(_list(_model(base)))
    response = client.reload(
        _list(_model(base)), metrics=["/tensorflow/serving/request_count", "/no/such/metric"]
    )
    assert {metric.name: metric.int64_value_increase for metric in response.metric} == {
        "/tensorflow/serving/request_count": 0,
        "/no/such/metric": 0,
    }
    # Warm-up records that are read while the new model loads are counted in this reload.
    warm = base.with_name("warm")
    shutil.copytree(base, warm)
    _slow_to_load(warm / "1", 0.0)
    name = "/tensorflow/serving/model_warmup_records_read"
    response = client.reload(_list(_model(warm, name="w")), metrics=[name, name])
    assert [(m.name, m.int64_value_increase) for m in response.metric] == [(name, 1)]


def _slow_to_load(folder: Path, seconds: float) -> None:
    """A warm-up record that takes so long."""
    write_warmup(folder, [("slow", {"seconds": np.float32(seconds)})], "m")


def test_reload_while_a_version_loads(serve, arithmetic, base):
    """The list without the model comes in the middle of its load: it is served by nobody."""
    client = serve(_list(_model(base)))
    slow = base.with_name("slow")
    shutil.copytree(arithmetic / "2", slow / "2")
    _slow_to_load(slow / "2", 1.5)
    first = []
    thread = threading.Thread(
        target=lambda: first.append(
            client.refused(client.reload, _list(_model(base), _model(slow, name="s")))
        )
    )
    thread.start()
    wait_until(lambda: client.states("s") == [(2, "LOADING")])
    assert client.predict() == (1, 1.0)
    # This list wants another model beside m; it waits for that one alone.
    client.reload(_list(_model(base), _model(arithmetic, name="n")))
    assert client.predict("n") == (2, 2.0)
    thread.join()
    assert first == [
        ("ABORTED", "Another configuration without s came before it was loaded"),
    ]
    wait_until(lambda: client.states("s") == [(2, "END")])


def test_a_second_reload_waits_for_the_models_of_the_first(serve, arithmetic, base):
    client = serve(_list(_model(base)))
    slow = base.with_name("slow")
    shutil.copytree(arithmetic / "2", slow / "2")
    _slow_to_load(slow / "2", 1.0)
    config = _list(_model(base), _model(slow, name="s"))
    thread = threading.Thread(target=client.reload, args=(config,))
    thread.start()
    wait_until(lambda: client.states("s") == [(2, "LOADING")])
    client.reload(config)
    assert client.states("s") == [(2, "AVAILABLE")]
    thread.join()


def test_a_reload_that_nobody_waits_for_leaves_no_thread_behind(serve, base):
    """The new model has no version yet; without its client the call ends."""
    nothing = base.with_name("nothing")
    nothing.mkdir()
    client = serve(_list(_model(base)), grpc_max_threads=1)
    for _ in range(3):
        # With one thread, each call needs the one before to have ended.
        refused = client.refused(
            client.reload, _list(_model(base), _model(nothing, name="n")), timeout=0.3
        )
        assert refused[0] == "DEADLINE_EXCEEDED"
    assert client.predict() == (1, 1.0)


def test_a_reload_that_waits_does_not_hold_up_the_end_of_the_server(serve, base):
    nothing = base.with_name("nothing")
    nothing.mkdir()
    client = serve(_list(_model(base)))
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(
            client.refused(client.reload, _list(_model(base), _model(nothing, name="n")))
        )
    )
    thread.start()
    wait_until(lambda: client.server._core.model_names() == ["m", "n"])
    client.server.stop()
    thread.join()
    assert answers == [("UNAVAILABLE", "The model server is stopping")]


def test_the_list_in_the_file_is_followed(serve, arithmetic, base, tmp_path, caplog):
    client = serve(_list(_model(base)), model_config_file_poll_wait_seconds=0.05)
    path = tmp_path / "models.config"
    path.write_text(_list(_model(base), _model(arithmetic, name="n")))
    wait_until(lambda: client.states("n") == [(2, "AVAILABLE")])
    # A file that is being written changes nothing.
    path.write_text("")
    wait_until(lambda: "Cannot transition to requested config." in caplog.text)
    assert client.predict("n") == (2, 2.0)


def test_files_that_are_read_once(serve, arithmetic, base, tmp_path):
    """0 seconds: the list at the start, the base paths at the start and at each reload."""
    client = serve(_list(_model(base)), file_system_poll_wait_seconds=0)
    # Another server looks again and again: what it has seen was there for both.
    watcher = serve(_list(_model(base)), model_config_file_poll_wait_seconds=0.03)
    _push(arithmetic, base, 2)
    wait_until(lambda: watcher.states() == [(2, "AVAILABLE"), (1, "END")])
    (tmp_path / "models.config").write_text(_list(_model(arithmetic, name="n")))
    wait_until(lambda: watcher.states("n") == [(2, "AVAILABLE")])
    assert client.states() == [(1, "AVAILABLE")]
    assert client.states("n") == []
    client.reload(_list(_model(base)))
    wait_until(lambda: client.states() == [(2, "AVAILABLE"), (1, "END")])


def test_models_elsewhere(serve, arithmetic, base, tmp_path, monkeypatch):
    """A URI that TensorFlow can read; the local copy goes with the version."""
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(copies))
    storage = "ram://transitions/m"
    for path in (arithmetic / "2").rglob("*"):
        target = f"{storage}/2/{path.relative_to(arithmetic / '2')}"
        if path.is_dir():
            tf.io.gfile.makedirs(target)
        else:
            tf.io.gfile.makedirs(target.rpartition("/")[0])
            tf.io.gfile.copy(str(path), target, overwrite=True)
    client = serve(_list(_model(storage), _model(f"file://{base}", name="file")))
    assert client.predict() == (2, 2.0)
    assert client.predict("file") == (1, 1.0)
    assert len(list(copies.glob("vlsearch-model-*"))) == 1
    client.reload(_list(_model(base, name="file")))
    wait_until(lambda: not list(copies.glob("vlsearch-model-*")))


def test_tflite_is_preferred_where_there_is_one(serve, arithmetic, base):
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(arithmetic / "1"), signature_keys=["serving_default"]
    )
    _push(arithmetic, base, 2)
    (base / "2" / "model.tflite").write_bytes(converter.convert())
    client = serve(_list(_model(base, ALL)), prefer_tflite_model=True)
    # Version 1 has none: its SavedModel is served.
    assert client.predict(version=1) == (1, 1.0)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    request.inputs["serving_default_x"].CopyFrom(tf.make_tensor_proto([2.0, 4.0]))
    response = client.predictions.Predict(request)
    assert response.model_spec.version.value == 2
    (output,) = response.outputs.values()
    # What was converted is version 1's graph.
    assert list(output.float_val) == [3.0, 4.0]


def test_many_models_load_and_unload_at_once(serve, arithmetic, base):
    client = serve(_list(_model(base)), num_load_threads=4, num_unload_threads=4)
    for version in (1, 2, 1):
        policy = f"model_version_policy {{ specific {{ versions: {version} }} }}"
        names = [f"m{version}{i}" for i in range(6)]
        client.reload(_list(*(_model(arithmetic, policy, name=name) for name in names)))
        answers = {name: client.predict(name) for name in names}
        assert answers == dict.fromkeys(names, (version, float(version)))
    client.reload(_list())
    wait_until(lambda: {s for name in names for _, s in client.states(name)} == {"END"})
