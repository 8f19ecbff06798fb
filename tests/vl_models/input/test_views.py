"""Augmentations and second views as the rows of a batch have them."""

import itertools

import numpy as np
import pydantic
import pytest
import tensorflow as tf

from tests.vl_models.training import tiny
from vl_models import features as f
from vl_models.errors import UserError
from vl_models.input.augmentations import NUM_DRAWS, PRESETS, augment, crop_window
from vl_models.input.config import InputConfig
from vl_models.input.decoding import decode_window
from vl_models.input.images import image_batch, random_square, resize
from vl_models.input.records import START
from vl_models.input.sampling import AUGMENT, CROP, VIEW_2
from vl_models.input.source import Feed
from vl_models.row_random import draw_uniform, stream_seed

SIZE, COUNT = 8, 12
SEEDED = {"augment": True, "image_size": SIZE, "inputs": ["image"]}


@pytest.fixture(scope="module")
def stored():
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 14, 20, 3), np.uint8)
    return [tf.io.encode_png(image).numpy() for image in images]


@pytest.fixture(scope="module")
def pattern(stored, tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    for shard in range(2):
        path = folder / f"data_tfrecord-{shard:05d}-of-00002.gz"
        with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
            for encoded in stored[shard * 6 : shard * 6 + 6]:
                value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
                example = tf.train.Example(
                    features=tf.train.Features(feature={f.IMAGE_ENCODED: value})
                )
                writer.write(example.SerializeToString())
    return str(folder / "data_tfrecord-*.gz")


def images(pattern, feed, count, **config):
    """{(row, epoch): its images} of ``count`` batches; a worker sees its own rows."""
    source = tiny.source(pattern, **{**SEEDED, **config})
    found = {}
    for batch, _ in itertools.islice(source.open(feed, START), count):
        names = [name for name in ("image", "image_2") if name in batch]
        for place, row in enumerate(batch["row"].numpy()):
            epoch = sum(known == row for known, _ in found)
            found[row, epoch] = [batch[name].numpy()[place] for name in names]
    return found


def assert_equal(left, right, rows=COUNT):
    common = left.keys() & right.keys()
    assert len(common) == rows
    for key in common:
        for one, other in zip(left[key], right[key]):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("augmentation", "views"), [("crop", 1), ("crop", 2), ("moco_v1", 1), ("moco_v2", 2)]
)
def test_images_follow_from_the_stored_image_and_the_seed_of_the_row(
    pattern, stored, augmentation, views
):
    source = tiny.source(pattern, **SEEDED, augmentation=augmentation, views=views, shuffle=False)
    batch, _ = next(iter(source.open(Feed(batch_size=6, seed=5), START)))
    assert batch["image"].dtype == tf.uint8 and batch["image"].shape == (6, SIZE, SIZE, 3)
    assert ("image_2" in batch) == (views == 2)
    seeds = {"image": batch["seed"], "image_2": stream_seed(batch["seed"], VIEW_2)}

    @tf.function
    def expected(encoded, seed):
        if augmentation == "crop":
            crop_seed = stream_seed(seed[tf.newaxis], CROP)[0]
            square = random_square((0.9, 1.0))
            return resize(decode_window(encoded, lambda h, w: square(h, w, crop_seed)), SIZE)
        draws = draw_uniform(stream_seed(seed[tf.newaxis], AUGMENT), NUM_DRAWS)[0]
        preset = PRESETS[augmentation]
        part = decode_window(encoded, lambda h, w: crop_window(h, w, draws, preset))
        return augment(resize(part, SIZE), draws, preset)

    for name in ("image", "image_2")[:views]:
        for row in range(6):
            np.testing.assert_array_equal(
                batch[name][row], expected(tf.constant(stored[row]), seeds[name][row])
            )


def test_pixels_depend_on_row_and_epoch_alone(pattern):
    options = {"augmentation": "moco_v2", "views": 2}
    two_epochs = images(pattern, Feed(batch_size=12, seed=5), 2, shuffle=False, **options)
    assert len(two_epochs) == 2 * COUNT
    shuffled = images(pattern, Feed(batch_size=5, seed=5, shuffle_buffer=7), 2, **options)
    assert_equal(two_epochs, shuffled, rows=10)
    worker = Feed(batch_size=4, seed=5, shuffle_buffer=3, worker=1, workers=2)
    assert_equal(two_epochs, images(pattern, worker, 3, **options), rows=6)
    other_seed = images(pattern, Feed(batch_size=12, seed=6), 1, shuffle=False, **options)
    for (row, epoch), (first, second) in two_epochs.items():
        assert not np.array_equal(first, second)
        other = other_seed if epoch == 0 else two_epochs
        for image, another in zip((first, second), other[row, 0]):
            assert not np.array_equal(image, another)


def test_the_first_view_does_not_depend_on_the_second(pattern):
    feed = Feed(batch_size=12, seed=5)
    one, two = (images(pattern, feed, 1, augmentation="moco_v1", views=n) for n in (1, 2))
    assert {len(found) for found in one.values()} == {1}
    assert {len(found) for found in two.values()} == {2}
    assert_equal(one, two)


def test_views_are_independent():
    seeds = tf.constant(np.random.default_rng(0).integers(-(2**31), 2**31, (20_000, 2)), tf.int32)
    first = draw_uniform(stream_seed(seeds, AUGMENT), NUM_DRAWS).numpy()
    second = draw_uniform(stream_seed(stream_seed(seeds, VIEW_2), AUGMENT), NUM_DRAWS).numpy()
    across = np.corrcoef(first.T, second.T)[:NUM_DRAWS, NUM_DRAWS:]
    assert np.abs(across).max() * np.sqrt(20_000) < 5  # 1024 standard normals


@pytest.mark.parametrize("augmentation", ["crop", "moco_v1", "moco_v2"])
def test_without_augmentation_both_views_are_the_centre(pattern, stored, augmentation):
    source = tiny.source(
        pattern,
        **{**SEEDED, "augment": False},
        augmentation=augmentation,
        views=2,
        shuffle=False,
    )
    batch, _ = next(iter(source.open(Feed(batch_size=4), START)))
    for row in range(4):
        centre = image_batch(tf.constant([stored[row]]), {"image": SIZE})["image"][0]
        np.testing.assert_array_equal(batch["image"][row], centre)
        np.testing.assert_array_equal(batch["image_2"][row], centre)


def test_two_views_serve_a_model_that_asks_for_two_images(pattern):
    # The stored records have no second image: it is made of the first.
    source = tiny.source(pattern, **{**SEEDED, "inputs": ["image", "image_2"]}, views=2)
    batch, _ = next(iter(source.open(Feed(batch_size=4), START)))
    assert not np.array_equal(batch["image"], batch["image_2"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"augmentation": "moco_v2", "crop_scale": (0.5, 1.0)},
            "crop_scale is for augmentation 'crop', not 'moco_v2'",
        ),
        ({"crop_scale": (0.5, 1.1)}, "crop_scale is two shares in (0, 1], the smaller one first"),
        ({"augmentation": "moco"}, "Input should be 'crop', 'moco_v1' or 'moco_v2'"),
        ({"views": 3}, "Input should be 1 or 2"),
    ],
)
def test_what_does_not_fit_is_refused(values, message):
    with pytest.raises(pydantic.ValidationError) as error:
        InputConfig(**values)
    [found] = error.value.errors()
    assert found["msg"].removeprefix("Value error, ") == message


def test_views_need_an_image():
    with pytest.raises(UserError) as caught:
        tiny.spec(name="a", views=2, inputs=["token_ids"])
    assert str(caught.value) == (
        "Source 'a': views: 2 are views of the input 'image', which is not asked for."
    )


def test_without_augmentation_images_are_those_of_the_signature(pattern, stored):
    files = tf.constant(stored[:4])
    for fit in ("crop", "pad"):
        facts = {"image_fit": fit, "image_sizes": {"image": SIZE, "image_small": 4}}
        facts["crop_share"] = 0.7
        source = tiny.source(pattern, inputs=["image"], shuffle=False, **facts)
        batch, _ = next(iter(source.open(Feed(batch_size=4), START)))
        served = image_batch(files, facts["image_sizes"], fit, share=0.7)
        assert served.keys() == {
            key for key in batch if key.startswith("image") and "_id" not in key
        } - {"image_log_q"}
        for key, value in served.items():
            np.testing.assert_array_equal(batch[key], value)


def test_padded_images_are_whole_unless_a_scale_is_given(pattern, stored):
    options = {**SEEDED, "image_fit": "pad", "views": 2, "shuffle": False}
    batch, _ = next(iter(tiny.source(pattern, **options).open(Feed(batch_size=4, seed=5), START)))
    whole = image_batch(tf.constant(stored[:4]), {"image": SIZE}, "pad")
    np.testing.assert_array_equal(batch["image"], whole["image"])
    np.testing.assert_array_equal(batch["image_2"], whole["image"])
    np.testing.assert_array_equal(batch["image_2_extent"], batch["image_extent"])
    scaled = tiny.source(pattern, **options, crop_scale=(0.5, 0.8))
    batch, _ = next(iter(scaled.open(Feed(batch_size=4, seed=5), START)))
    assert not np.array_equal(batch["image"], whole["image"])
    assert not np.array_equal(batch["image"], batch["image_2"])
    # 14 x 20 pixels: the ratio of the whole, up to the rounding of the part and of the picture.
    assert (np.abs(batch["image_extent"].numpy() - [5.6, SIZE]) < 1.1).all()


def test_a_further_size_is_augmented_by_the_same_draws(pattern):
    options = {"augmentation": "moco_v2", "shuffle": False, "image_fit": "crop"}
    sizes = {"image_sizes": {"image": 32, "image_small": 16}}
    source = tiny.source(pattern, inputs=["image"], augment=True, **options, **sizes)
    batch, _ = next(iter(source.open(Feed(batch_size=12, seed=5), START)))
    large = batch["image"].numpy().reshape(12, 16, 2, 16, 2, 3).mean((2, 4))
    small = batch["image_small"].numpy().astype(float)
    for one, other in zip(large, small):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.95


def test_presets_are_of_squares():
    with pytest.raises(UserError) as caught:
        tiny.spec(name="a", augmentation="moco_v2", image_fit="pad")
    assert str(caught.value) == (
        "Source 'a': augmentation: moco_v2 is of squares, but the model has image_fit: pad; take "
        "augmentation: crop, or image_fit: crop."
    )
