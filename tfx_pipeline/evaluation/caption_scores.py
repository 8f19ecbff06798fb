"""How close captions are to what people said, by the libraries that published numbers come from.

Texts are cut into words by sacrebleu, Chinese by character. Neither library needs Java: CIDEr's is
the one of the COCO evaluation, whose usual tokeniser does, and is not used here.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np


def cider(references: Sequence[Sequence[str]], captions: Sequence[str]) -> np.ndarray:
    """CIDEr-D of each caption.

    Source: Vedantam et al., "CIDEr: Consensus-based Image Description Evaluation", section 5; the
    inverse document frequencies are of these references.

    Args:
        references: texts of each of N images, one at least.
        captions: N.

    Returns:
        float64 [N], 0 to 10.
    """
    from pycocoevalcap.cider.cider import Cider

    said = {place: [_words(text) for text in texts] for place, texts in enumerate(references)}
    written = {place: [_words(text)] for place, text in enumerate(captions)}
    _, scores = Cider().compute_score(said, written)
    return np.asarray(scores, np.float64)


def bleu_4(references: Sequence[Sequence[str]], captions: Sequence[str]) -> float:
    """BLEU of all captions together, 0 to 1.

    Source: Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation".

    Args:
        references: texts of each of N images, one at least.
        captions: N.
    """
    import sacrebleu

    said = [[_words(text) for text in texts] for texts in references]
    # Stream k holds the k-th reference of every image, None where an image has fewer.
    streams = [list(stream) for stream in zip_longest(*said)]
    written = [_words(text) for text in captions]
    score = sacrebleu.corpus_bleu(written, streams, tokenize="none", force=True)
    return score.score / 100.0


def _words(text: str) -> str:
    return _tokenizer()(text.lower())


@functools.cache
def _tokenizer() -> Any:
    """Splits Chinese characters, and the rest as WMT's 13a does."""
    from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

    return TokenizerZh()
