#!/usr/bin/env bash
# The demo's words and pictures come from two Debian packages; install them when missing.
set -euo pipefail
missing=()
[ -e /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf ] || missing+=(fonts-noto-color-emoji)
[ -e /usr/share/unicode/cldr/common/annotations/zh.xml ] || missing+=(unicode-cldr-core)
[ ${#missing[@]} -eq 0 ] || exec bash "$(dirname "$0")/install_debian.sh" "${missing[@]}"
