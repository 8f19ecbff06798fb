"""The fuzz test of image files in its long form: mutated JPEG, PNG, GIF, WebP and TIFF files.

    python benchmarks/fuzz_images.py --count 200000

Each must become an image or a rejection with a reason; every 7th also goes through the decoder of
the served graph, which decodes or refuses it. Files run in processes of their own, so that one that
ends its process is counted, too; `--first` and `--count` find it.
"""

from __future__ import annotations

import collections
import concurrent.futures
import multiprocessing
import time
from concurrent.futures.process import BrokenProcessPool

from _shared import Results, argument_parser

from tests import picture_fuzzing

CHUNK = 5000


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="files")
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    end = arguments.first + arguments.count
    started = time.monotonic()
    images: collections.Counter[str] = collections.Counter()
    rejected: collections.Counter[str] = collections.Counter()
    failures, decoded, refused = [], 0, 0
    for start in range(arguments.first, end, CHUNK):
        numbers = range(start, min(start + CHUNK, end))
        try:
            outcomes = in_a_process(arguments.seed, numbers)
        except BrokenProcessPool:
            failures.append((start, f"a file of {numbers} ended the process"))
            continue
        images += outcomes.images
        rejected += outcomes.rejected
        failures += outcomes.failures
        decoded += outcomes.decoded
        refused += outcomes.refused
        print(f"{numbers.stop - arguments.first:,} files, {len(failures)} failures", flush=True)
    results = Results()
    total = f"{images.total():,} images, {rejected.total():,} rejected"
    results.add(
        f"{arguments.count:,} mutated files",
        f"{total}, {len(failures)} neither",
        "none neither",
        not failures,
        images=images,
        rejected=rejected,
        failures=failures,
        seed=arguments.seed,
        seconds=time.monotonic() - started,
    )
    results.add(
        "of these through the served graph",
        f"{decoded:,} decoded, {refused:,} refused",
        decoded=decoded,
        refused=refused,
    )
    results.finish(arguments)


def in_a_process(seed: int, numbers: range) -> picture_fuzzing.Outcomes:
    """Run these files in a process of their own.

    Raises:
        BrokenProcessPool: the process ended.
    """
    # Without TensorFlow here, which only they load, forking is safe.
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(picture_fuzzing.run, seed, numbers).result()


if __name__ == "__main__":
    main()
