"""What reading image and text together costs, where it is served and where it is trained.

    python benchmarks/fusion.py [PART ...] [--reranker DIR] [--rounds 5] [--steps 3]
                                [--precision fp32 | bf16] [--photos DIR] [--python PATH]
                                [--ours-only] [--smoke] [--json FILE]

Parts, by default all:

server  Reranking the 32 first images of a query through the model server, against the same batch
        in a session in this process: images as bytes, and as tokens that were read before (bar:
        at most 1.3 times, each).
tokens  Images scored per second by `score_tokens`, against `score` of bytes, on photographs of
        500 pixels (bar: at least 5 times); and what the tokens of an image take on a disk (bar:
        at most 16,384 bytes).

step    A training step of a ViLT (6 blocks of 192, 36 patches, 16 words, batch 64) against
        transformers' ViltModel with the same loss and optimiser, and one block, forward and
        backward, against PyTorch's with F.scaled_dot_product_attention (bar: at least 1.0 times as
        fast, each); ours also compiled by XLA (train.jit_compile). PyTorch runs in an environment
        of its own, made in build/bench-env from requirements/bench.txt, or with the interpreter
        that --python names.
systems A training step of CLIP, CoCa, ViLT, VLMo, SOHO and FLAVA, of one width and depth; CoCa's
        over CLIP's, divided by the ratio of their multiplications (bar: at most 1.25).
share   Drawing hard negatives, masks of words and patches, and optimal transport, as a share of a
        step of VLMo that has all of them (bar: at most 15 %).
memory  What a training adds to a process's peak memory: the same systems, each in a process.

The reranker is an exported one, or a model of 224 pixels made here: six blocks of 192 over patches
of 16 pixels, pooled to 49 tokens of 160, and two blocks that read them with a text. Both sides
answer in turns; a ratio is the median over rounds of the ratio in a round.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from _model_server import serve
from _own_steps import (
    PRECISIONS,
    measure_memory,
    measure_share,
    measure_step,
    measure_systems,
)
from _shared import (
    Results,
    add_photos_argument,
    alternate,
    argument_parser,
    photo_files,
    ratio_of,
)

IMAGE_SIZE, PATCH, WIDTH, POOLED, TOKEN_WIDTH, LENGTH = 224, 16, 192, 2, 160, 16
IMAGES, LARGE_SIDE = 32, 500
SERVER_BAR, TOKENS_BAR, DISK_BAR = 1.3, 5.0, 16_384
QUERY = "a dog in the snow"
SCORE, SCORE_TOKENS, READ = "score", "score_tokens", "encode_image_tokens"


def main() -> None:
    parser = argument_parser(__doc__)
    add_photos_argument(parser)
    names = [*SERVING, *TRAINING]
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(names))
    parser.add_argument("--reranker", type=Path, metavar="DIR", help="an exported one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="of each side in a round")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp32", help="of the parts step and systems"
    )
    parser.add_argument("--python", type=Path, metavar="PATH", help="has PyTorch and transformers")
    parser.add_argument("--ours-only", action="store_true", help="the part step without PyTorch")
    parser.add_argument("--smoke", action="store_true", help="training: one step of tiny models")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - SERVING.keys() - TRAINING.keys()
    if unknown:
        parser.error(f"PART is one of {', '.join(names)}, not {', '.join(sorted(unknown))}")
    if arguments.smoke:
        arguments.rounds = arguments.steps = 1
    results = Results()
    parts = arguments.parts or names
    for part in filter(TRAINING.__contains__, parts):
        TRAINING[part](arguments, results)
    serving = [part for part in parts if part in SERVING]
    images = large(photo_files(arguments.photos)) if serving else []
    if images:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            reranker = arguments.reranker or export(Path(folder))
            for part in serving:
                SERVING[part](reranker.resolve(), images, arguments, results, stack)
    results.finish(arguments)


def large(files: list[Path]) -> list[bytes]:
    """The first photographs whose longer side has at least 500 pixels."""
    from PIL import Image

    found: list[bytes] = []
    for file in files:
        with Image.open(file) as image:
            is_large = max(image.size) >= LARGE_SIDE
        if is_large and len(found) < IMAGES:
            found.append(file.read_bytes())
    return found


def export(folder: Path) -> Path:
    """Export the benchmark's own reranker."""
    import keras
    import tensorflow as tf

    from vl_models.export import export_members
    from vl_models.layers.patch_embedding import PatchEmbedding
    from vl_models.layers.transformer_block import TransformerBlock
    from vl_models.models.base import VisionLanguageModel
    from vl_models.models.base_config import ModelConfig
    from vl_models.text.vocabulary import SPECIAL_TOKENS
    from vl_models.text.wordpiece import WordPieceTokenizer

    tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, *QUERY.split()], max_length=LENGTH)
    side = IMAGE_SIZE // PATCH

    class Fusion(VisionLanguageModel):
        """Blocks over patches, then blocks over pooled patches and words."""

        inputs = ("image", "token_ids")
        loss_names = ()

        def __init__(self) -> None:
            super().__init__(ModelConfig(system="fusion", image_size=IMAGE_SIZE, max_length=LENGTH))
            dense = keras.layers.Dense
            self.patches = PatchEmbedding(patch_size=PATCH, width=WIDTH, name="patches")
            self.reading = [TransformerBlock(heads=3, name=f"reading_{i}") for i in range(6)]
            self.narrow, self.wide = dense(TOKEN_WIDTH, name="narrow"), dense(WIDTH, name="wide")
            words = tokenizer.vocabulary_size
            self.words = keras.layers.Embedding(words, WIDTH, name="words")
            self.fusing = [TransformerBlock(heads=3, name=f"fusing_{i}") for i in range(2)]
            self.head = dense(1, name="head")

        def build(self) -> None:
            ids = tf.zeros([1, LENGTH], tf.int32)
            image = tf.zeros([1, IMAGE_SIZE, IMAGE_SIZE, 3], tf.uint8)
            self.score_pairs({"image": image, "token_ids": ids, "text_mask": ids == 0})

        def encode(self, batch: Any, training: bool) -> Any:
            return {}

        def own_losses(self, batch: Any, outputs: Any) -> Any:
            return {}

        def encode_image_tokens(self, batch: Any) -> tf.Tensor:
            hidden = self.patches(tf.cast(batch["image"], tf.float32) / 127.5 - 1.0)
            for block in self.reading:
                hidden = block(hidden)
            grid = tf.reshape(hidden[:, 1:], [-1, side, side, WIDTH])  # without the class token
            pooled = tf.nn.avg_pool2d(grid, POOLED, POOLED, "VALID")
            return self.narrow(tf.reshape(pooled, [-1, (side // POOLED) ** 2, WIDTH]))

        def score_tokens(self, batch: Any, tokens: tf.Tensor) -> tf.Tensor:
            hidden = tf.concat([self.wide(tokens), self.words(batch["token_ids"])], axis=1)
            seen = tf.ones(tf.shape(tokens)[:2], tf.bool)
            mask = tf.concat([seen, batch["text_mask"]], axis=1)
            for block in self.fusing:
                hidden = block(hidden, key_mask=mask)
            return self.head(hidden[:, 0])[:, 0]

        def score_pairs(self, batch: Any) -> tf.Tensor:
            return self.score_tokens(batch, self.encode_image_tokens(batch))

    keras.utils.set_random_seed(0)
    model = Fusion()
    model.build()
    return export_members(model, tokenizer, folder)["reranker"]


def in_process(folder: Path, signature: str, stack: ExitStack) -> Callable[..., Any]:
    """A call of a signature in a session, as TensorFlow Serving runs it, by names of inputs."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401, its operations

    session = stack.enter_context(tf.compat.v1.Session(graph=tf.Graph()))
    with session.graph.as_default():
        meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder))
    definition = meta.signature_def[signature]
    names = sorted(definition.inputs)
    [output] = definition.outputs.values()
    call = session.make_callable(output.name, [definition.inputs[name].name for name in names])
    return lambda **inputs: call(*(inputs[name] for name in names))


def measure_server(reranker, images, arguments, results, stack):
    """Time of a query's images through the server, and in this process."""
    from serving.client import PredictClient

    base = Path(stack.enter_context(tempfile.TemporaryDirectory()), "reranker")
    base.mkdir()
    (base / "1").symlink_to(reranker)
    server = stack.enter_context(serve("--model_name=reranker", f"--model_base_path={base}"))
    client = stack.enter_context(PredictClient(server.address, timeout=120))
    client.wait_until_ready()
    query = [QUERY] * len(images)
    tokens = in_process(reranker, READ, stack)(image_bytes=images)
    for signature, inputs in (
        (SCORE, {"query": query, "image_bytes": images}),
        (SCORE_TOKENS, {"query": query, "tokens": tokens}),
    ):
        own = in_process(reranker, signature, stack)
        times = alternate(
            {
                "server": lambda s=signature, i=inputs: client.predict("reranker", i, s),
                "process": lambda call=own, i=inputs: call(**i),
            },
            arguments.rounds,
        )
        ratio = ratio_of(times["server"], times["process"])
        results.add(
            f"{len(images)} images through the server, {signature}",
            f"{1000 * median(times['server']):.0f} ms, in process "
            f"{1000 * median(times['process']):.0f} ms ({ratio:.2f} x)",
            f"<= {SERVER_BAR} x",
            ratio <= SERVER_BAR,
            seconds=times,
            ratio=ratio,
        )


def measure_tokens(reranker, images, arguments, results, stack):
    """Images per second by tokens and by bytes, and the size of the tokens."""
    query = [QUERY] * len(images)
    tokens = in_process(reranker, READ, stack)(image_bytes=images)
    scores = {name: in_process(reranker, name, stack) for name in (SCORE, SCORE_TOKENS)}
    times = alternate(
        {
            SCORE: lambda: scores[SCORE](query=query, image_bytes=images),
            SCORE_TOKENS: lambda: scores[SCORE_TOKENS](query=query, tokens=tokens),
        },
        arguments.rounds,
    )
    ratio = ratio_of(times[SCORE], times[SCORE_TOKENS])
    per_second = {name: len(images) / median(own) for name, own in times.items()}
    results.add(
        "images scored by tokens",
        f"{per_second[SCORE_TOKENS]:,.0f}/s, by bytes {per_second[SCORE]:,.0f}/s ({ratio:.1f} x)",
        f">= {TOKENS_BAR:.0f} x",
        ratio >= TOKENS_BAR,
        seconds=times,
        ratio=ratio,
    )
    size = tokens[0].nbytes
    shape = " x ".join(map(str, tokens.shape[1:]))
    results.add(
        f"tokens of an image on a disk, {shape}",
        f"{size:,} bytes",
        f"<= {DISK_BAR:,}",
        size <= DISK_BAR,
        bytes=size,
    )


TRAINING: dict[str, Callable[[argparse.Namespace, Results], None]] = {
    "step": measure_step,
    "systems": measure_systems,
    "share": measure_share,
    "memory": measure_memory,
}
SERVING: dict[str, Callable[[Path, list[bytes], argparse.Namespace, Results, ExitStack], None]] = {
    "server": measure_server,
    "tokens": measure_tokens,
}


if __name__ == "__main__":
    main()
