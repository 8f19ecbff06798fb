"""Export of a trained system: its members as SavedModels, and the weights that made them.

The SavedModels load with the session loader that TF Serving uses. That loader restores only
variables that a `tf.Module` holds directly, which Keras' own objects do not.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from vl_models.compute_dtype import in_compute_dtype
from vl_models.members import (
    DEFAULT_SIGNATURE,
    ENCODE_IMAGE,
    ENCODE_TEXT,
    IMAGE_FEATURES,
    IMAGE_TOWER,
    TEXT_FEATURES,
    TEXT_TOWER,
    ExportSource,
    Member,
    RawInput,
    Signature,
    members_of,
)
from vl_models.models.base import VisionLanguageModel
from vl_models.text.tokenizer import Tokenizer
from vl_models.weights.released import write_weights
from vl_models.zero_shot import ZeroShotClassifier

EXPERIMENT_ASSET = "assets.extra/experiment.yaml"
ZERO_SHOT_ASSET = "assets.extra/zero_shot.json"


class _Tower(tf.Module):
    """Holds what the signatures need: variables, lookup tables and asset files."""

    def __init__(
        self, variables: Sequence[tf.Variable], held: Sequence[Any], assets: Sequence[Path]
    ) -> None:
        super().__init__()
        self.tower_variables = list(variables)
        self.held = list(held)
        self.assets = [tf.saved_model.Asset(str(path)) for path in assets]


def export_members(
    model: VisionLanguageModel,
    tokenizer: Tokenizer | None,
    out_dir: str | os.PathLike[str],
    *,
    experiment_yaml: str | None = None,
    zero_shot: ZeroShotClassifier | None = None,
) -> dict[str, Path]:
    """Write the members that the model has the capabilities for, each in one piece.

    ``text_tower``: ``encode_text`` = ``serving_default``, query string [B] to embedding
    float32 [B, D]; ``encode_text_<prefix>`` for each learned text prefix of the model; and
    where the model has `text_attention`, ``text_attention`` (and ``text_attention_<prefix>``)
    to tokens string [B, P + L], "" where padded, and weights float32 [B, P + L].
    ``image_tower``: ``encode_image`` = ``serving_default``, image_bytes string [B] (what
    `vl_models.input.decoding` decodes) to embedding float32 [B, D]; with classes also
    ``classify_zero_shot``, and where the model has learnt some ``classify``, to classes string
    [B, k] and scores float32 [B, k].
    ``reranker``: ``score``, query string [B] and image_bytes string [B] to score float32 [B];
    where the model reads images apart from texts also ``encode_image_tokens``, image_bytes
    string [B] to tokens float16 [B, T, W], and ``score_tokens``, query string [B] and tokens
    float16 [B, T, W] to score float32 [B].
    ``captioner``: ``caption``, image_bytes string [B] to caption string [B] and score float32 [B].
    ``image_tokenizer``: ``tokenize``, image_bytes string [B] to tokens int32 [B, h·w]; and where
    the model can, ``reconstruct`` to image and reconstruction uint8 [B, H, W, 3].
    ``answerer``: ``answer``, query string [B] and image_bytes string [B] (where the system reads
    two images also image_2_bytes string [B]) to answers string [B, k], best first, and scores
    float32 [B, k].

    Tokeniser and decoder are part of the graphs; the vocabulary is beside them in ``assets/``
    (`vl_models.text.factory.load_tokenizer` reads it). A tower of features takes ``features``
    float32 [B, d] instead of strings, a reranker ``image_features`` and ``text_features``;
    where the model hashes, a tower also has ``hash_text`` or ``hash_image``, to code uint8
    [B, bits / 8]. Beside the members, ``weights/`` holds what a warm start reads. An earlier
    export in the same place is replaced.

    Args:
        model: built; its configuration has an ``image_size``.
        tokenizer: the one that the model was trained with; None if it reads no tokens.
        out_dir: the folder that gets the folders of the members.
        experiment_yaml: the experiment's configuration, kept in ``assets.extra/``.
        zero_shot: classes to tell images apart by; what they are made of is kept in the image
            tower's ``assets.extra/``.

    Returns:
        Folder of each member by its name.

    Raises:
        ValueError: a model of tokens without a tokeniser, or one without a member; image tokens
            of no fixed shape, or of more than 8,192 numbers per image.
    """
    return _export(ExportSource.of(model, tokenizer, zero_shot), Path(out_dir), experiment_yaml)


def export_compositions(
    model: VisionLanguageModel,
    base: Mapping[str, Path],
    out_dir: str | os.PathLike[str],
    *,
    experiment_yaml: str | None = None,
) -> dict[str, Path]:
    """Write members of features on top of the exported towers that the features come from.

    They take what those take, ``query`` or ``image_bytes`` string [B], so they are released and
    served like any other.

    Args:
        model: built; reads "image_features" and "text_features".
        base: folder of the exported ``image_tower`` and ``text_tower``.
        out_dir: the folder that gets the folders of the members.
        experiment_yaml: the experiment's configuration, kept in ``assets.extra/``.

    Returns:
        Folder of each member by its name.

    Raises:
        ValueError: a tower's embeddings are not as wide as the model's features.
    """
    config = model.get_config()
    image = _on_top(base[IMAGE_TOWER], ENCODE_IMAGE, IMAGE_FEATURES, config["image"]["width"])
    text = _on_top(base[TEXT_TOWER], ENCODE_TEXT, TEXT_FEATURES, config["text"]["width"])
    return _export(ExportSource(model, None, image, text), Path(out_dir), experiment_yaml)


def _on_top(tower: Path, signature: str, modality: str, wanted: int) -> RawInput:
    """Raw input of an exported tower, whose embeddings are the features that a model reads."""
    loaded = tf.saved_model.load(str(tower))
    below = loaded.signatures[signature]
    ((name, spec),) = below.structured_input_signature[1].items()
    width = below.structured_outputs["embedding"].shape[-1]
    if width != wanted:
        raise ValueError(
            f"The towers below give embeddings of {width} numbers, the model's features have "
            f"{wanted}. Received: signature={signature!r}"
        )
    return RawInput(
        tf.TensorSpec(spec.shape, spec.dtype, name=name),
        lambda raw: {modality: below(**{name: raw})["embedding"]},
        held=[loaded],
    )


def _export(source: ExportSource, out_dir: Path, experiment_yaml: str | None) -> dict[str, Path]:
    members = members_of(source)
    if not members:
        raise ValueError(
            "A model is exported as what it can do, and this one can do nothing that is served "
            f"(see vl_models.models.capabilities). Received: model={type(source.model).__name__}"
        )
    folders = {
        name: _save(out_dir / name, member, source, experiment_yaml)
        for name, member in members.items()
    }
    write_weights(source.model, source.tokenizer, out_dir, experiment_yaml)
    return folders


def _traced(signatures: Sequence[Signature]) -> dict[str, Any]:
    """Return the concrete function of each signature by its name."""
    return {
        one.name: tf.function(one.function, autograph=False).get_concrete_function(*one.inputs)
        for one in signatures
    }


def _save(target: Path, member: Member, source: ExportSource, experiment_yaml: str | None) -> Path:
    """Write one member beside ``target``, then rename it into place."""
    signatures = member.signatures(source)
    inputs = [raw for raw in (getattr(source, name) for name in member.reads) if raw is not None]
    assets = {name: text for raw in inputs for name, text in raw.assets.items()}
    extra = {} if experiment_yaml is None else {EXPERIMENT_ASSET: experiment_yaml}
    if source.zero_shot is not None and target.name == IMAGE_TOWER:
        content = json.dumps(source.zero_shot.to_json(), ensure_ascii=False, indent=2)
        extra[ZERO_SHOT_ASSET] = content + "\n"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
        files = {Path(temporary) / asset: text for asset, text in assets.items()}
        for path, text in files.items():
            path.write_bytes(text.encode("utf-8"))
        functions = _traced(signatures)
        with in_compute_dtype(source.model.variables, functions.values()) as is_needed:
            if is_needed:
                functions = _traced(signatures)
            # Signatures share variables; each is held once, in the order of first use. Held before
            # the block ends, where those of another dtype are lost to the model.
            variables = {
                id(variable): variable
                for function in functions.values()
                for variable in function.variables
            }
        staged = Path(temporary) / target.name
        held = [one for raw in inputs for one in raw.held]
        tf.saved_model.save(
            _Tower(list(variables.values()), held, list(files)),
            str(staged),
            signatures={**functions, DEFAULT_SIGNATURE: functions[signatures[0].name]},
        )
        for name, text in extra.items():
            path = staged / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        staged.replace(target)
    return target
