"""Configurations of the tasks of fusion systems; nothing here imports Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from vl_models.choices import GatherForm, PositivesMode
from vl_models.tasks.config import BaseTaskConfig

PAIR = ("image", "token_ids")
CONTINUATION = "token_continuation"
# Of one image, in float16: 16 KiB, so that a million images are 16 GiB on a disk.
MOST_TOKEN_NUMBERS = 8192


class ITCConfig(BaseTaskConfig):
    """Configuration of `ImageTextContrast`.

    Attributes:
        kind: "itc".
        embedding_dim: D, the width of the shared space; None takes the encoder's (VLMo).
        initial_temperature: 0.07 as published.
        maximum_scale: bound of the inverse temperature; None for none, as VLMo was published.
        label_smoothing: share of the target spread over the batch.
        positives: what known clicks beside the pairs are, see `ContrastiveConfig`.
        gather: how the batch is put together over replicas, see `losses/gathered.py`.
        pair_branch: whether the pair's experts, where there are some, learn a second contrast of
            single modalities; the loss is the mean of both.
        bias: whether the projections have a bias, as FLAVA's.
    """

    kind: Literal["itc"] = "itc"
    embedding_dim: PositiveInt | None = None
    initial_temperature: PositiveFloat = 0.07
    maximum_scale: PositiveFloat | None = 100.0
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    positives: PositivesMode = "uniform"
    gather: GatherForm = "global"
    pair_branch: bool = True
    bias: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """Images and texts."""
        return PAIR


class ITMConfig(BaseTaskConfig):
    """Configuration of `ImageTextMatching`.

    Attributes:
        kind: "itm".
        negatives: drawn from the global batch evenly ("random"), by the contrast's probabilities
            ("hard", VLMo), or by how many queries both images were clicked for ("similar"); "hard"
            needs the task `itc` before this one.
        hard_share: share of negatives that are drawn so, all by default; the others are drawn
            evenly, for a small encoder to learn what is there before how it is arranged.
        layout: "triple" scores each pair, its text with another image and its image with another
            text (VLMo); "half" scores each text once, half of them with another image (ViLT).
        exclude_known: whether what is known to match is never drawn. The published programs exclude
            the pair itself alone.
        masked: whether systems whose tasks share a pass (SOHO, FLAVA) learn matching from it, with
            hidden words and patches, as published; else from a pass of its own over the same pairs
            as they are, which is what a reranker reads.
        store_tokens: whether an index may keep images as they are before they are fused, for this
            encoder to score (`score_tokens`); at most 8,192 numbers an image. `token_scoring` is
            for larger encoders.
    """

    kind: Literal["itm"] = "itm"
    negatives: Literal["random", "hard", "similar"] = "random"
    hard_share: float = Field(default=1.0, gt=0.0, le=1.0)
    layout: Literal["triple", "half"] = "triple"
    exclude_known: bool = True
    masked: bool = True
    store_tokens: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """Images and texts."""
        return PAIR


class MLMConfig(BaseTaskConfig):
    """Configuration of `MaskedWords`.

    Attributes:
        kind: "mlm".
        rate: share of a text's tokens that are chosen; BERT's 0.15.
        whole_words: whether all tokens of a word are chosen together.
        on_pairs: whether texts of pairs are read, too, with the image in view; FLAVA reads texts
            alone here.
        tied: whether words are predicted by their embeddings, without a head (SOHO).
    """

    kind: Literal["mlm"] = "mlm"
    rate: float = Field(default=0.15, gt=0.0, lt=1.0)
    whole_words: bool = True
    on_pairs: bool = True
    tied: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """Texts, and which tokens continue a word."""
        return ("token_ids", CONTINUATION)


class MIMConfig(BaseTaskConfig):
    """Configuration of `MaskedPatches`.

    Attributes:
        kind: "mim".
        tokenizer: the trained image tokeniser that gives the targets: the folder of its run, its
            release, or one with its weights/.
        masked: patches of an image that are masked at most; BEiT's 75 of 196 by default.
        smallest_block: patches of a block at least; BEiT's 16 of 196 by default.
        aspect: smallest ratio of a block's sides.
        on_pairs: whether images of pairs are read, too; FLAVA reads images alone here.
        transform: whether the head is a `PredictionHead`, as FLAVA's; BEiT's is linear.
    """

    kind: Literal["mim"] = "mim"
    tokenizer: str
    masked: PositiveInt | None = None
    smallest_block: PositiveInt | None = None
    aspect: float = Field(default=0.3, gt=0.0, le=1.0)
    on_pairs: bool = True
    transform: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """Images."""
        return ("image",)


class MMMConfig(BaseTaskConfig):
    """Configuration of `MaskedMultimodal`; words as in `MLMConfig`, patches as in `MIMConfig`.

    Attributes:
        kind: "mmm".
        tokenizer: the trained image tokeniser that gives the targets of patches.
        masked: patches of an image that are masked at most.
        smallest_block: patches of a block at least.
        aspect: smallest ratio of a block's sides.
        rate: share of a text's tokens that are chosen.
        whole_words: whether all tokens of a word are chosen together.
    """

    kind: Literal["mmm"] = "mmm"
    tokenizer: str
    masked: PositiveInt | None = None
    smallest_block: PositiveInt | None = None
    aspect: float = Field(default=0.3, gt=0.0, le=1.0)
    rate: float = Field(default=0.15, gt=0.0, lt=1.0)
    whole_words: bool = True

    @property
    def inputs(self) -> tuple[str, ...]:
        """Images, texts, and which tokens continue a word."""
        return (*PAIR, CONTINUATION)

    @property
    def loss_names(self) -> tuple[str, ...]:
        """One of words, one of patches."""
        return ("mmm_text", "mmm_image")


class MVMConfig(BaseTaskConfig):
    """Configuration of `MaskedVisual`.

    Attributes:
        kind: "mvm".
        probability: that the cells of an image are hidden, for each of its sentences; 0.015 in the
            released program.
        temperature: cosines are divided by it; 1 in the released program.
    """

    kind: Literal["mvm"] = "mvm"
    probability: float = Field(default=0.15, ge=0.0, le=1.0)
    temperature: PositiveFloat = 1.0

    @property
    def inputs(self) -> tuple[str, ...]:
        """Images and texts."""
        return PAIR


class WPAConfig(BaseTaskConfig):
    """Configuration of `WordPatchAlignment`; the defaults are UNITER's and ViLT's.

    Attributes:
        kind: "wpa".
        weight: of the loss.
        beta: β of the transport.
        iterations: of the transport.
    """

    kind: Literal["wpa"] = "wpa"
    weight: NonNegativeFloat = 0.1
    beta: PositiveFloat = 0.5
    iterations: PositiveInt = 50

    @property
    def inputs(self) -> tuple[str, ...]:
        """Images and texts."""
        return PAIR


class GroundingConfig(BaseTaskConfig):
    """Configuration of `Grounding`.

    Attributes:
        kind: "grounding".
        dim: width of the space that words and patches share.
        positives: what known clicks beside the pairs are, see `ContrastiveConfig`.
    """

    kind: Literal["grounding"] = "grounding"
    dim: PositiveInt = 128
    positives: PositivesMode = "uniform"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Images and texts."""
        return PAIR


class TokenScoringConfig(BaseTaskConfig):
    """Configuration of `TokenScoring`.

    Attributes:
        kind: "token_scoring".
        tokens: T, vectors that an image is pooled to.
        token_width: W, numbers of each; T · W is at most 8,192.
        width: of the joint encoder.
        depth: of the joint encoder.
        heads: of the joint encoder.
        distillation: share of the loss that is the cross-entropy against the full encoder's
            scores; the rest is that against the truth.
    """

    kind: Literal["token_scoring"] = "token_scoring"
    tokens: PositiveInt = 16
    token_width: PositiveInt = 64
    width: PositiveInt = 128
    depth: PositiveInt = 2
    heads: PositiveInt = 4
    distillation: float = Field(default=0.5, ge=0.0, le=1.0)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Images and texts."""
        return PAIR

    @model_validator(mode="after")
    def _small(self) -> TokenScoringConfig:
        if self.tokens * self.token_width > MOST_TOKEN_NUMBERS:
            raise ValueError(
                f"tokens · token_width is at most {MOST_TOKEN_NUMBERS} (16 kB an image), here "
                f"{self.tokens} · {self.token_width}"
            )
        return self


class RetrievalConfig(BaseTaskConfig):
    """Configuration of `TextRetrieval`.

    Attributes:
        kind: "retrieval".
        negatives: other texts that an image is scored with; ViLT's 15.
        exclude_known: whether what is known to match is never drawn.
    """

    kind: Literal["retrieval"] = "retrieval"
    negatives: PositiveInt = 15
    exclude_known: bool = True

    @property
    def inputs(self) -> tuple[str, ...]:
        """Images and texts."""
        return PAIR


class VQAConfig(BaseTaskConfig):
    """Configuration of `Answering` questions: soft scores, one sigmoid for each answer."""

    kind: Literal["vqa"] = "vqa"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Images, questions and the scores of their answers."""
        return (*PAIR, "answer")


class SNLIVEConfig(BaseTaskConfig):
    """Configuration of `Answering` with one class for each image and sentence (SNLI-VE)."""

    kind: Literal["snli_ve"] = "snli_ve"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Images, sentences and their classes."""
        return (*PAIR, "answer")


class NLVR2Config(BaseTaskConfig):
    """Configuration of `Answering` with one class for two images and a sentence (NLVR2)."""

    kind: Literal["nlvr2"] = "nlvr2"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Two images, sentences and their classes."""
        return (*PAIR, "image_2", "answer")


FusionTaskConfig = Annotated[
    ITCConfig
    | ITMConfig
    | MLMConfig
    | MIMConfig
    | MMMConfig
    | MVMConfig
    | WPAConfig
    | GroundingConfig
    | TokenScoringConfig
    | RetrievalConfig
    | VQAConfig
    | SNLIVEConfig
    | NLVR2Config,
    Field(discriminator="kind"),
]

ANSWERING = ("vqa", "snli_ve", "nlvr2")
SCORING = ("retrieval", "itm")
# What a task reads of the outputs of one that must come before it.
_AFTER = {"wpa": "itm", "token_scoring": "itm"}


def order_problem(tasks: Sequence[BaseTaskConfig]) -> str | None:
    """Return what is wrong with the order of tasks, or None."""
    seen: set[str] = set()
    for task in tasks:
        needed = _AFTER.get(task.kind)
        if isinstance(task, ITMConfig) and task.negatives == "hard":
            needed = "itc"
        if needed is not None and needed not in seen:
            wanted = "negatives: hard of itm" if needed == "itc" else task.kind
            return f"{wanted} needs the task {needed} before it; tasks run in their order"
        seen.add(task.kind)
    answering = [task.kind for task in tasks if task.kind in ANSWERING]
    if len(answering) > 1:
        return f"one of {', '.join(answering)}: a batch has the answers of one data set"
    return None
