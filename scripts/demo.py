"""The demo: emoji click log -> pipeline -> release -> a server -> answers, by the command line.

Everything is left under one folder: data/, pipeline/, serving/, metrics.json, report.html.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

VLSEARCH = str(Path(sys.executable).with_name("vlsearch"))
CONFIG = "configs/emoji.yaml"
QUERIES = ("birthday cake", "dog", "rain", "生日", "狗", "下雨")
HEADLINES = ("recall@1", "recall@10", "mrr", "modality_gap")


def vlsearch(*arguments: str) -> None:
    """Run one command, showing what is run; a failing command ends the demo."""
    print(f"\n$ vlsearch {shlex.join(arguments)}", flush=True)
    code = subprocess.run([VLSEARCH, *arguments], check=False).returncode
    if code:
        sys.exit(code)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def server(serving_root: Path) -> Iterator[str]:
    """`vlsearch serve` as a process of its own, until the block is left."""
    port = free_port()
    command = [VLSEARCH, "serve", str(serving_root), "--port", str(port), "--rest-port", "0"]
    print(f"\n$ vlsearch {shlex.join(command[1:])} &", flush=True)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit("The model server did not start.")
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


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
    with server(root / "serving") as address:
        for query in QUERIES:
            vlsearch("query", query, "-k", "8", "--server", address, "--release", f"{root}/serving")

    metrics = json.loads((root / "metrics.json").read_text(encoding="utf-8"))
    print("\n" + "  ".join(f"{key} {metrics[key]:.3f}" for key in HEADLINES))
    print(f"Done in {time.monotonic() - started:.0f} s. Report: {root / 'report.html'}")


if __name__ == "__main__":
    main()
