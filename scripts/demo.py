"""The demo: emoji click log -> pipeline -> release -> the search service -> answers, and its page.

Everything is left under one folder: data/, pipeline/, serving/, metrics.json, report.html, and in
clicks/ what people click on the page. On a terminal the page stays until Ctrl-C; DEMO_SERVE=0 ends
the demo after its questions.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from serving.client import SearchClient
from serving.client.search_results import SearchResult

VLSEARCH = str(Path(sys.executable).with_name("vlsearch"))
CONFIG = "configs/emoji.yaml"
QUERIES = ("birthday cake", "dog", "rain", "生日", "狗", "下雨")
ADDRESS = re.compile(r"http://[0-9.]+:\d+/")
HEADLINES = ("recall@1", "recall@10", "mrr", "modality_gap")


def vlsearch(*arguments: str) -> None:
    """Run one command, showing what is run; a failing command ends the demo."""
    print(f"\n$ vlsearch {shlex.join(arguments)}", flush=True)
    code = subprocess.run([VLSEARCH, *arguments], check=False).returncode
    if code:
        sys.exit(code)


@contextlib.contextmanager
def search_service(root: Path) -> Iterator[str]:
    """`vlsearch search` as a process of its own, until the block is left; yields its address."""
    command = ["search", str(root / "serving"), "--port", "0", "--log-to", str(root / "clicks")]
    print(f"\n$ vlsearch {shlex.join(command)} &", flush=True)
    with (root / "search.log").open("w") as log:
        process = subprocess.Popen(
            [VLSEARCH, *command], stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if match := ADDRESS.search(line):
                yield match[0]
                return
        sys.exit(f"The search service did not start; {root / 'search.log'} says why.")
    finally:
        process.terminate()
        process.wait(timeout=60)


def show(query: str, answer: SearchResult) -> None:
    """Print what a query found."""
    found = ", ".join(f"{hit.item.get('name', hit.id)} {hit.score:.2f}" for hit in answer.hits)
    print(f"  {query}: {found}")


def stays_open() -> bool:
    """Whether somebody is there to look at the page."""
    return sys.stdout.isatty() and os.environ.get("DEMO_SERVE", "1") != "0"


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path("build/demo"), help="output folder")
    parser.add_argument("--set", action="append", default=[], help="override, as in vlsearch run")
    folder = parser.parse_args()
    root, started = folder.dir, time.monotonic()

    if not (root / "data" / "data.yaml").exists():  # written last
        vlsearch("data", "emoji", str(root / "data"))
    overrides = [argument for value in folder.set for argument in ("--set", value)]
    vlsearch(
        *("run", "--config", CONFIG, "--data", str(root / "data"), "--output", str(root)),
        *overrides,
    )
    with search_service(root) as address:
        print(f"\nPOST {address}v1/search", flush=True)
        with SearchClient(address) as client:
            for query in QUERIES:
                show(query, client.search(query, k=5))
        metrics = json.loads((root / "metrics.json").read_text(encoding="utf-8"))
        print("\n" + "  ".join(f"{key} {metrics[key]:.3f}" for key in HEADLINES))
        print(f"Done in {time.monotonic() - started:.0f} s. Report: {root / 'report.html'}")
        if stays_open():
            print(f"\nThe page: {address}  (Ctrl-C stops)", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
        else:
            again = f"vlsearch search {root / 'serving'} --log-to {root / 'clicks'}"
            print(f"The page was {address}; it comes back with\n  $ {again}")


if __name__ == "__main__":
    main()
