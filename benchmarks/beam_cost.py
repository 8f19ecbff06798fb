"""What the Beam steps read, shuffle and write: bytes on the demo's log, and for a billion rows.

Runs the graphs of ClickExampleGen, VocabularyGen and IndexBuilder on the demo's log and on one
ten times as long, over the same queries and images. Files are measured as they are; what is
shuffled is Beam's own account of the collections that the runner groups (elements times their
sampled mean size), after combiner lifting. The image tower is a stand-in that puts out as many
numbers as the demo's: bytes do not depend on weights.

The costs per unit of the longer log give those of a billion impressions with --pairs distinct
pairs and a gallery of --gallery images in --log-files files, at worst: no click repeats within a
file, and every file shows every image, if it has that many impressions.

python benchmarks/beam_cost.py [--impressions 240000] [--images N] [--pairs 1e8] [--gallery 1e7]
    [--log-files 1000] [--json FILE]
"""

from __future__ import annotations

import collections
import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
from _shared import Results, argument_parser

DIMENSIONS = 128  # of the demo's embeddings
BILLION = 10**9
GROUPED = ("query", "image_id", "position", "language", "split")
TIMES = 10

# Every line of the account, and what it grows with.
GROWS_WITH = {
    "reads log": "impressions",
    "reads images": "images",
    "shuffles pairs, to shards of queries": "clicked rows",
    "shuffles references to images, to shards of images": "shown images",
    "shuffles finished pairs, to shards of images": "pairs",
    "shuffles relevance, to one file": "pairs",
    "shuffles names of files, counts, rejected rows": "log files",
    "writes gallery": "images",
    "writes Examples": "examples",
    "writes relevance": "pairs",
    "VocabularyGen reads Examples of train": "examples",
    "VocabularyGen shuffles counts of words": "words",
    "VocabularyGen would shuffle, without lifting": "examples",
    "IndexBuilder reads gallery": "images",
    "IndexBuilder writes embeddings": "images",
}


@dataclasses.dataclass(frozen=True)
class Run:
    """Bytes of every line of the account, and the numbers that they grow with."""

    bytes: dict[str, float]
    counts: dict[str, int]


def shuffled(build: Callable[[beam.Pipeline], None]) -> dict[str, float]:
    """Run a graph in this process; bytes handed to a grouping, by the step that groups."""
    from apache_beam.metrics import monitoring_infos
    from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
    from apache_beam.runners.worker.bundle_processor import DATA_OUTPUT_URN

    from tfx_pipeline.data.beam_options import default_beam_args

    pipeline = beam.Pipeline(argv=default_beam_args())
    build(pipeline)
    graph = pipeline.to_runner_api()
    result = pipeline.run()
    result.wait_until_finish()
    elements, sizes = {}, {}
    for info in result.monitoring_infos():
        collection = info.labels.get(monitoring_infos.PCOLLECTION_LABEL)
        if info.urn == monitoring_infos.ELEMENT_COUNT_URN:
            elements[collection] = monitoring_infos.extract_counter_value(info)
        elif info.urn == monitoring_infos.SAMPLED_BYTE_SIZE_URN:
            count, total, _, _ = monitoring_infos.extract_distribution(info)
            sizes[collection] = total / count if count else 0.0
    written = collections.defaultdict(list)  # buffer between two stages → what goes into it
    for stage in FnApiRunner().create_stages(graph)[1]:
        for transform in stage.transforms:
            if transform.spec.urn == DATA_OUTPUT_URN:
                [collection] = transform.inputs.values()
                name = transform.unique_name.partition("/Write")[0]
                kind = transform.spec.payload.partition(b":")[0].decode()
                written[kind, name].append(elements.get(collection, 0) * sizes.get(collection, 0))
    totals: dict[str, float] = collections.defaultdict(float)
    for (kind, name), parts in written.items():
        if kind == "group":
            # Branches that are flattened first are of different sizes: sampled one by one.
            flattened = written.get(("materialize", name.replace("GroupByKey", "Flatten")))
            totals[name.partition("/")[0]] += sum(flattened or parts)
    # The sum of counts per word, had each been sent as it was counted.
    for transform in graph.components.transforms.values():
        if transform.unique_name == "Sum":
            [collection] = transform.inputs.values()
            totals["Sum, not lifted"] = elements[collection] * sizes[collection]
    return dict(totals)


def size_of(folder: str | Path, pattern: str) -> int:
    return sum(file.stat().st_size for file in Path(folder).glob(pattern) if file.is_file())


def save_tower(path: Path) -> None:
    """A SavedModel with the signature of an image tower."""
    import tensorflow as tf

    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def encode(image_bytes):
        # Random, for the sake of Parquet: equal numbers would take no room.
        return {"embedding": tf.random.normal([tf.shape(image_bytes)[0], DIMENSIONS])}

    module.encode = encode
    tf.saved_model.save(module, str(path), signatures={"encode_image": encode})


def count_rows(files: list[str]) -> dict[str, int]:
    """Impressions, clicks, and what is left of them when each file is grouped by itself."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    counts: dict[str, int] = collections.Counter()
    for file in files:
        table = pq.read_table(file)
        clicked = table.filter(pc.greater(table["clicked"], 0))
        counts["log files"] += 1
        counts["impressions"] += table.num_rows
        counts["clicks"] += clicked.num_rows
        counts["clicked rows"] += clicked.group_by(list(GROUPED)).aggregate([]).num_rows
        counts["shown images"] += pc.count_distinct(table["image_id"]).as_py()
    return dict(counts)


def measure(work: Path, impressions: int, images: int | None) -> Run:
    """One run of the three graphs on an emoji log."""
    from tfx_pipeline.data.emoji import write_emoji
    from tfx_pipeline.data.examples import OutputDirs, build_examples, finish_run
    from tfx_pipeline.data.folder import DataFolder
    from tfx_pipeline.data.word_counts import count_words
    from tfx_pipeline.release.gallery_embeddings import encode_gallery

    data = work / "data"
    write_emoji(data, impressions=impressions, limit=images)
    folder = DataFolder.load(data)
    files, config = list(folder.resolve().files), folder.example_config()
    dirs = OutputDirs(*(str(work / field.name) for field in dataclasses.fields(OutputDirs)))
    examples = shuffled(lambda pipeline: build_examples(pipeline, config, files, dirs))
    counters = finish_run(config, dirs)["counters"]
    train = f"{dirs.examples}/Split-train"
    words = shuffled(lambda pipeline: count_words(pipeline, f"{train}/*.gz", work))
    save_tower(work / "tower")
    embeddings = f"{work}/embeddings"
    shuffled(lambda p: encode_gallery(p, dirs.gallery, str(work / "tower"), embeddings, 64))

    found = {
        "reads log": sum(Path(file).stat().st_size for file in files),
        "reads images": size_of(data / "images", "*"),
        "shuffles pairs, to shards of queries": examples.pop("ByQueryShard"),
        "shuffles references to images, to shards of images": examples.pop("ByImageShard"),
        "shuffles finished pairs, to shards of images": examples.pop("PairsWithGallery"),
        "shuffles relevance, to one file": examples.pop("OneRelevanceFile"),
        "shuffles names of files, counts, rejected rows": sum(examples.values()),
        "writes gallery": size_of(dirs.gallery, "*.gz"),
        "writes Examples": size_of(dirs.examples, "*/*.gz"),
        "writes relevance": size_of(dirs.relevance, "*.parquet"),
        "VocabularyGen reads Examples of train": size_of(train, "*.gz"),
        "VocabularyGen shuffles counts of words": words["Sum"],
        "VocabularyGen would shuffle, without lifting": words["Sum, not lifted"],
        "IndexBuilder reads gallery": size_of(dirs.gallery, "*.gz"),
        "IndexBuilder writes embeddings": size_of(embeddings, "*.parquet"),
    }
    counts = count_rows(files) | {name: counters[name] for name in ("pairs", "images")}
    counts["examples"] = sum(counters[f"examples_{name}"] for name in ("train", "val", "test"))
    counts["words"] = len((work / "word_counts.tsv").read_text("utf-8").split("\n")) - 1
    return Run(found, counts)


def assumed_counts(run: Run, pairs: int, gallery: int, log_files: int) -> dict[str, int]:
    """What a billion impressions hold at worst; what is not given is as in the run."""
    share = BILLION / run.counts["impressions"]
    return {
        "impressions": BILLION,
        "log files": log_files,
        "clicked rows": int(run.counts["clicks"] * share),
        "shown images": min(BILLION, gallery * log_files),
        "pairs": pairs,
        "images": gallery,
        "examples": int(gallery * run.counts["examples"] / run.counts["images"]),
        "words": 10 * run.counts["words"],
    }


def human(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"


def report(results: Results, short: Run, long: Run, assumed: dict[str, int]) -> None:
    """Adds the rows."""
    for name, number in long.counts.items():
        results.add(
            name, f"{short.counts[name]:,} / {number:,}", short=short.counts[name], long=number
        )
    for line, unit in GROWS_WITH.items():
        each = long.bytes[line] / long.counts[unit]
        million = long.bytes[line] / long.counts["impressions"] * 1e6
        results.add(
            line,
            f"{human(short.bytes[line])} / {human(long.bytes[line])}; {human(million)} per million "
            f"impressions; {human(each)} x {unit}; {human(each * assumed[unit])}",
            short=short.bytes[line],
            long=long.bytes[line],
            per_million_impressions=million,
            grows_with=unit,
            each=each,
            billion=each * assumed[unit],
        )


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--impressions", type=int, default=240_000, help="of the shorter log")
    parser.add_argument("--images", type=int, help="only so many emoji")
    parser.add_argument("--pairs", type=float, default=1e8, help="in a billion impressions")
    parser.add_argument("--gallery", type=float, default=1e7, help="images, likewise")
    parser.add_argument("--log-files", type=int, default=1000, help="likewise")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        short, long = (
            measure(Path(folder, str(times)), times * arguments.impressions, arguments.images)
            for times in (1, TIMES)
        )
    assumed = assumed_counts(
        long, int(arguments.pairs), int(arguments.gallery), arguments.log_files
    )
    results = Results()
    report(results, short, long, assumed)
    results.finish(arguments)


if __name__ == "__main__":
    main()
