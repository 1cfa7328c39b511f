"""Draws a library as a map, in a file: SVG, PNG or a page of HTML with zoom."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO

from PIL import Image

from pictocli import layout
from pictocli.atlas import Atlas, drawn_up, laid_out, require_enough
from pictocli.databases import shown
from pictocli.display import counted
from pictocli.errors import DamagedError, StoreError, UnreadableError, ValidationError, check_range
from pictocli.figures import MapReport, Pinned
from pictocli.mapdrawing import figure
from pictocli.mosaic import tile
from pictocli.places import whole
from pictocli.points import Points
from pictocli.protocols import Progress
from pictocli.references import is_indexed
from pictocli.selection import Condition
from pictocli.targets import form_of, signature
from pictocli.thumbnails import thumbnail

__all__ = ["chosen_layout", "draw"]

_SIZE = 2000  # px of the longer side
_NARROWEST = 64  # px: what a thumbnail is asked for at least


def chosen_layout(asked: str, progress: Progress) -> str:
    """ "umap" or "pca": what is asked for, one of `layout.LAYOUTS`, or UMAP where it is installed."""
    if asked != "auto":
        return asked
    if layout.can_umap():
        return "umap"
    progress.say("laid out by PCA: UMAP, which keeps neighbours together, needs pip install 'pictocli[map]'")
    return "pca"


def draw(
    points: Points, target: str, progress: Progress, *, folders: list[int] | None, conditions: Sequence[Condition],
    how: str, seed: int, size: int | None, library: str, pdf_password: str | Sequence[str] | None,
) -> MapReport:  # fmt: skip
    """Draw the images in scope; see `Library.map`."""
    started = time.perf_counter()
    form = form_of(target, library, "map", lambda: is_indexed(points, target))
    if size is not None and form == "html":
        raise ValidationError("a page is as large as its window", "a size is for .svg and .png")
    size = _SIZE if size is None else size
    check_range("size", size, 400, 8000)
    check_range("seed", seed, 0, 2**32 - 1)
    if how not in layout.LAYOUTS:
        raise ValidationError(f"there is no layout {how}", ", ".join(layout.LAYOUTS))
    spec = points.spec()
    if spec is None:
        raise StoreError(f"{shown(library)} holds no images yet", "picto index FOLDER fills it")
    rows = points.placed(folders, conditions)
    matching = points.matching(folders, conditions)
    report = MapReport(
        path="", images=len(rows), layout=how, clusters={}, shown=0, lacking=0, left_out=matching - len(rows),
        considered=points.count(folders), size_bytes=0, seconds=0.0,
    )  # fmt: skip
    if matching or (folders is None and not conditions):
        require_enough(len(rows))
        pictures = _Pictures(points, progress, pdf_password)
        how = chosen_layout(how, progress)
        try:
            atlas = drawn_up(
                points, rows, laid_out(points, sorted({each for _, each in rows}), spec, how, seed, progress), how
            )
            with whole(target) as out:
                _write(atlas, form, size, pictures, out)
                out.flush()
                written = out.tell()
        finally:
            progress.doing("")
        report = replace(
            report, path=os.path.abspath(target), layout=how, shown=pictures.made, lacking=pictures.lacking,
            clusters={each.label: each.images for each in atlas.regions if each.label}, size_bytes=written,
        )  # fmt: skip
    return replace(report, seconds=time.perf_counter() - started)


def _write(atlas: Atlas, form: str, size: int, pictures: _Pictures, out: BinaryIO) -> None:
    """Write a map in one of SUFFIXES."""
    if form == "html":
        from pictocli import mappage

        mappage.write(atlas, pictures, out)
        return
    own = sum(each.level == 0 for each in atlas.images)
    side = max(48, round(size / atlas.cells))

    def square(image: Pinned) -> bytes | None:
        found = pictures(image, side, own)
        if found is None:
            return None
        held = io.BytesIO()
        found.save(held, "JPEG", quality=82)
        return held.getvalue()

    drawn = figure(atlas, size, square)
    if form == "png":
        from pictocli import raster

        raster.write(drawn, out, maker=signature("map"))
    else:
        from pictocli import svg

        svg.write(drawn, out, maker=signature("map"))


class _Pictures:
    """Thumbnails as they are asked for, counted."""

    def __init__(self, points: Points, progress: Progress, pdf_password: str | Sequence[str] | None) -> None:
        self._points, self._progress, self._password = points, progress, pdf_password
        self.made = self.lacking = 0

    def __call__(self, image: Pinned, side: int, of: int) -> Image.Image | None:
        """The middle of an image, `side` px square, or None where there is no thumbnail. of: how many are asked for."""
        done = self.made + self.lacking
        if done % 20 == 0:
            self._progress.doing(f"drawing {done:,} of {counted(of, 'thumbnail')}")
        try:
            found = tile(thumbnail(self._points, image.image_id, max(_NARROWEST, 2 * side), self._password), side)
        except (DamagedError, UnreadableError):
            self.lacking += 1
            return None
        self.made += 1
        return found
