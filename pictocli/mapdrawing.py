"""A map of a library as a still figure: a thumbnail a cell, a badge where there are more, labels on top."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from pictocli.atlas import LABELLED, Atlas
from pictocli.display import counted, printable
from pictocli.figures import Pinned
from pictocli.shapes import SIX, Box, Disc, Figure, Picture, Shape, Words

__all__ = ["figure", "told"]

_MARGIN = 0.02  # of the longer side
_WIDE = 0.56  # of its size: a letter's mean width in the fonts that are used
_PILL = "#000000"


def told(image: Pinned) -> str:
    """An image in words: its name, and its first tags."""
    return f"{image.name} ({', '.join(image.tags[:3])})" if image.tags else image.name


def figure(atlas: Atlas, size: int, picture: Callable[[Pinned], bytes | None]) -> Figure:
    """The map, `size` px along its longer side. picture: gives an image's thumbnail, square, or None: then its cell
    has dots, 5 px each at 2000.
    """
    margin = _MARGIN * size
    scale = size - 2 * margin
    foot = max(14.0, size / 80)
    width, height = round(atlas.width * scale + 2 * margin), round(atlas.height * scale + 2 * margin + 1.5 * foot)
    title = f"Map of {counted(len(atlas.images), 'image')}, laid out by {atlas.layout.upper()}"
    found = Figure(width=width, height=height, title=title, dark=True)
    cell = scale / atlas.cells
    held = Counter(_cell(atlas, each) for each in atlas.images)
    bare, pictures, badges = set[tuple[int, int]](), list[Shape](), list[Shape]()
    for each in atlas.images:
        if each.level:  # those with a cell of their own come first
            break
        jpeg = picture(each)
        at = _cell(atlas, each)
        if jpeg is None:
            bare.add(at)
            continue
        x, y, inner = margin + at[0] * cell, margin + at[1] * cell, cell * 0.96
        frame = SIX[atlas.regions[each.region].colour]
        words = told(each) + (f" and {held[at] - 1:,} more" if held[at] > 1 else "")
        pictures.append(Picture(x=x, y=y, size=inner, jpeg=jpeg, frame=frame, title=words))
        if held[at] > 1:
            badges += _badge(f"{held[at]:,}", x + inner, y + inner, cell)
    radius = 5 * size / 2000 / 2 if size >= 800 else 1.5
    found.add(
        Disc(x=margin + each.x * scale, y=margin + each.y * scale, radius=radius, title=told(each),
             fill=SIX[atlas.regions[each.region].colour])
        for each in atlas.images if _cell(atlas, each) in bare
    )  # fmt: skip
    found.add(pictures)
    found.add(badges)
    found.add(_labels(atlas, margin, scale, width))
    found.add(
        [Words(x=width - margin, y=height - foot * 0.7, text=title, size=foot * 0.85, fill="muted", anchor="end")]
    )
    return found


def _cell(atlas: Atlas, image: Pinned) -> tuple[int, int]:
    return min(int(image.x * atlas.cells), atlas.cells - 1), min(int(image.y * atlas.cells), atlas.cells - 1)


def _badge(text: str, right: float, bottom: float, cell: float) -> list[Shape]:
    """How many images a cell holds, in its lower right corner."""
    size = min(16.0, max(9.0, cell * 0.2))
    width, height = size * (_WIDE * len(text) + 0.7), size * 1.3
    box = Box(x=right - width, y=bottom - height, width=width, height=height, fill=_PILL, round=size / 4, opacity=0.78)
    words = Words(x=right - width / 2, y=bottom - size * 0.32, text=text, size=size, fill="#ECECEE", anchor="middle")
    return [box, words]


def _labels(atlas: Atlas, margin: float, scale: float, width: int) -> Iterator[Shape]:
    """The names of clusters, the largest first, each at its densest place or as near as there is room."""
    size, taken = max(12.0, scale / 75), list[tuple[float, float, float, float]]()
    for region in [each for each in atlas.regions[:LABELLED] if each.label]:
        text = printable(region.label)
        wide, high = size * (_WIDE * len(text) + 2.0), size * 1.7
        left = min(max(margin, margin + region.x * scale - wide / 2), width - margin - wide)
        top = margin + region.y * scale - high / 2
        for step in range(12):
            moved = top + high * (1.1 * (step + 1) // 2) * (1 if step % 2 else -1)
            box = (left, moved, left + wide, moved + high)
            if not any(_overlap(box, other) for other in taken):
                break
        taken.append(box)
        left, top = box[:2]
        yield Box(x=left, y=top, width=wide, height=high, fill="#121214", round=high / 2, opacity=0.86)
        yield Disc(x=left + size * 0.95, y=top + high / 2, radius=size * 0.36, fill=SIX[region.colour])
        yield Words(
            x=left + size * 1.6, y=top + high / 2 + size * 0.35, text=text, size=size, fill="#ECECEE", bold=True
        )


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
