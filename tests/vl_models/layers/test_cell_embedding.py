import numpy as np
import tensorflow as tf

from vl_models.layers.cell_embedding import CellEmbedding
from vl_models.layers.sine_positions import sine_positions

X = np.random.default_rng(0).normal(size=(2, 6, 8)).astype(np.float32)
VALID = tf.ones([2, 2, 3], tf.bool)


def test_masked_cells_differ_by_their_positions_alone():
    layer = CellEmbedding()
    masked = np.zeros((2, 6), bool)
    masked[0, [1, 4]] = True
    plain, hidden = layer(X, VALID), layer(X, VALID, tf.constant(masked))
    same = ~masked
    np.testing.assert_allclose(hidden.numpy()[same], plain.numpy()[same], atol=1e-6)
    positions = tf.reshape(sine_positions(VALID, 8), [2, 6, 8]).numpy()
    for place in (1, 4):
        x = layer.mask_vector.numpy() + positions[0, place]
        expected = (x - x.mean()) / x.std()
        np.testing.assert_allclose(hidden[0, place], expected, atol=1e-5)
