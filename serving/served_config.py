"""models.config read beside its release root: whose folders does it name?

It holds absolute paths, which TensorFlow Serving wants. A root that was copied or moved keeps those
of the old place, and whoever serves them serves something else than was asked for.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from google.protobuf import text_format

from serving import files
from serving.errors import DiskError, MissingFileError, ServingError
from serving.model_config import CONFIG_FILE, config_text, pinned_versions
from serving.release import HISTORY, Release

if TYPE_CHECKING:
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

REPAIR = "`vlsearch serving repair ROOT` writes it anew"
_ASIDE = ".unreadable"
_URI = re.compile(r"[a-zA-Z][0-9a-zA-Z.]*://")

_logger = logging.getLogger(__name__)


def read_models_config(root: Path) -> ModelServerConfig:
    """Return what models.config of a root says, as it stands there.

    Raises:
        ServingError: it is missing, cannot be read, or names no model.
    """
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    path = root / CONFIG_FILE
    try:
        config = text_format.Parse(files.read_text(path), ModelServerConfig())
    except MissingFileError:
        raise ServingError(
            f"{root} has a release.json but no {CONFIG_FILE}. Publish the release again: it writes "
            f"both; {REPAIR}."
        ) from None
    except text_format.ParseError as error:
        raise ServingError(f"{path} is no ModelServerConfig: {error}. {REPAIR}.") from None
    except DiskError:
        raise
    except ServingError as error:
        raise ServingError(f"{error} Or: {REPAIR}.") from None
    if not config.model_config_list.config:
        raise ServingError(f"{path} names no model. {REPAIR}.")
    return config


def located_config(config: ModelServerConfig, root: Path, release: Release) -> ModelServerConfig:
    """Return the configuration with the folders of the root where it names those of an old place.

    Entries of other models than the release's stay as they are, unless their folder came along.

    Args:
        config: what models.config says.
        root: the release root.
        release: its current release, whose versions are added where they are not named.

    Raises:
        ServingError: no model of the release, models of it in several places, or a folder that did
            not come along.
    """
    if not release.models.keys() & {entry.name for entry in _entries(config)}:
        raise ServingError(
            f"{root / CONFIG_FILE} names no model of release {release.version}, which has "
            f"{', '.join(release.models)}. {REPAIR}."
        )
    located = type(config)()
    located.CopyFrom(config)
    place = _old_place(config, root, release.models)
    for entry in located.model_config_list.config:
        if place is not None:
            inside = _below(place, entry.base_path)
            if inside is not None:
                if not (root / inside).is_dir():
                    raise ServingError(
                        f"{root / CONFIG_FILE} names {entry.base_path}, from where this release "
                        f"root was copied or moved, but there is no {root / inside}. Copy that "
                        f"folder, too, or take the entry out."
                    )
                _set_base_path(entry, root / inside)
        version = release.models.get(entry.name)
        specific = entry.model_version_policy.WhichOneof("policy_choice") == "specific"
        if version is not None and specific:
            versions = entry.model_version_policy.specific.versions
            if version not in versions:
                versions.append(version)
    return located


def check_fits(root: Path, release: Release) -> None:
    """Raise ServingError if who reads models.config serves something else than the root."""
    config = read_models_config(root)
    if located_config(config, root, release) != config:
        named = sorted({str(PurePosixPath(e.base_path).parent) for e in _entries(config)})
        raise ServingError(
            f"{root / CONFIG_FILE} does not name release {release.version} of {root}, but models "
            f"in {', '.join(named)}: the root was copied or moved, or its publication was killed. "
            f"TensorFlow Serving would load what the file names. {REPAIR}."
        )


def check_places(root: Path, names: Iterable[str] = ()) -> None:
    """Refuse a root whose models.config says that a model of a release is elsewhere.

    So is one whose path the file cannot hold. A file that cannot be read says nothing.

    Args:
        root: the release root.
        names: of models that are to be released, beside those of the releases that there are.

    Raises:
        ServingError: it does.
    """
    _check_utf8(str(root.resolve()))
    try:
        config = read_models_config(root)
    except ServingError:
        return
    _old_place(config, root, _released_names(root).union(names))


def renewed_config(root: Path, release: Release, previous: Release | None) -> str:
    """Return models.config for a root and its release, with what people added to the old one.

    Kept are models that no release of this root has, labels whose version is still served, and
    comments. A file that cannot be read is put aside, as models.config.unreadable.

    Args:
        root: the release root.
        release: the current release.
        previous: the one before it that is still served.

    Raises:
        ServingError: the file says that a model of the release is elsewhere.
    """
    pinned = pinned_versions(release, previous)
    # In order of names, so that the same release gives the same file.
    paths = {name: str(root.resolve() / name) for name in sorted(pinned)}
    text = config_text({name: pinned[name] for name in paths}, paths)
    path = root / CONFIG_FILE
    try:
        old_text = files.read_text(path)
    except MissingFileError:
        return text
    except ServingError as error:
        _put_aside(path, error)
        return text
    if old_text == text:
        return text
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    try:
        old = text_format.Parse(old_text, ModelServerConfig())
    except text_format.ParseError as error:
        _put_aside(path, error)
        return text
    return _merged(text, old_text, old, root, _released_names(root) | pinned.keys())


def _merged(
    text: str, old_text: str, old: ModelServerConfig, root: Path, released: set[str]
) -> str:
    place = _old_place(old, root, released)
    if place is not None:
        _logger.warning(
            "%s named models in %s and names %s now, for servers that find the root there.",
            root / CONFIG_FILE,
            place,
            root.resolve(),
        )
    new = text_format.Parse(text, type(old)())
    fresh = {entry.name: entry for entry in _entries(new)}
    for entry in _entries(old):
        if entry.name not in released:
            kept = new.model_config_list.config.add()
            kept.CopyFrom(entry)
            inside = None if place is None else _below(place, entry.base_path)
            if inside is not None and (root / inside).is_dir():
                _set_base_path(kept, root / inside)
        elif entry.name in fresh:
            _keep_additions(entry, fresh[entry.name])
    if new == text_format.Parse(text, type(old)()):
        text_of_models = text
    else:
        text_of_models = text_format.MessageToString(new, as_utf8=True)
    comments = [line for line in old_text.splitlines() if line.lstrip().startswith("#")]
    return "".join(f"{line}\n" for line in comments) + text_of_models


def _keep_additions(old: Any, new: Any) -> None:
    """Carry over what people added to the entry of a model; labels of versions that go, go."""
    versions = set(new.model_version_policy.specific.versions)
    for label, version in old.version_labels.items():
        if version in versions:
            new.version_labels[label] = version
        else:
            # TensorFlow Serving refuses a whole file for a label of a version that is not loaded.
            _logger.warning(
                "%s: the label %r of %s meant version %d, which is no longer served: taken out.",
                CONFIG_FILE,
                label,
                old.name,
                version,
            )
    if old.HasField("logging_config"):
        new.logging_config.CopyFrom(old.logging_config)


def _released_names(root: Path) -> set[str]:
    """Return the names of the models of every release that a root ever had."""
    names: set[str] = set()
    for path in (root / HISTORY).glob("*.json"):
        try:
            names |= Release.parse(files.read_text(path), path).models.keys()
        except ServingError:
            continue
    return names


def _old_place(config: ModelServerConfig, root: Path, names: Iterable[str]) -> PurePosixPath | None:
    """Return the folder that a release root was in when its models.config was written.

    None is this very root.

    Raises:
        ServingError: the models of the release are in several places.
    """
    wanted = set(names)
    own = [entry for entry in _entries(config) if entry.name in wanted]
    places = set()
    for entry in own:
        path = PurePosixPath(_local(entry.base_path))
        if not is_same_folder(path, root / entry.name):
            places.add(path.parent if path.name == entry.name else path)
    if not places:
        return None
    at_home = any(is_same_folder(_local(e.base_path), root / e.name) for e in own)
    if (
        len(places) > 1
        or at_home
        or not all(PurePosixPath(_local(e.base_path)).name == e.name for e in own)
    ):
        elsewhere = [
            f"{e.name} in {e.base_path}"
            for e in own
            if not is_same_folder(_local(e.base_path), root / e.name)
        ]
        raise ServingError(
            f"{root / CONFIG_FILE} names models of this release outside {root}: "
            f"{', '.join(elsewhere)}. Take those entries out or rename them; or serve the file as "
            "it is, with vlsearch-model-server --model_config_file."
        )
    [place] = places
    return place


def _entries(config: ModelServerConfig) -> Any:
    return config.model_config_list.config


def _local(base_path: str) -> str:
    return base_path.removeprefix("file://")


def is_same_folder(path: str | PurePosixPath, folder: Path) -> bool:
    """Whether a base path is this folder, under whatever name."""
    if _URI.match(str(path)):
        return False
    if Path(path) == folder or Path(path) == folder.resolve():
        return True
    try:
        return Path(path).samefile(folder)
    except (OSError, ValueError):
        return False


def _below(place: PurePosixPath, base_path: str) -> PurePosixPath | None:
    """Return a base path relative to a folder that it lies in; None if it lies elsewhere."""
    path = PurePosixPath(_local(base_path))
    return path.relative_to(place) if path.is_relative_to(place) and path != place else None


def _set_base_path(entry: Any, folder: Path) -> None:
    path = str(folder.resolve())
    _check_utf8(path)
    entry.base_path = path


def _check_utf8(path: str) -> None:
    """Raise ServingError if models.config cannot name a path."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise ServingError(
            f"{path!r} is not UTF-8, and {CONFIG_FILE} cannot name it. Rename the folder."
        ) from None


def _put_aside(path: Path, error: Exception) -> None:
    """Keep a file that somebody may have written by hand."""
    aside = path.with_name(path.name + _ASIDE)
    _logger.warning("%s cannot be read and becomes %s: %s", path, aside.name, error)
    if aside.is_dir():
        files.remove_tree(aside)
    path.replace(aside)
