"""Slices of the evaluated queries: language, clicks, clicks in train, length, correlation."""

from __future__ import annotations

import re

import numpy as np

from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.relevance import Relevance

# A word is a run without white space; Han, kana and hangul characters count one each.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_UNIT = re.compile(f"[{_CJK}]|[^\\s{_CJK}]+")


def query_length(query: str) -> int:
    """Return the number of words and CJK characters."""
    return len(_UNIT.findall(query))


def slice_values(relevance: Relevance, config: EvaluationConfig) -> dict[str, list[str]]:
    """For each configured slice that the relevance file knows, the value of every query."""
    columns: dict[str, list[str]] = {}
    for name in config.slices:
        if name == "language":
            columns[name] = list(relevance.languages)
        elif name == "head_tail":
            head = relevance.clicks >= config.head_min_clicks
            columns[name] = ["head" if is_head else "tail" for is_head in head]
        elif name == "seen_unseen":
            if relevance.seen is not None:
                columns[name] = ["seen" if is_seen else "unseen" for is_seen in relevance.seen]
        elif name == "correlation":
            if relevance.correlations is not None:
                columns[name] = list(relevance.correlations)
        else:
            names = _length_names(config.query_length_bounds)
            lengths = [query_length(query) for query in relevance.queries]
            classes = np.searchsorted(config.query_length_bounds, lengths, side="left")
            columns[name] = [names[index] for index in classes]
    return columns


def slice_masks(values: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """``slice=value`` → bool[Q] for every value that occurs; slices partition the queries."""
    masks = {}
    for name, column in values.items():
        array = np.asarray(column, object)
        for value in sorted(set(column)):
            masks[f"{name}={value}"] = array == value
    return masks


def _length_names(bounds: list[int]) -> list[str]:
    """Names of the classes: [2, 5] → 1-2, 3-5, 6+."""
    names = []
    low = 1
    for high in bounds:
        names.append(f"{low}-{high}" if high > low else str(high))
        low = high + 1
    return [*names, f"{low}+"]
