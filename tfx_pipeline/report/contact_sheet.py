"""A contact sheet: the images that a query found, on one self-contained page."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfx_pipeline.report.pictures import PictureRow

if TYPE_CHECKING:
    from serving.index import Hit

_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font-family: system-ui, sans-serif; margin: 2rem; color-scheme: light dark; }}
</style></head><body><h1>{title}</h1>
{row}
</body></html>
"""


def render_contact_sheet(query: str, hits: Sequence[Hit]) -> str:
    """HTML with thumbnails inside; an image that cannot be read shows its address alone.

    Args:
        query: shown as the title.
        hits: best first; their addresses are read as local files.
    """
    row = PictureRow.of_hits("", hits)._repr_html_()
    return _PAGE.format(title=html.escape(query), row=row)
