"""The systems that training at scale is tested with, made tiny: 8 px, width 8, one layer."""

from pathlib import Path

import tiny

from vl_models.models.registry import create_model, model_config_from_dict

SIZE = 8
_TOWERS = {
    "image_size": SIZE,
    "embedding_dim": 8,
    "max_length": tiny.LENGTH,
    "vocabulary_size": tiny.VOCABULARY,
    "image": {"kind": "cnn", "widths": [8], "blocks": [0]},
    "text": {"kind": "transformer", "width": 8, "depth": 1, "heads": 1},
}
_FUSION = {
    "image_size": SIZE,
    "max_length": tiny.LENGTH,
    "vocabulary_size": tiny.VOCABULARY,
    "mask_id": 1,
    "width": 8,
    "depth": 2,
    "heads": 1,
    "patch_size": 4,
}
SYSTEMS = {
    "clip": {"system": "clip", **_TOWERS},
    # The queue wraps around within the third step.
    "wenlan": {"system": "wenlan", "queue_size": 10, "momentum": 0.9, **_TOWERS},
    "unicl": {"system": "unicl", **_TOWERS},
    # Its codebook is moved, and codes are restarted, in the forward pass.
    "image_tokenizer": {
        "system": "image_tokenizer",
        "image_size": SIZE,
        "image": {"kind": "cnn", "widths": [8], "blocks": [0]},
        "codebook": {"size": 8, "dim": 4},
    },
    # Masks, negatives, dropped paths and units come from the rows' seeds.
    "vilt": {"system": "vilt", "dropout": 0.1, **_FUSION},
    "vlmo": {
        "system": "vlmo",
        "pair_from": 1,
        "drop_path": 0.2,
        "layer_scale": 1.0,  # Adam makes of gradients near 0, which 0.1 gives, mostly rounding
        "tasks": [
            {"kind": "itc"},
            {"kind": "itm", "negatives": "hard"},
            {"kind": "mlm", "weight": 0.25},
        ],
        **_FUSION,
    },
    "coca": {
        "system": "coca",
        **_TOWERS,
        "text": {"width": 8, "depth": 1, "heads": 1, "dropout": 0.1},
        "queries": 3,
        "pooler_heads": 1,
    },
    # Batch normalisation and the dictionary see the global batch, in the forward pass.
    "soho": {
        "system": "soho",
        **_FUSION,
        "image": {"kind": "resnet", "blocks": [1], "width": 4},
        "pool": 1,
        "dictionary": {"size": 6, "restart_below": 0.05},
        "tasks": [
            {"kind": "mlm", "tied": True},
            {"kind": "mvm", "probability": 0.5},
            {"kind": "itm"},
        ],
    },
    # The reversal's strength depends on how many instances were seen.
    "adversary": {
        "system": "clip",
        "shared_projection": True,
        "tasks": [
            {"kind": "modality_adversary", "reversal": {"kind": "dgrl", "instances": 16}},
            {"kind": "pair_margin", "margin": 0.7},
        ],
        **_TOWERS,
    },
}
# Steps of fusion systems take long to compile, and in other processes again: ViLT's is part of
# VLMo's, and that one is killed in each of its stages by test_stages_of_vlmo.py. FLAVA is trained
# by test_batch_kinds_of_flava.py.
# UniCL has no state, and gathers what CLIP gathers.
OVER_WORKERS = tuple(n for n in SYSTEMS if n not in ("unicl", "vilt", "coca", "soho"))
KILLED = tuple(name for name in SYSTEMS if name not in ("unicl", "vlmo"))
DUAL_ENCODERS = tuple(name for name, config in SYSTEMS.items() if "text" in config)


def make_model(name, **changes):
    """The model of one of the systems, not built."""
    return create_model(model_config_from_dict({**SYSTEMS[name], **changes}))


def settings(**changes):
    """A training with clipping, warm-up and weight decay, of 5 steps."""
    return {
        "seed": 3,
        "global_batch_size": 4,
        "texts_per_image": 2,
        "shuffle_buffer": 5,
        "steps": 5,
        "learning_rate": 0.001,
        "warmup_steps": 2,
        "clip_norm": 0.3,
        "log_every": 1,
        "checkpoint_every": 3,
        **changes,
    }


def make_trainer(name, run_dir, pattern, strategy, *, model=None, functions=None, **changes):
    """A trainer of one of the systems on the tiny records; ``functions`` are hooks by name."""
    from vl_models.training.config import TrainConfig
    from vl_models.training.trainer import Trainer

    return Trainer(
        lambda: make_model(name, **(model or {})),
        TrainConfig.model_validate(settings(**changes)),
        Path(run_dir),
        strategy,
        [tiny.source(pattern, image_size=SIZE, text_fn=tiny.tokenize_words)],
        functions,
    )
