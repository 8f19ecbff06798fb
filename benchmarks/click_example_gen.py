"""Speed and memory of ClickExampleGen's Beam code.

    python benchmarks/click_example_gen.py [--photos DIR] [--json FILE]

1. Image branch: a log with one row per photograph through the whole graph, against a bare
   loop that decodes, resizes and encodes the same files (bar: at least 60 % of its speed).
2. Log branch: rows per second of ReadLog on the demo log, one core.
3. Peak memory of the whole graph on the demo log and on one ten times as long, each in a
   process of its own (bar: less than 1.5 times).
"""

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _shared import Results, add_photos_argument, argument_parser, photo_files

IMAGE_BAR, MEMORY_BAR = 0.6, 1.5
SIDE = 256


def bare_loop(files, quality=90):
    """Decode, resize and encode, nothing else; returns CPU seconds."""
    from PIL import Image

    started = time.process_time()
    for file in files:
        with Image.open(io.BytesIO(file.read_bytes())) as image:
            width, height = image.size
            scale = min(1.0, SIDE / min(width, height))
            size = (round(width * scale), round(height * scale))
            image.draft("RGB", size)
            small = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        small.save(io.BytesIO(), "JPEG", quality=quality)
    return time.process_time() - started


def run_graph(files, images, work, **config):
    """The whole graph in this process; returns CPU seconds."""
    import apache_beam as beam

    from tfx_pipeline.data.beam_options import default_beam_args
    from tfx_pipeline.data.config import ExampleGenConfig
    from tfx_pipeline.data.examples import OutputDirs, build_examples, finish_run

    settings = ExampleGenConfig(images=images, **config)
    names = ("examples", "gallery", "relevance", "rejected")
    dirs = OutputDirs(*(str(work / name) for name in names))
    started = time.process_time()
    pipeline = beam.Pipeline(argv=default_beam_args())
    build_examples(pipeline, settings, files, dirs)
    pipeline.run().wait_until_finish()
    finish_run(settings, dirs)
    return time.process_time() - started


def measure_images(files):
    """Images per CPU second: the graph against the bare loop, alternating."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tfx_pipeline.data.config import ChecksConfig, ImageConfig, SplitConfig
    from vl_models.text.normalize import normalize_batch

    normalize_batch(["load TensorFlow before the clock starts"])
    graph, loop = [], []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log.parquet")
        rows = {
            "query": [file.stem for file in files],
            "image_id": [f"{number}" for number in range(len(files))],
            "clicked": [1] * len(files),
            "image_uri": [str(file) for file in files],
        }
        pq.write_table(pa.table(rows), log)
        for round_number in range(2):
            loop.append(bare_loop(files))
            graph.append(
                run_graph(
                    [str(log)],
                    ImageConfig(shorter_side=SIDE),
                    Path(folder, str(round_number)),
                    splits=SplitConfig(train=1, val=0, test=0),
                    checks=ChecksConfig(max_duplicate_fraction=None),  # --repeat
                )
            )
    return {
        "images": len(files),
        "graph_images_per_cpu_second": len(files) / min(graph),
        "bare_loop_images_per_cpu_second": len(files) / min(loop),
        "share_of_bare_loop": min(loop) / min(graph),
    }


def measure_rows(data):
    """Rows per second of the log branch, one core, without Beam's runner."""
    from tfx_pipeline.data.folder import DataFolder
    from tfx_pipeline.data.log_branch import ReadLog

    folder = DataFolder.load(data)
    rates = {}
    for mode in ("given", "estimated"):
        propensity = folder.propensity.model_copy(update={"mode": mode})
        reader = ReadLog(folder.example_config(propensity=propensity), "unused")
        reader.setup()
        files = folder.resolve().files
        list(reader.process(files[0]))  # loads TensorFlow and the queries
        started, rows = time.perf_counter(), 0
        for file in files:
            outputs = list(reader.process(file))
            rows += sum(o.value["rows"] for o in outputs if o.tag == ReadLog.STATS)
        rates[mode] = rows / (time.perf_counter() - started)
    return rates


def measure_memory(data):
    """Peak resident MiB of a process that builds the Examples of a data folder."""
    process = subprocess.run(
        [sys.executable, __file__, "--child", str(data)],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(process.stdout.splitlines()[-1])


def child(data):
    from tfx_pipeline.data.examples import materialize_examples
    from tfx_pipeline.data.folder import DataFolder

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        built = materialize_examples(DataFolder.load(data), folder)
    print(
        json.dumps(
            {
                "rows": built.counters["rows"],
                "seconds": time.perf_counter() - started,
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


def main():
    parser = argument_parser(__doc__)
    add_photos_argument(parser)
    parser.add_argument("--repeat", type=int, default=4, help="use each photograph so often")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child)
        return

    from tfx_pipeline.data.emoji import write_emoji

    results = Results()
    with tempfile.TemporaryDirectory() as folder:
        demo, long = Path(folder, "demo"), Path(folder, "long")
        write_emoji(demo)
        write_emoji(long, impressions=2_400_000)
        small, large = measure_memory(demo), measure_memory(long)
        for mode, rate in measure_rows(long).items():
            results.add(
                f"log branch, propensities {mode}", f"{rate:,.0f} rows/s", rows_per_second=rate
            )
    ratio = large["peak_mib"] / small["peak_mib"]
    results.add(
        "peak memory, ten times the log",
        f"{small['peak_mib']:,.0f} -> {large['peak_mib']:,.0f} MiB ({ratio:.2f} x)",
        f"< {MEMORY_BAR} x",
        ratio < MEMORY_BAR,
        demo=small,
        ten_times=large,
    )
    files = photo_files(arguments.photos) * arguments.repeat
    if files:
        images = measure_images(files)
        results.add(
            "image branch (whole graph)",
            f"{images['graph_images_per_cpu_second']:,.0f} images/s and core, bare loop "
            f"{images['bare_loop_images_per_cpu_second']:,.0f} "
            f"({images['share_of_bare_loop']:.0%})",
            f">= {IMAGE_BAR:.0%}",
            images["share_of_bare_loop"] >= IMAGE_BAR,
            **images,
        )
    results.finish(arguments)


if __name__ == "__main__":
    main()
