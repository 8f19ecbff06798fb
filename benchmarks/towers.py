"""Training speed of dual encoders on synthetic batches: forward and backward, samples/s.

python benchmarks/towers.py [--batch 128] [--steps 6] [--json FILE]
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import tensorflow as tf
from _shared import Results, argument_parser

from vl_models.models.registry import build_model, model_config_from_dict

IMAGE_SIZE, MAX_LENGTH, VOCABULARY_SIZE = 64, 16, 2000
TEXT = {"kind": "transformer", "width": 128, "depth": 3, "heads": 2}
TOWERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "cnn 64-128-256, text 3x128": (
        {"kind": "cnn", "widths": [64, 128, 256], "blocks": [1, 1, 1]},
        TEXT,
    ),
    "vit 4x128, text 3x128": (
        {"kind": "vit", "patch_size": 8, "width": 128, "depth": 4, "heads": 2},
        TEXT,
    ),
    "vit 6x256, text 4x256": (
        {"kind": "vit", "patch_size": 8, "width": 256, "depth": 6, "heads": 4},
        {"kind": "transformer", "width": 256, "depth": 4, "heads": 4},
    ),
}


def samples_per_second(
    image: dict[str, Any], text: dict[str, Any], precision: str, batch: int, steps: int
) -> float:
    """Best of ``steps`` timed steps after two that compile."""
    model = build_model(
        model_config_from_dict(
            {
                "system": "clip",
                "image": image,
                "text": text,
                "image_size": IMAGE_SIZE,
                "max_length": MAX_LENGTH,
                "vocabulary_size": VOCABULARY_SIZE,
                "precision": precision,
            }
        )
    )
    random = np.random.default_rng(0)
    data = {
        "image": tf.constant(random.integers(0, 256, (batch, IMAGE_SIZE, IMAGE_SIZE, 3)), tf.uint8),
        "token_ids": tf.constant(
            random.integers(0, VOCABULARY_SIZE, (batch, MAX_LENGTH)), tf.int32
        ),
        "text_mask": tf.ones([batch, MAX_LENGTH], tf.bool),
    }
    variables = [variable.value for variable in model.trainable_variables]

    @tf.function
    def step() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = model.losses(data, model.forward(data, training=True))["contrastive"]
        gradients = tape.gradient(loss, variables)
        return [tf.reduce_sum(tf.convert_to_tensor(gradient)) for gradient in gradients]

    durations = []
    for _ in range(steps + 2):
        started = time.perf_counter()
        step()
        durations.append(time.perf_counter() - started)
    return batch / min(durations[2:])


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=6)
    arguments = parser.parse_args()
    results = Results()
    for name, (image, text) in TOWERS.items():
        for precision in ("float32", "mixed_bfloat16"):
            speed = samples_per_second(image, text, precision, arguments.batch, arguments.steps)
            results.add(f"{name}, {precision}", f"{speed:.0f} samples/s", speed=speed)
    results.finish(arguments)


if __name__ == "__main__":
    main()
