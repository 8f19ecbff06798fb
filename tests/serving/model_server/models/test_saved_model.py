import gc
import itertools
import time
import weakref

import numpy as np
import pytest
import tensorflow as tf

from serving.errors import Code, StatusError
from serving.model_server.models.saved_model import MAX_FETCHED_SETS, SavedModel


@pytest.fixture(scope="module")
def tf1_model(tmp_path_factory):
    """A SavedModel of TensorFlow 1: y = 3 x, from a placeholder that says [None, 1]."""
    folder = tmp_path_factory.mktemp("tf1") / "1"
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None, 1], "x")
        weight = tf.compat.v1.get_variable("w", initializer=3.0)
        y = tf.multiply(x, weight, "y")
        session.run(weight.initializer)
        tf.compat.v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y})
    return folder


def _run(model, x):
    signature = model.signatures["serving_default"]
    return model.run({signature.inputs["x"].name: x}, [signature.outputs["y"].name])[0]


def test_tf1_model_takes_shapes_that_its_placeholder_does_not(tf1_model):
    """TensorFlow Serving accepts them, `Session.run` would not."""
    model = SavedModel.load(tf1_model)
    np.testing.assert_array_equal(_run(model, np.float32([2])), [6])
    np.testing.assert_array_equal(_run(model, np.float32([[2], [3]])), [[6], [9]])
    model.close()


def test_two_models_keep_their_own_variables(arithmetic):
    models = [SavedModel.load(arithmetic / version) for version in ("1", "2")]
    assert [float(_run(model, np.float32(0))) for model in models] == [2.0, 3.0]
    models[0].close()
    assert float(_run(models[1], np.float32(0))) == 3.0
    models[1].close()


def test_closing_frees_the_session(tf1_model):
    model = SavedModel.load(tf1_model)
    _run(model, np.float32([2]))
    session = weakref.ref(model._session)
    model.close()
    del model
    gc.collect()
    assert session() is None


@pytest.mark.parametrize("tags", [("serve", "gpu"), ("train",)])
def test_unknown_tags(tf1_model, tags):
    with pytest.raises(StatusError, match="tag") as caught:
        SavedModel.load(tf1_model, tags)
    assert caught.value.code == Code.NOT_FOUND


def test_truncated_variables(tf1_model, tmp_path):
    import shutil

    folder = shutil.copytree(tf1_model, tmp_path / "copy")
    (folder / "variables/variables.data-00000-of-00001").write_bytes(b"")
    with pytest.raises(StatusError) as caught:
        SavedModel.load(folder)
    assert caught.value.code in (Code.OUT_OF_RANGE, Code.DATA_LOSS)


def test_errors_have_the_code_of_the_operator(tf1_model):
    model = SavedModel.load(tf1_model)
    with pytest.raises(StatusError) as caught:
        _run(model, np.array([b"text"], object))
    assert caught.value.code == Code.INVALID_ARGUMENT
    with pytest.raises(StatusError):
        model.run({}, ["nothing:0"])
    model.close()


def test_broken_file(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff no SavedModel")
    with pytest.raises(StatusError) as caught:
        SavedModel.load(tmp_path)
    expected = f"DATA_LOSS: Can't parse {tmp_path}/saved_model.pb as binary proto"
    assert caught.value.text == expected


@pytest.mark.parametrize("deadline", [None, float("inf")])
def test_callers_cannot_fill_the_memory_with_sets_of_outputs(tmp_path, deadline):
    class Many(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def call(self, x):
            return {f"y{i}": x + float(i) for i in range(8)}

    module = Many()
    tf.saved_model.save(module, str(tmp_path), {"serving_default": module.call})
    model = SavedModel.load(tmp_path)
    signature = model.signatures["serving_default"]
    feeds = {signature.inputs["x"].name: np.float32([1])}
    made = []
    for method in ("compiled", "_run_until"):
        original = getattr(model, method)

        def noted(first, second, *fetches, original=original):
            made.append(frozenset(fetches[0] if fetches else second))
            return original(first, second, *fetches)

        setattr(model, method, noted)
    deadline = deadline and time.monotonic() + 60
    for order in itertools.permutations(range(8), 3):
        fetches = [signature.outputs[f"y{i}"].name for i in order]
        values = model.run(feeds, fetches, deadline)
        assert [float(value[0]) for value in values] == [1.0 + i for i in order]
    # Of 56 sets in 336 orders, and then of all sets.
    assert len(set(made)) == 56
    for size in range(1, 9):
        for chosen in itertools.combinations(range(8), size):
            fetches = [signature.outputs[f"y{i}"].name for i in chosen]
            assert len(model.run(feeds, fetches, deadline)) == size
    assert len(set(made)) <= MAX_FETCHED_SETS + 1
    model.close()
