#!/usr/bin/env bash
# Make the virtual environment $1 hold exactly requirements.lock and this project.
# The lock is complete (made with resolver overrides), so nothing is resolved again.
set -euo pipefail
venv="$1"
python="${PYTHON:-python3.11}"

if ! command -v "$python" >/dev/null 2>&1; then
  echo "vlsearch needs Python 3.11 and '$python' was not found; install it or name one: make PYTHON=/path/to/python3.11" >&2
  exit 2
fi
if [ "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" != "3.11" ]; then
  echo "vlsearch needs Python 3.11; '$python' is $("$python" --version). Name one: make PYTHON=/path/to/python3.11" >&2
  exit 2
fi

# Debian splits venv off; a folder that its absence left half-made is made again.
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
  rm -rf "$venv"
  "$python" -c "import ensurepip" 2>/dev/null ||
    bash "$(dirname "$0")/install_debian.sh" python3.11-venv
  "$python" -m venv "$venv"
fi

echo "Setting up $venv (the first time takes a few minutes) ..."
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv
# Compiled here once: importing TensorFlow from sources takes three times as long, in every process
# where PYTHONDONTWRITEBYTECODE is set (containers, CI).
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --compile-bytecode \
  -r requirements.lock
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" \
  --no-deps --no-build-isolation --editable .
