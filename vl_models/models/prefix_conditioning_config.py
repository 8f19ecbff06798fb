"""Configuration of `PrefixConditioning`; nothing here imports Keras."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Literal, Self

from pydantic import PositiveInt

from vl_models.encoders.config import TextTransformerConfig
from vl_models.errors import UserError
from vl_models.models.clip_config import ContrastiveConfig

if TYPE_CHECKING:
    from vl_models.input.config import DataFacts


class PrefixConditioningConfig(ContrastiveConfig):
    """Configuration of `PrefixConditioning`.

    Attributes:
        system: "prefix_conditioning".
        text: a transformer: prefixes enter before its first block.
        sources: names of the data sources, in their order; the trainer sets them.
        prefix_length: learned vectors per source.
        test_prefix: name of the source whose prefix stands for all texts at test time; the first
            by default. The paper takes that of the captions, which cover more than classes do.
        loss: "unicl" counts rows of one label as positives of each other, "clip" does not.
    """

    system: Literal["prefix_conditioning"] = "prefix_conditioning"
    text: TextTransformerConfig = TextTransformerConfig(kind="transformer")
    sources: tuple[str, ...] | None = None
    prefix_length: PositiveInt = 1
    test_prefix: str | None = None
    loss: Literal["clip", "unicl"] = "unicl"

    @property
    def labels_match(self) -> bool:
        """As in UniCL, with its loss."""
        return self.loss == "unicl"

    @property
    def test_source(self) -> int:
        """Index of the source whose prefix stands for all texts at test time.

        Raises:
            UserError: ``test_prefix`` is none of the sources.
        """
        sources, name = self.sources or (), self.test_prefix
        if name is None:
            return 0
        if name not in sources:
            nearest = difflib.get_close_matches(name, sources, n=1, cutoff=0.0)[0]
            raise UserError(
                f"Key 'test_prefix' must be one of the sources {', '.join(sources)}; did you mean "
                f"'{nearest}'? Received: test_prefix={name!r}."
            )
        return sources.index(name)

    def completed(self, facts: DataFacts) -> Self:
        """Return the configuration with the names of the data sources, too."""
        return super().completed(facts).with_values(sources=facts.sources)
