"""Run the tests: those that watch the clock first, which leave the cores idle, then the rest.

python scripts/run_tests.py [--fast] [pytest's arguments, but no -m]

--fast leaves out the slow ones.
"""

import subprocess
import sys

# A file's tests stay together, because they share fixtures; files start in their given order.
FILES = ["--dist", "loadfile", "--no-loadscope-reorder"]
SESSIONS = {
    # These mostly wait: two of them side by side do not keep each other from the cores.
    "timing": ["-n", "2", *FILES],
    "not timing": ["-n", "logical", "--maxprocesses", "4", *FILES],
}
NOTHING_COLLECTED = 5


def main(arguments: list[str]) -> int:
    """Both sessions, also if the first fails; the exit code of the first that did."""
    fast = " and not slow" if "--fast" in arguments else ""
    given = [argument for argument in arguments if argument != "--fast"]
    codes = [
        subprocess.call([sys.executable, "-m", "pytest", "-m", f"{mark}{fast}", *how, *given])
        for mark, how in SESSIONS.items()
    ]
    if all(code == NOTHING_COLLECTED for code in codes):
        return NOTHING_COLLECTED
    return next((code for code in codes if code not in (0, NOTHING_COLLECTED)), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
