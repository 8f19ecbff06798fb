"""The author's part of the model card that lies beside every released version.

The release adds metrics, data span, lineage and the checksums of the files.
"""

from __future__ import annotations

from collections.abc import Sequence

_TEMPLATE = """\
# {name}, version {version}

A dual-tower vision-language retrieval model: `text_tower` maps a query and `image_tower` an
image to the same unit sphere; their dot product ranks images for a query.

## Intended use

Ranking the images of one store for short queries in the languages of its click log.

## Data

Trained on the clicked (query, image) pairs of {spans} of the click log. The configuration
below names the data folder and the split policy.

## Limits

- Clicks are biased by position and presentation; their weights correct for position only.
- An image without clicks took no part in training: it is found by its looks alone.
- Scores are cosines, comparable within one version only.
- Languages and slices that the metrics do not name were not measured.

## Configuration

```yaml
{experiment}
```
"""


def render_model_card(
    *, name: str, version: int, experiment: str, spans: Sequence[int] | None
) -> str:
    """Write what a reader of the release should know.

    Args:
      name: of the experiment.
      version: the release's number.
      experiment: the experiment configuration, YAML.
      spans: spans of the click log, ascending; None or empty if it has none.

    Returns:
      Markdown.
    """
    return _TEMPLATE.format(
        name=name,
        version=version,
        spans=f"spans {spans[0]} to {spans[-1]}" if spans else "all files",
        experiment=experiment.strip(),
    )
