"""Which numbers a machine computes fast with."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Precision = Literal["auto", "float32", "mixed_bfloat16"]

_CPU_INFO = Path("/proc/cpuinfo")
_CPU_FLAGS = {"amx_bf16", "avx512_bf16"}
_GPU_CAPABILITY = (8, 0)  # Ampere


def resolve_precision(precision: Precision) -> str:
    """Return the dtype policy: what is asked for, or with "auto" what this machine is made for.

    "auto" is mixed_bfloat16 where the hardware multiplies bfloat16 (GPUs from Ampere on, CPUs
    with AMX or AVX512-BF16) and float32 elsewhere: on a CPU without these, bfloat16 takes
    twice the time of float32. Variables are float32 either way, so a run may go on elsewhere.
    """
    if precision != "auto":
        return precision
    return "mixed_bfloat16" if _has_fast_bfloat16() else "float32"


def _has_fast_bfloat16() -> bool:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = (tf.config.experimental.get_device_details(gpu) for gpu in gpus)
        return all(d.get("compute_capability", (0, 0)) >= _GPU_CAPABILITY for d in details)
    return bool(_CPU_FLAGS & cpu_flags())


def cpu_flags(path: Path = _CPU_INFO) -> set[str]:
    """What the first processor can do, as Linux names it; empty where Linux does not tell."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
