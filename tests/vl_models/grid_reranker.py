"""A reranker that reads an image once for all texts, beside towers, in closed form."""

import tensorflow as tf

from tests.vl_models.test_export import make_model
from vl_models.models.clip import CLIP

TOKENS, WIDTH = 4, 3


class GridReranker(CLIP):
    """Tokens are the mean colours of an image's quarters; a text asks for a colour of the first.

    The score is the first token's value in the channel that the text's first word names.
    """

    def encode_image_tokens(self, batch):
        image = tf.cast(batch["image"], tf.float32) / 255.0
        half = image.shape[1] // 2
        grid = tf.nn.avg_pool2d(image, half, half, "VALID")
        return tf.reshape(grid, [-1, TOKENS, WIDTH])

    def score_tokens(self, batch, tokens):
        channel = tf.one_hot(batch["token_ids"][:, 1] % WIDTH, WIDTH)
        return tf.reduce_sum(tokens[:, 0] * channel, axis=-1)

    def score_pairs(self, batch):
        return self.score_tokens(batch, self.encode_image_tokens(batch))


def make_grid_reranker(kind=GridReranker):
    """Build it, with the towers of `make_model`."""
    model = kind(make_model().config)
    model.build()
    return model
