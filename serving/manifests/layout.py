"""Where a pod sees the release root, and which models.config its server reads."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from serving.errors import ServingError
from serving.manifests.settings import MODELS, Settings, check_mount_path
from serving.manifests.storage import Claim
from serving.model_config import CONFIG_FILE, config_text, pinned_versions
from serving.release import Release, previous_release, root_path

# Where the generated files are mounted.
CONFIG_FOLDER = "/etc/vlsearch/server"
MODELS_CONFIG_FOLDER = "/etc/vlsearch/models"


@dataclass(frozen=True)
class Layout:
    """What the server finds where.

    Attributes:
        release: the current release.
        pinned: versions that are served, by model.
        root: folder of the release root in a pod.
        models_config: text of a models.config for `root`; None where the server reads the one in
            the root itself and so follows every release that is published there.
    """

    release: Release
    pinned: dict[str, list[int]]
    root: str
    models_config: str | None

    @property
    def config_path(self) -> str:
        """The models.config that the server reads and polls."""
        folder = self.root if self.models_config is None else MODELS_CONFIG_FOLDER
        return f"{folder}/{CONFIG_FILE}"

    @property
    def probed(self) -> str:
        """The model that the probes ask for: the one that searching needs, if it is there."""
        return "text_tower" if "text_tower" in self.pinned else min(self.pinned)


def plan_layout(root: str | Path, settings: Settings) -> Layout:
    """Read the release in `root` and decides how pods see it.

    TensorFlow Serving wants absolute paths, and models.config names those it was published under.
    A volume is therefore mounted at that very path unless another one is given.

    Raises:
        ServingError: no complete release, or a path at which nothing can be mounted.
    """
    root = root_path(root)
    release = Release.load(root)
    pinned = pinned_versions(release, previous_release(root, release))
    published = _published_root(root, pinned)
    if isinstance(settings.storage, Claim) and settings.mount_path in (None, published):
        check_mount_path(
            published,
            "The release was published there, and its models.config names that folder. Give "
            "--mount-path /models, or publish it under another path.",
        )
        return Layout(release, pinned, published, None)
    mounted = settings.mount_path or MODELS
    paths = {name: f"{mounted}/{name}" for name in pinned}
    return Layout(release, pinned, mounted, config_text(pinned, paths))


def _published_root(root: Path, names: Container[str]) -> str:
    """Return the folder that models.config names for these models; a copy elsewhere keeps it."""
    from serving.served_config import read_models_config

    config = read_models_config(root)
    entries = [entry for entry in config.model_config_list.config if entry.name in names]
    paths = [PurePosixPath(entry.base_path) for entry in entries]
    folders = {str(path.parent) for path in paths}
    if len(folders) != 1:
        raise ServingError(
            f"{root / CONFIG_FILE} must name models in one folder. "
            f"Received: {sorted(map(str, paths))}. Publish the release again: it writes the file."
        )
    return folders.pop()
