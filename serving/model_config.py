"""models.config: what the model server loads of a release root.

It carries no version labels. TensorFlow Serving applies labels before it loads, and refuses a
configuration as a whole whose label points at a version that is not loaded yet; it reads the file
again every few seconds and would refuse it for ever. A query carries the version instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from serving.release import Release

CONFIG_FILE = "models.config"


def model_config_text(base: str, release: Release, previous: Release | None) -> str:
    """models.config of a release root, which pins the current and the previous version.

    Args:
        base: the release root as the server is to find it: an absolute path, or a URI.
        release: the current release.
        previous: the one before it that is still served.
    """
    pinned = pinned_versions(release, previous)
    return config_text(pinned, {name: f"{base}/{name}" for name in pinned})


def pinned_versions(release: Release, previous: Release | None) -> dict[str, list[int]]:
    """Return the versions of each model that are to be served, by model."""
    pinned = {name: {version} for name, version in release.models.items()}
    for name, version in (previous.models if previous else {}).items():
        pinned[name] = pinned.get(name, set()) | {version}
    return {name: sorted(versions) for name, versions in pinned.items()}


def config_text(pinned: Mapping[str, Iterable[int]], base_paths: Mapping[str, str]) -> str:
    """models.config (text proto ModelServerConfig): these versions, in these folders, by model."""
    entries = []
    for name, versions in pinned.items():
        specific = " ".join(f"versions: {version}" for version in versions)
        # json.dumps quotes as text proto does; but not beyond ASCII, where it would write halves of
        # characters.
        entries.append(
            "  config {\n"
            f"    name: {json.dumps(name, ensure_ascii=False)}\n"
            f"    base_path: {json.dumps(base_paths[name], ensure_ascii=False)}\n"
            '    model_platform: "tensorflow"\n'
            f"    model_version_policy {{ specific {{ {specific} }} }}\n"
            "  }\n"
        )
    return "model_config_list {\n" + "".join(entries) + "}\n"
