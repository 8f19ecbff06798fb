"""`vlsearch weights`: a checkpoint becomes the start of a training, and what it computes stays."""

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
import yaml
from typer.testing import CliRunner

from tests.harness import run_signature
from tests.vl_models.text.test_clip_bpe_parity import MERGES
from tests.vl_models.training import tiny
from tests.vl_models.weights import checkpoints, reference
from tests.vl_models.weights.test_layouts import write
from tfx_pipeline.cli.main import app
from tfx_pipeline.config import ExperimentConfig
from vl_models.errors import UserError
from vl_models.export import export_members
from vl_models.input.config import InputConfig, InputFacts, SourceConfig, SourceSpec
from vl_models.input.source import RecordSource
from vl_models.models.registry import create_model
from vl_models.text.factory import load_tokenizer, pretrained_tokenizer
from vl_models.training.trainer import Trainer

HEADS, LENGTH = checkpoints.HEADS, checkpoints.LENGTH


@pytest.fixture
def merges(tmp_path):
    path = tmp_path / "bpe.txt"
    path.write_text("#version\n" + "".join(f"{a} {b}\n" for a, b in MERGES), "utf-8")
    return path


@pytest.fixture
def checkpoint(tmp_path, merges):
    """OpenAI's layout with the vocabulary of the merges; the tensors, and the file."""
    size = pretrained_tokenizer("clip_bpe", merges, LENGTH).vocabulary_size
    values = np.random.default_rng(3).normal(0, 0.3, (size, checkpoints.TEXT_WIDTH))
    tensors = checkpoints.openai(checkpoints.open_clip())
    tensors["token_embedding.weight"] = values.astype(np.float32)
    return tensors, write(tensors, tmp_path / "clip.safetensors")


def experiment(folder, merges, **changes):
    """A configuration file that the checkpoint fits."""
    values = {
        "name": "imported",
        "data": {"folder": "data"},
        "vocabulary": {"kind": "clip_bpe", "pretrained": str(merges)},
        "model": checkpoints.model_section(),
        "train": {
            "steps": 1,
            "global_batch_size": 4,
            "learning_rate": 1e-12,
            "weight_decay": 0.0,
        },
        **changes,
    }
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(values), "utf-8")
    return path


def invoke(*arguments):
    # Debugging leaves the standard error of this process alone.
    environment = {"COLUMNS": "200", "VLSEARCH_DEBUG": "1"}
    result = CliRunner().invoke(app, ["weights", *map(str, arguments)], env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_from_a_checkpoint_through_training_to_the_served_signature(tmp_path, merges, checkpoint):
    tensors, file = checkpoint
    config = experiment(tmp_path, merges)
    output = tmp_path / "start.safetensors"

    told = invoke("import", file, "--config", config, "--output", output)

    assert "layout openai_clip" in told
    assert f"{output}: {len(safetensors.numpy.load_file(output))} variables." in told
    # What it tells to put into the experiment is put into the experiment.
    lines = yaml.safe_load(told[told.index("train:") :])
    values = yaml.safe_load(config.read_text("utf-8"))
    values["train"] |= lines["train"]
    loaded = ExperimentConfig.from_dict(values, "test")
    assert loaded.train.warm_start.source == str(output)

    tokenizer = pretrained_tokenizer("clip_bpe", merges, LENGTH)
    model_config = loaded.model.model_copy(update={"vocabulary_size": tokenizer.vocabulary_size})
    facts = InputFacts(image_sizes={"image": checkpoints.SIZE})
    records = RecordSource(
        SourceSpec(SourceConfig(name="clicks"), InputConfig(augment=False), facts),
        [tiny.write_records(tmp_path / "records", shards=1)],
        tokenizer.tokenize,
    )
    trainer = Trainer(
        lambda: create_model(model_config),
        loaded.train,
        tmp_path / "run",
        tf.distribute.get_strategy(),
        [records],
    )
    assert trainer.fit().step == 1
    towers = export_members(trainer.model, tokenizer, tmp_path / "towers")

    assert sorted(path.name for path in (towers["text_tower"] / "assets").iterdir()) == [
        "merges.txt",
        "vocabulary.txt",
    ]
    assets = load_tokenizer(towers["text_tower"] / "assets", LENGTH)
    assert assets.vocabulary == tokenizer.vocabulary
    queries = ["Happy birthday", "生日快乐!!", ""]
    served = run_signature(towers["text_tower"], "encode_text", "query", queries)
    ids = tokenizer.tokenize(tf.constant(queries))["token_ids"].numpy()
    expected = [reference.clip_text(row, tensors, HEADS) for row in ids]
    np.testing.assert_allclose(served, expected, atol=1e-5)
    image = np.random.default_rng(0).integers(0, 256, (checkpoints.SIZE, checkpoints.SIZE, 3))
    png = tf.io.encode_png(image.astype(np.uint8)).numpy()
    served = run_signature(towers["image_tower"], "encode_image", "image_bytes", [png])
    np.testing.assert_allclose(served[0], reference.clip_image(image, tensors, HEADS), atol=1e-5)


def test_overrides_and_missing_patterns_are_taken(tmp_path, merges, checkpoint):
    _, file = checkpoint
    config = experiment(tmp_path, merges, vocabulary={"size": 50})
    output = tmp_path / "image.safetensors"
    arguments = ["import", file, "--config", config, "--output", output]

    with pytest.raises(UserError, match="belong to its own vocabulary"):
        invoke(*arguments)
    assert not output.exists()
    told = invoke(*arguments, "--allow-missing", "text_*", "--set", "model.image_size=32")

    assert "5 positions, resized by the warm start" in told
    settings = yaml.safe_load(told[told.index("train:") :])["train"]["warm_start"]
    assert "image_encoder/*" in settings["only"]
    assert "text_encoder/token_embedding" not in settings["only"]
    assert settings["resize"] == {"image_encoder/patch_embedding/positions": "grid"}


def test_inspect_tells_names_layout_and_what_fits(tmp_path, checkpoint):
    _, file = checkpoint
    told = invoke("inspect", file)
    assert "visual.transformer.resblocks.*.attn.in_proj_weight (2 times)" in told
    assert "F32" in told and "24 × 8" in told
    assert "Layout: openai_clip." in told
    sections = yaml.safe_load(told[told.index("vocabulary:") :])
    assert sections["model"]["image"]["patch_size"] == 8
    assert sections["vocabulary"]["kind"] == "clip_bpe"


def test_inspect_of_an_unknown_layout_still_lists_the_tensors(tmp_path):
    told = invoke("inspect", write({"a.weight": np.ones((2, 3), "f")}, tmp_path / "x.safetensors"))
    assert "a.weight" in told and "2 × 3" in told
    assert "The tensors have none of the known layouts" in told


def test_byte_pair_encoding_needs_its_merges(tmp_path, merges):
    path = experiment(tmp_path, merges, vocabulary={"kind": "clip_bpe"})
    with pytest.raises(UserError, match="kind clip_bpe needs pretrained: CLIP's merges"):
        ExperimentConfig.load(path)
