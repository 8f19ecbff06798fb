"""Configurations of published sizes, made narrow: they are built and trained for one step."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.vl_models.fusion_systems import make_batch
from tfx_pipeline.config import ExperimentConfig
from vl_models.models.registry import build_model
from vl_models.training.config import OptimizerConfig
from vl_models.training.patterns import matches

CONFIGS = Path(__file__).parents[2] / "configs"
NARROW = {"width": 16, "heads": 2, "depth": 2, "vocabulary_size": 60, "mask_id": 4}
NARROW |= {"image_size": 32, "patch_size": 8, "max_length": 8}
BASE = ["vilt_base", "vlmo_base", "vlmo_base_plus", "vlmo_large", "flava_base", "soho_base"]


def narrow(name):
    """The model of an experiment without masked images, which need a trained tokeniser."""
    model = ExperimentConfig.load(CONFIGS / f"{name}.yaml").model
    tasks = tuple(task for task in model.tasks if task.kind not in ("mim", "mmm"))
    sizes = dict(NARROW)
    if name.startswith("soho"):
        image = model.image.model_copy(update={"blocks": (1, 1), "width": 4})
        sizes |= {"image": image, "dictionary": {"size": 8}}
    if name.startswith("vlmo"):
        sizes["pair_from"] = 1
    return build_model(model.with_values(**sizes, tasks=tasks, precision="float32"))


@pytest.mark.parametrize("name", BASE)
def test_published_sizes_train(name):
    model, batch = narrow(name), make_batch()
    if name == "vilt_base":
        batch["image_extent"] = tf.constant([[32, 32], [16, 32], [32, 8], [24, 24]])
    values = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape() as tape:
        losses = model.losses(batch, model.forward(batch, training=True))
        total = tf.add_n(list(losses.values()))
    of_pairs = {task.config.kind for task in model.tasks if getattr(task.config, "on_pairs", True)}
    assert set(losses) == of_pairs
    gradients = tape.gradient(total, values)
    assert all(np.all(np.isfinite(tf.convert_to_tensor(g))) for g in gradients if g is not None)
    assert sum(gradient is not None for gradient in gradients) > 0.8 * len(gradients)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("vilt_base", (768, 12, 12, 32)),
        ("vlmo_base", (768, 12, 12, 16)),
        ("vlmo_base_plus", (544, 24, 16, 16)),
        ("vlmo_large", (1024, 24, 16, 16)),
        ("flava_base", (768, 12, 12, 16)),
    ],
)
def test_sizes_are_the_published_ones(name, sizes):
    model = ExperimentConfig.load(CONFIGS / f"{name}.yaml").model
    assert (model.width, model.depth, model.heads, model.patch_size) == sizes


def test_vlmo_decays_what_its_program_decays():
    (optimizer,) = ExperimentConfig.load(CONFIGS / "vlmo_base.yaml").train.optimizers
    assert isinstance(optimizer, OptimizerConfig)
    model = narrow("vlmo_base")
    kept = {v.path for v in model.trainable_variables if matches(v.path, optimizer.no_decay)}
    for path in (
        "encoder/block_0/attention_norm/gamma",
        "encoder/block_0/attention/query_bias",
        "encoder/position_bias/image_table",
        "encoder/norm_after/beta",
    ):
        assert path in kept
    for path in (
        "encoder/block_0/text_norm/gamma",
        "encoder/block_1/pair_norm/gamma",
        "encoder/block_0/attention_scale/scale",
        "encoder/block_0/attention/qkv/kernel",
    ):
        assert path not in kept


@pytest.mark.parametrize("name", ["vlmo", "vlmo_base"])
def test_texts_alone_train_nothing_of_attention_and_images(name):
    train = ExperimentConfig.load(CONFIGS / f"{name}.yaml").train
    (phase,) = next(stage for stage in train.stages if stage.name == "texts").phases
    paths = [variable.path for variable in narrow("vlmo_base").trainable_variables]
    trained = {path for path in paths if matches(path, phase.variables)}
    frozen = [path for path in paths if path not in trained]
    assert {path.split("/")[0] for path in trained} == {
        *("text_embedding", "text_type", "encoder"),
        "mlm_head",
    }
    inner = {path.split("/")[2] for path in trained if path.startswith("encoder/block")}
    assert inner == {"text_norm", "text_mlp_hidden", "text_mlp_output"}
    assert "encoder/block_0/attention/qkv/kernel" in frozen
    assert "encoder/block_0/image_mlp_hidden/kernel" in frozen
    assert "image_embedding/projection/kernel" in frozen


@pytest.mark.parametrize(
    ("name", "abilities"),
    [
        ("vilt", {"score_pairs", "score_tokens"}),
        ("vilt_scenes", {"score_pairs", "score_tokens", "encode_image"}),
        ("vlmo_scenes", {"score_pairs", "score_tokens", "encode_image"}),
        ("soho", {"score_pairs", "score_tokens"}),
        ("soho_scenes", {"score_pairs", "score_tokens"}),
        ("vilt_vqa", {"answer"}),
        ("vilt_nlvr2", {"answer"}),
        ("vilt_snli_ve", {"answer"}),
    ],
)
def test_experiments_of_the_demo_can_do_what_they_are_for(name, abilities):
    model = ExperimentConfig.load(CONFIGS / f"{name}.yaml").model
    built = build_model(model.with_values(**NARROW, answers=("yes", "no"), precision="float32"))
    assert {ability for ability in abilities if hasattr(built, ability)} == abilities


def test_coca_of_published_size_is_built_narrow_and_trains():
    model = ExperimentConfig.load(CONFIGS / "coca_base.yaml").model
    assert (model.text.width, model.text.depth, model.decoder_depth) == (768, 6, 6)
    assert (model.image_size // model.image.patch_size, model.queries) == (16, 256)
    small = {"width": 16, "depth": 1, "heads": 2}
    narrow = model.with_values(
        image=model.image.model_copy(update={**small, "patch_size": 8}),
        text=model.text.model_copy(update=small),
        image_size=32,
        max_length=8,
        vocabulary_size=60,
        pooler_heads=2,
        precision="float32",
    )
    built, batch = build_model(narrow), make_batch()
    losses = built.losses(batch, built.forward(batch, training=True))
    assert set(losses) == {"contrastive", "captioning"}
    assert all(np.isfinite(loss) for loss in losses.values())
