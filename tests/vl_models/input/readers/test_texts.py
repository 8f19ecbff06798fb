import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.vl_models.training import tiny
from vl_models import features as f
from vl_models.errors import UserError
from vl_models.input.records import START
from vl_models.input.source import Feed

IMAGES = 8
QUERIES = [[b"a", b"b", b"c"], [b"b"], [b"c", b"d"]]
CLICKED_IMAGES = [[1, 2, 8], [2], [8, 1]]


def write(folder, clicked_images=CLICKED_IMAGES):
    """Records of which query i of an image is clicked for so many images."""
    path = folder / "data_tfrecord-00000-of-00001.gz"
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions("GZIP")) as writer:
        for number, (queries, counts) in enumerate(zip(QUERIES, clicked_images)):
            features = {
                f.IMAGE_ID: [b"image-%d" % number],
                f.QUERY_TEXT: queries,
                f.QUERY_WEIGHT: [float(3 - place) for place in range(len(queries))],
                f.QUERY_IMAGES: counts,
            }
            features = {name: tiny.feature_of(values) for name, values in features.items()}
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    return str(folder / "data_tfrecord-*")


def batch_of(pattern, **options):
    options = {"inputs": ["token_ids"], "shuffle": False, "max_clicked_queries": 4, **options}
    source = tiny.source(pattern, **options)
    [(batch, _)] = itertools.islice(source.open(Feed(batch_size=3), START), 1)
    return batch


def test_queries_weigh_by_how_few_images_they_are_clicked_for(tmp_path):
    batch = batch_of(write(tmp_path), images=IMAGES)
    rare, common = np.log(8 / 1), np.log(8 / 2)
    norm = np.hypot(rare, common)  # what was clicked for every image has no weight
    np.testing.assert_allclose(
        batch["clicked_query_weight"],
        [[rare / norm, common / norm, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]],
        atol=1e-6,
    )
    present = batch["clicked_query_hashes"].numpy() >= 0
    np.testing.assert_array_equal(present, [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]])


def test_weights_are_of_unit_norm_over_all_queries_of_an_image(tmp_path):
    batch = batch_of(write(tmp_path), images=IMAGES, max_clicked_queries=1)
    rare, common = np.log(8 / 1), np.log(8 / 2)
    expected = [[rare / np.hypot(rare, common)], [1.0], [0.0]]
    np.testing.assert_allclose(batch["clicked_query_weight"], expected, atol=1e-6)


def test_without_the_click_graph_there_are_no_weights(tmp_path):
    assert "clicked_query_weight" not in batch_of(write(tmp_path))


def test_records_without_counts_count_every_query_as_of_one_image(tmp_path):
    batch = batch_of(write(tmp_path, [[], [], []]), images=IMAGES)
    np.testing.assert_allclose(batch["clicked_query_weight"][0, :3], [3**-0.5] * 3, atol=1e-6)


def test_a_record_with_too_few_counts_is_told(tmp_path):
    with pytest.raises(UserError, match="not as many numbers of clicked images as texts"):
        batch_of(write(tmp_path, [[1, 2], [2], [8, 1]]), images=IMAGES)
