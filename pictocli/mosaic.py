"""Which images of a map have a cell of their own at which zoom, and their thumbnails, side by side in sheets."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from pictocli.errors import UnreadableError
from pictocli.stored_jpegs import stored_jpeg

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DEPTH", "across", "fitted", "levels", "sheets", "tile"]

DEPTH = 6  # zooms, each of twice the size: 64 times
_FEWEST, _MOST = 8, 41  # cells along the longer side: 41 of 48 px on 2000
_SHEET = 2048  # px a side of a sheet


def across(count: int) -> int:
    """How many cells a map of so many images has along its longer side: the fewer images, the larger their cells."""
    return int(np.clip(round(2.0 * count**0.5), _FEWEST, _MOST))


def fitted(places: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, float]:
    """Places moved and scaled alike in both directions, so that the longer side is 0..1; and the width and height."""
    low, high = places.min(0), places.max(0)
    span = float((high - low).max())
    if span == 0:  # all at one place: in the middle
        return np.full_like(places, 0.5), 1.0, 1.0
    scaled = (places - low) / span
    width, height = (max(0.4, float(each)) for each in scaled.max(0))
    scaled += (np.array([width, height], "f4") - scaled.max(0)) / 2
    return np.clip(scaled, 0, 1), width, height


def levels(places: NDArray[np.float32], cells: int) -> NDArray[np.int64]:
    """From which zoom, 0 to DEPTH - 1, each place (float32 [n, 2], 0..1) stands for its cell; DEPTH for never.

    At zoom k the map has cells * 2**k cells a side. Each is stood for by one place, that of an earlier zoom where it
    holds one, else the one nearest to its middle.
    """
    found = np.full(len(places), DEPTH)
    for level in range(DEPTH):
        scale = cells << level
        at = np.minimum((places * scale).astype(int), scale - 1)
        cell = at[:, 0] * scale + at[:, 1]
        far = ((places * scale - at - 0.5) ** 2).sum(1)
        order = np.lexsort((np.arange(len(places)), far, cell))
        first = order[np.unique(cell[order], return_index=True)[1]]
        taken = set(cell[found < level].tolist())
        free = [each for each in first.tolist() if cell[each] not in taken]
        found[free] = level
    return found


def tile(jpeg: bytes, size: int) -> Image.Image:
    """The middle of a thumbnail, square, `size` px a side. Raises UnreadableError for what is no picture."""
    try:
        with stored_jpeg(jpeg) as image:
            image.draft("RGB", (size, size))
            return ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.LANCZOS)
    except Exception as exc:  # what Pillow raises at a blob that is no picture
        raise UnreadableError("a thumbnail is no JPEG") from exc


def sheets(count: int, size: int, picture: Callable[[int], Image.Image | None]) -> tuple[list[bytes], Sequence[int]]:
    """Sheets of WebP with `count` square pictures of `size` px, row by row, and which of them are blank.

    picture: gives each; None leaves it blank. A sheet is at most _SHEET px a side, and one is held at a time.
    """
    along = _SHEET // size
    found, blank = list[bytes](), list[int]()
    for first in range(0, count, along * along):
        held = min(along * along, count - first)
        sheet = Image.new("RGB", (along * size, -(-held // along) * size), (18, 18, 20))
        for at in range(held):
            one = picture(first + at)
            if one is None:
                blank.append(first + at)
            else:
                sheet.paste(one, (at % along * size, at // along * size))
        out = io.BytesIO()
        sheet.save(out, "WEBP", quality=60, method=4)
        found.append(out.getvalue())
    return found, blank
