import colorsys
import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage, stats

from vl_models.input import augmentations
from vl_models.input.augmentations import (
    NUM_DRAWS,
    PRESETS,
    Augmentation,
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    augment,
    color_jitter,
    crop_window,
    flip,
    gaussian_blur,
    grayscale,
    random_view,
)
from vl_models.input.images import image_batch, resize
from vl_models.input.sampling import row_seed
from vl_models.row_random import draw_uniform

NOTHING = Augmentation(
    jitter=(0.0, 0.0, 0.0, 0.0),
    jitter_probability=0.0,
    grayscale_probability=0.0,
    blur_probability=0.0,
    flip_probability=0.0,
)
ORDERS = list(itertools.permutations(range(4)))


def draws(count, run=3):
    rows = tf.range(count, dtype=tf.int64)
    return draw_uniform(row_seed(run, tf.constant(0, tf.int64), rows), NUM_DRAWS)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def pixels(height=6, width=6, seed=0):
    return tf.constant(noise(height, width, seed), tf.float32)


@tf.function
def windows(height, width, drawn, augmentation):
    return tf.map_fn(
        lambda one: tf.stack(
            crop_window(tf.constant(height), tf.constant(width), one, augmentation)
        ),
        drawn,
        fn_output_signature=tf.TensorSpec([4], tf.int32),
    )


@tf.function
def augmented(image, drawn, augmentation):
    return tf.map_fn(
        lambda one: augment(image, one, augmentation),
        drawn,
        fn_output_signature=tf.TensorSpec(image.shape, tf.uint8),
    )


@pytest.mark.parametrize(("height", "width"), [(400, 400), (300, 500)])
def test_crops_are_inside_the_image_and_within_the_bounds(height, width):
    top, left, tall, broad = windows(height, width, draws(2000), PRESETS["moco_v2"]).numpy().T
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + tall <= height).all() and (left + broad <= width).all()
    area = tall * broad / (height * width)
    largest = min(1, height / width * 4 / 3)
    assert area.min() > 0.198 and 0.9 * largest < area.max() < largest + 1e-9
    ratio = broad / tall
    assert ratio.min() > 0.745 and ratio.max() < 1.342  # within rounding of a pixel
    assert ratio.min() < 0.76 and ratio.max() > 1.31


def test_area_and_logarithm_of_the_ratio_are_uniform_and_the_place_too():
    # Crops of at most half of a square always fit at the first attempt.
    bounded = dataclasses.replace(NOTHING, crop_area=(0.2, 0.5))
    top, left, tall, broad = windows(10_000, 10_000, draws(2000), bounded).numpy().T
    uniform = {
        "area": (tall * broad / 1e8 - 0.2) / 0.3,
        "ratio": (np.log(broad / tall) - np.log(3 / 4)) / np.log(16 / 9),
        "top": top / (10_000 - tall),
        "left": left / (10_000 - broad),
    }
    for values in uniform.values():
        assert stats.kstest(values, "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(list(uniform.values())) - np.eye(4)).max() < 0.1


@pytest.mark.parametrize(
    ("height", "width", "window"), [(10, 100, (0, 43, 10, 13)), (100, 10, (43, 0, 13, 10))]
)
def test_a_long_image_gives_its_centre_of_the_most_extreme_ratio(height, width, window):
    found = windows(height, width, draws(20), PRESETS["moco_v1"]).numpy()
    np.testing.assert_array_equal(found, np.tile(window, (20, 1)))


def test_an_image_of_one_pixel():
    assert windows(1, 1, draws(20), PRESETS["moco_v2"]).numpy().tolist() == [[0, 0, 1, 1]] * 20


@pytest.mark.parametrize("order", ORDERS)
def test_jitter_of_strength_nothing_is_the_identity(order):
    image = pixels()
    same = color_jitter(image, tf.constant([1.0, 1.0, 1.0, 0.0]), tf.constant(order))
    np.testing.assert_allclose(same, image, atol=1e-3)


def test_jitter_applies_its_parts_in_the_given_order():
    image = pixels()
    factors = tf.constant([1.3, 0.7, 0.6, 0.2])
    parts = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
    results = []
    for order in ORDERS:
        expected = image
        for part in order:
            expected = parts[part](expected, factors[part])
        found = color_jitter(image, factors, tf.constant(order)).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-3)
        results.append(found.tobytes())
    assert len(set(results)) > 12  # some of them commute


def test_blends_in_closed_form():
    image = tf.constant([[[10.0, 100.0, 250.0], [60.0, 60.0, 60.0]]])
    luma = 0.299 * 10 + 0.587 * 100 + 0.114 * 250
    np.testing.assert_allclose(
        adjust_brightness(image, 1.5), [[[15, 150, 255], [90, 90, 90]]], rtol=1e-6
    )
    mean = (luma + 60) / 2
    np.testing.assert_allclose(adjust_contrast(image, 0.0), np.full((1, 2, 3), mean), rtol=1e-6)
    np.testing.assert_allclose(
        adjust_contrast(image, 0.5), 0.5 * image.numpy() + 0.5 * mean, rtol=1e-6
    )
    np.testing.assert_allclose(adjust_saturation(image, 0.0), grayscale(image), rtol=1e-6)
    saturated = adjust_saturation(image, 1.4).numpy()
    np.testing.assert_allclose(saturated[0, 1], 60, rtol=1e-6)  # grey has no colour to gain
    np.testing.assert_allclose(
        saturated[0, 0], np.clip(1.4 * image[0, 0] - 0.4 * luma, 0, 255), rtol=1e-5, atol=1e-4
    )


def test_grayscale_has_the_weights_of_bt601():
    primaries = tf.constant([[[255.0, 0, 0], [0, 255.0, 0], [0, 0, 255.0], [255.0] * 3]])
    expected = 255 * np.array([0.299, 0.587, 0.114, 1.0])
    np.testing.assert_allclose(grayscale(primaries)[0], np.stack([expected] * 3, 1), rtol=1e-6)
    image = pixels()
    np.testing.assert_allclose(grayscale(grayscale(image)), grayscale(image), rtol=1e-6)


@pytest.mark.parametrize("turns", [-1.0, 0.0, 1.0])
def test_whole_turns_of_the_hue_change_nothing(turns):
    image = pixels()
    np.testing.assert_allclose(adjust_hue(image, tf.constant(turns)), image, atol=2e-3)


def test_hue_turns_like_colorsys():
    image = pixels().numpy() / 255
    for turns in (-0.4, -0.1, 1 / 3, 0.4):
        expected = np.empty_like(image)
        for place in np.ndindex(image.shape[:2]):
            hue, saturation, value = colorsys.rgb_to_hsv(*image[place])
            expected[place] = colorsys.hsv_to_rgb((hue + turns) % 1, saturation, value)
        found = adjust_hue(tf.constant(255 * image), tf.constant(turns, tf.float32))
        np.testing.assert_allclose(found, 255 * expected, atol=0.01)


def test_a_constant_image_stays_under_blur():
    # So the weights round every pixel add up to one, at the edges too.
    image = tf.fill([7, 7, 3], 200.0)
    for sigma in (0.1, 0.5, 2.0, 30.0):
        np.testing.assert_allclose(gaussian_blur(image, tf.constant(sigma)), image, rtol=1e-5)


def test_blur_is_a_gaussian_convolution_with_reflected_edges():
    image = pixels(24, 24)
    for sigma in (0.1, 0.7, 2.0):
        expected = ndimage.gaussian_filter(
            image.numpy().astype(np.float64), (sigma, sigma, 0), mode="mirror", truncate=11
        )
        np.testing.assert_allclose(gaussian_blur(image, tf.constant(sigma)), expected, atol=1e-3)


def test_blur_of_a_point_is_a_gaussian():
    image = np.zeros((21, 21, 3), np.float32)
    image[10, 10] = 100.0
    found = gaussian_blur(tf.constant(image), tf.constant(1.5)).numpy()
    x = np.arange(-10, 11)
    bell = np.exp(-(x**2) / (2 * 1.5**2)) / np.exp(-(x**2) / (2 * 1.5**2)).sum()
    np.testing.assert_allclose(found[..., 1], 100 * np.outer(bell, bell), atol=1e-4)
    assert found.sum() == pytest.approx(300, rel=1e-5)


def test_flip_is_an_involution():
    image = pixels(5, 8)
    np.testing.assert_array_equal(flip(image)[:, 0], image[:, -1])
    np.testing.assert_array_equal(flip(flip(image)), image)


def test_an_augmentation_of_nothing_returns_every_value():
    image = tf.reshape(tf.cast(tf.range(16 * 16 * 3) % 256, tf.uint8), [16, 16, 3])
    found = augmented(image, draws(3), NOTHING)
    assert found.dtype == tf.uint8
    np.testing.assert_array_equal(found, tf.stack([image] * 3))
    jittered = dataclasses.replace(NOTHING, jitter_probability=1.0)
    np.testing.assert_array_equal(augmented(image, draws(30), jittered), tf.stack([image] * 30))


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("part", ["jitter", "grayscale", "blur", "flip"])
def test_each_transform_has_its_probability(name, part):
    preset = PRESETS[name]
    probability = getattr(preset, f"{part}_probability")
    only = dataclasses.replace(
        NOTHING, jitter=preset.jitter, **{f"{part}_probability": probability}
    )
    image = tf.constant(noise(5, 5))
    count = 1500
    changed = tf.reduce_any(augmented(image, draws(count), only) != image, axis=[1, 2, 3])
    share = float(tf.reduce_mean(tf.cast(changed, tf.float32)))
    if part == "blur":  # a sigma below a third of a pixel changes nothing
        low, high = preset.blur_sigma
        assert 0.8 * probability <= share <= probability + 0.06
        assert (low, high) == (0.1, 2.0)
    else:
        error = np.sqrt(probability * (1 - probability) / count)
        assert abs(share - probability) <= 4 * error


def test_the_presets_are_those_of_the_papers():
    v1, v2 = PRESETS["moco_v1"], PRESETS["moco_v2"]
    assert v1.jitter == (0.4, 0.4, 0.4, 0.4) and v1.jitter_probability == 1.0
    assert v2.jitter == (0.4, 0.4, 0.4, 0.1) and v2.jitter_probability == 0.8
    assert v1.grayscale_first and not v2.grayscale_first
    assert (v1.blur_probability, v2.blur_probability) == (0.0, 0.5)
    for preset in (v1, v2):
        assert preset.grayscale_probability == 0.2 and preset.flip_probability == 0.5
        assert preset.crop_area == (0.2, 1.0) and preset.crop_ratio == (3 / 4, 4 / 3)


def test_jitter_factors_are_uniform_round_the_identity():
    # White keeps the brightness factor where it darkens: min(factor, 1).
    only = dataclasses.replace(NOTHING, jitter=(0.4, 0, 0, 0), jitter_probability=1.0)
    grey = tf.constant(np.full((2, 2, 3), 100, np.uint8))
    factors = augmented(grey, draws(1500), only).numpy()[:, 0, 0, 0] / 100
    assert factors.min() < 0.61 and factors.max() > 1.39
    assert stats.kstest((factors - 0.6) / 0.8, "uniform").pvalue > 1e-3


def test_all_orders_of_the_jitter_are_drawn_alike():
    index = augmentations._index(draws(4800)[:, 2], 24)
    counts = np.bincount(index.numpy(), minlength=24)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_no_two_decisions_of_a_row_share_randomness():
    drawn = draws(20_000).numpy()
    correlations = np.corrcoef(drawn.T) - np.eye(NUM_DRAWS)
    assert np.abs(correlations).max() * np.sqrt(20_000) < 5  # 496 standard normals
    places = [
        augmentations._FLIP,
        augmentations._JITTER,
        augmentations._ORDER,
        augmentations._GRAYSCALE,
        augmentations._BLUR,
        augmentations._SIGMA,
    ]
    for part in ("_FACTORS", "_PLACE", "_AREA", "_RATIO"):
        places += range(NUM_DRAWS)[getattr(augmentations, part)]
    assert sorted(places) == list(range(NUM_DRAWS))


@pytest.mark.parametrize("form", ["png", "jpeg"])
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_encoded_images_are_cropped_resized_and_augmented(form, name):
    stored = noise(40, 60)
    encoded = {
        "png": tf.io.encode_png(stored),
        "jpeg": tf.io.encode_jpeg(stored, chroma_downsampling=False),
    }[form]
    drawn, preset = draws(6), PRESETS[name]
    decoded = tf.io.decode_image(encoded, channels=3)

    window, finish = random_view(preset)

    @tf.function
    def run(one):
        options = {"window": window, "finish": finish, "randomness": one[tf.newaxis]}
        return image_batch(encoded[tf.newaxis], {"image": 16}, **options)["image"][0]

    for one in drawn:
        top, left, height, width = crop_window(tf.constant(40), tf.constant(60), one, preset)
        crop = decoded[top : top + height, left : left + width]
        expected = augment(resize(crop, 16), one, preset)
        found = run(one)
        assert found.shape == (16, 16, 3) and found.dtype == tf.uint8
        assert np.abs(found.numpy().astype(int) - expected.numpy()).max() <= 1  # rounding
        np.testing.assert_array_equal(run(one), found)
