import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_layer_test
from vl_models.layers.visual_dictionary import VisualDictionary

X = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)


@pytest.mark.parametrize("mix", ["gated", "plain"])
def test_layer_contract(mix, tmp_path):
    run_layer_test(
        VisualDictionary,
        {"size": 5, "width": 4, "mix": mix, "decay": 0.4},
        [X],
        folder=tmp_path,
        output_shape={"cells": (2, 6, 4), "codes": (2, 6), "dictionary": (5, 4)},
        policies=["float32"],
        output_dtype={"cells": "float32", "codes": "int32", "dictionary": "float32"},
    )


def test_plain_adds_the_entry_through_a_line():
    layer = VisualDictionary(5, 4, mix="plain")
    found = layer(X)
    entries = tf.gather(found["dictionary"], found["codes"])
    np.testing.assert_allclose(found["cells"], X + layer.line(entries), atol=1e-5)
    distance = ((X[:, :, None] - found["dictionary"].numpy()) ** 2).sum(-1)
    np.testing.assert_array_equal(found["codes"], distance.argmin(-1))


def test_a_gate_that_is_shut_leaves_the_cells_as_they_are():
    layer = VisualDictionary(5, 4)
    layer.build(X.shape)
    layer.gate.bias.assign([-1e4, 1e4])
    np.testing.assert_allclose(layer(X)["cells"], X, atol=1e-6)
    layer.gate.bias.assign([1e4, -1e4])
    assert np.abs(layer(X)["cells"] - X).max() > 0.1


def test_entries_are_looked_up_after_they_have_moved_and_get_no_gradient():
    layer = VisualDictionary(5, 4, mix="plain", decay=0.4)
    layer.build(X.shape)
    before = layer.codebook.codes.numpy().copy()
    cells = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(cells)
        tape.watch(layer.codebook.codes.value)
        found = layer(cells, training=True)
        total = tf.reduce_sum(found["cells"])
    assert np.abs(found["dictionary"] - before).max() > 0.1
    np.testing.assert_array_equal(found["dictionary"], layer.codebook.codes.numpy())
    of_cells, of_codes = tape.gradient(total, [cells, layer.codebook.codes.value])
    # Straight through: the line's columns, and 1 of the cell itself.
    line = layer.line.kernel.numpy().sum(axis=1)
    np.testing.assert_allclose(of_cells, np.broadcast_to(1.0 + line, X.shape), atol=1e-5)
    assert of_codes is None


def test_another_mix_is_refused():
    with pytest.raises(ValueError, match="Received: mix='sum'"):
        VisualDictionary(5, 4, mix="sum")
