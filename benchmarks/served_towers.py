"""What one query costs in a text tower, and how many photographs an image tower encodes.

    python benchmarks/served_towers.py [--against REVISION ...] [--rounds 7] [--threads N]
                                       [--photos DIR] [--json FILE]

The towers are exported by the code of each revision and of this checkout, in bfloat16, and loaded
as TensorFlow Serving loads them. They answer in turns, in one process; a ratio is the median over
rounds of the time of one to that of the first revision in the same round, so that what else runs
slows both down.

1. Text, one row a call: the demo's tower, and one of 3 layers x 192 with 30,000 words (bars:
   at most 0.65 and 0.55 of the first revision's time, for this checkout). Several revisions show
   what each change is worth.
2. Images, batches of 32 photographs of 500 pixels: the demo's tower, against decoding, resizing
   and encoding with no care for formats, orientation or transparency (bar: at least 85 % of its
   speed).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from _shared import Results, add_photos_argument, argument_parser, photo_files

REPOSITORY = Path(__file__).resolve().parent.parent
HERE = "this checkout"
QUERIES = [
    "birthday cake",
    "生日",
    "dog",
    "下雨",
    "woman in a red coat",
    "smiling face with hearts",
]
DEMO, LARGE, BARE = "demo", "3 x 192, 30,000 words", "bare"
TEXT_TOWERS: dict[str, tuple[int, dict[str, Any]]] = {
    DEMO: (4_700, {"kind": "transformer", "width": 128, "depth": 1, "heads": 2}),
    LARGE: (30_000, {"kind": "transformer", "width": 192, "depth": 3, "heads": 3}),
}
BARS = {DEMO: 0.65, LARGE: 0.55}
IMAGE_BAR = 0.85
IMAGE_SIZE, BATCH, LARGE_SIDE = 64, 32, 500
IMAGE = {"kind": "cnn", "widths": [32, 64, 128]}


def main() -> None:
    parser = argument_parser(__doc__)
    add_photos_argument(parser)
    parser.add_argument("--against", nargs="*", default=[], metavar="REVISION", help="of git")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--threads", type=int, default=0, help="of a session; 0 is TensorFlow's choice, the cores"
    )
    parser.add_argument("--calls", type=int, default=300, help="queries in a round")
    parser.add_argument("--export", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.export:
        export(arguments.export)
        return
    results = Results()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        exports = {}
        for number, revision in enumerate([*arguments.against, HERE]):
            exports[revision] = Path(folder, str(number))
            with checkout(revision) as code:
                subprocess.run(
                    [sys.executable, __file__, "--export", exports[revision]],
                    check=True,
                    env={**os.environ, "PYTHONPATH": str(code)},
                )
        for name in TEXT_TOWERS:
            measure_text(name, exports, arguments, results, stack)
        files = large(photo_files(arguments.photos))
        if files:
            measure_images(files, exports[HERE], arguments, results, stack)
    results.finish(arguments)


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """A folder with the code of a revision."""
    if revision == HERE:
        yield REPOSITORY
        return
    git = ["git", "-C", str(REPOSITORY), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder, "code")
        subprocess.run([*git, "add", "-q", "--detach", code, revision], check=True)
        try:
            yield code
        finally:
            subprocess.run([*git, "remove", "--force", code], check=True)


def export(folder: Path) -> None:
    """Export the towers by whatever code PYTHONPATH leads to."""
    import keras

    from vl_models import members
    from vl_models.export import export_members
    from vl_models.models.registry import build_model, model_config_from_dict
    from vl_models.text.vocabulary import SPECIAL_TOKENS
    from vl_models.text.wordpiece import WordPieceTokenizer

    for name, (size, text) in TEXT_TOWERS.items():
        keras.utils.set_random_seed(0)
        words = list(dict.fromkeys(word for query in QUERIES for word in query.split()))
        letters = [f"##{chr(code)}" for code in range(ord("a"), ord("z") + 1)]
        vocabulary = [*SPECIAL_TOKENS, *words, *letters, *"abcdefghijklmnopqrstuvwxyz生日下雨"]
        vocabulary = list(dict.fromkeys(vocabulary))
        vocabulary += [f"word{number}" for number in range(size - len(vocabulary))]
        model = build_model(
            model_config_from_dict(
                {
                    "system": "clip",
                    "image": IMAGE,
                    "text": text,
                    "embedding_dim": 128,
                    "image_size": IMAGE_SIZE,
                    "max_length": 15,
                    "vocabulary_size": size,
                    "precision": "mixed_bfloat16",
                }
            )
        )
        tokenizer = WordPieceTokenizer(vocabulary, 15)
        export_members(model, tokenizer, folder / name)
    members.image_batch = bare_image_batch
    export_members(model, tokenizer, folder / BARE)


def bare_image_batch(image_bytes, sizes, *unused, **also_unused):
    """Decode and resize JPEGs, whatever they hold."""
    import tensorflow as tf

    def decode(one):
        image = tf.io.decode_jpeg(one, channels=3)
        size = [sizes["image"]] * 2
        resized = tf.image.resize(image, size, method="bicubic", antialias=True)
        return tf.cast(tf.clip_by_value(resized, 0.0, 255.0), tf.uint8)

    return {"image": tf.map_fn(decode, image_bytes, fn_output_signature=tf.uint8)}


def caller(folder: Path, signature: str, threads: int, stack: ExitStack) -> Callable[[Any], Any]:
    """A call of a signature in a session, as TensorFlow Serving runs it."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401, its operations

    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads
    )
    session = stack.enter_context(tf.compat.v1.Session(graph=tf.Graph(), config=config))
    with session.graph.as_default():
        meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder))
    definition = meta.signature_def[signature]
    ((_, given),) = definition.inputs.items()
    return session.make_callable(definition.outputs["embedding"].name, [given.name])


def measure_text(name, exports, arguments, results, stack):
    """Time of one row, by revision."""
    calls = {
        revision: caller(folder / name / "text_tower", "encode_text", arguments.threads, stack)
        for revision, folder in exports.items()
    }

    def seconds(call: Callable[[Any], Any]) -> float:
        started = time.perf_counter()
        for number in range(arguments.calls):
            call([QUERIES[number % len(QUERIES)]])
        return (time.perf_counter() - started) / arguments.calls

    rounds = alternate(calls, seconds, arguments.rounds)
    first = next(iter(calls))
    for revision, times in rounds.items():
        ratio = median(one / base for one, base in zip(times, rounds[first], strict=True))
        is_judged = revision == HERE and first != HERE
        bar = BARS[name]
        results.add(
            f"{name}: one query, {revision}",
            f"{median(times) * 1e6:.0f} µs" + (f" ({ratio:.2f} x)" if revision != first else ""),
            f"<= {bar:.2f} x" if is_judged else "",
            ratio <= bar if is_judged else None,
            seconds=times,
            ratio=ratio,
        )


def large(files: list[Path]) -> list[Path]:
    """Photographs whose longer side has at least 500 pixels."""
    from PIL import Image

    def longer_side(file: Path) -> int:
        with Image.open(file) as image:
            return max(image.size)

    return [file for file in files if longer_side(file) >= LARGE_SIDE]


def measure_images(files, folder, arguments, results, stack):
    """Images per second of the served tower and of one with the bare minimum before it."""
    batches = [
        [file.read_bytes() for file in files[start : start + BATCH]]
        for start in range(0, min(len(files), 4 * BATCH), BATCH)
    ]
    calls = {
        name: caller(folder / name / "image_tower", "encode_image", arguments.threads, stack)
        for name in (DEMO, BARE)
    }

    def seconds(call: Callable[[Any], Any]) -> float:
        started = time.perf_counter()
        for batch in batches:
            call(batch)
        return (time.perf_counter() - started) / sum(map(len, batches))

    rounds = alternate(calls, seconds, arguments.rounds)
    share = median(bare / own for own, bare in zip(rounds[DEMO], rounds[BARE], strict=True))
    results.add(
        "photographs encoded",
        f"{1 / median(rounds[DEMO]):.0f}/s, bare {1 / median(rounds[BARE]):.0f}/s ({share:.0%})",
        f">= {IMAGE_BAR:.0%}",
        share >= IMAGE_BAR,
        share=share,
        seconds=rounds,
    )


def alternate(
    calls: dict[str, Any], seconds: Callable[[Any], float], rounds: int
) -> dict[str, list[float]]:
    """Time of each call in every round, after one that warms up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            taken = seconds(call)
            if number:
                times[name].append(taken)
    return times


if __name__ == "__main__":
    main()
