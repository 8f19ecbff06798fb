"""Files of other programs' models with what they compute, and the way in for both."""

import shutil
from pathlib import Path

import numpy as np
import safetensors.numpy
import tensorflow as tf
import yaml
from typer.testing import CliRunner

from tfx_pipeline.cli.main import app
from vl_models.input.config import DataFacts
from vl_models.models.registry import build_model, model_config_from_dict
from vl_models.text.vocabulary import SPECIAL_TOKENS
from vl_models.training.checkpoint import by_path
from vl_models.training.config import WarmStartConfig
from vl_models.training.warm_start import warm_start
from vl_models.weights.importer import import_weights

PROGRAMS = Path(__file__).parents[2] / "golden" / "published_programs"
VILT = {
    "system": "vilt",
    "image_size": 32,
    "max_length": 8,
    "width": 32,
    "depth": 3,
    "heads": 4,
    "mlp_ratio": 2.0,
    "patch_size": 8,
    "epsilon": 1e-12,
}
TOLERANCE = 1e-5


def published(name):
    return dict(np.load(PROGRAMS / name / "io.npz"))


def batch_of(values):
    batch = {"image": tf.constant(values["image"])}
    if "token_ids" in values:
        batch["token_ids"] = tf.constant(values["token_ids"], tf.int32)
        batch["text_mask"] = tf.constant(values["text_mask"] > 0)
    return batch


def imported(name, model, folder, checkpoint=None, warning=""):
    """The model with the weights of a program, as a user brings them in."""
    vocabulary = folder / "vocab.txt"
    words = [f"word{number}" for number in range(96 - len(SPECIAL_TOKENS))]
    vocabulary.write_text("\n".join([*SPECIAL_TOKENS, *words]) + "\n", encoding="utf-8")
    experiment = {
        "name": name.replace("_", "-"),
        "data": {"folder": "none"},
        "vocabulary": {"kind": "wordpiece", "pretrained": str(vocabulary)},
        "model": model,
        "train": {"steps": 1, "global_batch_size": 4, "learning_rate": 1e-3},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
    output = folder / "start.safetensors"
    files = ["--config", str(folder / "experiment.yaml"), "--output", str(output)]
    checkpoint = str(checkpoint or PROGRAMS / name / "model.safetensors")
    called = CliRunner().invoke(
        app, ["weights", "import", checkpoint, *files], catch_exceptions=False
    )
    assert called.exit_code == 0 and called.output.count("Check:") == bool(warning)
    assert warning in " ".join(called.output.split())
    facts = DataFacts(vocabulary_size=96, mask_id=4)
    built = build_model(model_config_from_dict(model).completed(facts))
    only = list(safetensors.numpy.load_file(output))
    settings = WarmStartConfig.model_validate({"from": str(output), "only": only})
    warm_start(by_path(built.variables), settings)
    return built, set(only)


def result_of(tensors, folder, **changes):
    path = folder / "model.safetensors"
    safetensors.numpy.save_file(tensors, path)
    shutil.copy(PROGRAMS / "vilt_mlm" / "config.json", folder)
    config = {**VILT, "vocabulary_size": 96, "mask_id": 4, "tasks": [{"kind": "itm"}], **changes}
    return import_weights([path], model_config_from_dict(config))
