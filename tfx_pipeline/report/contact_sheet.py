"""A contact sheet: the images that a query found, on one self-contained page."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfx_pipeline.report.thumbnails import data_uri

if TYPE_CHECKING:
    from serving.index import Hit

_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font-family: system-ui, sans-serif; margin: 2rem; color-scheme: light dark; }}
main {{ display: flex; flex-wrap: wrap; gap: 1rem; }}
figure {{ margin: 0; width: 10rem; }} img {{ width: 100%; border-radius: .4rem; }}
figcaption {{ font-size: .8rem; overflow-wrap: anywhere; }}
</style></head><body><h1>{title}</h1><main>
{figures}
</main></body></html>
"""


def render_contact_sheet(query: str, hits: Sequence[Hit]) -> str:
    """HTML with thumbnails inside; an image that cannot be read shows its address alone.

    Args:
      query: shown as the title.
      hits: best first; their addresses are read as local files.
    """
    figures = [
        f"<figure>{_image(hit.uri)}<figcaption>{rank}. {html.escape(hit.id)}"
        f" · {hit.score:.3f}</figcaption></figure>"
        for rank, hit in enumerate(hits, start=1)
    ]
    return _PAGE.format(title=html.escape(query), figures="\n".join(figures))


def _image(uri: str) -> str:
    try:
        thumbnail = data_uri(Path(uri.removeprefix("file://")).read_bytes())
    except OSError:
        thumbnail = None
    return f"<p>{html.escape(uri)}</p>" if thumbnail is None else f'<img src="{thumbnail}" alt="">'
