"""Time that `vlsearch --help` takes to answer (bar: < 0.5 s).

python benchmarks/cli_start.py [--json FILE]
"""

import subprocess
import sys
import time
from pathlib import Path

from _shared import Results, argument_parser

BAR, ROUNDS = 0.5, 7


def main():
    arguments = argument_parser(__doc__).parse_args()
    command = [str(Path(sys.executable).with_name("vlsearch")), "--help"]
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    best = min(seconds)
    results = Results()
    results.add(
        f"vlsearch --help, best of {ROUNDS}", f"{best:.2f} s", f"< {BAR} s", best < BAR, all=seconds
    )
    results.finish(arguments)


if __name__ == "__main__":
    main()
