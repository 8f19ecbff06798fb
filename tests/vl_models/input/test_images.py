import numpy as np
import pytest
import tensorflow as tf

from vl_models.input.images import crop_resize, decode_and_crop, decode_image

RANDOM = np.random.default_rng(0)
SEED = tf.constant([3, 5], tf.int32)


def noise(height, width):
    return RANDOM.integers(0, 256, (height, width, 3)).astype(np.uint8)


def smooth(height, width):
    """A ramp that has the same values at any size (at the centres of the pixels)."""
    rows = ((np.arange(height) + 0.5) * 255 / height)[:, None, None]
    columns = ((np.arange(width) + 0.5) * 255 / width)[None, :, None]
    return np.broadcast_to((rows + columns) / 2, (height, width, 3)).astype(np.uint8)


def coordinates(height, width):
    """An image whose red and green channels tell row and column."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.arange(height)[:, None]
    image[..., 1] = np.arange(width)[None, :]
    return image


def png(image):
    return tf.io.encode_png(image)


def test_png_is_decoded_exactly():
    image = noise(7, 9)
    np.testing.assert_array_equal(decode_image(png(image)), image)


def test_jpeg_is_decoded_closely():
    image = smooth(32, 48)
    decoded = decode_image(tf.io.encode_jpeg(image, quality=95)).numpy()
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - image).max() <= 4


def test_grayscale_is_spread_over_three_channels():
    image = noise(6, 6)[..., :1]
    for encoded in (tf.io.encode_png(image), tf.io.encode_jpeg(smooth(8, 8)[..., :1])):
        decoded = decode_image(encoded).numpy()
        assert decoded.shape[2] == 3
        assert (decoded[..., :1] == decoded).all()
    np.testing.assert_array_equal(decode_image(png(image))[..., :1], image)


def test_transparency_is_put_on_white():
    image = np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 100, 200, 51]]], np.uint8)
    np.testing.assert_array_equal(
        decode_image(tf.io.encode_png(image)), [[[255] * 3, [10, 20, 30], [204, 224, 244]]]
    )


@pytest.mark.parametrize("encoded", [b"", b"no image", bytes(png(noise(8, 8)).numpy())[:40]])
def test_undecodable_bytes_raise(encoded):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_image(tf.constant(encoded))


def test_image_of_the_right_size_passes_unchanged():
    image = noise(8, 8)
    np.testing.assert_array_equal(crop_resize(tf.constant(image), 8), image)


def test_evaluation_takes_the_centre():
    cropped = crop_resize(tf.constant(coordinates(20, 8)), 8).numpy()
    np.testing.assert_array_equal(cropped[:, 0, 0], np.arange(6, 14))
    np.testing.assert_array_equal(cropped[0, :, 1], np.arange(8))


@pytest.mark.parametrize("size", [16, 40, 90])
def test_resampling_keeps_a_smooth_image(size):
    resized = crop_resize(tf.constant(smooth(64, 64)), size).numpy().astype(int)
    assert resized.shape == (size, size, 3)
    assert np.abs(resized - smooth(size, size)).max() <= 3


def test_large_reductions_average_instead_of_picking_pixels():
    image = np.zeros((64, 64, 3), np.uint8)
    image[::2] = 255
    resized = crop_resize(tf.constant(image), 8).numpy()
    assert set(np.unique(resized)) <= {127, 128}


def test_training_crop_is_a_window_of_the_stored_image_that_the_seed_decides():
    image = tf.constant(coordinates(10, 30))
    starts = set()
    for seed in range(40):
        cropped = crop_resize(image, 8, training=True, seed=tf.constant([seed, 1])).numpy()
        top, left = cropped[0, 0, 0], cropped[0, 0, 1]
        np.testing.assert_array_equal(cropped, image[top : top + 8, left : left + 8])
        starts.add((int(top), int(left)))
    assert {top for top, _ in starts} == {0, 1, 2}
    assert len({left for _, left in starts}) > 10
    again = crop_resize(image, 8, training=True, seed=tf.constant([39, 1]))
    np.testing.assert_array_equal(again, cropped)


def test_training_crop_of_a_large_image_spans_the_shorter_side():
    cropped = crop_resize(tf.constant(smooth(64, 64)), 16, training=True, seed=SEED)
    np.testing.assert_array_equal(cropped, crop_resize(tf.constant(smooth(64, 64)), 16))


def test_scale_bounds_the_side_of_the_crop():
    image = tf.constant(coordinates(64, 64))
    for seed in range(20):
        cropped = (
            crop_resize(image, 32, training=True, seed=tf.constant([seed, 0]), scale=(0.5, 0.75))
            .numpy()
            .astype(int)
        )
        extent = cropped[-1, 0, 0] - cropped[0, 0, 0]
        assert 29 <= extent <= 48


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(20, 30), (64, 48), (16, 16)])
def test_decoding_of_the_crop_alone_equals_the_crop_of_the_whole(shape, training):
    image = noise(*shape)
    whole = crop_resize(tf.constant(image), 16, training=training, seed=SEED)
    part = decode_and_crop(png(image), 16, training=training, seed=SEED)
    np.testing.assert_array_equal(part, whole)
    encoded = tf.io.encode_jpeg(smooth(*shape), quality=95, chroma_downsampling=False)
    whole = crop_resize(decode_image(encoded), 16, training=training, seed=SEED)
    part = decode_and_crop(encoded, 16, training=training, seed=SEED)
    assert np.abs(part.numpy().astype(int) - whole.numpy()).max() <= 4


def test_works_in_a_data_set():
    files = tf.data.Dataset.from_tensor_slices([png(noise(20, 30)).numpy()] * 3)
    batch = next(iter(files.map(lambda encoded: decode_and_crop(encoded, 16)).batch(3)))
    assert batch.shape == (3, 16, 16, 3) and batch.dtype == tf.uint8


def test_training_needs_a_seed():
    with pytest.raises(ValueError, match="seed"):
        crop_resize(tf.constant(noise(8, 8)), 8, training=True)


@pytest.mark.photos
def test_photographs(photos):
    path = sorted((photos / "images").iterdir())[0]
    encoded = tf.constant(path.read_bytes())
    whole = crop_resize(decode_image(encoded), 64)
    part = decode_and_crop(encoded, 64)
    assert whole.shape == (64, 64, 3)
    assert np.abs(part.numpy().astype(int) - whole.numpy()).max() <= 8
