"""Examples of questions: the counterpart of `examples.py` for data of kind answers.

    shards ── WriteQuestions, each reads its own of questions.parquet ── Examples of each split

An Example is one question with its image, or two, and the answers with their scores.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.pvalue import TaggedOutput

from tfx_pipeline.data import contract, images, stats, writers
from tfx_pipeline.data.beam_options import default_beam_args
from tfx_pipeline.data.config import ImageConfig
from tfx_pipeline.data.contract import Rejected
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.data.images import ImageProblem
from tfx_pipeline.data.language import detect_language
from tfx_pipeline.data.options import DataConfig
from tfx_pipeline.data.questions.write import SCHEMA
from tfx_pipeline.data.tables import split_by_shard
from tfx_pipeline.fingerprint import fingerprint_code, fingerprint_text
from tfx_pipeline.storage.objects import open_object
from tfx_pipeline.storage.uris import is_uri
from vl_models import features as f

_KEPT_IMAGES = 4  # encoded ones; questions of an image follow each other


def materialize_question_examples(
    folder: DataFolder,
    out: Path,
    options: DataConfig,
    beam_args: Sequence[str] | None = None,
) -> str:
    """Build `examples/` of a data folder of answers; cached like those of clicks.

    Args:
        folder: of kind `answers`.
        out: gets `examples/`, `rejected/` and `built.json`.
        options: how images are stored, and how much may be rejected.
        beam_args: Beam pipeline arguments; default: in this process.

    Returns:
        A key of data, options and code, by which a training knows its data again.

    Raises:
        UserError: the data cannot be read, or too many questions lose their image.
    """
    resolved = folder.resolve()
    config = ImageConfig(
        root=folder.image_root,
        ids="name",
        shorter_side=options.shorter_side,
        quality=options.quality,
        max_pixels=options.max_pixels,
        max_bytes=options.max_bytes,
    )
    code = fingerprint_code("tfx_pipeline/data", "vl_models/text")
    settings = (config.model_dump_json(), str(options.shards), folder.name)
    key = fingerprint_text(resolved.fingerprint, *settings, code)
    done = out / "built.json"
    if done.is_file() and json.loads(done.read_text("utf-8"))["key"] == key:
        return key
    done.unlink(missing_ok=True)
    examples, rejected = (str(out.resolve() / name) for name in ("examples", "rejected"))
    for path in (examples, rejected):
        shutil.rmtree(path, ignore_errors=True)
    pipeline = beam.Pipeline(argv=list(beam_args or default_beam_args()))
    write = WriteQuestions(config, folder.name, resolved.files, examples, options.shards)
    build_question_examples(pipeline, write, rejected)
    pipeline.run().wait_until_finish()
    summary = json.loads(Path(rejected, "summary.json").read_text("utf-8"))
    stats.judge(summary, options.max_rejected_fraction)
    writers.write_bytes(str(done.absolute()), json.dumps({"key": key}).encode())
    return key


def build_question_examples(pipeline: beam.Pipeline, write: WriteQuestions, rejected: str) -> None:
    """Add the whole graph to a Beam pipeline.

    Args:
        pipeline: any Beam pipeline.
        write: what reads and writes one shard.
        rejected: folder of rejected questions and of summary.json.
    """
    shards = write.shards
    written = (
        pipeline
        | "Shards" >> beam.Create(range(shards))
        | "Spread" >> beam.Reshuffle()
        | "WriteQuestions"
        >> beam.ParDo(write).with_outputs(WriteQuestions.REJECTED, WriteQuestions.STATS)
    )
    _ = (
        written[WriteQuestions.REJECTED]
        | "ByShard" >> beam.GroupByKey()
        | "WriteRejected"
        >> beam.MapTuple(lambda shard, rows: writers.write_rejected(rejected, shard, shards, rows))
    )
    _ = (
        written[WriteQuestions.STATS]
        | "Merge" >> beam.CombineGlobally(stats.merge_stats)
        | "WriteSummary" >> beam.Map(lambda total: writers.write_summary(rejected, total))
    )


class WriteQuestions(beam.DoFn):
    """Number of a shard → its Example file in each split, the rejected questions, and stats.

    A shard has the questions of its first images. Each worker reads the table of questions, which
    is small beside the images, and takes its own.

    Args:
        config: how images are stored.
        name: of the data set.
        files: Parquet files of the form `questions.write.SCHEMA`.
        folder: gets `Split-<split>/`.
        shards: number of them.
    """

    REJECTED, STATS = "rejected", "stats"

    def __init__(
        self, config: ImageConfig, name: str, files: Sequence[str], folder: str, shards: int
    ):
        self.config = config
        self.name = name
        self.files = files
        self.folder = folder
        self.shards = shards

    def process(self, shard: int) -> Iterator[TaggedOutput]:
        """Write the questions of an image after each other."""
        from vl_models.text.normalize import normalize_batch

        total = stats.new_stats()
        lost: list[Rejected] = []
        load = functools.lru_cache(_KEPT_IMAGES)(self._load)
        rows = pa.concat_tables(map(_read_table, self.files))
        parts = dict(split_by_shard(rows, "image", self.shards))
        rows = parts.get(shard, rows.slice(0, 0)).sort_by([("image", "ascending")])
        for split in f.SPLITS:
            part = rows.filter(pc.equal(rows["split"], split)).to_pylist()
            texts = normalize_batch([row["question"] for row in part]) if part else []
            path = f"{self.folder}/Split-{split}/{writers.shard_name(shard, self.shards)}"
            written = 0
            with writers.record_writer(path) as writer:
                for row, text in zip(part, texts):
                    try:
                        writer.write(self._example(row, text, load))
                        written += 1
                    except ImageProblem as problem:
                        lost.append(_rejected(row, problem))
            stats.count_rows(total, path, len(part), written, len(part) - written)
            stats.count(total, f"examples_{split}", written)
            # What `stats.judge` looks at; here a question is a pair.
            stats.count(total, f"pairs_{split}", written)
            stats.count(total, "pairs", written)
        for one in lost:
            stats.reject(total, one)
            yield TaggedOutput(self.REJECTED, (shard, one))
        yield TaggedOutput(self.STATS, total)

    def _load(self, name: str) -> bytes:
        """Return an image as Examples hold it."""
        place = images.resolve_uri(name, self.config.root)
        try:
            return images.encode_image(images.load_bytes(place, self.config.max_bytes), self.config)
        except ImageProblem as problem:
            raise ImageProblem(problem.reason, f"{place}: {problem}") from problem

    def _example(self, row: dict[str, Any], text: str, load: Any) -> bytes:
        values: writers.Features = {
            f.QUESTION_ID: [row["key"].encode()],
            f.IMAGE_ID: [row["image"].encode()],
            f.IMAGE_ENCODED: [load(row["image"])],
            f.QUERY_TEXT: [text.encode()],
            f.QUERY_LANGUAGE: [detect_language(text).encode()],
            f.ANSWER_TEXT: [answer.encode() for answer in row["answers"]],
            f.ANSWER_SCORE: row["scores"],
            f.SOURCE_TYPE: [b"question"],
            f.SOURCE_NAME: [self.name.encode()],
        }
        if row["image_2"] is not None:
            values[f.IMAGE_2_ENCODED] = [load(row["image_2"])]
        return writers.make_example(values).SerializeToString(deterministic=True)


def _read_table(file: str) -> pa.Table:
    if not is_uri(file):
        return pq.read_table(file, schema=SCHEMA)
    with open_object(file) as stream:
        return pq.read_table(stream, schema=SCHEMA)


def _rejected(row: dict[str, Any], problem: ImageProblem) -> Rejected:
    content = contract.content_json({"key": row["key"], "question": row["question"]})
    return Rejected(row["image"], 0, problem.reason, str(problem), 1, content)
