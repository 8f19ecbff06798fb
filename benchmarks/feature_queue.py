"""What a WenLan step pays for its queues: loss against them and enqueueing, beside the batch alone.

The towers are left out; both steps start from embeddings and end with their gradients. "keys"
are what masking known positives costs. Memory is the queues' own.

python benchmarks/feature_queue.py [--size 65536] [--dim 256] [--batch 128] [--json FILE]
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from _shared import Results, argument_parser

from vl_models.layers.pair_queues import PairQueues
from vl_models.losses.contrastive import contrastive_logits, symmetric_contrastive_loss
from vl_models.losses.queue import Negatives, queue_cross_entropy, queue_logits

KNOWN_CLICKS = 16
SCALE = 1.0 / 0.07


def unit(rows: int, dim: int, seed: int) -> tf.Tensor:
    x = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    return tf.constant(x / np.linalg.norm(x, axis=1, keepdims=True))


def random_batch(rows: int) -> dict[str, tf.Tensor]:
    random = np.random.default_rng(0)
    highest = np.iinfo(np.int64).max
    return {
        "image_id_hash": tf.constant(random.integers(0, highest, rows)),
        "query_hash": tf.constant(random.integers(0, highest, rows)),
        "clicked_query_hashes": tf.constant(random.integers(0, highest, (rows, KNOWN_CLICKS))),
    }


def seconds(step: Callable[[], object], steps: int) -> float:
    """Best of ``steps`` timed calls after two that compile and warm up."""
    durations = []
    for _ in range(steps + 2):
        started = time.perf_counter()
        tf.nest.map_structure(lambda x: x.numpy(), step())
        durations.append(time.perf_counter() - started)
    return min(durations[2:])


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--size", type=int, default=65536)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    queues = PairQueues(arguments.size, arguments.dim, KNOWN_CLICKS, "random")
    for layer in queues.layers:
        layer.build()
    batch = random_batch(arguments.batch)
    image, text, image_key, text_key = (
        unit(arguments.batch, arguments.dim, seed) for seed in range(4)
    )

    def gradients(loss: Callable[[], tf.Tensor]) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([image, text])
            value = loss()
        return tape.gradient(value, [image, text])

    def queue_loss(mask_known: bool) -> tf.Tensor:
        texts, images = queues.excluded(batch, arguments.batch, arguments.batch, mask_known)
        to_text = queue_logits(image, text_key, [Negatives(queues.text.entries(), texts)], SCALE)
        to_image = queue_logits(text, image_key, [Negatives(queues.image.entries(), images)], SCALE)
        return tf.reduce_mean(queue_cross_entropy(to_text) + queue_cross_entropy(to_image))

    def queue_step(mask_known: bool) -> Callable[[], list[tf.Tensor]]:
        @tf.function(autograph=False)
        def step() -> list[tf.Tensor]:
            found = gradients(lambda: queue_loss(mask_known))
            queues.enqueue(batch, image_key, text_key)
            return found

        return step

    @tf.function(autograph=False)
    def enqueue() -> tf.Tensor:
        queues.enqueue(batch, image_key, text_key)
        return tf.convert_to_tensor(queues.image.pointer)

    @tf.function(autograph=False)
    def batch_alone() -> list[tf.Tensor]:
        return gradients(lambda: symmetric_contrastive_loss(contrastive_logits(image, text, SCALE)))

    results = Results()
    for name, step in (
        ("batch alone, no queue", batch_alone),
        ("queues, no keys", queue_step(mask_known=False)),
        ("queues and keys", queue_step(mask_known=True)),
        ("enqueueing alone", enqueue),
    ):
        taken = seconds(step, arguments.steps)
        results.add(name, f"{1e3 * taken:.1f} ms", seconds=taken)
    held = sum(
        int(np.prod(v.shape)) * np.dtype(v.dtype).itemsize
        for layer in queues.layers
        for v in layer.variables
    )
    results.add("memory of both queues", f"{held / 2**20:.0f} MiB", bytes=held)
    gathered = 2 * arguments.batch * (4 * arguments.dim + 16) + 8 * arguments.batch * KNOWN_CLICKS
    results.add("keys gathered per step", f"{gathered / 2**10:.0f} KiB", bytes=gathered)
    results.finish(arguments)


if __name__ == "__main__":
    main()
