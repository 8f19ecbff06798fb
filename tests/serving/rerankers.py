"""A reranker in closed form, pictures for it, and releases that have it."""

import io
from pathlib import Path

import numpy as np

from serving.index import build_index
from tests.serving.conftest import BUCKETS, WORDS, _save_tower, _table
from tests.serving.models import sleep

# Score of the pictures of WORDS, whose order is neither theirs nor that of the towers.
BRIGHTNESS = dict(zip(WORDS, (51, 204, 102, 255, 153)))
OF_TOKENS = 100.0  # more than a score of bytes, so that tests see which it was


def save_reranker(folder: Path, *, tokens: bool = True) -> None:
    """Scores the brightness of a picture's first pixel, from 0 to 1; that of "dark …" is negative.

    Queries that begin with "slow" take a second.
    """
    import tensorflow as tf

    def scored(query, brightness):
        sign = tf.where(tf.strings.regex_full_match(query, "dark.*"), -1.0, 1.0)
        is_slow = tf.reduce_any(tf.strings.regex_full_match(query, "slow.*"))
        with tf.control_dependencies([sleep(tf.where(is_slow, 1.0, 0.0))]):
            return {"score": sign * brightness}

    def brightness_of(image_bytes):
        pixel = tf.map_fn(
            lambda one: tf.io.decode_png(one, channels=3)[0, 0, 0],
            image_bytes,
            fn_output_signature=tf.uint8,
        )
        return tf.cast(pixel, tf.float32) / 255.0

    queries = tf.TensorSpec([None], tf.string, "query")
    images = tf.TensorSpec([None], tf.string, "image_bytes")

    class Reranker(tf.Module):
        @tf.function(input_signature=[queries, images])
        def score(self, query, image_bytes):
            return scored(query, brightness_of(image_bytes))

        @tf.function(input_signature=[images])
        def encode_image_tokens(self, image_bytes):
            brightness = tf.cast(brightness_of(image_bytes), tf.float16)
            return {"tokens": tf.stack([brightness, brightness], axis=-1)[:, :, None]}

        @tf.function(input_signature=[queries, tf.TensorSpec([None, 2, 1], tf.float16, "tokens")])
        def score_tokens(self, query, tokens):
            return scored(query, OF_TOKENS + tf.cast(tokens[:, 0, 0], tf.float32))

    module = Reranker()
    names = ("score", *(("encode_image_tokens", "score_tokens") if tokens else ()))
    signatures = {name: getattr(module, name) for name in names}
    tf.saved_model.save(module, str(folder), {"serving_default": module.score, **signatures})


def write_pictures(folder: Path) -> list[str]:
    """One picture for each of WORDS; returns where they are."""
    from PIL import Image

    folder.mkdir(parents=True)
    paths = []
    for number, brightness in enumerate(BRIGHTNESS.values()):
        buffer = io.BytesIO()
        Image.new("RGB", (2, 2), (brightness,) * 3).save(buffer, "PNG")
        path = folder / f"{number}.png"
        path.write_bytes(buffer.getvalue())
        paths.append(str(path))
    return paths


def token_pieces():
    """What the reranker reads of the pictures, in two pieces of no order."""
    values = np.array(list(BRIGHTNESS.values()), np.float32) / 255
    tokens = np.repeat(values.astype(np.float16)[:, None, None], 2, axis=1)
    for rows in (np.array([3, 0]), np.array([1, 4, 2])):
        yield rows, tokens[rows]


def reranked_parts(folder: Path, *, tokens: bool = True) -> tuple[dict[str, Path], Path]:
    """Models and index to publish."""
    import tensorflow as tf

    names = ("text_tower", "image_tower", "reranker")
    models = {name: folder / name for name in names}
    _save_tower(models["text_tower"], 1, "encode_text")
    _save_tower(models["image_tower"], 1, "encode_image")
    save_reranker(models["reranker"], tokens=tokens)
    rows = tf.strings.to_hash_bucket_fast(WORDS, BUCKETS).numpy()
    uris = write_pictures(folder / "pictures")
    pieces = token_pieces() if tokens else None
    build_index(_table(1)[rows], WORDS, uris, folder / "index", image_tokens=pieces)
    return models, folder / "index"
