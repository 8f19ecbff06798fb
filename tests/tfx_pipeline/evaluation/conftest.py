"""A store of five plain colours, towers that see colours, and a handful of clicks."""

import io
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

COLORS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "pink": (255, 128, 128),
}
# "sun" is taken for green: its yellow image comes second.
WORDS = {"red": (1, 0, 0), "绿色": (0, 1, 0), "sun": (0, 1, 0), "sea": (0, 0, 1)}
CLICKS = [
    # query, image, clicks, weight, split, language
    ("red", "red", 5, 1.5, "test", "en"),
    ("绿色", "green", 3, 3.0, "test", "zh"),
    ("red", "yellow", 100, 9.0, "train", "en"),
    ("sun", "yellow", 1, 0.5, "test", "en"),
    ("red", "pink", 2, 2.5, "test", "en"),
    ("sea", "blue", 8, 8.0, "train", "en"),
    ("绿色", "gone", 4, 4.0, "test", "zh"),
]


def png(color):
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), color).save(buffer, "PNG")
    return buffer.getvalue()


def write_gallery(folder, images, shards=2, labels=None):
    """Images by id; label texts by id for those that have some."""
    import tensorflow as tf

    folder.mkdir()
    rows = list(images.items())
    for shard in range(shards):
        path = folder / f"data_tfrecord-{shard:05d}-of-{shards:05d}.gz"
        with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
            for image_id, encoded in rows[shard::shards]:
                texts = (labels or {}).get(image_id, ())
                values = {
                    "image/id": [image_id.encode()],
                    "image/encoded": [encoded],
                    **({"label/text": [text.encode() for text in texts]} if texts else {}),
                }
                features = {
                    name: tf.train.Feature(bytes_list=tf.train.BytesList(value=value))
                    for name, value in values.items()
                }
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())


def write_relevance(path, rows):
    names = ("query", "image_id", "clicks", "weight", "split", "language")
    columns = dict(zip(names, zip(*rows)))
    types = {"clicks": pa.int64(), "weight": pa.float32()}
    pq.write_table(
        pa.table({name: pa.array(columns[name], types.get(name)) for name in names}), path
    )


def save_text_tower(path, words=None, scale=1.0):
    """A SavedModel that looks words up."""
    import tensorflow as tf

    words = WORDS if words is None else words

    class TextTower(tf.Module):
        def __init__(self):
            super().__init__()
            self.vectors = tf.Variable(list(words.values()), dtype=tf.float32)
            rows = tf.lookup.KeyValueTensorInitializer(list(words), tf.range(len(words)))
            self.table = tf.lookup.StaticHashTable(rows, default_value=0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="query")])
        def encode_text(self, query):
            vectors = tf.gather(self.vectors, self.table.lookup(query))
            return {"embedding": scale * tf.math.l2_normalize(vectors, axis=-1)}

    tower = TextTower()
    tf.saved_model.save(tower, str(path), signatures={"encode_text": tower.encode_text})


def save_image_tower(path):
    """A SavedModel that decodes images to their mean colour."""
    import tensorflow as tf

    class ImageTower(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        def encode_image(self, image_bytes):
            colors = tf.map_fn(
                lambda encoded: tf.reduce_mean(
                    tf.cast(tf.io.decode_png(encoded, channels=3), tf.float32), axis=[0, 1]
                ),
                image_bytes,
                fn_output_signature=tf.TensorSpec([3], tf.float32),
            )
            return {"embedding": tf.math.l2_normalize(colors, axis=-1)}

    tower = ImageTower()
    tf.saved_model.save(tower, str(path), signatures={"encode_image": tower.encode_image})


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Members and paths, by their names as arguments of evaluate."""
    root = tmp_path_factory.mktemp("store")
    save_text_tower(root / "text")
    save_image_tower(root / "image")
    write_gallery(root / "gallery", {name: png(color) for name, color in COLORS.items()})
    write_relevance(root / "relevance.parquet", CLICKS)
    return {
        "members": {"text_tower": root / "text", "image_tower": root / "image"},
        "gallery_dir": root / "gallery",
        "relevance_path": root / "relevance.parquet",
    }


@pytest.fixture(scope="session")
def make():
    """The builders, for tests that need another store."""
    return SimpleNamespace(
        png=png,
        gallery=write_gallery,
        relevance=write_relevance,
        text_tower=save_text_tower,
        image_tower=save_image_tower,
        clicks=CLICKS,
        colors=COLORS,
    )
