"""How captions are written; nothing here imports TensorFlow."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from vl_models.strict_config import StrictConfig


class CaptionTokens(StrictConfig):
    """What a generator must know of the vocabulary; by default that of one learnt here.

    Attributes:
        start: first token of a text.
        end: last token of a text.
        padding: what follows the end.
        never: tokens that no text may hold.
    """

    start: int = 2
    end: int = 3
    padding: int = 0
    never: tuple[int, ...] = (0, 1, 2, 4)


class CaptionConfig(StrictConfig):
    """How a served captioner writes: the section ``model.caption`` of an experiment.

    Attributes:
        method: the most probable token every time ("greedy"), the most probable text that a search
            over ``beams`` finds ("beam"), or a random text ("sample").
        beams: texts that the search goes on with.
        length_penalty: α; texts are compared by log-probability / length^α, so that 0 prefers
            short ones and 1 compares means.
        top_k: how many of the most probable tokens "sample" draws from; None for all.
        top_p: smallest share of the probability that they must hold; None for all.
        temperature: of "sample": logits are divided by it.
        seed: of "sample"; the same image gets the same text.
        min_length: tokens before the end token, at least.
        max_length: tokens of a text, the end token included; None for as many as texts have.
        no_repeat_ngram: n-grams of this size occur once in a text; 0 lets all repeat.
    """

    method: Literal["greedy", "beam", "sample"] = "beam"
    beams: PositiveInt = 4
    length_penalty: NonNegativeFloat = 1.0
    top_k: PositiveInt | None = None
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    temperature: PositiveFloat = 1.0
    seed: int = Field(default=0, ge=0, lt=2**31)
    min_length: NonNegativeInt = 1
    max_length: PositiveInt | None = None
    no_repeat_ngram: NonNegativeInt = 3
