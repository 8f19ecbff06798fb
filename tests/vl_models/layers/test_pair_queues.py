import numpy as np
import tensorflow as tf

from vl_models.layers.pair_queues import PairQueues

UNIT = np.eye(4, dtype=np.float32)


def make_queues(size=8, query_hashes=3, warm_up="masked"):
    queues = PairQueues(size, 4, query_hashes, warm_up)
    for layer in queues.layers:
        layer.build()
    return queues


def make_batch(image_id_hash, query_hash, clicked):
    return {
        "image_id_hash": tf.constant(image_id_hash, tf.int64),
        "query_hash": tf.constant(query_hash, tf.int64),
        "clicked_query_hashes": tf.constant(clicked, tf.int64),
    }


STORED = make_batch([1, 2], [11, 12, 21, 22], [[12, 13], [-1, -1]])


def filled(query_hashes=3):
    """Two images with two texts each: 1 with 11, 12 (and a click 13), 2 with 21, 22."""
    queues = make_queues(query_hashes=query_hashes)
    queues.enqueue(STORED, tf.constant(UNIT[:2]), tf.constant(UNIT))
    return queues


def test_images_enter_once_and_their_texts_each():
    queues = filled()
    np.testing.assert_array_equal(queues.image.image_id_hash.numpy()[:3], [1, 2, -1])
    np.testing.assert_array_equal(queues.text.image_id_hash.numpy()[:5], [1, 1, 2, 2, -1])
    np.testing.assert_array_equal(queues.text.query_hash.numpy()[:4, 0], [11, 12, 21, 22])
    np.testing.assert_array_equal(
        queues.image.query_hash.numpy()[:3], [[11, 12, 12], [21, 22, -1], [-1, -1, -1]]
    )
    wide = filled(query_hashes=5)
    np.testing.assert_array_equal(wide.image.query_hash.numpy()[0], [11, 12, 12, 13, -1])
    scalars = {name: float(value) for name, value in queues.scalars().items()}
    assert scalars["image_queue/filled_share"] == 2 / 8
    assert scalars["text_queue/filled_share"] == 4 / 8


def test_entries_that_fit_a_query_are_hidden():
    queues = filled(query_hashes=4)
    # Image 1 again with the text 99; image 3, which was clicked for 21 too, with 13.
    batch = make_batch([1, 3], [99, 13], [[-1, -1], [21, -1]])
    texts, images = queues.excluded(batch, 2, 2, mask_known=True)
    empty = [True] * 4
    np.testing.assert_array_equal(
        texts, [[True, True, False, False, *empty], [False, False, True, False, *empty]]
    )
    empty = [True] * 6
    # The text 13 is a known click of image 1.
    np.testing.assert_array_equal(images, [[True, False, *empty], [True, False, *empty]])


def test_every_text_of_an_image_is_a_row():
    queues = filled()
    batch = make_batch([3, 2], [98, 12, 97, 96], [[-1], [-1]])
    texts, images = queues.excluded(batch, 2, 4, mask_known=True)
    np.testing.assert_array_equal(texts.numpy()[:, :4][0], [False, True, False, False])
    np.testing.assert_array_equal(texts.numpy()[0], texts.numpy()[1])
    np.testing.assert_array_equal(texts.numpy()[:, :4][2], [False, False, True, True])
    np.testing.assert_array_equal(
        images.numpy()[:, :2], [[False, False], [True, False], [False, True], [False, True]]
    )


def test_without_keys_or_masking_only_unfilled_slots_are_hidden():
    queues = filled()
    for batch, mask_known in ((STORED, False), ({}, True)):
        texts, images = queues.excluded(batch, 2, 4, mask_known)
        np.testing.assert_array_equal(texts, [[False] * 4 + [True] * 4])
        np.testing.assert_array_equal(images, [[False] * 2 + [True] * 6])
    queues.enqueue({}, tf.constant(UNIT[:2]), tf.constant(UNIT[:2]))
    np.testing.assert_array_equal(queues.image.query_hash.numpy()[2:4], [[-1] * 3] * 2)
