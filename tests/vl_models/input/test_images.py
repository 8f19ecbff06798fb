import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from vl_models.input.decoding import decode_window
from vl_models.input.images import (
    image_batch,
    random_part,
    random_square,
    resize,
    resize_and_pad,
)

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


def decode_image(encoded):
    return decode_window(encoded, lambda height, width: (0, 0, height, width))


def decode_and_crop(encoded, size, *, training=False, seed=None, scale=(1.0, 1.0)):
    """One image as a batch has it."""
    window = random_square(scale) if training else None
    seeds = None if seed is None else seed[tf.newaxis]
    sizes = {"image": size}
    return image_batch(encoded[tf.newaxis], sizes, window=window, randomness=seeds)["image"][0]


def crop_resize(image, size, *, training=False, seed=None, scale=(1.0, 1.0)):
    """The same of an image that is decoded."""
    height, width = (tf.constant(side) for side in image.shape[:2])
    side = tf.minimum(height, width)
    top, left, tall, wide = (height - side) // 2, (width - side) // 2, side, side
    if training:
        top, left, tall, wide = random_square(scale)(height, width, seed)
    return resize(image[top : top + tall, left : left + wide], size)


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
    resized = crop_resize(tf.constant(image), 8).numpy().astype(int)
    assert np.abs(resized[1:-1] - 127.5).max() <= 1


def as_pil(image, size):
    return np.asarray(PIL.Image.fromarray(image).resize((size, size), PIL.Image.BICUBIC), int)


@pytest.mark.parametrize("side", [16, 40, 63, 65, 72, 200, 500])
def test_resampling_is_that_of_published_models(side):
    """PIL's bicubic, by whose pixels the published weights were trained."""
    image = noise(side, side)
    difference = np.abs(resize(tf.constant(image), 64).numpy().astype(int) - as_pil(image, 64))
    assert difference.mean() <= 1.0  # of 255; on noise, whose edges overshoot most


@pytest.mark.photos
def test_resampling_of_photographs_is_that_of_published_models(photos):
    for path in sorted((photos / "images").iterdir())[:8]:
        image = decode_image(tf.constant(path.read_bytes())).numpy()[:300, :300]
        difference = resize(tf.constant(image), 224).numpy().astype(int) - as_pil(image, 224)
        assert np.abs(difference).mean() <= 0.5


def test_training_crop_is_a_window_of_the_stored_image_that_the_seed_decides():
    image = tf.constant(coordinates(10, 30))
    starts, scale = set(), (0.8, 0.8)
    for seed in range(40):
        options = {"training": True, "seed": tf.constant([seed, 1]), "scale": scale}
        cropped = crop_resize(image, 8, **options).numpy()
        top, left = cropped[0, 0, 0], cropped[0, 0, 1]
        np.testing.assert_array_equal(cropped, image[top : top + 8, left : left + 8])
        starts.add((int(top), int(left)))
    assert {top for top, _ in starts} == {0, 1, 2}
    assert len({left for _, left in starts}) > 10
    again = crop_resize(image, 8, training=True, seed=tf.constant([39, 1]), scale=scale)
    np.testing.assert_array_equal(again, cropped)


@pytest.mark.parametrize(("share", "side"), [(1.0, 20), (0.95, 19), (0.5, 10), (0.01, 1)])
def test_the_centre_square_spans_a_share_of_the_shorter_side(share, side):
    files = png(coordinates(20, 40))[tf.newaxis]
    [found] = image_batch(files, {"image": side}, share=share)["image"].numpy()
    top, left = (20 - side) // 2, (40 - side) // 2
    np.testing.assert_array_equal(found[:, 0, 0], np.arange(top, top + side))
    np.testing.assert_array_equal(found[0, :, 1], np.arange(left, left + side))


def test_a_share_of_a_padded_image_is_of_both_sides():
    files = png(coordinates(20, 40))[tf.newaxis]
    batch = image_batch(files, {"image": 20}, "pad", share=0.5)
    assert batch["image_extent"].numpy().tolist() == [[10, 20]]
    np.testing.assert_array_equal(batch["image"][0, :10, 0, 0], np.arange(5, 15))
    np.testing.assert_array_equal(batch["image"][0, 0, :, 1], np.arange(10, 30))


def test_training_shows_the_served_scale_on_average():
    window = random_square((0.9, 1.0))
    sides = [
        int(window(tf.constant(1000), tf.constant(2000), tf.constant([seed, 7]))[2])
        for seed in range(400)
    ]
    assert min(sides) >= 900 and max(sides) <= 1000
    assert abs(np.mean(sides) - 950) < 5 * 28.9 / np.sqrt(400)  # deviation of a uniform number


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
        decode_and_crop(png(noise(8, 8)), 8, training=True)


@pytest.mark.photos
def test_photographs(photos):
    path = sorted((photos / "images").iterdir())[0]
    encoded = tf.constant(path.read_bytes())
    whole = crop_resize(decode_image(encoded), 64)
    part = decode_and_crop(encoded, 64)
    assert whole.shape == (64, 64, 3)
    assert np.abs(part.numpy().astype(int) - whole.numpy()).max() <= 8


def padded(image, size):
    made, extent = resize_and_pad(tf.constant(image), size)
    return made.numpy(), extent.numpy().tolist()


@pytest.mark.parametrize(("shape", "extent"), [((8, 5), [8, 5]), ((3, 8), [3, 8])])
def test_a_picture_whose_longer_side_fits_lies_in_the_top_left_corner(shape, extent):
    image = noise(*shape)
    made, found = padded(image, 8)
    assert found == extent
    expected = np.zeros((8, 8, 3), np.uint8)
    expected[: shape[0], : shape[1]] = image
    np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize(
    ("shape", "extent"),
    # The other side is 8 · shorter / longer: 8/3, exactly 4, 1/125 of a pixel, all.
    [((30, 10), [8, 3]), ((16, 32), [4, 8]), ((1000, 1), [8, 1]), ((5, 5), [8, 8])],
)
def test_the_longer_side_becomes_the_models_and_the_ratio_stays(shape, extent):
    image = np.full((*shape, 3), 200, np.uint8)
    made, found = padded(image, 8)
    assert found == extent
    assert (made[: extent[0], : extent[1]] == 200).all()
    assert made.sum() == 200 * 3 * extent[0] * extent[1]


def test_padding_resamples_as_cropping_does():
    made, extent = padded(smooth(64, 48), 16)
    assert extent == [16, 12]
    assert np.abs(made[:, :12].astype(int) - smooth(16, 12)).max() <= 3


def test_the_extent_is_that_of_the_model_image_and_sizes_are_of_one_part():
    files = tf.stack([png(coordinates(40, 20)), png(coordinates(10, 40))])
    batch = image_batch(files, {"image": 20, "image_small": 10}, "pad")
    assert batch.keys() == {"image", "image_small", "image_extent"}
    assert batch["image_extent"].dtype == tf.int32
    assert batch["image_extent"].numpy().tolist() == [[20, 10], [5, 20]]
    for row, (height, width) in enumerate([(10, 5), (2, 10)]):
        small = batch["image_small"][row].numpy()
        assert small[:height, :width].any(axis=-1).sum() >= height * width - 1  # its origin is 0
        assert not small[height:].any() and not small[:, width:].any()


def test_all_sizes_are_of_the_same_random_crop():
    image, seeds = coordinates(24, 40), tf.constant([[7, 1], [8, 2], [9, 3]])
    files = tf.stack([png(image)] * 3)
    sizes = {"image": 20, "image_small": 10}
    window = random_square((0.8, 0.9))
    batch = image_batch(files, sizes, window=window, randomness=seeds)
    alone = image_batch(files, {"image": 20}, window=window, randomness=seeds)
    np.testing.assert_array_equal(batch["image"], alone["image"])
    assert batch["image_small"].shape == (3, 10, 10, 3)
    halves = batch["image"].numpy().reshape(3, 10, 2, 10, 2, 3).mean((2, 4))
    assert np.abs(batch["image_small"].numpy() - halves).max() <= 1.0  # of the same ramp
    assert len({crop.numpy().tobytes() for crop in batch["image"]}) > 1


def test_a_random_part_keeps_the_ratio_and_lies_within():
    window = random_part((0.5, 0.75))
    seen = set()
    for seed in range(30):
        draw = tf.constant([seed, 4])
        top, left, height, width = (int(v) for v in window(tf.constant(40), tf.constant(80), draw))
        assert 20 <= height <= 30 and abs(width - 2 * height) <= 1
        assert 0 <= top <= 40 - height and 0 <= left <= 80 - width
        seen.add((top, left))
    assert len(seen) > 20
