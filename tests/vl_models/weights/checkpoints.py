"""Tiny checkpoints of random numbers in the layouts of other programs, and configs that fit."""

import numpy as np

from vl_models.models.registry import model_config_from_dict

SIZE, PATCH, WIDTH, DEPTH, HEADS = 16, 8, 8, 2, 2
TEXT_WIDTH, LENGTH, VOCABULARY, DIM = 12, 10, 40, 6
MEAN = [0.48145466, 0.4578275, 0.40821073]
DEVIATION = [0.26862954, 0.26130258, 0.27577711]


def _random(rng, *shape):
    return rng.normal(0, 0.3, shape).astype(np.float32)


def _norm(rng, name, width):
    return {f"{name}.weight": 1 + _random(rng, width), f"{name}.bias": _random(rng, width)}


def _linear(rng, name, out, into):
    return {f"{name}.weight": _random(rng, out, into), f"{name}.bias": _random(rng, out)}


def _resblocks(rng, prefix, width):
    tensors = {}
    for block in range(DEPTH):
        name = f"{prefix}{block}."
        tensors |= {
            f"{name}attn.in_proj_weight": _random(rng, 3 * width, width),
            f"{name}attn.in_proj_bias": _random(rng, 3 * width),
            **_linear(rng, f"{name}attn.out_proj", width, width),
            **_norm(rng, f"{name}ln_1", width),
            **_linear(rng, f"{name}mlp.c_fc", 4 * width, width),
            **_linear(rng, f"{name}mlp.c_proj", width, 4 * width),
            **_norm(rng, f"{name}ln_2", width),
        }
    return tensors


def visual(rng):
    patches = (SIZE // PATCH) ** 2
    return {
        "visual.class_embedding": _random(rng, WIDTH),
        "visual.positional_embedding": _random(rng, patches + 1, WIDTH),
        "visual.proj": _random(rng, WIDTH, DIM),
        "visual.conv1.weight": _random(rng, WIDTH, 3, PATCH, PATCH),
        **_norm(rng, "visual.ln_pre", WIDTH),
        **_resblocks(rng, "visual.transformer.resblocks.", WIDTH),
        **_norm(rng, "visual.ln_post", WIDTH),
    }


def open_clip(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "positional_embedding": _random(rng, LENGTH, TEXT_WIDTH),
        "text_projection": _random(rng, TEXT_WIDTH, DIM),
        "logit_scale": np.array(3.25, np.float32),
        **visual(rng),
        **_resblocks(rng, "transformer.resblocks.", TEXT_WIDTH),
        "token_embedding.weight": _random(rng, VOCABULARY, TEXT_WIDTH),
        **_norm(rng, "ln_final", TEXT_WIDTH),
    }


def custom_text(tensors):
    """open_clip's CustomTextCLIP: the text tower under a prefix."""
    kept = ("visual.", "logit_scale")
    return {(n if n.startswith(kept) else f"text.{n}"): v for n, v in tensors.items()}


def openai(tensors):
    """With the numbers of OpenAI's compiled archives."""
    extras = {"input_resolution": SIZE, "context_length": LENGTH, "vocab_size": VOCABULARY}
    return {**tensors, **{name: np.array(number, np.int64) for name, number in extras.items()}}


def _huggingface_blocks(tensors, old, new):
    renamed = {}
    for name, value in tensors.items():
        if not name.startswith(old):
            continue
        block, rest = name[len(old) :].split(".", 1)
        prefix = f"{new}{block}."
        if rest.startswith("attn.in_proj"):
            kind = rest.removeprefix("attn.in_proj_")
            for letter, part in zip("qkv", np.split(value, 3), strict=True):
                renamed[f"{prefix}self_attn.{letter}_proj.{kind}"] = part
            continue
        for a, b in (
            ("attn.out_proj", "self_attn.out_proj"),
            ("ln_1", "layer_norm1"),
            ("ln_2", "layer_norm2"),
            ("mlp.c_fc", "mlp.fc1"),
            ("mlp.c_proj", "mlp.fc2"),
        ):
            if rest.startswith(a):
                renamed[prefix + rest.replace(a, b)] = value
    return renamed


def _rename(tensors, names):
    return {
        new + suffix: tensors[old + suffix]
        for old, new in names.items()
        for suffix in ("", ".weight", ".bias")
        if old + suffix in tensors
    }


def huggingface_vision(tensors):
    return {
        **_rename(
            tensors,
            {
                "visual.class_embedding": "vision_model.embeddings.class_embedding",
                "visual.conv1": "vision_model.embeddings.patch_embedding",
                "visual.ln_pre": "vision_model.pre_layrnorm",
                "visual.ln_post": "vision_model.post_layernorm",
                "logit_scale": "logit_scale",
            },
        ),
        "vision_model.embeddings.position_embedding.weight": tensors["visual.positional_embedding"],
        "vision_model.embeddings.position_ids": np.arange(5)[None],
        "visual_projection.weight": tensors["visual.proj"].T,
        **_huggingface_blocks(
            tensors, "visual.transformer.resblocks.", "vision_model.encoder.layers."
        ),
    }


def huggingface(tensors):
    return {
        **huggingface_vision(tensors),
        **_rename(tensors, {"ln_final": "text_model.final_layer_norm"}),
        "text_model.embeddings.token_embedding.weight": tensors["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": tensors["positional_embedding"],
        "text_model.embeddings.position_ids": np.arange(LENGTH)[None],
        "text_projection.weight": tensors["text_projection"].T,
        **_huggingface_blocks(tensors, "transformer.resblocks.", "text_model.encoder.layers."),
    }


def chinese_clip(seed=0):
    rng = np.random.default_rng(seed)
    tensors = {
        **visual(rng),
        "text_projection": _random(rng, TEXT_WIDTH, DIM),
        "logit_scale": np.array(3.25, np.float32),
        "bert.embeddings.word_embeddings.weight": _random(rng, VOCABULARY, TEXT_WIDTH),
        "bert.embeddings.position_embeddings.weight": _random(rng, LENGTH + 6, TEXT_WIDTH),
        "bert.embeddings.token_type_embeddings.weight": _random(rng, 2, TEXT_WIDTH),
        **_norm(rng, "bert.embeddings.LayerNorm", TEXT_WIDTH),
    }
    for block in range(DEPTH):
        name = f"bert.encoder.layer.{block}."
        for part in ("query", "key", "value"):
            tensors |= _linear(rng, f"{name}attention.self.{part}", TEXT_WIDTH, TEXT_WIDTH)
        tensors |= {
            **_linear(rng, f"{name}attention.output.dense", TEXT_WIDTH, TEXT_WIDTH),
            **_norm(rng, f"{name}attention.output.LayerNorm", TEXT_WIDTH),
            **_linear(rng, f"{name}intermediate.dense", 4 * TEXT_WIDTH, TEXT_WIDTH),
            **_linear(rng, f"{name}output.dense", TEXT_WIDTH, 4 * TEXT_WIDTH),
            **_norm(rng, f"{name}output.LayerNorm", TEXT_WIDTH),
        }
    return tensors


def huggingface_chinese(tensors):
    """Hugging Face's port of Chinese-CLIP, with the pooler that some files hold."""
    port = {
        name.replace("bert.", "text_model.", 1): value
        for name, value in tensors.items()
        if name.startswith("bert.")
    }
    return {
        **huggingface_vision(tensors),
        **port,
        "text_projection.weight": tensors["text_projection"].T,
        "text_model.pooler.dense.weight": np.eye(TEXT_WIDTH, dtype=np.float32),
        "text_model.pooler.dense.bias": np.zeros(TEXT_WIDTH, np.float32),
    }


def model_section(text="transformer", **changes):
    """Plain values of a `clip` model that the checkpoints fit."""
    texts = {
        "transformer": {"activation": "quick_gelu", "causal": True, "pooling": "eot"},
        "bert": {},
    }
    image = {
        "kind": "vit",
        "patch_size": PATCH,
        "width": WIDTH,
        "depth": DEPTH,
        "heads": HEADS,
        "mean": MEAN,
        "standard_deviation": DEVIATION,
    }
    values = {
        "system": "clip",
        "image_size": SIZE,
        "max_length": LENGTH,
        "embedding_dim": DIM,
        "image": {**image, **changes.pop("image", {})},
        "text": {
            "kind": text,
            "width": TEXT_WIDTH,
            "depth": DEPTH,
            "heads": HEADS,
            **texts[text],
            **changes.pop("text_changes", {}),
        },
    }
    return {**values, **changes}


def model_config(text="transformer", **changes):
    return model_config_from_dict({"vocabulary_size": VOCABULARY, **model_section(text, **changes)})
