"""A reranker that reads an image once for all texts, in closed form."""

import keras
import numpy as np
import tensorflow as tf

from tests.vl_models.test_export import TOKENIZER
from vl_models.models.base import VisionLanguageModel
from vl_models.models.base_config import ModelConfig

SIZE, TOKENS, WIDTH = 16, 4, 3


class GridReranker(VisionLanguageModel):
    """Tokens are the mean colours of an image's quarters; a text asks for a colour of the first.

    The score is the first token's value in the channel that the text's first word names: that of
    its id modulo 3.
    """

    inputs = ("image", "token_ids")
    loss_names = ()

    def __init__(self):
        super().__init__(ModelConfig(system="grid_reranker", image_size=SIZE, max_length=6))
        self.channels = keras.layers.Embedding(
            TOKENIZER.vocabulary_size, WIDTH, trainable=False, name="channels"
        )

    def build(self):
        self.channels.build()
        self.channels.set_weights([np.eye(WIDTH)[np.arange(TOKENIZER.vocabulary_size) % WIDTH]])

    def encode(self, batch, training):
        return {}

    def own_losses(self, batch, outputs):
        return {}

    def encode_image_tokens(self, batch):
        image = tf.cast(batch["image"], tf.float32) / 255.0
        grid = tf.nn.avg_pool2d(image, SIZE // 2, SIZE // 2, "VALID")
        return tf.reshape(grid, [-1, TOKENS, WIDTH])

    def score_tokens(self, batch, tokens):
        return tf.reduce_sum(tokens[:, 0] * self.channels(batch["token_ids"][:, 1]), axis=-1)

    def score_pairs(self, batch):
        return self.score_tokens(batch, self.encode_image_tokens(batch))


def make_grid_reranker(kind=GridReranker):
    """Build one."""
    model = kind()
    model.build()
    return model
