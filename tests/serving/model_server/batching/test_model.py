"""Batches in TensorFlow's own queues: equal answers, who shares one, who pays for whom."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from serving.errors import Code, StatusError
from serving.model_server.batching.config import BatchingParameters
from serving.model_server.batching.model import BatchedModel
from serving.model_server.models.saved_model import SavedModel
from tests.serving.models import save_batching_module

pytestmark = pytest.mark.timing

LONG = 300_000
SECOND = 1_000_000


def _save_reference_variables(folder):
    """TensorFlow 1: `y` reads a reference variable, `counted` also writes to one."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        weight = v1.Variable([2.0], use_resource=False)
        counter = v1.Variable(0.0, use_resource=False)
        x = v1.placeholder(tf.float32, [None], "x")
        y = x * weight + 1.0
        with tf.control_dependencies([x]):
            counted = x + v1.assign_add(counter, 1.0)
        session.run(v1.global_variables_initializer())
        signatures = {
            name: v1.saved_model.predict_signature_def({"x": x}, {name: output})
            for name, output in (("y", y), ("counted", counted))
        }
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=signatures)
        builder.save()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("batching") / "1"
    save_batching_module(folder)
    return folder


@pytest.fixture
def load(folder):
    models = []

    def load(path=folder, **parameters):
        models.append(BatchedModel(SavedModel.load(path), BatchingParameters(**parameters)))
        return models[-1]

    yield load
    for model in models:
        model.close()


def _run(model, signature, inputs, outputs=None, deadline=None):
    info = model.signatures[signature]
    feeds = {info.inputs[name].name: value for name, value in inputs.items()}
    names = sorted(info.outputs) if outputs is None else outputs
    values = model.run(feeds, [info.outputs[name].name for name in names], deadline)
    return dict(zip(names, values))


def _at_once(*calls):
    """Results of the calls, made at the same time; a StatusError counts as one."""
    results = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def call(i):
        barrier.wait()
        try:
            results[i] = calls[i]()
        except StatusError as error:
            results[i] = error

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _rows(*values):
    return np.array(values, np.float32)


def test_requests_share_a_run_and_get_their_own_rows(load):
    model = load(max_batch_size=6, batch_timeout_micros=10 * SECOND, num_batch_threads=1)
    inputs = [_rows([1, 2]), _rows([3, 4], [5, 6]), _rows([7, 8], [9, 10], [11, 12])]
    results = _at_once(*(lambda x=x: _run(model, "serving_default", {"x": x}) for x in inputs))
    for x, result in zip(inputs, results):
        np.testing.assert_array_equal(result["sum"], x.sum(1))
        # All six rows, in one run of the graph.
        assert set(result["rows"]) == {6}
    assert len({int(run) for result in results for run in result["run"]}) == 1


def test_variables_tables_strings_and_passed_through_inputs(load):
    model = load(max_batch_size=3, batch_timeout_micros=LONG)
    first, second = _at_once(
        lambda: _run(
            model,
            "looked_up",
            {"key": np.array([b"a\x00", b"b"], object), "v": _rows([1, 1], [0, 3])},
        ),
        lambda: _run(model, "looked_up", {"key": np.array([b"a"], object), "v": _rows([5, 0])}),
    )
    assert first["value"].tolist() == [-1, 20]
    assert first["product"].tolist() == [[3.0], [6.0]]
    assert first["key"].tolist() == [b"a\x00", b"b"]
    assert (second["value"].tolist(), second["product"].tolist()) == ([10], [[5.0]])


def test_requests_of_other_shapes_do_not_meet(load):
    model = load(max_batch_size=2, batch_timeout_micros=LONG)
    narrow, wide = _at_once(
        lambda: _run(model, "serving_default", {"x": _rows([1, 2])}),
        lambda: _run(model, "serving_default", {"x": _rows([1, 2, 3])}),
    )
    assert (narrow["sum"].tolist(), narrow["rows"].tolist()) == ([3.0], [1])
    assert (wide["sum"].tolist(), wide["rows"].tolist()) == ([6.0], [1])


def test_padding_of_variable_lengths_repeats_the_first_element(load):
    model = load(
        max_batch_size=2, batch_timeout_micros=10 * SECOND, pad_variable_length_inputs=True
    )
    three, four = _at_once(
        lambda: _run(model, "serving_default", {"x": _rows([5, 1, 1])}),
        lambda: _run(model, "serving_default", {"x": _rows([1, 2, 3, 4])}),
    )
    # Three became four, the new element being the first of all; both ran together.
    assert (three["sum"].tolist(), three["rows"].tolist()) == ([12.0], [2])
    assert (four["sum"].tolist(), four["rows"].tolist()) == ([10.0], [2])


def test_allowed_batch_sizes_are_filled_up_and_the_filling_is_taken_off(load):
    model = load(max_batch_size=8, allowed_batch_sizes=(4, 8), batch_timeout_micros=1000)
    result = _run(model, "serving_default", {"x": _rows([1, 1], [2, 2], [3, 3])})
    assert result["sum"].tolist() == [2.0, 4.0, 6.0]
    assert result["rows"].tolist() == [4, 4, 4]


def test_too_many_rows_are_refused_unless_splitting_is_on(load):
    x = _rows(*([i, 0] for i in range(5)))
    model = load(max_batch_size=4)
    with pytest.raises(StatusError) as caught:
        _run(model, "serving_default", {"x": x})
    assert caught.value.code == Code.INVALID_ARGUMENT
    assert caught.value.message == "Task size 5 is larger than maximum input batch size 4"

    splitting = load(
        max_batch_size=8,
        max_execution_batch_size=2,
        enable_large_batch_splitting=True,
        batch_timeout_micros=1000,
    )
    result = _run(splitting, "serving_default", {"x": x})
    assert result["sum"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert sorted(result["rows"].tolist()) == [1, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("signature", "inputs", "text"),
    [
        (
            "serving_default",
            {"x": np.float32(1)},
            "Batching Run() input tensors must have at least one dimension",
        ),
        (
            "looked_up",
            {"key": np.array([b"a"], object), "v": _rows([1, 1], [2, 2])},
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
    ],
)
def test_refused_inputs(load, signature, inputs, text):
    with pytest.raises(StatusError) as caught:
        _run(load(), signature, {name: np.asarray(value) for name, value in inputs.items()})
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, text)


@pytest.mark.parametrize(
    ("signature", "text"),
    [
        ("scalar", "Batched output tensor has 0 dimensions"),
        (
            "fewer",
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension "
            "sizes of the input tensors",
        ),
    ],
)
def test_output_without_a_row_for_each_row_is_refused_as_there(load, signature, text):
    with pytest.raises(StatusError) as caught:
        _run(load(), signature, {"x": _rows(1, 2)})
    assert caught.value.text == f"FAILED_PRECONDITION: {text}"


def test_no_rows_and_other_types_are_run_alone(load):
    model = load(max_batch_size=2, batch_timeout_micros=10 * SECOND)
    result = _run(model, "serving_default", {"x": np.zeros((0, 3), np.float32)})
    assert result["sum"].shape == (0,)
    with pytest.raises(StatusError) as caught:
        _run(model, "serving_default", {"x": np.zeros((1, 3), np.int32)})
    assert caught.value.code == Code.INVALID_ARGUMENT


def test_some_of_the_outputs_are_run_alone(load):
    """No queue for that set of tensors: as there, it bypasses the batcher."""
    model = load(max_batch_size=2, batch_timeout_micros=10 * SECOND)
    result = _run(model, "serving_default", {"x": _rows([1, 2])}, outputs=["rows"])
    assert result["rows"].tolist() == [1]


def test_a_bad_request_fails_alone(load):
    model = load(max_batch_size=3, batch_timeout_micros=10 * SECOND)
    good, bad, other = _at_once(
        lambda: _run(model, "checked", {"x": _rows(1)}),
        lambda: _run(model, "checked", {"x": _rows(-1)}),
        lambda: _run(model, "checked", {"x": _rows(3)}),
    )
    assert (good["y"].tolist(), other["y"].tolist()) == ([2.0], [6.0])
    assert bad.code == Code.INVALID_ARGUMENT
    assert "x must be positive" in bad.message


def test_a_full_queue_answers_at_once(load):
    model = load(
        max_batch_size=1, max_enqueued_batches=1, num_batch_threads=1, batch_timeout_micros=0
    )
    _run(model, "slow", {"seconds": _rows(0)})
    start = time.monotonic()
    taken = []

    def refused():
        with pytest.raises(StatusError) as caught:
            for _ in range(100):
                _run(model, "slow", {"seconds": _rows(0)})
        taken.append(time.monotonic() - start)
        return caught.value

    busy = [lambda: _run(model, "slow", {"seconds": _rows(2.0)})] * 2
    threads = [threading.Thread(target=call) for call in busy]
    for thread in threads:
        thread.start()
        time.sleep(0.3)
    error = refused()
    for thread in threads:
        thread.join()
    assert error.code == Code.UNAVAILABLE
    assert error.message.startswith(
        "The batch scheduling queue to which this task was submitted is full"
    )
    assert taken[0] < 2.0


def test_batches_nobody_waits_for_are_not_computed(load):
    model = load(
        max_batch_size=1, num_batch_threads=1, max_enqueued_batches=10, batch_timeout_micros=0
    )
    before = int(_run(model, "count", {"x": _rows(0)})["runs"][0])
    slow = threading.Thread(target=lambda: _run(model, "slow", {"seconds": _rows(1.0)}))
    slow.start()
    time.sleep(0.3)
    with pytest.raises(StatusError) as caught:
        _run(model, "slow", {"seconds": _rows(0)}, deadline=time.monotonic() + 0.2)
    slow.join()
    assert caught.value.code == Code.RESOURCE_EXHAUSTED
    assert caught.value.message == "Run() timeout exceeded while waiting in batching queue"
    # Only the slow one ran.
    assert int(_run(model, "count", {"x": _rows(0)})["runs"][0]) == before + 1


def test_a_late_request_does_not_spoil_the_batch_of_others(load):
    model = load(max_batch_size=2, batch_timeout_micros=10 * SECOND)
    late, other = _at_once(
        lambda: _run(model, "checked", {"x": _rows(1)}, deadline=time.monotonic() - 1),
        lambda: _run(model, "checked", {"x": _rows(2)}, deadline=time.monotonic() + 60),
    )
    assert other["y"].tolist() == [4.0]
    assert late["y"].tolist() == [2.0]


def test_more_shapes_than_queues(load, caplog, monkeypatch):
    monkeypatch.setattr("serving.model_server.batching.model.MAX_SHAPES", 3)
    model = load(max_batch_size=4)
    for width in range(1, 6):
        x = np.ones((1, width), np.float32)
        assert _run(model, "serving_default", {"x": x})["sum"].tolist() == [float(width)]
    assert "has had inputs of 3 shapes" in caplog.text


def test_reference_variables_are_read_in_batches_and_written_alone(load, tmp_path, caplog):
    _save_reference_variables(tmp_path / "1")
    model = load(tmp_path / "1", max_batch_size=2, batch_timeout_micros=10 * SECOND)
    assert "Signature counted is run without batching" in caplog.text
    first, second = _at_once(
        lambda: _run(model, "y", {"x": _rows(1)}), lambda: _run(model, "y", {"x": _rows(2)})
    )
    assert (first["y"].tolist(), second["y"].tolist()) == ([3.0], [5.0])
    counts = [_run(model, "counted", {"x": _rows(0)})["counted"].tolist() for _ in range(2)]
    assert counts == [[1.0], [2.0]]


def test_metrics(load):
    from serving.model_server.monitoring import metrics

    pool = "batching-test"
    model = load(
        max_batch_size=8,
        allowed_batch_sizes=(4, 8),
        batch_timeout_micros=10 * SECOND,
        num_batch_threads=1,
        thread_pool_name=pool,
    )
    session = "/tensorflow/serving/batching_session/"

    def read(name, **labels):
        return metrics.REGISTRY.get_sample_value(metrics.metric_name(session + name), labels) or 0

    def padding(rows):
        return [
            read(f"padding_size_{end}", execution_batch_size=str(rows)) for end in ("count", "sum")
        ]

    runs = read("wrapped_run_count")
    count, added = padding(8)
    _at_once(
        *(lambda n=n: _run(model, "checked", {"x": np.ones(n, np.float32)}) for n in (1, 2, 5))
    )
    assert read("wrapped_run_count") == runs + 1
    assert read("queuing_latency_count", thread_pool_name=pool) == 3
    # Eight rows fill the batch: nothing was added.
    assert padding(8) == [count + 1, added]
    filled = padding(4)[1]
    short = load(
        max_batch_size=4, allowed_batch_sizes=(4,), batch_timeout_micros=0, thread_pool_name=pool
    )
    _run(short, "checked", {"x": _rows(1, 2, 3)})
    assert padding(4)[1] == filled + 1


def test_closing_ends_the_threads(folder):
    def threads():
        return len(list(Path("/proc/self/task").iterdir()))

    def once():
        model = BatchedModel(SavedModel.load(folder), BatchingParameters(num_batch_threads=16))
        _run(model, "checked", {"x": _rows(1)})
        during = threads()
        model.close()
        return during

    once()
    before = threads()
    during = once()
    assert during >= before + 16
    assert threads() <= before + 1
