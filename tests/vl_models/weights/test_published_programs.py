"""Weights of ViLT and BEiT through `vlsearch weights import`: the numbers are their programs'."""

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from tests.vl_models.weights.published import (
    PROGRAMS,
    TOLERANCE,
    VILT,
    batch_of,
    imported,
    published,
    result_of,
)
from vl_models.errors import UserError
from vl_models.fusion.multiway import IMAGE
from vl_models.training.checkpoint import by_path
from vl_models.weights.describe import experiment_sections
from vl_models.weights.layouts import find_layout
from vl_models.weights.read import TensorFiles

ANSWERS = [f"answer {number}" for number in range(11)]


def test_vilt_with_masked_words(tmp_path):
    model, loaded = imported("vilt_mlm", {**VILT, "tasks": [{"kind": "mlm"}]}, tmp_path)
    assert loaded == {variable.path for variable in model.variables}
    values = published("vilt_mlm")
    fused = model.fuse_batch(batch_of(values))
    text, first, patches = np.split(values["hidden"], [8, 9], axis=1)
    np.testing.assert_allclose(fused.text.values, text, atol=TOLERANCE)
    np.testing.assert_allclose(fused.image.values[:, :1], first, atol=TOLERANCE)
    # The program draws the patches that it reads, here all of them, and leaves them in that order.
    apart = np.abs(fused.image.values[:, 1:, None] - patches[:, None]).max(axis=-1)
    np.testing.assert_array_equal(np.sort(np.argmin(apart, axis=2)), [np.arange(16)] * 3)
    assert np.min(apart, axis=2).max() < TOLERANCE
    np.testing.assert_allclose(fused.pooled, values["pooled"], atol=TOLERANCE)
    logits = model.tasks[0].head(fused.text.values)
    np.testing.assert_allclose(logits, values["mlm_logits"], atol=TOLERANCE)
    types = by_path(model.variables)["image_embedding/type_vectors"].numpy()
    np.testing.assert_array_equal(types[1], types[2])  # the second image starts as the first


def test_vilt_for_retrieval(tmp_path):
    model, _ = imported("vilt_retrieval", {**VILT, "tasks": [{"kind": "retrieval"}]}, tmp_path)
    values = published("vilt_retrieval")
    scores = model.score_pairs(batch_of(values))
    np.testing.assert_allclose(scores, values["rank_logits"][:, 0], atol=TOLERANCE)


def test_vilt_for_answers(tmp_path):
    config = {**VILT, "tasks": [{"kind": "vqa"}], "answers": ANSWERS}
    model, _ = imported("vilt_vqa", config, tmp_path)
    values = published("vilt_vqa")
    answers = model.tasks[0].head(model.fuse_batch(batch_of(values)).pooled)
    np.testing.assert_allclose(answers, values["vqa_logits"], atol=TOLERANCE)


def test_beit_with_masked_patches(image_tokenizer, tmp_path):
    task = {"kind": "mim", "tokenizer": image_tokenizer}
    config = {**VILT, "system": "vlmo", "pair_from": 3, "tasks": [task]}
    model, loaded = imported("beit_mim", config, tmp_path)
    others = {variable.path for variable in model.variables} - loaded
    assert all(path.startswith(("text_", "encoder/pooler")) or "/text_" in path for path in others)
    values = published("beit_mim")
    batch = batch_of(values)
    tokens = model.embed_image(batch, training=False)
    hidden = model.encoder(tokens, modality=IMAGE)
    np.testing.assert_allclose(hidden, values["hidden_unmasked"], atol=TOLERANCE)
    masked = model.embed_image(batch, training=False, masked=tf.constant(values["mask"]))
    read, _ = model.alone(masked, IMAGE)
    logits = model.tasks[0].head(read[:, 1:])
    np.testing.assert_allclose(logits, values["logits"], atol=TOLERANCE)
    outputs = {
        "mim_logits": logits,
        "mim_codes": tf.constant(values["codes"], tf.int32),
        "mim_mask": tf.constant(values["mask"]),
    }
    loss = model.tasks[0].losses(batch, outputs)["mim"]
    np.testing.assert_allclose(loss, values["mim_loss"], atol=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "layout", "tasks"),
    [
        ("vilt_mlm", "huggingface_vilt", ["mlm"]),
        ("vilt_retrieval", "huggingface_vilt", ["retrieval"]),
        ("vilt_vqa", "huggingface_vilt", ["vqa"]),
        ("beit_mim", "huggingface_beit", ["mim"]),
    ],
)
def test_the_layout_is_recognised_and_described(name, layout, tasks):
    tensors = TensorFiles([PROGRAMS / name / "model.safetensors"])
    assert find_layout("auto", tensors).name == layout
    model = experiment_sections(tensors)["model"]
    assert [task["kind"] for task in model.pop("tasks")] == tasks
    if layout == "huggingface_beit":
        expected = {**VILT, "system": "vlmo", "pair_from": 3}
        del expected["max_length"]
    else:
        expected = {**VILT, "max_length": 12}
    assert model == expected


@pytest.fixture(scope="module")
def vilt():
    return safetensors.numpy.load_file(PROGRAMS / "vilt_mlm" / "model.safetensors")


def test_heads_that_the_experiment_lacks_are_left_out_and_others_start_anew(vilt, tmp_path):
    result = result_of(vilt, tmp_path)
    assert {name.split(".")[0] for name in result.unmatched} == {"mlm_score"}
    assert not any(path.startswith("itm_head") for path in result.values)
    assert "itm_head/*" not in result.only() and "encoder/*" in result.only()


def test_a_deeper_file_another_epsilon_and_a_larger_image_are_told(vilt, tmp_path):
    result = result_of(vilt, tmp_path, depth=2, epsilon=1e-6, image_size=48)
    assert result.warnings == [
        "The file has 3 blocks, the model takes the first 2: set model.depth.",
        "model.epsilon is 1e-06; models of this layout have 1e-12.",
    ]
    assert result.resize == {"image_embedding/grid_positions": "grid"}


def test_another_system_is_refused(vilt, tmp_path):
    with pytest.raises(UserError) as caught:
        result_of(vilt, tmp_path, system="vlmo", pair_from=3)
    assert str(caught.value) == (
        "Files of layout huggingface_vilt hold a model of system vilt. Received: "
        "model.system=vlmo. `vlsearch weights inspect` prints the model section that fits the file."
    )
    with pytest.raises(UserError, match="hold the towers of dual encoders, and system 'vilt' has"):
        result_of({"visual.proj": np.zeros([2, 2], np.float32)}, tmp_path)


def test_a_missing_tensor_and_another_width_are_named(vilt, tmp_path):
    del (tensors := dict(vilt))["vilt.embeddings.cls_token"]
    with pytest.raises(UserError, match=r"- image_embedding/class_vector \[32\]: the file has no"):
        result_of(tensors, tmp_path)
    with pytest.raises(UserError, match=r"set model\.width, model\.mlp_ratio"):
        result_of(vilt, tmp_path, mlp_ratio=4.0)


def test_names_of_published_files_are_those_of_transformers_4(tmp_path):
    tensors = safetensors.numpy.load_file(PROGRAMS / "beit_mim" / "model.safetensors")
    older = {
        "beit.layers.": "beit.encoder.layer.",
        "attention.q_proj": "attention.attention.query",
        "attention.k_proj": "attention.attention.key",
        "attention.v_proj": "attention.attention.value",
        "attention.o_proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
        "shared_position_bias": "encoder.relative_position_bias",
    }

    def renamed(name):
        for new, old in older.items():
            name = name.replace(new, old)
        return name

    new, old = (
        result_of(values, tmp_path, system="vlmo", pair_from=3)
        for values in (tensors, {renamed(name): value for name, value in tensors.items()})
    )
    assert new.values.keys() == old.values.keys()
    for path, value in new.values.items():
        np.testing.assert_array_equal(old.values[path], value, err_msg=path)
