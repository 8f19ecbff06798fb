import numpy as np
import pytest
import safetensors.numpy

from tests.vl_models.weights import checkpoints, reference
from tests.vl_models.weights.test_layouts import CHINESE, IDS, IMAGES, MASK, OPEN_CLIP, write
from vl_models.errors import UserError
from vl_models.models.registry import build_model
from vl_models.training.checkpoint import by_path
from vl_models.training.config import WarmStartConfig
from vl_models.training.resizing import resize_positions
from vl_models.training.warm_start import warm_start
from vl_models.weights.importer import import_weights, write_weights

POSITIONS = "image_encoder/patch_embedding/positions"


def run(tensors, folder, text="transformer", options=None, **changes):
    path = write(tensors, folder / "model.safetensors")
    return import_weights([path], checkpoints.model_config(text, **changes), **(options or {}))


def without(tensors, *names):
    return {name: value for name, value in tensors.items() if name not in names}


def image_only(**options):
    return {"allow_missing": ["text_*"], **options}


def test_the_written_file_is_a_warm_start(tmp_path):
    result = run(OPEN_CLIP, tmp_path)
    write_weights(result, tmp_path / "out" / "weights.safetensors")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["weights.safetensors"]
    model = build_model(checkpoints.model_config())
    config = WarmStartConfig.model_validate({"from": str(tmp_path / "out/weights.safetensors")})
    loaded = warm_start(by_path(model.variables), config)
    assert set(loaded) == {variable.path for variable in model.variables}
    image = model.encode_image({"image": IMAGES[:1]})[0]
    expected = reference.clip_image(IMAGES[0], OPEN_CLIP, checkpoints.HEADS)
    np.testing.assert_allclose(image, expected, atol=1e-5)


def test_a_larger_image_resizes_the_grid_of_positions(tmp_path):
    result = run(OPEN_CLIP, tmp_path, image_size=32)
    assert result.values[POSITIONS].shape == (5, 8)  # as stored
    assert result.resize == {POSITIONS: "grid"}
    write_weights(result, tmp_path / "weights.safetensors")
    assert "resize:\n      image_encoder/patch_embedding/positions: grid" in result.warm_start("x")
    model = build_model(checkpoints.model_config(image_size=32))
    settings = {"from": str(tmp_path / "weights.safetensors"), "resize": result.resize}
    warm_start(by_path(model.variables), WarmStartConfig.model_validate(settings))
    np.testing.assert_array_equal(
        by_path(model.variables)[POSITIONS].numpy(),
        resize_positions(OPEN_CLIP["visual.positional_embedding"], 17, "grid"),
    )


def test_shorter_texts_take_the_first_positions_exactly(tmp_path):
    result = run(OPEN_CLIP, tmp_path, max_length=5)
    np.testing.assert_array_equal(
        result.values["text_encoder/positions"], OPEN_CLIP["positional_embedding"][:5]
    )
    [entry] = [entry for entry in result.entries if entry.status == "cropped"]
    assert entry.note == "the first 5 of 10 positions"
    assert result.resize == {}


def test_longer_texts_are_for_the_warm_start_to_resize(tmp_path):
    result = run(OPEN_CLIP, tmp_path, max_length=20)
    assert result.resize == {"text_encoder/positions": "sequence"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"embedding_dim": 7},
            "- visual.proj [8, 6] does not fit image_projection/kernel [8, 7]: set "
            "model.image.width and model.embedding_dim to the file's.\n"
            "- text_projection [12, 6] does not fit text_projection/kernel [12, 7]: set "
            "model.text.width and model.embedding_dim to the file's.\n",
        ),
        (
            {"vocabulary_size": 41},
            "- token_embedding.weight [40, 12] does not fit text_encoder/token_embedding "
            "[41, 12]: rows are the vocabulary (vocabulary.pretrained must be the checkpoint's), "
            "columns model.text.width.",
        ),
        (
            {"image": {"patch_size": 4}},
            "- visual.conv1.weight [8, 3, 8, 8] does not fit "
            "image_encoder/patch_embedding/kernel [48, 8]: set model.image.patch_size and "
            "model.image.width to the file's.",
        ),
        (
            {"text_changes": {"mlp_ratio": 2.0}},
            "- transformer.resblocks.0.mlp.c_fc.weight [48, 12] does not fit "
            "text_encoder/block_0/mlp_hidden/kernel [12, 24]: set model.text.width and "
            "model.text.mlp_ratio to the file's.",
        ),
        (
            {"text_changes": {"depth": 3}},
            "- text_encoder/block_2/attention/qkv/kernel [12, 36]: the file has no value.",
        ),
    ],
)
def test_a_shape_that_does_not_fit_is_named_with_its_remedy(changes, message, tmp_path):
    with pytest.raises(UserError) as caught:
        run(OPEN_CLIP, tmp_path, **changes)
    text = str(caught.value)
    assert "variables of the model do not fit" in text and "(layout open_clip):" in text
    assert message in text
    assert text.endswith("`vlsearch weights inspect` prints the model section that fits the file.")


def test_a_missing_tensor_is_named_and_may_be_allowed(tmp_path):
    tensors = without(OPEN_CLIP, "visual.ln_pre.bias", "logit_scale")
    with pytest.raises(
        UserError, match=r"1 variables .*\n- image_encoder/norm_before/beta \[8\]: the file has no"
    ):
        run(tensors, tmp_path)
    result = run(tensors, tmp_path, options={"allow_missing": ["*/norm_before/*"]})
    assert "image_encoder/norm_before/beta" not in result.values
    assert result.count("missing") == 2  # the temperature, no part of a tower, may be missing
    only = result.only()
    assert "text_encoder/*" in only and "image_encoder/norm_before/gamma" in only
    assert "image_encoder/*" not in only and "temperature/*" not in only
    assert "only:" in result.warm_start("x")


def test_a_part_of_a_fused_kernel_is_not_enough(tmp_path):
    tensors = without(
        checkpoints.huggingface(OPEN_CLIP), "text_model.encoder.layers.1.self_attn.k_proj.bias"
    )
    with pytest.raises(UserError) as caught:
        run(tensors, tmp_path)
    prefix = "text_model.encoder.layers.1.self_attn"
    assert (
        f"- text_encoder/block_1/attention/qkv/bias [36]: the file has only {prefix}.q_proj.bias, "
        f"{prefix}.v_proj.bias of 3 parts." in str(caught.value)
    )


def test_names_without_a_place_are_reported(tmp_path):
    tensors = {**OPEN_CLIP, "visual.extra.weight": np.ones(2, "f")}
    changes = {"text_changes": {"depth": 1}}
    result = run(tensors, tmp_path, **changes)
    assert "visual.extra.weight" in result.unmatched
    deeper = [name for name in OPEN_CLIP if name.startswith("transformer.resblocks.1.")]
    assert sorted(result.unmatched) == sorted([*deeper, "visual.extra.weight"])
    assert (
        "The file's text tower has 2 blocks, the model takes the first 1: set model.text.depth."
        in result.warnings
    )


def test_one_tower_alone(tmp_path):
    tensors = {name: value for name, value in OPEN_CLIP.items() if name.startswith("visual.")}
    result = run(tensors, tmp_path, "bert", options=image_only())
    assert result.only() == ["image_encoder/*", "image_projection/*"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("visual.layer1.0.conv1.weight", "image tower is a ResNet with attention pooling"),
        ("visual.trunk.blocks.0.norm1.weight", "image tower is a tower of timm"),
        ("visual.blocks.0.norm1.weight", "image tower is an EVA vision transformer"),
        ("visual.attn_pool.query", "image tower is a vision transformer with an attention pooler"),
        ("visual.transformer.resblocks.0.ls_1.gamma", "vision transformer with layer scale"),
        ("transformer.resblocks.0.ls_1.gamma", "text tower is a text tower with layer scale"),
        ("visual.conv1.bias", "a vision transformer whose patch convolution has a bias"),
        ("text.transformer.encoder.layer.0.output.dense.bias", "text tower of Hugging Face's"),
        ("text.cls_emb", "text tower is CoCa's text tower"),
    ],
)
def test_towers_that_have_no_counterpart_are_refused(extra, message, tmp_path):
    tensors = {**OPEN_CLIP, extra: np.ones(2, "f")}
    with pytest.raises(UserError) as caught:
        run(tensors, tmp_path)
    assert message in str(caught.value) and f"(tensor '{extra}')" in str(caught.value)


def test_a_resnet_checkpoint_still_gives_its_text_tower(tmp_path):
    tensors = {**CHINESE, "visual.layer1.0.conv1.weight": np.ones(2, "f")}
    result = run(tensors, tmp_path, "bert", options={"allow_missing": ["image_*"]})
    assert "text_encoder/token_embedding" in result.values


def test_another_kind_of_tower_is_refused(tmp_path):
    with pytest.raises(
        UserError,
        match=r"The text towers of layout chinese_clip need model\.text\.kind: bert\. "
        r"Received: transformer\.",
    ):
        run(CHINESE, tmp_path)


def test_token_embeddings_need_their_own_vocabulary(tmp_path):
    with pytest.raises(UserError, match=r"\(token_embedding\.weight\) belong to its own vocabular"):
        run(OPEN_CLIP, tmp_path, options={"learned_vocabulary": True})
    result = run(
        OPEN_CLIP,
        tmp_path,
        options={"learned_vocabulary": True, "allow_missing": ["text_encoder/token_embedding"]},
    )
    assert "text_encoder/token_embedding" not in result.values
    assert result.count("left out") == 1
    assert "text_encoder/positions" in result.values


def test_settings_that_no_tensor_tells_are_checked(tmp_path):
    result = run(
        checkpoints.openai(OPEN_CLIP),
        tmp_path,
        image={"activation": "gelu", "mean": [0.5, 0.5, 0.5]},
        text_changes={"causal": False},
    )
    assert result.warnings == [
        "model.image.activation is gelu; models of this layout have quick_gelu.",
        "model.image.mean is [0.5, 0.5, 0.5]; models of this layout have "
        "[0.48145466, 0.4578275, 0.40821073].",
        "model.image.heads is 2; models of this layout have 1.",
        "model.text.causal is False; models of this layout have True.",
        "model.text.heads is 2; models of this layout have 1.",
    ]


def test_a_configuration_beside_the_file_tells_more(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"vision_config": {"hidden_act": "gelu", "hidden_size": 8, "num_attention_heads": 2},'
        ' "text_config": {"hidden_size": 12, "num_attention_heads": 2}}'
    )
    result = run(checkpoints.huggingface(OPEN_CLIP), tmp_path)
    assert result.warnings == [
        "model.image.activation is quick_gelu; models of this layout have gelu."
    ]


def test_what_only_a_model_name_tells_is_said_with_a_caveat(tmp_path):
    warnings = run(OPEN_CLIP, tmp_path).warnings
    assert (
        "model.text.activation is quick_gelu; models of this layout have gelu, unless the model's "
        "name ends in -quickgelu or it is one of OpenAI's." in warnings
    )
    (tmp_path / "open_clip_config.json").write_text(
        '{"model_cfg": {"quick_gelu": true, "vision_cfg": {"head_width": 4},'
        ' "text_cfg": {"width": 12, "heads": 2}}}'
    )
    assert run(OPEN_CLIP, tmp_path).warnings == []


def test_half_precision_checkpoints_become_float32(tmp_path):
    half = {name: value.astype(np.float16) for name, value in OPEN_CLIP.items()}
    result = run(half, tmp_path)
    write_weights(result, tmp_path / "w.safetensors")
    written = safetensors.numpy.load_file(tmp_path / "w.safetensors")
    assert {value.dtype for value in written.values()} == {np.dtype("float32")}
    np.testing.assert_array_equal(
        written["image_projection/kernel"], half["visual.proj"].astype(np.float32)
    )


def test_an_unknown_layout_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none of the known layouts \(chinese_clip, .*: b\.w"):
        run({"b.w": np.ones(1, "f")}, tmp_path)
    with pytest.raises(UserError, match=r"--layout must be auto or one of .* Received: clap\."):
        run(OPEN_CLIP, tmp_path, options={"layout": "clap"})


def test_causal_text_beyond_the_end_token_does_not_matter(tmp_path):
    """CLIP's pooling and ours pick the same token, whatever follows it."""
    model = build_model(checkpoints.model_config())
    values = run(OPEN_CLIP, tmp_path).values
    for variable in model.variables:
        variable.assign(values[variable.path])
    garbage = np.where(MASK, IDS, 17)
    one = model.encode_text({"token_ids": IDS, "text_mask": MASK})
    two = model.encode_text({"token_ids": garbage, "text_mask": MASK})
    np.testing.assert_array_equal(one, two)
