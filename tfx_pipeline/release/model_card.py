"""The model card that lies beside every released version."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

_HEADLINES = ("recall@1", "recall@5", "recall@10", "mrr", "ndcg@10", "median_rank", "modality_gap")


def render_model_card(
    *,
    version: int,
    experiment: str,
    metrics: Mapping[str, float],
    data_span: Sequence[int] | None,
    towers_dir: Path,
) -> str:
    """Write the card: data, metrics by slice, limits, checksums.

    Args:
      version: the release's number.
      experiment: the experiment configuration, YAML.
      metrics: flat metrics (`[slice=value/]metric[/direction]`).
      data_span: spans of the click log, if it has spans.
      towers_dir: exported towers; their files' checksums go into the card.

    Returns:
      Markdown.
    """
    spans = f"spans {data_span[0]} to {data_span[-1]}" if data_span else "the whole log"
    sections = [
        f"# Model card, version {version}",
        "A dual-tower vision-language retrieval model: `text_tower` maps a query, `image_tower` "
        "an image to the same unit sphere; their dot product ranks images for a query.",
        f"## Data\n\nTrained on clicked (query, image) pairs of {spans}. The configuration below "
        "names the data folder and the split policy.",
        "## Metrics\n\n" + _table(metrics),
        "## Limits\n\n- Clicks are biased by position and presentation; weights correct for "
        "position only.\n- An image without clicks was never trained on; it is found by its "
        "looks alone.\n- Scores are cosines; they are comparable within one version only.\n"
        "- Languages and slices not in the table above were not measured.",
        f"## Checksums (SHA-256)\n\n{_checksums(towers_dir)}",
        f"## Configuration\n\n```yaml\n{experiment.strip()}\n```",
    ]
    return "\n\n".join(sections) + "\n"


def _table(metrics: Mapping[str, float]) -> str:
    """One row per slice, one column per headline metric that was measured."""
    columns = [name for name in _HEADLINES if name in metrics]
    slices = sorted({key.rpartition("/")[0] for key in metrics if key.split("/")[-1] in columns})
    lines = ["| slice | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    for name in slices:
        keys = [f"{name}/{column}" if name else column for column in columns]
        cells = [f"{metrics[key]:.4g}" if key in metrics else "" for key in keys]
        lines.append(f"| {name or 'all'} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _checksums(towers_dir: Path) -> str:
    files = sorted(path for path in towers_dir.rglob("*") if path.is_file())
    rows = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(towers_dir)}"
        for path in files
    ]
    return "```\n" + "\n".join(rows) + "\n```"
