"""Export of the towers as SavedModels: raw input, plain tensors, one vector per row.

They load with the session loader that TF Serving uses. That loader restores only variables
that a `tf.Module` holds directly, which Keras' own objects do not.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from vl_models.images import decode_and_crop
from vl_models.models.base import VisionLanguageModel
from vl_models.text.factory import vocabulary_files
from vl_models.text.tokenizer import Tokenizer
from vl_models.zero_shot import ZeroShotClassifier, text_batch

TEXT_TOWER, IMAGE_TOWER = "text_tower", "image_tower"
ENCODE_TEXT, ENCODE_IMAGE = "encode_text", "encode_image"
CLASSIFY_ZERO_SHOT, TEXT_ATTENTION = "classify_zero_shot", "text_attention"
EXPERIMENT_ASSET = "assets.extra/experiment.yaml"
ZERO_SHOT_ASSET = "assets.extra/zero_shot.json"


class _Signature(NamedTuple):
    """A graph function of one string tensor [B]."""

    name: str
    input_name: str
    function: Callable[[tf.Tensor], dict[str, tf.Tensor]]


class _Tower(tf.Module):
    """Holds what the signatures need: variables, lookup tables and asset files."""

    def __init__(
        self, variables: Sequence[tf.Variable], tables: Sequence[Any], assets: Sequence[Path]
    ) -> None:
        super().__init__()
        self.tower_variables = list(variables)
        self.tables = list(tables)
        self.assets = [tf.saved_model.Asset(str(path)) for path in assets]


def export_towers(
    model: VisionLanguageModel,
    tokenizer: Tokenizer,
    out_dir: str | os.PathLike[str],
    *,
    experiment_yaml: str | None = None,
    zero_shot: ZeroShotClassifier | None = None,
) -> dict[str, Path]:
    """Write the towers of a model, each in one piece.

    ``text_tower``: ``encode_text`` = ``serving_default``, query string [B] to embedding
    float32 [B, D]; ``encode_text_<prefix>`` for each learned text prefix of the model; and
    where the model has `text_attention`, ``text_attention`` (and ``text_attention_<prefix>``)
    to tokens string [B, P + L], "" where padded, and weights float32 [B, P + L].
    ``image_tower``: ``encode_image`` = ``serving_default``, image_bytes string [B] (JPEG or
    PNG) to embedding float32 [B, D]; with classes also ``classify_zero_shot`` to classes
    string [B, k] and scores float32 [B, k]. Tokeniser and decoder are part of the graphs; the
    vocabulary is beside it in ``assets/`` (`vl_models.text.factory.load_tokenizer` reads it).
    An earlier export in the same place is replaced. A model without texts has no text tower.

    Args:
      model: built; its configuration has an ``image_size``.
      tokenizer: the one that the model was trained with.
      out_dir: the folder that gets the folders of the towers.
      experiment_yaml: the experiment's configuration, kept in ``assets.extra/``.
      zero_shot: classes to tell images apart by; what they are made of is kept in the image
        tower's ``assets.extra/``.

    Returns:
      Folder of each tower by its name.
    """
    out_dir = Path(out_dir)
    extra = {} if experiment_yaml is None else {EXPERIMENT_ASSET: experiment_yaml}
    towers = {}
    if "text" in model.MODALITIES:
        towers[TEXT_TOWER] = _save(
            out_dir / TEXT_TOWER,
            _text_signatures(model, tokenizer),
            extra,
            tables=tokenizer.resources,
            assets=vocabulary_files(tokenizer),
        )
    if zero_shot is not None:
        content = json.dumps(zero_shot.to_json(), ensure_ascii=False, indent=2) + "\n"
        extra = {**extra, ZERO_SHOT_ASSET: content}
    towers[IMAGE_TOWER] = _save(out_dir / IMAGE_TOWER, _image_signatures(model, zero_shot), extra)
    return towers


def with_prefix(signature: str, prefix: str) -> str:
    """Name of a text signature that uses a learned prefix."""
    return f"{signature}_{prefix}"


def _image_signatures(
    model: VisionLanguageModel, zero_shot: ZeroShotClassifier | None
) -> list[_Signature]:
    image_size = model.get_config()["image_size"]

    def embed(image_bytes: tf.Tensor) -> tf.Tensor:
        images = tf.map_fn(
            lambda encoded: decode_and_crop(encoded, image_size),
            image_bytes,
            fn_output_signature=tf.TensorSpec([image_size, image_size, 3], tf.uint8),
        )
        return model.encode_image({"image": images})

    def encode_image(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": embed(image_bytes)}

    signatures = [_Signature(ENCODE_IMAGE, "image_bytes", encode_image)]
    if zero_shot is not None:

        def classify(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            return zero_shot.classify(embed(image_bytes))

        signatures.append(_Signature(CLASSIFY_ZERO_SHOT, "image_bytes", classify))
    return signatures


def _text_signatures(model: VisionLanguageModel, tokenizer: Tokenizer) -> list[_Signature]:
    """With the model's default prefix first, then with each of its prefixes."""
    encoders, attentions = [], []
    for index in (None, *range(len(model.text_prefixes))):
        prefix = None if index is None else model.text_prefixes[index]
        encoders.append(_text_encoder(model, tokenizer, prefix, index))
        if hasattr(model, "text_attention"):
            attentions.append(_text_attention(model, tokenizer, prefix, index))
    return encoders + attentions


def _text_encoder(
    model: VisionLanguageModel, tokenizer: Tokenizer, prefix: str | None, index: int | None
) -> _Signature:
    def encode_text(query: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": model.encode_text(text_batch(tokenizer, query, index))}

    name = ENCODE_TEXT if prefix is None else with_prefix(ENCODE_TEXT, prefix)
    return _Signature(name, "query", encode_text)


def _text_attention(
    model: Any, tokenizer: Tokenizer, prefix: str | None, index: int | None
) -> _Signature:
    """Tokens and the attention of the pooled output over them; prefix positions come first."""

    def text_attention(query: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = text_batch(tokenizer, query, index)
        weights = model.text_attention(batch)
        names = tf.gather(tf.constant(tokenizer.vocabulary), batch["token_ids"])
        tokens = tf.where(batch["text_mask"], names, "")
        in_front = weights.shape[1] - tokens.shape[1]
        heads = tf.fill([tf.shape(query)[0], in_front], f"[{prefix or 'prefix'}]")
        return {"tokens": tf.concat([heads, tokens], axis=1), "weights": weights}

    name = TEXT_ATTENTION if prefix is None else with_prefix(TEXT_ATTENTION, prefix)
    return _Signature(name, "query", text_attention)


def _save(
    target: Path,
    signatures: Sequence[_Signature],
    extra: Mapping[str, str],
    *,
    tables: Sequence[Any] = (),
    assets: Mapping[str, str] | None = None,
) -> Path:
    """Write one tower beside ``target``, then rename it into place; the first is the default."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
        files = {Path(temporary) / asset: text for asset, text in (assets or {}).items()}
        for path, text in files.items():
            path.write_bytes(text.encode("utf-8"))
        functions = {
            signature.name: tf.function(signature.function, autograph=False).get_concrete_function(
                tf.TensorSpec([None], tf.string, name=signature.input_name)
            )
            for signature in signatures
        }
        # Signatures share variables; each is held once, in the order of first use.
        variables = {
            id(variable): variable
            for function in functions.values()
            for variable in function.variables
        }
        staged = Path(temporary) / target.name
        tf.saved_model.save(
            _Tower(list(variables.values()), tables, list(files)),
            str(staged),
            signatures={**functions, "serving_default": functions[signatures[0].name]},
        )
        for name, text in extra.items():
            path = staged / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        staged.replace(target)
    return target
