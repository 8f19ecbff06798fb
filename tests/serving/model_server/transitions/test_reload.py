"""What clients see while labels and lists of models change: real files, real sockets."""

import shutil
import threading

import pytest
from tensorflow_serving.apis import model_management_pb2

from tests.serving.model_server.transitions.client import (
    ALL,
    model,
    model_list,
    push,
    slow_to_load,
)
from tests.serving.waiting import wait_until

pytestmark = pytest.mark.timing

LABEL_REFUSED = (
    "FAILED_PRECONDITION",
    "Request to assign label to version {} of model m, which is not currently available for "
    "inference",
)


def _labels(**labels):
    return "".join(f' version_labels {{ key: "{k}" value: {v} }}' for k, v in labels.items())


def test_labels_move_between_loaded_versions_only(serve, arithmetic, base):
    push(arithmetic, base, 2)
    client = serve(model_list(model(base, ALL)))
    assert client.refused(client.predict, label="stable") == (
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: stable",
    )
    client.reload(model_list(model(base, ALL + _labels(stable=1, canary=2))))
    assert client.predict(label="stable") == (1, 1.0)
    assert client.predict(label="canary") == (2, 2.0)
    client.reload(model_list(model(base, ALL + _labels(stable=2, canary=2))))
    assert client.predict(label="stable") == (2, 2.0)
    # One label that is refused refuses the whole list, and the old labels stay.
    refused = client.refused(
        client.reload, model_list(model(base, ALL + _labels(stable=1, canary=3)))
    )
    assert refused == (LABEL_REFUSED[0], LABEL_REFUSED[1].format(3))
    assert client.predict(label="stable") == (2, 2.0)
    # A label that the list no longer has is gone.
    client.reload(model_list(model(base, ALL + _labels(stable=2))))
    assert client.refused(client.predict, label="canary")[0] == "INVALID_ARGUMENT"


def test_labels_for_versions_to_come(serve, arithmetic, base):
    """Only with the flag, and only labels that are not in use."""
    client = serve(
        model_list(model(base, ALL + _labels(stable=1, canary=2))),
        allow_version_labels_for_unavailable_models=True,
    )
    assert client.predict(label="stable") == (1, 1.0)
    assert client.refused(client.predict, label="canary") == (
        "NOT_FOUND",
        "Servable not found for request: Specific(m, 2)",
    )
    refused = client.refused(
        client.reload, model_list(model(base, ALL + _labels(stable=2, canary=2)))
    )
    assert refused == (LABEL_REFUSED[0], LABEL_REFUSED[1].format(2))
    # The same version again is no move, whether it is loaded or not.
    client.reload(model_list(model(base, ALL + _labels(stable=1, canary=2))))
    push(arithmetic, base, 2)
    wait_until(lambda: client.states() == [(2, "AVAILABLE"), (1, "AVAILABLE")])
    assert client.predict(label="canary") == (2, 2.0)
    client.reload(model_list(model(base, ALL + _labels(stable=2, canary=2))))
    assert client.predict(label="stable") == (2, 2.0)


def test_reload_returns_when_new_models_are_available_and_old_ones_go(serve, arithmetic, base):
    client = serve(model_list(model(base)))
    response = client.reload(model_list(model(arithmetic, name="n")))
    assert response == model_management_pb2.ReloadConfigResponse(status={})
    assert client.states("n") == [(2, "AVAILABLE")]
    assert client.predict("n") == (2, 2.0)
    wait_until(lambda: client.states() == [(1, "END")])
    client.reload(model_list())
    wait_until(lambda: client.states("n") == [(2, "END")])


def test_reload_of_models_that_cannot_be_loaded(serve, arithmetic, base):
    broken = base.with_name("broken")
    (broken / "7").mkdir(parents=True)
    client = serve(model_list(model(base)))
    models = (model(broken, name="b"), model(arithmetic, name="n"))
    code, text = client.refused(client.reload, model_list(*models))
    assert code == "UNKNOWN"
    assert text.startswith(
        "1 model(s) did not become available: {{{name: b version: 7} due to error: NOT_FOUND: "
        "SavedModel file does not exist at"
    )
    # The list stays: the good model is served, what is no longer listed goes.
    assert client.predict("n") == (2, 2.0)
    wait_until(lambda: client.states() == [(1, "END")])
    # The broken one is not new any more.
    client.reload(model_list(*models))


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
            model_list(model("/m"), model("/m")),
            "INVALID_ARGUMENT",
            "Illegal to list model m multiple times in config list",
        ),
        (
            model_list(model("m")),
            "INVALID_ARGUMENT",
            "Expected model m to have an absolute path or URI; got base_path()=m",
        ),
        (
            model_list('name: "m" base_path: "/m"'),
            "INVALID_ARGUMENT",
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            "ModelServerConfig::model_platform, model name is m",
        ),
        (
            model_list(model("/m", "model_type: TENSORFLOW")),
            "INVALID_ARGUMENT",
            "Illegal setting both ModelServerConfig::model_type (deprecated) and "
            "ModelServerConfig::model_platform, model name is m",
        ),
        (
            model_list('name: "m" base_path: "/m" model_platform: "torch"'),
            "INVALID_ARGUMENT",
            "Illegal to change a model's platform. For model m platform was tensorflow and new "
            "platform requested is torch",
        ),
        (
            model_list('name: "n" base_path: "/m" model_platform: "torch"'),
            "INVALID_ARGUMENT",
            "Model n requests unsupported platform torch",
        ),
    ],
)
def test_refused_reloads_change_nothing(serve, base, config, code, text):
    client = serve(model_list(model(base)))
    assert client.refused(client.reload, config) == (code, text)
    assert client.states() == [(1, "AVAILABLE")]
    assert client.predict() == (1, 1.0)


def test_the_deprecated_type_means_the_same_platform(serve, base):
    client = serve(model_list(f'name: "m" base_path: "{base}" model_type: TENSORFLOW'))
    client.reload(model_list(model(base)))
    assert client.predict() == (1, 1.0)


def test_reload_tells_how_much_metrics_grew(serve, base):
    client = serve(model_list(model(base)))
    response = client.reload(
        model_list(model(base)), metrics=["/tensorflow/serving/request_count", "/no/such/metric"]
    )
    assert {metric.name: metric.int64_value_increase for metric in response.metric} == {
        "/tensorflow/serving/request_count": 0,
        "/no/such/metric": 0,
    }
    # Warm-up records that are read while the new model loads are counted in this reload.
    warm = base.with_name("warm")
    shutil.copytree(base, warm)
    slow_to_load(warm / "1", 0.0)
    name = "/tensorflow/serving/model_warmup_records_read"
    response = client.reload(model_list(model(warm, name="w")), metrics=[name, name])
    assert [(m.name, m.int64_value_increase) for m in response.metric] == [(name, 1)]


def test_reload_while_a_version_loads(serve, arithmetic, base):
    """The list without the model comes in the middle of its load: it is served by nobody."""
    client = serve(model_list(model(base)))
    slow = base.with_name("slow")
    shutil.copytree(arithmetic / "2", slow / "2")
    slow_to_load(slow / "2", 1.5)
    first = []
    thread = threading.Thread(
        target=lambda: first.append(
            client.refused(client.reload, model_list(model(base), model(slow, name="s")))
        )
    )
    thread.start()
    wait_until(lambda: client.states("s") == [(2, "LOADING")])
    assert client.predict() == (1, 1.0)
    # This list wants another model beside m; it waits for that one alone.
    client.reload(model_list(model(base), model(arithmetic, name="n")))
    assert client.predict("n") == (2, 2.0)
    thread.join()
    assert first == [
        ("ABORTED", "Another configuration without s came before it was loaded"),
    ]
    wait_until(lambda: client.states("s") == [(2, "END")])


def test_a_second_reload_waits_for_the_models_of_the_first(serve, arithmetic, base):
    client = serve(model_list(model(base)))
    slow = base.with_name("slow")
    shutil.copytree(arithmetic / "2", slow / "2")
    slow_to_load(slow / "2", 1.0)
    config = model_list(model(base), model(slow, name="s"))
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
    client = serve(model_list(model(base)), grpc_max_threads=1)
    for _ in range(3):
        # With one thread, each call needs the one before to have ended.
        refused = client.refused(
            client.reload, model_list(model(base), model(nothing, name="n")), timeout=0.3
        )
        assert refused[0] == "DEADLINE_EXCEEDED"
    assert client.predict() == (1, 1.0)


def test_a_reload_that_waits_does_not_hold_up_the_end_of_the_server(serve, base):
    nothing = base.with_name("nothing")
    nothing.mkdir()
    client = serve(model_list(model(base)))
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(
            client.refused(client.reload, model_list(model(base), model(nothing, name="n")))
        )
    )
    thread.start()
    wait_until(lambda: client.server._core.model_names() == ["m", "n"])
    client.server.stop()
    thread.join()
    assert answers == [("UNAVAILABLE", "The model server is stopping")]


def test_the_list_in_the_file_is_followed(serve, arithmetic, base, tmp_path, caplog):
    client = serve(model_list(model(base)), model_config_file_poll_wait_seconds=0.05)
    path = tmp_path / "models.config"
    path.write_text(model_list(model(base), model(arithmetic, name="n")))
    wait_until(lambda: client.states("n") == [(2, "AVAILABLE")])
    # A file that is being written changes nothing.
    path.write_text("")
    wait_until(lambda: "Cannot transition to requested config." in caplog.text)
    assert client.predict("n") == (2, 2.0)


def test_files_that_are_read_once(serve, arithmetic, base, tmp_path):
    """0 seconds: the list at the start, the base paths at the start and at each reload."""
    client = serve(model_list(model(base)), file_system_poll_wait_seconds=0)
    # Another server looks again and again: what it has seen was there for both.
    watcher = serve(model_list(model(base)), model_config_file_poll_wait_seconds=0.03)
    push(arithmetic, base, 2)
    wait_until(lambda: watcher.states() == [(2, "AVAILABLE"), (1, "END")])
    (tmp_path / "models.config").write_text(model_list(model(arithmetic, name="n")))
    wait_until(lambda: watcher.states("n") == [(2, "AVAILABLE")])
    assert client.states() == [(1, "AVAILABLE")]
    assert client.states("n") == []
    client.reload(model_list(model(base)))
    wait_until(lambda: client.states() == [(2, "AVAILABLE"), (1, "END")])


def test_many_models_load_and_unload_at_once(serve, arithmetic, base):
    client = serve(model_list(model(base)), num_load_threads=4, num_unload_threads=4)
    for version in (1, 2, 1):
        policy = f"model_version_policy {{ specific {{ versions: {version} }} }}"
        names = [f"m{version}{i}" for i in range(6)]
        client.reload(model_list(*(model(arithmetic, policy, name=name) for name in names)))
        answers = {name: client.predict(name) for name in names}
        assert answers == dict.fromkeys(names, (version, float(version)))
    client.reload(model_list())
    wait_until(lambda: {s for name in names for _, s in client.states(name)} == {"END"})
