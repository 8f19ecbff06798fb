import numpy as np
import tensorflow as tf

from tests.harness import two_replicas
from vl_models.layers.labelled_bank import LabelledBank


def rows(values):
    column = tf.constant(values, tf.float32)[:, None]
    return {"code": tf.repeat(column, 2, axis=1), "label": column * 10.0}


def filled(layer):
    return layer.read("code").numpy()[:, 0].tolist(), layer.usable().numpy().tolist()


def test_rows_are_written_over_the_oldest():
    bank = LabelledBank(4, {"code": 2}, 1)
    bank.build()
    bank.write(rows([1, 2, 3]))
    assert filled(bank) == ([1, 2, 3, 0], [1, 1, 1, 0])
    bank.write(rows([4, 5]))
    assert filled(bank) == ([5, 2, 3, 4], [1, 1, 1, 1])
    np.testing.assert_array_equal(bank.read("label")[:, 0], [50, 20, 30, 40])
    bank.write(rows([6, 7, 8, 9, 10]))  # more than it holds: the last four stay
    assert sorted(filled(bank)[0]) == [7, 8, 9, 10]


def test_both_replicas_keep_the_same():
    strategy = two_replicas()
    with strategy.scope():
        bank = LabelledBank(4, {"code": 2}, 1)
        bank.build()
    strategy.run(tf.function(lambda: bank.write(rows([1.0, 2.0, 3.0]))))
    for variable in (bank.rows["code"], bank.pointer):
        copies = strategy.experimental_local_results(variable.value)
        np.testing.assert_array_equal(copies[0], copies[1])
    assert int(strategy.experimental_local_results(bank.pointer.value)[0]) == 3


def test_configuration_makes_the_same_bank():
    bank = LabelledBank(4, {"code": 2}, 1, name="bank")
    again = LabelledBank.from_config(bank.get_config())
    assert again.get_config() == bank.get_config()
