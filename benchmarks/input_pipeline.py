"""The trainer's input pipeline against bare decoding and resampling of the same record files.

Photos are re-encoded to JPEG with a shorter side of 256 px and written to record files, both as
ClickExampleGen does for a model of 224 px. Bare decoding reads the files, takes the JPEG bytes out
of each record, decodes the centre square of the mean training crop and resamples it to 224 px, on
all cores. The pipeline reads, shuffles, parses, decodes, crops, resamples, draws texts, tokenises
and batches. The two alternate, and the best round of each counts: what else runs on the machine can
only slow a round down.
--augmentation measures the pipeline with that one, too.

    python benchmarks/input_pipeline.py [--photos DIR] [--augmentation moco_v2] [--size 64]
                                        [--json FILE]
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import PIL.Image
import tensorflow as tf
from _shared import Results, add_photos_argument, argument_parser, photo_files

from vl_models import features as f
from vl_models.input.augmentations import PRESETS
from vl_models.input.config import InputConfig, InputFacts, SourceConfig, SourceSpec
from vl_models.input.records import find_shards
from vl_models.input.source import Feed, make_dataset

STORED_SIDE, MODEL_SIDE, BATCH, SHARDS = 256, 224, 64, 4
CPUS = len(os.sched_getaffinity(0))
MEAN_SHARE = InputConfig().crop_share("crop")
BAR = 0.8


def stored_jpeg(path: Path) -> bytes:
    """The photo re-encoded with a shorter side of exactly 256 px."""
    image = PIL.Image.open(path).convert("RGB")
    scale = STORED_SIDE / min(image.size)
    image = image.resize([round(side * scale) for side in image.size], PIL.Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_records(photos: list[bytes], folder: Path) -> list[str]:
    options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=0)
    for shard in range(SHARDS):
        path = folder / f"data_tfrecord-{shard:05d}-of-{SHARDS:05d}.gz"
        with tf.io.TFRecordWriter(str(path), options) as writer:
            for number in range(shard, len(photos), SHARDS):
                texts = [b"photo %d query %d" % (number, query) for query in range(5)]
                feature = {
                    f.IMAGE_ID: _bytes([b"%d" % number]),
                    f.IMAGE_ENCODED: _bytes([photos[number]]),
                    f.QUERY_TEXT: _bytes(texts),
                    f.SOURCE_TYPE: _bytes([b"click"]),
                }
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                writer.write(example.SerializeToString())
    return find_shards([str(folder / "*.gz")])


def _bytes(values: list[bytes]) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def tokenize(texts: tf.Tensor) -> dict[str, tf.Tensor]:
    words = tf.strings.split(texts).to_tensor("", shape=[None, 16])
    ids = tf.cast(tf.strings.to_hash_bucket_fast(words, 30000), tf.int32)
    return {"token_ids": ids, "text_mask": words != ""}


def bare_decode(shards: list[str], size: int) -> tf.data.Dataset:
    records = tf.data.TFRecordDataset(shards, "GZIP", num_parallel_reads=SHARDS).repeat()
    specification = {f.IMAGE_ENCODED: tf.io.FixedLenFeature([], tf.string)}

    def decode(record: tf.Tensor) -> tf.Tensor:
        encoded = tf.io.parse_single_example(record, specification)[f.IMAGE_ENCODED]
        shape = tf.image.extract_jpeg_shape(encoded)
        shorter = tf.reduce_min(shape[:2])
        side = tf.cast(tf.cast(shorter, tf.float32) * MEAN_SHARE, tf.int32)
        window = tf.concat([(shape[:2] - side) // 2, [side, side]], axis=0)
        part = tf.io.decode_and_crop_jpeg(encoded, window, channels=3)
        resized = tf.image.resize(part, [size, size], method="bicubic", antialias=True)
        # Only the size leaves the map, so that no copying into batches is measured.
        return tf.cast(tf.reduce_max(resized), tf.int32)

    decoded = records.map(decode, num_parallel_calls=CPUS, deterministic=True)
    return decoded.batch(BATCH).prefetch(2)


def images_per_second(batches: object, seconds: float) -> float:
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        next(batches)  # type: ignore[call-overload]
        count += BATCH
    return count / (time.perf_counter() - started)


def measure(
    files: list[Path], rounds: int, seconds: float, size: int, augmentation: str | None
) -> dict[str, list[float]]:
    """Images per second of every round, by what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        shards = write_records([stored_jpeg(path) for path in files], Path(folder))
        source, facts = SourceConfig(use_labels=True), InputFacts(image_sizes={"image": size})
        specs = {"pipeline": SourceSpec(source, InputConfig(), facts)}
        if augmentation is not None:
            augmented = InputConfig(augmentation=augmentation)
            specs[augmentation] = SourceSpec(source, augmented, facts)
        feed = Feed(batch_size=BATCH, shuffle_buffer=512)
        results: dict[str, list[float]] = {name: [] for name in ("bare", *specs)}
        for _ in range(rounds):
            for name in results:
                # Made anew, so that the other's background threads are gone.
                dataset = (
                    bare_decode(shards, size)
                    if name == "bare"
                    else make_dataset(shards, specs[name], feed, tokenize)
                )
                batches = iter(dataset)
                images_per_second(batches, min(1.5, seconds))  # warm up
                results[name].append(images_per_second(batches, seconds))
                del batches, dataset
    return results


def main() -> None:
    parser = argument_parser(__doc__)
    add_photos_argument(parser)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="per measurement")
    parser.add_argument("--size", type=int, default=MODEL_SIDE, help="of the model's input")
    parser.add_argument("--augmentation", choices=sorted(PRESETS), help="measure this, too")
    arguments = parser.parse_args()
    results = Results()
    files = photo_files(arguments.photos)
    if files:
        rounds = measure(
            files, arguments.rounds, arguments.seconds, arguments.size, arguments.augmentation
        )
        bare, pipeline = max(rounds["bare"]), max(rounds["pipeline"])
        results.add("bare decoding and resampling", f"{bare:.0f} images/s", speed=bare)
        results.add("trainer's input pipeline", f"{pipeline:.0f} images/s", speed=pipeline)
        if arguments.augmentation is not None:
            speed = max(rounds[arguments.augmentation])
            results.add(f"with {arguments.augmentation}", f"{speed:.0f} images/s", speed=speed)
        share = pipeline / bare
        results.add(
            "share", f"{share:.0%}", f">= {BAR:.0%}", share >= BAR, share=share, rounds=rounds
        )
    results.finish(arguments)


if __name__ == "__main__":
    main()
