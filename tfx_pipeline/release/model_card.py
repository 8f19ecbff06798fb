"""The author's part of the model card that lies beside every released version.

The release adds metrics, data span, lineage and the checksums of the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vl_models.members import MEMBERS, RERANKER

_TEMPLATE = """\
# {name}, version {version}

A vision-language search release. It consists of

{models}

## Intended use

Ranking the images of one store for short queries in the languages of its click log.

## Data

Trained on the clicked (query, image) pairs of {spans} of the click log. The configuration
below names the data folder and the split policy.

## Limits

- Clicks are biased by position and presentation; their weights correct for position only.
- An image without clicks took no part in training: it is found by its looks alone.
- Scores are comparable within one version only.
- Languages and slices that the metrics do not name were not measured.

## Configuration

```yaml
{experiment}
```
"""


def render_model_card(
    *,
    name: str,
    version: int,
    models: Iterable[str],
    experiment: str,
    spans: Sequence[int] | None,
    reranker: str | None = None,
) -> str:
    """Write what a reader of the release should know.

    Args:
        name: of the experiment.
        version: the release's number.
        models: names of its members.
        experiment: the experiment configuration, YAML.
        spans: spans of the click log, ascending; None or empty if it has none.
        reranker: where the reranker is from, if it is of another run.

    Returns:
        Markdown.
    """
    return _TEMPLATE.format(
        name=name,
        version=version,
        models="\n".join(_line(model, reranker) for model in models),
        spans=f"spans {spans[0]} to {spans[-1]}" if spans else "all files",
        experiment=experiment.strip(),
    )


def _line(model: str, reranker: str | None) -> str:
    what = f", which {MEMBERS[model].card}" if model in MEMBERS else ""
    origin = f"; of another run, {reranker}" if model == RERANKER and reranker else ""
    return f"- `{model}`{what}{origin};"
