"""Runs the tests marked `gpu` on the GPUs that TensorFlow sees; says why if it sees none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
DRIVER = Path("/proc/driver/nvidia/version")


def main() -> int:
    """Return pytest's exit code, or 0 where there is nothing to test on."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        print(f"no GPU found: {_reason(tf.test.is_built_with_cuda())}. No test was run.")
        return 0
    for gpu in gpus:
        details = tf.config.experimental.get_device_details(gpu)
        print(f"{gpu.name}: {details.get('device_name', 'unknown')}")
    command = [sys.executable, "-m", "pytest", "-m", "gpu", *sys.argv[1:]]
    environment = {**os.environ, "VLSEARCH_TEST_DEVICES": "gpu"}
    return subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode


def _reason(built_with_cuda: bool) -> str:
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not built_with_cuda:
        return "this TensorFlow is built without CUDA"
    if hidden in ("-1", ""):
        return f"CUDA_VISIBLE_DEVICES={hidden!r} hides them"
    if not DRIVER.is_file():
        return f"no NVIDIA driver on this machine ({DRIVER} is missing)"
    return (
        "there is an NVIDIA driver, but TensorFlow could not use it; its CUDA libraries are "
        "installed by `pip install 'tensorflow[and-cuda]'`, and TF_CPP_MIN_LOG_LEVEL=0 shows more"
    )


if __name__ == "__main__":
    sys.exit(main())
