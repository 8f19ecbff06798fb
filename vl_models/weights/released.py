"""The weights of a release: what a warm start reads, whatever the SavedModels are made for."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import keras
import numpy as np
import safetensors.numpy

from vl_models.models.base import VisionLanguageModel
from vl_models.text.factory import save_vocabulary, vocabulary_files
from vl_models.text.tokenizer import Tokenizer

WEIGHTS_DIR = "weights"
WEIGHTS_FILE = "weights.safetensors"
EXPERIMENT_FILE = "experiment.yaml"


def released_variables(model: VisionLanguageModel) -> dict[str, keras.Variable]:
    """Variables that belong to what was learnt, by path: weights, heads, batch statistics.

    Layers whose attribute ``released`` is False keep the state of a training alone, as queues,
    banks and momentum encoders do; states of random generators are left out, too.
    """
    kept_back = {
        id(variable)
        for layer in model.layers
        for part in layer._flatten_layers()
        if not getattr(part, "released", True)
        for variable in part.variables
    }
    return {
        variable.path: variable
        for variable in model.variables
        if id(variable) not in kept_back and keras.backend.is_float_dtype(variable.dtype)
    }


def write_weights(
    model: VisionLanguageModel,
    tokenizer: Tokenizer | None,
    out_dir: Path,
    experiment_yaml: str | None = None,
) -> Path:
    """Write ``weights/``: float32 safetensors by variable path, configuration, vocabulary.

    Args:
        model: built.
        tokenizer: the one that the model was trained with; None if it reads no tokens.
        out_dir: gets the folder, in one piece; an earlier one is replaced.
        experiment_yaml: the experiment's configuration; left out if None.

    Returns:
        The folder.
    """
    target = out_dir / WEIGHTS_DIR
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{WEIGHTS_DIR}-", dir=out_dir) as temporary:
        staged = Path(temporary, WEIGHTS_DIR)
        staged.mkdir()
        values = {
            path: np.ascontiguousarray(variable.value.numpy(), np.float32).reshape(variable.shape)
            for path, variable in released_variables(model).items()
        }
        safetensors.numpy.save_file(values, staged / WEIGHTS_FILE)
        if experiment_yaml is not None:
            (staged / EXPERIMENT_FILE).write_text(experiment_yaml, encoding="utf-8")
        if tokenizer is not None:
            save_vocabulary(vocabulary_files(tokenizer), staged)
        if target.exists():
            shutil.rmtree(target)
        staged.replace(target)
    return target
