"""From a click log and an image store to tf.Examples: the Beam graph and how to run it.

        log files ── ReadLog ──┬─ pairs by query ── consolidate ── FinishPairs ─┬─ relevance
                               │                                    ▲           │
                               │                 rejected ids, duplicates       │ by image
                               │                                    │           ▼
    image folder ── ListFolder ┴─ references by image ─ WriteGallery ── WriteExamples

    queries of the log and files of texts go to WriteTexts, which keeps what nobody clicked for

ClickExampleGen runs the graph inside TFX; `materialize_examples` runs it alone.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam

from tfx_pipeline.data import (
    checks,
    image_branch,
    log_branch,
    propensity,
    splits,
    stats,
    text_branch,
    writers,
)
from tfx_pipeline.data.beam_options import default_beam_args
from tfx_pipeline.data.config import ExampleGenConfig
from tfx_pipeline.data.duplicates import FindDuplicates
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.data.log_branch import FINAL_SCHEMA, FinishPairs, ReadLog
from tfx_pipeline.data.query_sessions import SESSIONS_SCHEMA, count_sessions
from tfx_pipeline.data.tables import from_bytes, shard_of, to_bytes
from tfx_pipeline.fingerprint import fingerprint_code, fingerprint_text

RELEVANCE_FILE, SESSIONS_FILE = "relevance.parquet", "sessions.parquet"


@dataclasses.dataclass(frozen=True)
class OutputDirs:
    """Folders that the four outputs are written to: paths or URIs."""

    examples: str
    gallery: str
    relevance: str
    rejected: str


@dataclasses.dataclass(frozen=True)
class BuiltExamples:
    """What `materialize_examples` leaves behind.

    `counters` is what summary.json holds; `key` stands for input, configuration and code.
    """

    examples_dir: Path
    gallery_dir: Path
    relevance_path: Path
    rejected_dir: Path
    counters: dict[str, Any]
    key: str


def build_examples(
    pipeline: beam.Pipeline, config: ExampleGenConfig, files: Sequence[str], dirs: OutputDirs
) -> None:
    """Add the whole graph to a Beam pipeline; after its run, call `finish_run`.

    Args:
        pipeline: any Beam pipeline.
        config: what to build.
        files: resolved log files.
        dirs: output folders, reachable from every worker.
    """
    shards, folder = config.shards, dirs.rejected
    read = (
        pipeline
        | "Files" >> beam.Create([os.fsencode(file) for file in files])  # names may not be UTF-8
        | "SpreadFiles" >> beam.Reshuffle()
        | "ReadLog" >> _tagged(ReadLog(config, spill_dir(dirs)))
    )
    listed = (
        pipeline
        | "Root" >> beam.Create([None])
        | "ListFolder" >> _tagged(image_branch.ListFolder(config))
    )
    texts, faulty, texts_read = [read[ReadLog.TEXTS]], [], []
    if config.texts:
        given = (
            pipeline
            | "TextFiles" >> beam.Create([os.fsencode(file) for file in config.texts])
            | "ReadTexts" >> _tagged(text_branch.ReadTexts(config))
        )
        texts.append(given[text_branch.ReadTexts.TEXTS])
        faulty.append(given[text_branch.ReadTexts.REJECTED])
        texts_read.append(given[text_branch.ReadTexts.STATS])
    log_stats = beam.pvalue.AsSingleton(
        (read[ReadLog.STATS], listed[image_branch.ListFolder.STATS], *texts_read)
        | "InputStats" >> beam.Flatten()
        | "MergeInputStats" >> beam.CombineGlobally(stats.merge_stats)
    )
    # Shards without rows write files, too: a split's set of files is always complete.
    no_refs = [(shard, to_bytes(log_branch.REF_SCHEMA.empty_table())) for shard in range(shards)]
    refs = (read[ReadLog.REFS], pipeline | "EveryShard" >> beam.Create(no_refs)) | (
        "Refs" >> beam.Flatten()
    )
    gallery = (
        {"refs": refs, "files": listed[image_branch.ListFolder.FILES]}
        | "ByImageShard" >> beam.CoGroupByKey()
        | "WriteGallery"
        >> _tagged(image_branch.WriteGallery(config, dirs.gallery), log_stats=log_stats)
    )
    duplicates = (
        gallery[image_branch.WriteGallery.CONTENTS]
        | "ByContent" >> beam.GroupByKey()
        | "FindDuplicates" >> _tagged(FindDuplicates())
    )
    consolidated = (
        read[ReadLog.PAIRS]
        | "ByQueryShard" >> beam.GroupByKey()
        | "Consolidate" >> beam.Map(log_branch.consolidate)
    )
    finished = consolidated | "FinishPairs" >> _tagged(
        FinishPairs(config),
        bad_images=beam.pvalue.AsList(gallery[image_branch.WriteGallery.BAD]),
        duplicates=beam.pvalue.AsList(duplicates[FindDuplicates.DUPLICATES]),
        propensities=_propensities(consolidated, config),
        log_stats=log_stats,
    )
    example_stats = (
        {
            "gallery": gallery[image_branch.WriteGallery.PATHS],
            "pairs": finished[FinishPairs.EXAMPLES],
        }
        | "PairsWithGallery" >> beam.CoGroupByKey()
        | "WriteExamples"
        >> beam.ParDo(
            image_branch.WriteExamples(config, dirs.examples),
            duplicates=beam.pvalue.AsList(duplicates[FindDuplicates.DUPLICATES]),
        )
    )
    text_stats = (
        texts
        | "AllTexts" >> beam.Flatten()
        | "TextsByShard" >> beam.GroupByKey()
        | "WriteTexts" >> beam.ParDo(text_branch.WriteTexts(config, dirs.examples))
    )
    no_sessions = [(None, (-1, to_bytes(SESSIONS_SCHEMA.empty_table())))]
    counted = (
        read[ReadLog.SESSIONS]
        | "SessionsByShard" >> beam.GroupByKey()
        | "CountSessions"
        >> beam.MapTuple(lambda shard, rows: (None, (shard, to_bytes(count_sessions(rows)))))
    )
    _ = (
        (counted, pipeline | "AtLeastNoSessions" >> beam.Create(no_sessions))
        | "Sessions" >> beam.Flatten()
        | "OneSessionsFile" >> beam.GroupByKey()
        | "WriteSessions" >> beam.Map(_write_sessions, path=f"{dirs.relevance}/{SESSIONS_FILE}")
    )
    no_pairs = [(None, (-1, to_bytes(FINAL_SCHEMA.empty_table())))]
    _ = (
        (finished[FinishPairs.RELEVANCE], pipeline | "AtLeastEmpty" >> beam.Create(no_pairs))
        | "Relevance" >> beam.Flatten()
        | "OneRelevanceFile" >> beam.GroupByKey()
        | "WriteRelevance" >> beam.Map(_write_relevance, path=f"{dirs.relevance}/{RELEVANCE_FILE}")
    )
    _ = (
        (
            read[ReadLog.REJECTED],
            listed[image_branch.ListFolder.REJECTED],
            *faulty,
            gallery[image_branch.WriteGallery.REJECTED],
        )
        | "Rejected" >> beam.Flatten()
        | "BySource" >> beam.GroupBy(lambda rejected: shard_of(rejected.source, shards))
        | "WriteRejected"
        >> beam.MapTuple(lambda shard, rows: writers.write_rejected(folder, shard, shards, rows))
    )
    _ = (
        (
            read[ReadLog.STATS],
            listed[image_branch.ListFolder.STATS],
            *texts_read,
            gallery[image_branch.WriteGallery.STATS],
            duplicates[FindDuplicates.STATS],
            finished[FinishPairs.STATS],
            example_stats,
            text_stats,
        )
        | "AllStats" >> beam.Flatten()
        | "MergeAllStats" >> beam.CombineGlobally(stats.merge_stats)
        | "WriteSummary" >> beam.Map(lambda total: writers.write_summary(folder, total))
    )


def finish_run(config: ExampleGenConfig, dirs: OutputDirs) -> dict[str, Any]:
    """After the pipeline's run: remove spilled bytes, judge the run, return its counts.

    The results of `checks.inspect` are added to summary.json as `checks`.

    Raises:
        UserError: the input could not be read, held nothing, too much was rejected, the train
            split is empty, days are too few, propensities cannot be estimated, or a check failed.
    """
    import tensorflow as tf

    if tf.io.gfile.exists(spill_dir(dirs)):
        tf.io.gfile.rmtree(spill_dir(dirs))
    with tf.io.gfile.GFile(f"{dirs.rejected}/summary.json") as stream:
        summary = json.loads(stream.read())
    summary["checks"] = checks.inspect(summary, config.checks)
    writers.write_summary(dirs.rejected, summary)
    stats.judge(summary, config.max_rejected_fraction)
    splits.check_days(len(summary["days"]), config.splits)
    if config.propensity.mode == "estimated":
        propensity.check_estimable(summary["counters"])
    checks.report(summary["checks"])
    logging.getLogger(__name__).info("Examples built: %s", summary["counters"])
    return summary


def materialize_examples(
    folder: DataFolder,
    out_dir: str | Path,
    config: ExampleGenConfig | None = None,
    window: int | tuple[int, int] | None = None,
    beam_args: Sequence[str] | None = None,
) -> BuiltExamples:
    """Build Examples from a data folder without TFX; cached in `out_dir`.

    A second call with the same data, configuration and code returns what is there.

    Args:
        folder: as `DataFolder.load` gives it.
        out_dir: gets `examples/`, `gallery/`, `relevance/` and `rejected/`.
        config: default: `folder.example_config()`.
        window: span window, see `resolve_spans`.
        beam_args: Beam pipeline arguments; default: in this process.

    Raises:
        UserError: see `finish_run`.
    """
    config = config or folder.example_config()
    resolved = folder.resolve(window)
    out = Path(out_dir).resolve()
    dirs = OutputDirs(*(str(out / f.name) for f in dataclasses.fields(OutputDirs)))
    # The code counts, too: Examples of an older version are not those of this one.
    code = fingerprint_code("tfx_pipeline/data", "vl_models/text")
    key = fingerprint_text(config.model_dump_json(), resolved.fingerprint, code)
    done = out / "built.json"
    if not (done.is_file() and json.loads(done.read_text("utf-8"))["key"] == key):
        done.unlink(missing_ok=True)
        for path in dataclasses.astuple(dirs):
            shutil.rmtree(path, ignore_errors=True)
        pipeline = beam.Pipeline(argv=list(beam_args or default_beam_args()))
        build_examples(pipeline, config, resolved.files, dirs)
        pipeline.run().wait_until_finish()
        summary = finish_run(config, dirs)
        writers.write_bytes(str(done), json.dumps({"key": key, "summary": summary}).encode())
    summary = json.loads(done.read_text("utf-8"))["summary"]
    relevance = Path(dirs.relevance) / RELEVANCE_FILE
    return BuiltExamples(
        Path(dirs.examples), Path(dirs.gallery), relevance, Path(dirs.rejected), summary, key
    )


def spill_dir(dirs: OutputDirs) -> str:
    """Where image bytes of rows wait for their gallery shard."""
    return f"{dirs.rejected}/.spilled"


def _tagged(dofn: beam.DoFn, **side_inputs: Any) -> beam.PTransform:
    """Return a ParDo with all outputs that its DoFn names in capitals."""
    tags = [value for name, value in vars(type(dofn)).items() if name.isupper()]
    return beam.ParDo(dofn, **side_inputs).with_outputs(*tags)


def _propensities(consolidated: beam.PCollection, config: ExampleGenConfig) -> Any:
    """Return examination propensities: None, an array, or a side input that estimates one."""
    if config.propensity.mode == "none":
        return None
    if config.propensity.mode == "given":
        return propensity.given_propensities(config.propensity)
    return beam.pvalue.AsSingleton(
        consolidated
        | "Sample" >> beam.FlatMap(log_branch.estimate_sample, shards=config.shards)
        | "AllSamples" >> beam.combiners.ToList()
        | "Estimate" >> beam.Map(log_branch.estimate, max_positions=config.propensity.max_positions)
    )


def _write_relevance(element: tuple[None, Any], path: str) -> None:
    parts = sorted(element[1])  # by shard: the content does not depend on the order of bundles
    tables = (from_bytes([piece], FINAL_SCHEMA) for _, piece in parts)
    writers.write_table(path, writers.RELEVANCE_SCHEMA, tables)


def _write_sessions(element: tuple[None, Any], path: str) -> None:
    parts = sorted(element[1])
    tables = (from_bytes([piece], SESSIONS_SCHEMA) for _, piece in parts)
    writers.write_table(path, SESSIONS_SCHEMA, tables)
