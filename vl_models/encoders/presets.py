"""Where a preset of KerasHub lies on this machine; nothing is ever downloaded."""

from __future__ import annotations

import os
from pathlib import Path

from vl_models.errors import UserError

PRESETS_VARIABLE = "VLSEARCH_PRESETS"
_CONFIG = "config.json"
# One of them holds the weights, or names the files that do; the last are Hugging Face's.
_WEIGHTS = (
    "model.weights.h5",
    "model.weights.json",
    "model.safetensors",
    "model.safetensors.index.json",
)


def find_preset(preset: str) -> Path:
    """Folder of a preset, given by its path or by its name.

    A name is looked up in the folder that the environment variable ``VLSEARCH_PRESETS`` names,
    then in what KerasHub itself downloaded at an earlier time.

    Raises:
        UserError: there is no such preset here, or its folder is not whole; it says how to put
            it there.
    """
    looked = []
    for place in (Path(preset), *_own(preset), *_cached(preset)):
        if not place.is_dir():
            looked.append(str(place))
            continue
        lacking = [] if (place / _CONFIG).is_file() else [_CONFIG]
        if not any((place / name).is_file() for name in _WEIGHTS):
            lacking.append(_WEIGHTS[0])
        if lacking:
            raise UserError(f"The preset {place} is not whole: it lacks {', '.join(lacking)}.")
        return place
    raise UserError(
        f"There is no preset '{preset}' on this machine, and none is downloaded. Looked at: "
        f"{', '.join(looked)}. Where KerasHub can reach it, save it once with "
        f"keras_hub.models.Backbone.from_preset({preset!r}).save_to_preset(DIR); then name DIR as "
        f"the preset, or set {PRESETS_VARIABLE} to its parent folder."
    )


def _own(preset: str) -> list[Path]:
    """Return the place in ``VLSEARCH_PRESETS``, if it is set."""
    folder = os.environ.get(PRESETS_VARIABLE)
    return [] if folder is None else [Path(folder, preset)]


def _cached(preset: str) -> list[Path]:
    """Where KaggleHub keeps the preset of that name, if KerasHub knows the name."""
    import keras_hub  # Slow to import, and only needed here.
    from kagglehub.config import get_cache_folder

    handle = keras_hub.models.Backbone.presets.get(preset, {}).get("kaggle_handle", "")
    scheme, separator, path = str(handle).partition("://")
    if scheme != "kaggle" or not separator:
        return []
    return [Path(get_cache_folder(), "models", *path.split("/"))]
