"""Build the distribution `vlsearch-client`: the clients, and the modules that they need."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Beside serving/client: what that imports, and what makes pictures of any format servable.
MODULES = (
    "__init__.py",
    "arguments.py",
    "descriptors.py",
    "errors.py",
    "image_metadata.py",
    "images.py",
    "loopback.py",
    "tensors.py",
    "wire.py",
)


def build(out: Path) -> Path:
    """Build the wheel and return its path.

    Args:
        out: folder that gets it; made if it is missing.
    """
    with tempfile.TemporaryDirectory() as place:
        source = Path(place)
        client = ROOT / "serving" / "client"
        ignored = shutil.ignore_patterns("pyproject.toml", "README.md", "__pycache__")
        shutil.copytree(client, source / "serving" / "client", ignore=ignored)
        for name in MODULES:
            shutil.copy2(ROOT / "serving" / name, source / "serving" / name)
        for path in (client / "pyproject.toml", client / "README.md", ROOT / "LICENSE"):
            shutil.copy2(path, source / path.name)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        options = ["--no-build-isolation", "--wheel-dir", str(out.resolve()), str(source)]
        subprocess.run([*command, *options], check=True)
    [wheel] = out.glob("vlsearch_client-*.whl")
    return wheel


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("build/client"), help="folder of the wheel"
    )
    print(build(parser.parse_args().out))
