"""A trained image tokeniser as a fixed function: the targets of masked image modelling."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.numpy
import tensorflow as tf
import yaml
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from vl_models.encoders.config import CNNConfig, CodebookConfig
from vl_models.encoders.image_quantizer import ImageQuantizer
from vl_models.errors import UserError

if TYPE_CHECKING:
    from vl_models.models.fusion_config import FusionConfig

_SYSTEM = "image_tokenizer"
WEIGHTS_FILE, _EXPERIMENT_FILE = "weights.safetensors", "experiment.yaml"
_VERSIONED = re.compile(r"(.+)@(\d+)")
# Where a run, an export and a folder of weights have them.
_INSIDE = ("towers/weights", "weights", ".")


class FrozenImageTokenizer:
    """Codes of images, computed with constants: nothing to train, to save or to restore.

    Attributes:
        image_size: side in pixels that images are resized to first.
        grid: codes on a side.
        codes: K, number of codes.

    Args:
        folder: weights and configuration of a trained `ImageTokenizer`.
        values: its configuration.
    """

    def __init__(self, folder: Path, values: dict[str, Any]) -> None:
        image = CNNConfig.model_validate(values["image"])
        codebook = CodebookConfig.model_validate(values["codebook"])
        self.image_size: int = values["image_size"]
        self.grid = self.image_size // image.stride
        self.codes = codebook.size
        # In float32: the same targets on every machine, whatever the tokeniser was trained in.
        quantizer = ImageQuantizer(image, codebook, "float32")
        quantizer.build(self.image_size)
        stored = safetensors.numpy.load_file(folder / WEIGHTS_FILE)
        for variable in (v for layer in quantizer.layers for v in layer.variables):
            if variable.path not in stored:
                raise UserError(
                    f"{folder / WEIGHTS_FILE} lacks '{variable.path}', which an image tokeniser "
                    "has. Name the folder of a finished run of `vlsearch train`."
                )
            variable.assign(stored[variable.path])
        spec = tf.TensorSpec([None, self.image_size, self.image_size, 3], tf.uint8)
        traced = tf.function(quantizer.tokenize, autograph=False).get_concrete_function(spec)
        self._tokenize = convert_variables_to_constants_v2(traced)

    def tokenize(self, images: tf.Tensor) -> tf.Tensor:
        """Codes of images: uint8 [B, s, s, 3] of any side to int32 [B, grid, grid]."""
        size = [self.image_size, self.image_size]
        if images.shape[1:3] != size:
            resized = tf.image.resize(images, size, method="bicubic", antialias=True)
            images = tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)
        (codes,) = self._tokenize(images)
        return tf.ensure_shape(codes, [images.shape[0], self.grid, self.grid])


def load_image_tokenizer(path: str, kind: str = "mim") -> FrozenImageTokenizer:
    """Load a trained tokeniser, under any strategy's scope.

    Args:
        path: the folder of its run, a release root (its current release, or ``ROOT@7``), a folder
            with its ``weights/``, or these themselves.
        kind: of the task that asks, for messages.

    Raises:
        UserError: there is none, or the weights of another system.
    """
    folder = find_weights(path, kind)
    content = yaml.safe_load((folder / _EXPERIMENT_FILE).read_text(encoding="utf-8"))
    values = content["model"]
    if values["system"] != _SYSTEM:
        raise UserError(
            f"model.tasks: {kind}: the weights in {folder} are of the system '{values['system']}', "
            f"which has no codes of images. Name those of an '{_SYSTEM}'. Received: "
            f"tokenizer={path!r}"
        )
    # A thread of its own has no strategy: its variables would else be mirrored on all devices.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(FrozenImageTokenizer, folder, values).result()


def fitting_tokenizer(kind: str, path: str, model: FusionConfig) -> FrozenImageTokenizer:
    """Load the tokeniser of a task.

    Args:
        kind: of the task.
        path: see `load_image_tokenizer`.
        model: configuration of the system.

    Raises:
        UserError: there is no image tokeniser in that place, or one with another grid.
    """
    tokenizer = load_image_tokenizer(path, kind)
    if tokenizer.grid != model.grid:
        raise UserError(
            f"model.tasks: {kind}: the image tokeniser in {path} makes {tokenizer.grid} × "
            f"{tokenizer.grid} codes of an image, the model reads {model.grid} × {model.grid} "
            "patches. Train a tokeniser with another stride, or change patch_size."
        )
    return tokenizer


def find_weights(path: str, kind: str = "mim") -> Path:
    """Return the folder with the weights that a place has, see `load_image_tokenizer`.

    Raises:
        UserError: there is none.
    """
    match = _VERSIONED.fullmatch(path)
    root = Path(match[1] if match and not Path(path).exists() else path)
    version = match[2] if match else _current_weights(root)
    places = [root / inside for inside in _INSIDE]
    if version is not None:
        places.insert(0, root / "weights" / version)
    for place in places:
        if (place / WEIGHTS_FILE).is_file() and (place / _EXPERIMENT_FILE).is_file():
            return place
    raise UserError(
        f"model.tasks: {kind}: there is no trained image tokeniser at {path}. Name the folder of a "
        "finished run (`vlsearch train --config configs/image_tokenizer.yaml`), a release, or a "
        f"folder with {WEIGHTS_FILE} and {_EXPERIMENT_FILE}. Received: tokenizer={path!r}"
    )


def _current_weights(root: Path) -> str | None:
    """Version of the weights of the current release; None where there is no release."""
    try:
        manifest = json.loads((root / "release.json").read_bytes())
    except OSError:
        return None
    version = manifest.get("weights")
    return None if version is None else str(version)
