"""What clients see while versions come and go: real files, real sockets."""

import shutil
import tempfile
import threading

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from serving.errors import Code
from serving.warmup import WARMUP_FILE, write_warmup
from tests.serving.model_server.transitions.client import ALL, model, model_list, push
from tests.serving.waiting import wait_until

pytestmark = pytest.mark.timing


def test_forward_and_back(serve, arithmetic, base):
    client = serve(model_list(model(base)))
    assert client.predict() == (1, 1.0)
    push(arithmetic, base, 2)
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
    client = serve(model_list(model(base)), enable_batching=batching)
    answers, stop = [], threading.Event()

    def request():
        while not stop.is_set():
            answers.append(client.predict())

    thread = threading.Thread(target=request)
    thread.start()
    try:
        for version in (2, 1, 2, 1):
            if version == 2:
                push(arithmetic, base, 2)
            else:
                shutil.rmtree((base / "2").rename(base.parent / "withdrawn"))
            wait_until(lambda version=version: answers and answers[-1][0] == version)
    finally:
        stop.set()
        thread.join()
    assert set(answers) == {(1, 1.0), (2, 2.0)}


def test_an_empty_base_path_unloads_and_a_missing_one_does_not(serve, arithmetic, base):
    client = serve(model_list(model(base)))
    away = base.rename(base.with_name("away"))
    # Polls go on meanwhile: another model under the same server shows that they do.
    other = base.with_name("other")
    other.mkdir()
    push(arithmetic, other, 2)
    client.reload(model_list(model(base), model(other, name="other")))
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
    client = serve(model_list(model(base)))
    assert client.predict() == (123, 1.0)
    assert client.states() == [(123, "AVAILABLE")]


def test_policies(serve, arithmetic, base):
    push(arithmetic, base, 2)
    client = serve(model_list(model(base)))
    assert client.states() == [(2, "AVAILABLE")]
    client.reload(model_list(model(base, ALL)))
    wait_until(lambda: client.states() == [(2, "AVAILABLE"), (1, "AVAILABLE")])
    assert client.predict(version=1) == (1, 1.0)
    assert client.predict() == (2, 2.0)
    client.reload(model_list(model(base, "model_version_policy { specific { versions: 1 } }")))
    wait_until(lambda: client.states() == [(2, "END"), (1, "AVAILABLE")])
    client.reload(model_list(model(base, "model_version_policy { latest { num_versions: 2 } }")))
    wait_until(lambda: client.states() == [(2, "AVAILABLE"), (1, "AVAILABLE")])


def test_a_version_that_fails_while_another_serves(serve, arithmetic, base):
    client = serve(model_list(model(base)))
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
    push(arithmetic, base, 1, number=3)
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
        model_list(model(base)), max_num_load_retries=1000, load_retry_interval_micros=50_000
    )
    (base / "2").mkdir()
    wait_until(lambda: client.states() == [(2, "LOADING"), (1, "AVAILABLE")])
    assert [item.status.error_code for item in client.statuses()] == [0, 0]
    shutil.rmtree(base / "2")
    push(arithmetic, base, 2)
    wait_until(lambda: client.states() == [(2, "AVAILABLE"), (1, "END")])


def test_a_version_whose_warm_up_fails_does_not_replace_another(serve, arithmetic, base):
    client = serve(model_list(model(base)))
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
    client = serve(model_list(model(base)))
    under_way = client.slow(1.5)
    wait_until(lambda: under_way.running())
    # Until the request holds the version there is nothing to see.
    push(arithmetic, base, 2)
    wait_until(lambda: client.states() == [(2, "AVAILABLE"), (1, "UNLOADING")])
    assert not under_way.done()
    assert client.predict() == (2, 2.0)
    assert under_way.result().model_spec.version.value == 1
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
    client = serve(model_list(model(storage), model(f"file://{base}", name="file")))
    assert client.predict() == (2, 2.0)
    assert client.predict("file") == (1, 1.0)
    assert len(list(copies.glob("vlsearch-model-*"))) == 1
    client.reload(model_list(model(base, name="file")))
    wait_until(lambda: not list(copies.glob("vlsearch-model-*")))


def test_tflite_is_preferred_where_there_is_one(serve, arithmetic, base):
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(arithmetic / "1"), signature_keys=["serving_default"]
    )
    push(arithmetic, base, 2)
    (base / "2" / "model.tflite").write_bytes(converter.convert())
    client = serve(model_list(model(base, ALL)), prefer_tflite_model=True)
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
