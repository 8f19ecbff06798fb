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

from vl_models.input.images import image_batch
from vl_models.models.base import VisionLanguageModel
from vl_models.models.capabilities import HashesImages, HashesTexts, ShowsTextAttention
from vl_models.text.factory import vocabulary_files
from vl_models.text.tokenizer import Tokenizer
from vl_models.zero_shot import ZeroShotClassifier, text_batch

TEXT_TOWER, IMAGE_TOWER = "text_tower", "image_tower"
ENCODE_TEXT, ENCODE_IMAGE = "encode_text", "encode_image"
HASH_TEXT, HASH_IMAGE = "hash_text", "hash_image"
IMAGE_FEATURES, TEXT_FEATURES = "image_features", "text_features"
CLASSIFY_ZERO_SHOT, TEXT_ATTENTION = "classify_zero_shot", "text_attention"
EXPERIMENT_ASSET = "assets.extra/experiment.yaml"
ZERO_SHOT_ASSET = "assets.extra/zero_shot.json"


class _Signature(NamedTuple):
    """A graph function of one tensor: strings [B], or vectors float32 [B, width]."""

    name: str
    input_name: str
    function: Callable[[tf.Tensor], dict[str, tf.Tensor]]
    width: int | None = None

    @property
    def input_spec(self) -> tf.TensorSpec:
        """Shape, dtype and name of the tensor."""
        if self.width is None:
            return tf.TensorSpec([None], tf.string, name=self.input_name)
        return tf.TensorSpec([None, self.width], tf.float32, name=self.input_name)


class _Tower(tf.Module):
    """Holds what the signatures need: variables, lookup tables and asset files."""

    def __init__(
        self, variables: Sequence[tf.Variable], held: Sequence[Any], assets: Sequence[Path]
    ) -> None:
        super().__init__()
        self.tower_variables = list(variables)
        self.held = list(held)
        self.assets = [tf.saved_model.Asset(str(path)) for path in assets]


def export_towers(
    model: VisionLanguageModel,
    tokenizer: Tokenizer | None,
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
    A tower of features takes ``features`` float32 [B, d] instead of strings; where the model
    hashes, a tower also has ``hash_text`` or ``hash_image``, to code uint8 [B, bits / 8].

    Args:
      model: built; its configuration says how images are decoded.
      tokenizer: the one that the model was trained with; None if it reads no tokens.
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
    if TEXT_FEATURES in model.inputs:
        signatures = _feature_signatures(model, TEXT_FEATURES, ENCODE_TEXT, HASH_TEXT)
        towers[TEXT_TOWER] = _save(out_dir / TEXT_TOWER, signatures, extra)
    elif "token_ids" in model.inputs:
        if tokenizer is None:
            raise ValueError("A model of tokens needs its tokenizer. Received: tokenizer=None")
        towers[TEXT_TOWER] = _save(
            out_dir / TEXT_TOWER,
            _text_signatures(model, tokenizer),
            extra,
            held=tokenizer.resources,
            assets=vocabulary_files(tokenizer),
        )
    if zero_shot is not None:
        content = json.dumps(zero_shot.to_json(), ensure_ascii=False, indent=2) + "\n"
        extra = {**extra, ZERO_SHOT_ASSET: content}
    if IMAGE_FEATURES in model.inputs:
        signatures = _feature_signatures(model, IMAGE_FEATURES, ENCODE_IMAGE, HASH_IMAGE)
    else:
        signatures = _image_signatures(model, zero_shot)
    towers[IMAGE_TOWER] = _save(out_dir / IMAGE_TOWER, signatures, extra)
    return towers


def export_compositions(
    model: VisionLanguageModel,
    base: Mapping[str, Path],
    out_dir: str | os.PathLike[str],
    *,
    experiment_yaml: str | None = None,
) -> dict[str, Path]:
    """Write towers of features on top of the exported towers that the features come from.

    They take what those take, ``query`` or ``image_bytes`` string [B], so they are released and
    served like any dual encoder's.

    Args:
      model: built; reads "image_features" and "text_features".
      base: folder of the exported ``image_tower`` and ``text_tower``.
      out_dir: the folder that gets the folders of the towers.
      experiment_yaml: the experiment's configuration, kept in ``assets.extra/``.

    Returns:
      Folder of each tower by its name.

    Raises:
      ValueError: a tower's embeddings are not as wide as the model's features.
    """
    extra = {} if experiment_yaml is None else {EXPERIMENT_ASSET: experiment_yaml}
    towers = {}
    for tower, signatures in (
        (TEXT_TOWER, _feature_signatures(model, TEXT_FEATURES, ENCODE_TEXT, HASH_TEXT)),
        (IMAGE_TOWER, _feature_signatures(model, IMAGE_FEATURES, ENCODE_IMAGE, HASH_IMAGE)),
    ):
        loaded = tf.saved_model.load(str(base[tower]))
        below = loaded.signatures[signatures[0].name]
        towers[tower] = _save(
            Path(out_dir) / tower,
            [_on_top(signature, below) for signature in signatures],
            extra,
            held=[loaded],
        )
    return towers


def _on_top(signature: _Signature, below: Any) -> _Signature:
    """A signature of features behind one that makes them of raw input."""
    (input_name,) = below.structured_input_signature[1]
    width = below.structured_outputs["embedding"].shape[-1]
    if width != signature.width:
        raise ValueError(
            f"The towers below give embeddings of {width} numbers, the model's features have "
            f"{signature.width}. Received: signature={signature.name!r}"
        )

    def composed(raw: tf.Tensor) -> dict[str, tf.Tensor]:
        return signature.function(below(**{input_name: raw})["embedding"])

    return _Signature(signature.name, input_name, composed)


def with_prefix(signature: str, prefix: str) -> str:
    """Name of a text signature that uses a learned prefix."""
    return f"{signature}_{prefix}"


def _feature_signatures(
    model: VisionLanguageModel, modality: str, encode_name: str, hash_name: str
) -> list[_Signature]:
    """The tower of one modality over its precomputed vectors: embeddings and, if any, codes."""
    width = model.get_config()[modality.removesuffix("_features")]["width"]
    of_images = modality == IMAGE_FEATURES
    encode = model.encode_image if of_images else model.encode_text
    hash_codes = None
    if isinstance(model, HashesImages if of_images else HashesTexts):
        hash_codes = model.hash_image if of_images else model.hash_text

    def embedding(features: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": encode({modality: features})}

    signatures = [_Signature(encode_name, "features", embedding, width)]
    if hash_codes is not None:

        def code(features: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"code": hash_codes({modality: features})}

        signatures.append(_Signature(hash_name, "features", code, width))
    return signatures


def _image_signatures(
    model: VisionLanguageModel, zero_shot: ZeroShotClassifier | None
) -> list[_Signature]:
    config = model.config

    def decode(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return image_batch(image_bytes, config.image_sizes, config.image_fit)

    def embed(image_bytes: tf.Tensor) -> tf.Tensor:
        return model.encode_image(decode(image_bytes))

    def encode_image(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": embed(image_bytes)}

    signatures = [_Signature(ENCODE_IMAGE, "image_bytes", encode_image)]
    if isinstance(model, HashesImages):

        def hash_image(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"code": model.hash_image(decode(image_bytes))}

        signatures.append(_Signature(HASH_IMAGE, "image_bytes", hash_image))
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
        if isinstance(model, ShowsTextAttention):
            attentions.append(_text_attention(model, tokenizer, prefix, index))
    if isinstance(model, HashesTexts):

        def hash_text(query: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"code": model.hash_text(text_batch(tokenizer, query))}

        encoders.append(_Signature(HASH_TEXT, "query", hash_text))
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
    held: Sequence[Any] = (),
    assets: Mapping[str, str] | None = None,
) -> Path:
    """Write one tower beside ``target``, then rename it into place; the first is the default.

    ``held`` are objects whose tables, and whose graphs, the signatures use.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
        files = {Path(temporary) / asset: text for asset, text in (assets or {}).items()}
        for path, text in files.items():
            path.write_bytes(text.encode("utf-8"))
        functions = {
            signature.name: tf.function(signature.function, autograph=False).get_concrete_function(
                signature.input_spec
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
            _Tower(list(variables.values()), held, list(files)),
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
