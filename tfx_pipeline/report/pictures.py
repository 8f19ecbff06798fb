"""Rows of small pictures with captions, for pages and for notebooks."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from serving.image_store import ImageStore
from tfx_pipeline.report.thumbnails import data_uri
from tfx_pipeline.storage.objects import read_bytes
from vl_models.terminal import visible

if TYPE_CHECKING:
    from serving.index import Hit

_ROW = (
    '<div style="margin: .6rem 0"><b>{title}</b>'
    '<div style="display: flex; flex-wrap: wrap; gap: .6rem; margin-top: .3rem">\n'
    "{figures}\n</div></div>"
)
_FIGURE = (
    '<figure style="margin: 0; width: 6.5rem; font-size: .75rem; overflow-wrap: anywhere">'
    "{picture}<figcaption>{caption}</figcaption></figure>"
)


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        encoded: JPEG, PNG or the like; empty for one that could not be read.
        caption: below it.
        address: shown instead of a picture that cannot be decoded.
    """

    encoded: bytes
    caption: str
    address: str = ""

    @classmethod
    def of_hit(cls, rank: int, hit: Hit) -> Picture:
        """Return a search result, its address read as a local file or from a bucket."""
        try:
            encoded = ImageStore(read_bucket=read_bytes).read(hit.uri)
        except (OSError, ValueError):  # ValueError: no address of a file, or of a bucket
            encoded = b""
        return cls(encoded, f"{rank}. {hit.name} · {hit.score:.3f}", hit.uri)

    def html(self) -> str:
        """Return an image element with the thumbnail inside, or a paragraph with the address."""
        thumbnail = data_uri(self.encoded)
        if thumbnail is None:
            return f"<p>{html.escape(self.address)}</p>"
        return f'<img src="{thumbnail}" alt="" style="width: 100%; border-radius: .4rem">'


class PictureRow:
    """A titled row of pictures that a notebook shows as HTML, needing no file beside it."""

    def __init__(self, title: str, pictures: Sequence[Picture]):
        self.title = title
        self.pictures = tuple(pictures)

    @classmethod
    def of_hits(cls, query: str, hits: Sequence[Hit]) -> PictureRow:
        """Return what a query found, best first."""
        return cls(query, [Picture.of_hit(rank, hit) for rank, hit in enumerate(hits, start=1)])

    def __repr__(self) -> str:
        captions = ", ".join(picture.caption for picture in self.pictures)
        return visible(f"{self.title}: {captions}")

    def _repr_html_(self) -> str:
        figures = "\n".join(
            _FIGURE.format(picture=picture.html(), caption=html.escape(picture.caption))
            for picture in self.pictures
        )
        return _ROW.format(title=html.escape(self.title), figures=figures)
