"""What writing captions costs: the cache of keys and values, and images at once.

    python benchmarks/captioning.py [--rounds 5] [--smoke] [--json FILE]

A CoCa of 6 + 6 layers of 256 over a vocabulary of 8,192, 16 tokens a caption, images of 64 pixels
(ViT of 6 x 256), with random weights; every caption is of full length. Sides answer in turns, a
ratio is the median over rounds of the ratio in a round.

cache   Eight images at once with the cache, against computing all earlier words again for each one
        (bar: at least 3 times as fast), greedily and by a beam of 4.
batch   Eight images at once, against one after the other (bar: at least 3 times as fast).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from statistics import median
from typing import Any

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from _shared import Results, alternate, argument_parser, ratio_of

from vl_models.models.registry import build_model, model_config_from_dict

IMAGES, TOKENS, BAR = 8, 16, 3.0
SIZE, WIDTH, DEPTH, VOCABULARY = 64, 256, 6, 8192


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="one round of a tiny model")
    arguments = parser.parse_args()
    small = {"width": 32, "depth": 1} if arguments.smoke else {"width": WIDTH, "depth": DEPTH}
    rounds = 1 if arguments.smoke else arguments.rounds
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, SIZE, SIZE, 3)).astype(np.uint8)
    results = Results()
    for method in ("greedy", "beam"):
        model = captioner(method, **small)
        cached, whole = (writer(model, use_cache) for use_cache in (True, False))
        once = {
            "cache": lambda write=cached: write(images),
            "none": lambda write=whole: write(images),
        }
        report(results, f"{method}, with the cache", alternate(once, rounds))
    model = captioner("greedy", **small)
    write = writer(model, True)
    ways = {
        "at once": lambda: write(images),
        "one by one": lambda: [write(images[row : row + 1]) for row in range(IMAGES)],
    }
    report(results, f"{IMAGES} images at once", alternate(ways, rounds))
    results.finish(arguments)


def captioner(method: str, width: int, depth: int) -> Any:
    """A CoCa whose captions never end early."""
    sizes = {"width": width, "depth": depth, "heads": 4}
    return build_model(
        model_config_from_dict(
            {
                "system": "coca",
                "embedding_dim": width,
                "image_size": SIZE,
                "max_length": TOKENS + 1,
                "vocabulary_size": VOCABULARY,
                "image": {"kind": "vit", "patch_size": 8, **sizes},
                "text": {"kind": "unimodal_decoder", **sizes},
                "queries": 64,
                "caption": {"method": method, "min_length": TOKENS, "no_repeat_ngram": 3},
            }
        )
    )


def writer(model: Any, use_cache: bool) -> Callable[[np.ndarray], np.ndarray]:
    """The graph that a served captioner has, behind its decoding of files."""
    spec = tf.TensorSpec([None, SIZE, SIZE, 3], tf.uint8)

    @tf.function(input_signature=[spec], autograph=False)
    def write(images: tf.Tensor) -> tf.Tensor:
        return model.generate({"image": images}, use_cache=use_cache).token_ids

    def call(images: np.ndarray) -> np.ndarray:
        found = write(images).numpy()
        assert found.shape == (len(images), TOKENS + 1)
        return found

    return call


def report(results: Results, what: str, seconds: dict[str, list[float]]) -> None:
    """Add the ratio of the second side's time to the first one's."""
    (first, fast), (second, slow) = seconds.items()
    ratio = ratio_of(slow, fast)
    own, other = (1000 * median(values) for values in (fast, slow))
    results.add(
        what,
        f"{own:.0f} ms ({first}), {other:.0f} ms ({second}): {ratio:.1f} x",
        f">= {BAR:.0f} x",
        ratio >= BAR,
        seconds=seconds,
    )


if __name__ == "__main__":
    main()
