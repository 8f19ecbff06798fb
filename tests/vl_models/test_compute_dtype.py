import keras
import pytest
import tensorflow as tf

from vl_models.compute_dtype import in_compute_dtype

TEXT = tf.TensorSpec([None], tf.float32)
IDS = tf.TensorSpec([None], tf.int32)


@pytest.fixture
def variable():
    return keras.Variable([1.001, 2.002, 3.003], dtype="float32", name="weight")


def traced(function, *specs):
    return tf.function(function, autograph=False).get_concrete_function(*specs)


def low(value):
    return tf.cast(value, tf.bfloat16)


def dtype_within(variable, *functions):
    with in_compute_dtype([variable], functions):
        return variable.value.dtype


def test_what_is_only_cast_has_that_dtype_and_comes_back(variable):
    original = variable.value
    function = traced(lambda x: low(x) * low(variable.value), TEXT)
    with in_compute_dtype([variable], [function]):
        assert variable.value.dtype == tf.bfloat16
        again = traced(lambda x: low(x) * low(variable.value), TEXT)
        x = tf.constant([1.0, 2.0, 3.0])
        assert again(x).numpy().tolist() == function(x).numpy().tolist()
    assert variable.value is original


def test_gathered_rows_that_are_cast(variable):
    assert dtype_within(variable, traced(lambda ids: low(tf.gather(variable.value, ids)), IDS)) == (
        tf.bfloat16
    )


@pytest.mark.parametrize(
    "function",
    [
        lambda variable, x: low(variable.value) + low(variable.value * x),
        lambda variable, x: variable.value,
        lambda variable, x: (low(variable.value), variable.value),
        lambda variable, x: low(variable.value) + low(tf.cast(variable.value, tf.float16)),
        lambda variable, x: tf.cond(x[0] > 0, lambda: low(variable.value), lambda: low(x)),
    ],
    ids=["computed with", "returned", "returned beside", "two dtypes", "read in a branch"],
)
def test_what_is_used_otherwise_stays(variable, function):
    assert dtype_within(variable, traced(lambda x: function(variable, x), TEXT)) == tf.float32


def test_one_graph_that_needs_the_whole_value_is_enough(variable):
    casts = traced(lambda x: low(x) * low(variable.value), TEXT)
    whole = traced(lambda x: x * variable.value, TEXT)
    other = traced(lambda x: x, TEXT)
    assert dtype_within(variable, casts, other) == tf.bfloat16
    assert dtype_within(variable, casts, whole) == tf.float32


def test_variables_come_back_after_an_error(variable):
    function = traced(lambda x: low(x) * low(variable.value), TEXT)
    with pytest.raises(RuntimeError), in_compute_dtype([variable], [function]):
        raise RuntimeError
    assert variable.value.dtype == tf.float32
