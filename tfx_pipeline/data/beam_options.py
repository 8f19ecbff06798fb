"""Beam arguments for one machine."""

from __future__ import annotations


def default_beam_args(workers: int = 1) -> list[str]:
    """Arguments that run a Beam pipeline on this machine.

    The runner is named outright: `DirectRunner` first looks for the Prism binary, which is
    not in the Beam wheel, and falls back to this very runner. One in-process worker is the
    fastest on small data; more than one start worker processes.

    Args:
      workers: worker processes; 1 stays in this process.
    """
    mode = "in_memory" if workers == 1 else "multi_processing"
    return [
        "--runner=FnApiRunner",
        f"--direct_running_mode={mode}",
        f"--direct_num_workers={workers}",
    ]
