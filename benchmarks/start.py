"""Time that `vlsearch --help` and the import of the client take (bars: < 0.5 s each).

python benchmarks/start.py [--json FILE]
"""

import subprocess
import sys
import time
from pathlib import Path

from _shared import Results, argument_parser

BAR, ROUNDS = 0.5, 7
COMMANDS = {
    "vlsearch --help": [str(Path(sys.executable).with_name("vlsearch")), "--help"],
    "import serving.client, with Python's start": [sys.executable, "-c", "import serving.client"],
}


def main():
    arguments = argument_parser(__doc__).parse_args()
    results = Results()
    for name, command in COMMANDS.items():
        seconds = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - started)
        best = min(seconds)
        results.add(
            f"{name}, best of {ROUNDS}", f"{best:.2f} s", f"< {BAR} s", best < BAR, all=seconds
        )
    results.finish(arguments)


if __name__ == "__main__":
    main()
