"""Small real logs and image stores, in every format."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image


def write_parquet(path, rows):
    names = dict.fromkeys(name for row in rows for name in row)
    pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), path)


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def write_csv(path, rows):
    names = dict.fromkeys(name for row in rows for name in row)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(names))
        writer.writeheader()
        writer.writerows(rows)


def write_tfrecord(path, rows):
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in rows:
            example = tf.train.Example()
            for name, value in row.items():
                feature = example.features.feature[name]
                if isinstance(value, int):
                    feature.int64_list.value.append(value)
                elif value is not None:
                    raw = value.encode() if isinstance(value, str) else value
                    feature.bytes_list.value.append(raw)
            writer.write(example.SerializeToString())


WRITERS = {
    "parquet": write_parquet,
    "jsonl": write_jsonl,
    "csv": write_csv,
    "tfrecord": write_tfrecord,
}


@pytest.fixture
def write_log():
    """write_log(path, rows): the format by the suffix."""

    def write(path, rows):
        path.parent.mkdir(parents=True, exist_ok=True)
        WRITERS[path.suffix[1:]](path, rows)
        return str(path)

    return write


def noise_image(seed, size=(40, 30)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def store(tmp_path):
    """A folder with the images a.jpg … f.png."""
    folder = tmp_path / "images"
    folder.mkdir()
    for seed, name in enumerate(("a.jpg", "b.jpg", "c.png", "d.jpg", "e.jpg", "f.png")):
        noise_image(seed).save(folder / name)
    return folder


@pytest.fixture
def build(tmp_path, store):
    """build(files, **config) → BuiltExamples-like namespace of a run without TFX.

    One query is enough, unless `checks` says otherwise.
    """
    from types import SimpleNamespace

    import apache_beam as beam

    from tfx_pipeline.data.beam_options import default_beam_args
    from tfx_pipeline.data.config import ChecksConfig, ExampleGenConfig, ImageConfig
    from tfx_pipeline.data.examples import OutputDirs, build_examples, finish_run

    runs = []

    def run(files, root=store, images=None, **config):
        runs.append(None)
        out = tmp_path / f"out{len(runs)}"
        image_config = ImageConfig(root=root and str(root), shorter_side=16, **(images or {}))
        config = {"checks": ChecksConfig(min_queries=None)} | config
        settings = ExampleGenConfig(images=image_config, shards=2, **config)
        dirs = OutputDirs(*(str(out / n) for n in ("examples", "gallery", "relevance", "rejected")))
        pipeline = beam.Pipeline(argv=default_beam_args())
        build_examples(pipeline, settings, [str(file) for file in files], dirs)
        pipeline.run().wait_until_finish()
        summary = finish_run(settings, dirs)
        return SimpleNamespace(
            root=out,
            summary=summary,
            relevance=pq.read_table(f"{dirs.relevance}/relevance.parquet").to_pylist(),
            gallery=_records(Path(dirs.gallery)),
            examples={s: _records(Path(dirs.examples, f"Split-{s}")) for s in _SPLITS},
            single={s: _records(Path(dirs.examples, f"Split-train-{s}-only")) for s in _SINGLE},
            rejected=[
                json.loads(line)
                for path in sorted(Path(dirs.rejected).glob("rejected-*.jsonl"))
                for line in path.read_text("utf-8").splitlines()
            ],
        )

    return run


_SPLITS = ("train", "val", "test")
_SINGLE = ("image", "text")


def _records(folder):
    """Examples of a folder as {image id: {feature: values}}."""
    from tfx_pipeline.data.writers import read_records

    result = {}
    for path in sorted(folder.glob("data_tfrecord-*-of-00002.gz")):
        for example in read_records(str(path)):
            row = {}
            for name, feature in example.features.feature.items():
                kind = feature.WhichOneof("kind")
                row[name] = list(getattr(feature, kind).value) if kind else []
            image_id = row["image/id"][0].decode()
            assert image_id not in result
            result[image_id] = row
    return result
