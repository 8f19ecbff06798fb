"""The members of a release: what a system is exported as, one SavedModel each.

A member needs one capability and has signatures: raw input in, plain tensors out. Export,
warm-up, validation and model cards iterate over `MEMBERS` and know no system and no member.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from vl_models.batch import Batch
from vl_models.input.images import image_batch
from vl_models.models import capabilities
from vl_models.models.base import VisionLanguageModel
from vl_models.tasks.fusion_config import MOST_TOKEN_NUMBERS
from vl_models.text.factory import vocabulary_files
from vl_models.text.tokenizer import Tokenizer
from vl_models.zero_shot import ZeroShotClassifier, with_source

TEXT_TOWER, IMAGE_TOWER = "text_tower", "image_tower"
RERANKER, CAPTIONER, ANSWERER = "reranker", "captioner", "answerer"
IMAGE_TOKENIZER = "image_tokenizer"
ENCODE_TEXT, ENCODE_IMAGE = "encode_text", "encode_image"
HASH_TEXT, HASH_IMAGE = "hash_text", "hash_image"
SCORE, CAPTION, ANSWER = "score", "caption", "answer"
TOKENIZE, RECONSTRUCT = "tokenize", "reconstruct"
ENCODE_IMAGE_TOKENS, SCORE_TOKENS = "encode_image_tokens", "score_tokens"
IMAGE_FEATURES, TEXT_FEATURES = "image_features", "text_features"
IMAGE_BYTES, IMAGE_2_BYTES, QUERY, TOKENS = "image_bytes", "image_2_bytes", "query", "tokens"
CLASSIFY, CLASSIFY_ZERO_SHOT = "classify", "classify_zero_shot"
TEXT_ATTENTION = "text_attention"
DEFAULT_SIGNATURE = "serving_default"

# As many answers as one row gets, best first.
TOP_ANSWERS = 5

# A twin of another signature, and what only the report calls: nothing to warm up.
COLD = (DEFAULT_SIGNATURE, TEXT_ATTENTION, RECONSTRUCT)

Answer = dict[str, tf.Tensor]


class Signature(NamedTuple):
    """A graph function of named tensors, whose first dimension is the batch."""

    name: str
    inputs: tuple[tf.TensorSpec, ...]
    function: Callable[..., Answer]


class RawInput(NamedTuple):
    """What a served model takes of one modality.

    Attributes:
        spec: shape, dtype and name of the tensor.
        batch: makes the batch keys that the model reads of it, in the graph.
        held: objects whose tables or variables ``batch`` uses.
        assets: files that belong to it, content by name.
    """

    spec: tf.TensorSpec
    batch: Callable[[tf.Tensor], Batch]
    held: Sequence[Any] = ()
    assets: Mapping[str, str] = {}

    @property
    def alone(self) -> tf.TensorSpec:
        """The tensor in a signature of one modality, where features are just "features"."""
        name = "features" if self.spec.dtype == tf.float32 else self.spec.name
        return tf.TensorSpec(self.spec.shape, self.spec.dtype, name=name)


@dataclasses.dataclass(frozen=True)
class ExportSource:
    """What signatures are made of.

    Attributes:
        model: built.
        tokenizer: the one that the model was trained with; None if it reads no tokens.
        image: what images come as; None if the model reads none.
        text: likewise texts.
        zero_shot: classes to tell images apart by.
    """

    model: Any
    tokenizer: Tokenizer | None
    image: RawInput | None
    text: RawInput | None
    zero_shot: ZeroShotClassifier | None = None

    @classmethod
    def of(
        cls,
        model: VisionLanguageModel,
        tokenizer: Tokenizer | None,
        zero_shot: ZeroShotClassifier | None = None,
    ) -> ExportSource:
        """Return encoded images and strings, or features where the model reads those.

        Raises:
            ValueError: a model of tokens without a tokeniser.
        """
        return cls(model, tokenizer, _image_input(model), _text_input(model, tokenizer), zero_shot)


class Member(NamedTuple):
    """One SavedModel of a release.

    Attributes:
        capability: protocol of `vl_models.models.capabilities` that a system needs for it.
        reads: modalities, "image" and "text", whose input its signatures take.
        signatures: made of the source; the first is also ``serving_default``.
        features: what an input of the name "features" holds.
        card: what it does, for the model card; one sentence.
    """

    capability: type
    reads: tuple[str, ...]
    signatures: Callable[[ExportSource], list[Signature]]
    card: str
    features: str = ""


def members_of(source: ExportSource) -> dict[str, Member]:
    """Return the members that a system is exported as, by name."""
    return {
        name: member
        for name, member in MEMBERS.items()
        if isinstance(source.model, member.capability)
    }


def with_prefix(signature: str, prefix: str) -> str:
    """Name of a text signature that uses a learned prefix."""
    return f"{signature}_{prefix}"


def _image_input(model: VisionLanguageModel) -> RawInput | None:
    if IMAGE_FEATURES in model.inputs:
        return _feature_input(model, IMAGE_FEATURES)
    if "image" not in model.inputs:
        return None
    config = model.config
    return RawInput(
        tf.TensorSpec([None], tf.string, name=IMAGE_BYTES),
        lambda image_bytes: image_batch(
            image_bytes, config.image_sizes, config.image_fit, share=config.served_crop_share
        ),
    )


def _text_input(model: VisionLanguageModel, tokenizer: Tokenizer | None) -> RawInput | None:
    if TEXT_FEATURES in model.inputs:
        return _feature_input(model, TEXT_FEATURES)
    if "token_ids" not in model.inputs:
        return None
    if tokenizer is None:
        raise ValueError("A model of tokens needs its tokenizer. Received: tokenizer=None")
    return RawInput(
        tf.TensorSpec([None], tf.string, name=QUERY),
        lambda query: {**tokenizer.tokenize(query)},
        held=tokenizer.resources,
        assets=vocabulary_files(tokenizer),
    )


def _feature_input(model: VisionLanguageModel, modality: str) -> RawInput:
    width = model.get_config()[modality.removesuffix("_features")]["width"]
    spec = tf.TensorSpec([None, width], tf.float32, name=modality)
    return RawInput(spec, lambda features: {modality: features})


def _text_tower(source: ExportSource) -> list[Signature]:
    """With the model's default prefix first, then with each of its prefixes."""
    text, model, prefixes = source.text, source.model, source.model.text_prefixes
    assert text is not None

    def made(name: str, output: str, function: Callable[[Batch], tf.Tensor]) -> Signature:
        return Signature(name, (text.alone,), lambda raw: {output: function(text.batch(raw))})

    def encode(index: int | None) -> Callable[[Batch], tf.Tensor]:
        return lambda batch: model.encode_text(with_source(batch, index))

    signatures = [made(ENCODE_TEXT, "embedding", encode(None))]
    signatures += [
        made(with_prefix(ENCODE_TEXT, prefix), "embedding", encode(index))
        for index, prefix in enumerate(prefixes)
    ]
    if isinstance(model, capabilities.HashesTexts):
        signatures.append(made(HASH_TEXT, "code", model.hash_text))
    if isinstance(model, capabilities.ShowsTextAttention):
        for index, prefix in ((None, None), *enumerate(prefixes)):
            signatures.append(_text_attention(source, text, prefix, index))
    return signatures


def _text_attention(
    source: ExportSource, text: RawInput, prefix: str | None, index: int | None
) -> Signature:
    """Tokens and the attention of the pooled output over them; prefix positions come first."""
    tokenizer = source.tokenizer
    assert tokenizer is not None

    def text_attention(query: tf.Tensor) -> Answer:
        batch = with_source(text.batch(query), index)
        weights = source.model.text_attention(batch)
        names = tf.gather(tf.constant(tokenizer.vocabulary), batch["token_ids"])
        tokens = tf.where(batch["text_mask"], names, "")
        in_front = weights.shape[1] - tokens.shape[1]
        heads = tf.fill([tf.shape(query)[0], in_front], f"[{prefix or 'prefix'}]")
        return {"tokens": tf.concat([heads, tokens], axis=1), "weights": weights}

    name = TEXT_ATTENTION if prefix is None else with_prefix(TEXT_ATTENTION, prefix)
    return Signature(name, (text.alone,), text_attention)


def _image_tower(source: ExportSource) -> list[Signature]:
    image, model, zero_shot = source.image, source.model, source.zero_shot
    assert image is not None

    def made(name: str, function: Callable[[Batch], Answer]) -> Signature:
        return Signature(name, (image.alone,), lambda raw: function(image.batch(raw)))

    signatures = [made(ENCODE_IMAGE, lambda batch: {"embedding": model.encode_image(batch)})]
    if isinstance(model, capabilities.HashesImages):
        signatures.append(made(HASH_IMAGE, lambda batch: {"code": model.hash_image(batch)}))
    if isinstance(model, capabilities.ClassifiesImages):
        signatures.append(made(CLASSIFY, _classify(model)))
    if zero_shot is not None:
        signatures.append(
            made(CLASSIFY_ZERO_SHOT, lambda batch: zero_shot.classify(model.encode_image(batch)))
        )
    return signatures


def _classify(model: Any) -> Callable[[Batch], Answer]:
    """The most probable classes, best first, and their probabilities."""
    names = model.config.classes
    count = min(TOP_ANSWERS, len(names))

    def classify(batch: Batch) -> Answer:
        scores, places = tf.math.top_k(tf.cast(model.classify_image(batch), tf.float32), count)
        return {"classes": tf.gather(tf.constant(names), places), "scores": scores}

    return classify


def _reranker(source: ExportSource) -> list[Signature]:
    image, text = source.image, source.text
    assert image is not None and text is not None

    def score(query: tf.Tensor, image_bytes: tf.Tensor) -> Answer:
        batch = {**image.batch(image_bytes), **text.batch(query)}
        return {"score": tf.cast(source.model.score_pairs(batch), tf.float32)}

    signatures = [Signature(SCORE, (text.spec, image.spec), score)]
    if isinstance(source.model, capabilities.ScoresImageTokens):
        signatures += _token_signatures(source.model, image, text)
    return signatures


def _token_signatures(
    model: capabilities.ScoresImageTokens, image: RawInput, text: RawInput
) -> list[Signature]:
    """Reading an image, and scoring what was read of it: the first is done once per image."""

    def encode_image_tokens(raw: tf.Tensor) -> Answer:
        return {TOKENS: tf.cast(model.encode_image_tokens(image.batch(raw)), tf.float16)}

    def score_tokens(query: tf.Tensor, tokens: tf.Tensor) -> Answer:
        score = model.score_tokens(text.batch(query), tf.cast(tokens, tf.float32))
        return {"score": tf.cast(score, tf.float32)}

    traced = tf.function(encode_image_tokens, autograph=False).get_concrete_function(image.alone)
    shape = traced.structured_outputs[TOKENS].shape
    if shape.rank != 3 or None in shape[1:]:
        raise ValueError(
            "Image tokens are [B, T, W] with the same T and W for all images. "
            f"Received: shape={shape}"
        )
    if shape[1] * shape[2] > MOST_TOKEN_NUMBERS:
        raise ValueError(
            f"The image tokens of one image are at most {MOST_TOKEN_NUMBERS:,} numbers, so that a "
            "gallery's fit on a disk; pool them, or make them narrower. "
            f"Received: {shape[1]} tokens x {shape[2]} = {shape[1] * shape[2]:,} numbers"
        )
    tokens = tf.TensorSpec([None, *shape[1:]], tf.float16, name=TOKENS)
    return [
        Signature(ENCODE_IMAGE_TOKENS, (image.alone,), encode_image_tokens),
        Signature(SCORE_TOKENS, (text.spec, tokens), score_tokens),
    ]


def _captioner(source: ExportSource) -> list[Signature]:
    """A text about an image, and its log-probability / length^α."""
    image, tokenizer = source.image, source.tokenizer
    assert image is not None
    if tokenizer is None:
        raise ValueError("A captioner needs its tokenizer. Received: tokenizer=None")

    def caption(image_bytes: tf.Tensor) -> Answer:
        token_ids, score = source.model.generate(image.batch(image_bytes))
        return {"caption": tokenizer.detokenize(token_ids), "score": score}

    return [Signature(CAPTION, (image.alone,), caption)]


def _image_tokenizer(source: ExportSource) -> list[Signature]:
    """Codes row by row; and, to judge them by, the pixels that were read and those made of them."""
    image, model = source.image, source.model
    assert image is not None

    def tokenize(image_bytes: tf.Tensor) -> Answer:
        codes = model.tokenize_image(image.batch(image_bytes))
        return {"tokens": tf.reshape(codes, [-1, codes.shape[1] * codes.shape[2]])}

    def reconstruct(image_bytes: tf.Tensor) -> Answer:
        batch = image.batch(image_bytes)
        return {"image": batch["image"], "reconstruction": model.reconstruct_image(batch)}

    signatures = [Signature(TOKENIZE, (image.alone,), tokenize)]
    if isinstance(model, capabilities.ReconstructsImages):
        signatures.append(Signature(RECONSTRUCT, (image.alone,), reconstruct))
    return signatures


def _answerer(source: ExportSource) -> list[Signature]:
    """The best answers, best first, and their scores; of two images where the system reads two."""
    image, text, model = source.image, source.text, source.model
    assert image is not None and text is not None
    names = model.config.answers
    count = min(TOP_ANSWERS, len(names))

    def best(batch: Batch) -> Answer:
        scores, places = tf.math.top_k(tf.cast(model.answer(batch), tf.float32), count)
        return {"answers": tf.gather(tf.constant(names), places), "scores": scores}

    def answer(query: tf.Tensor, image_bytes: tf.Tensor) -> Answer:
        return best({**image.batch(image_bytes), **text.batch(query)})

    def answer_two(query: tf.Tensor, image_bytes: tf.Tensor, image_2_bytes: tf.Tensor) -> Answer:
        second = {
            key.replace("image", "image_2", 1): value
            for key, value in image.batch(image_2_bytes).items()
        }
        return best({**image.batch(image_bytes), **second, **text.batch(query)})

    if "image_2" not in model.inputs:
        return [Signature(ANSWER, (text.spec, image.spec), answer)]
    second = tf.TensorSpec([None], tf.string, name=IMAGE_2_BYTES)
    return [Signature(ANSWER, (text.spec, image.spec, second), answer_two)]


MEMBERS: dict[str, Member] = {
    TEXT_TOWER: Member(
        capabilities.EncodesTexts,
        ("text",),
        _text_tower,
        "maps a query to the unit sphere of the images",
        TEXT_FEATURES,
    ),
    IMAGE_TOWER: Member(
        capabilities.EncodesImages,
        ("image",),
        _image_tower,
        "maps an image to the unit sphere; its dot product with a query's embedding ranks images",
        IMAGE_FEATURES,
    ),
    RERANKER: Member(
        capabilities.ScoresPairs,
        ("text", "image"),
        _reranker,
        "reads a query and an image together and scores how well they fit; higher is better",
    ),
    CAPTIONER: Member(
        capabilities.Generates,
        ("image",),
        _captioner,
        "writes a text about an image",
        IMAGE_FEATURES,
    ),
    IMAGE_TOKENIZER: Member(
        capabilities.TokenizesImages,
        ("image",),
        _image_tokenizer,
        "turns an image into a grid of codes, which masked image modelling has to guess",
    ),
    ANSWERER: Member(
        capabilities.Answers,
        ("text", "image"),
        _answerer,
        "answers a question about an image, or judges a sentence, from a closed set of answers",
    ),
}
