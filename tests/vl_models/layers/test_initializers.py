import numpy as np

from vl_models.layers import initializers


def test_uniform_fan_in_has_the_bounds_of_a_linear_layer():
    values = np.asarray(initializers.uniform_fan_in()((64, 500)))
    assert np.abs(values).max() <= 0.125
    np.testing.assert_allclose(values.std(), 0.125 / np.sqrt(3), rtol=0.02)


def test_normal_has_the_given_deviation():
    np.testing.assert_allclose(np.std(initializers.normal(0.02)((200, 200))), 0.02, rtol=0.02)


def test_a_fresh_initializer_draws_other_values_of_the_same_kind():
    first = initializers.normal(0.5)
    second = initializers.fresh(first)
    assert second.get_config() == first.get_config()
    assert not np.array_equal(first((10,)), second((10,)))
