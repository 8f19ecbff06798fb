import numpy as np
import tensorflow as tf

from vl_models.layers.patches import hide_patches, patchify


def test_patches_come_in_reading_order():
    image = tf.reshape(tf.range(4 * 6), (1, 4, 6, 1))
    patches = patchify(image, 2)
    assert patches.shape == (1, 6, 4)
    np.testing.assert_array_equal(patches[0, 0], [0, 1, 6, 7])
    np.testing.assert_array_equal(patches[0, 4], [14, 15, 20, 21])


def test_hidden_patches_are_one_colour_and_others_stay():
    image = tf.cast(tf.random.stateless_uniform((2, 4, 4, 3), (1, 2), 0, 255, tf.int32), tf.uint8)
    masked = tf.constant([[True, False, False, False], [False, False, True, False]])
    hidden = hide_patches(image, masked, [10.0, 20.0, 30.0])
    np.testing.assert_array_equal(hidden[0, :2, :2], np.broadcast_to([10, 20, 30], (2, 2, 3)))
    np.testing.assert_array_equal(hidden[0, 2:], image[0, 2:])
    np.testing.assert_array_equal(hidden[1, 2:, :2], np.broadcast_to([10, 20, 30], (2, 2, 3)))
