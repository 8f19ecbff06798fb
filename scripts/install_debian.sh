#!/usr/bin/env bash
# Install Debian packages $@ with root or sudo; without either, say what to install.
set -euo pipefail
sudo=""
if [ "$(id -u)" -ne 0 ]; then
  if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    sudo="sudo"
  else
    echo "Please install as root: apt-get install $*" >&2
    exit 2
  fi
fi
echo "Installing Debian packages: $* ..."
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq >/dev/null || true
$sudo apt-get install -y -qq --no-install-recommends "$@" >/dev/null
