"""Histograms as figures, and as lines of text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pictocli.display import bar, crop, pad, printable
from pictocli.figures import Histogram
from pictocli.shapes import Box, Figure, Line, Shape, Words

__all__ = ["HEIGHT", "WIDTH", "chart", "page", "text"]

WIDTH, HEIGHT = 640, 360  # px
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 28, 56, 52  # px around the bars
_BAR = 40  # cells of a terminal that its longest bar has at most


def chart(histogram: Histogram) -> Figure:
    """One histogram, WIDTH × HEIGHT: bars from zero, a scale at the left, its unit below, what it counts above."""
    found = Figure(width=WIDTH, height=HEIGHT, title=f"{histogram.title}: {histogram.counted} by {histogram.unit}")
    found.add(_heading(histogram))
    found.add(_standing(histogram) if histogram.edges else _lying(histogram))
    return found


def page(histograms: Sequence[Histogram]) -> Figure:
    """All of them on one figure, two side by side."""
    across = min(2, len(histograms))
    down = -(-len(histograms) // 2)
    title = ", ".join(histogram.title for histogram in histograms)
    found = Figure(width=max(1, across) * WIDTH, height=max(1, down) * HEIGHT, title=f"Histograms: {title}")
    for at, histogram in enumerate(histograms):
        found.add(_moved(each, at % 2 * WIDTH, at // 2 * HEIGHT) for each in chart(histogram).shapes)
    return found


def _moved(shape: Shape, dx: float, dy: float) -> Shape:
    from dataclasses import replace

    if isinstance(shape, Line):
        return replace(shape, x=shape.x + dx, y=shape.y + dy, x2=shape.x2 + dx, y2=shape.y2 + dy)
    return replace(shape, x=shape.x + dx, y=shape.y + dy)


def _heading(histogram: Histogram) -> Iterator[Shape]:
    yield Words(x=20, y=28, text=histogram.title, size=16, fill="text", bold=True)
    told = [histogram.counted, *filter(None, [histogram.note])]
    yield Words(x=WIDTH - _RIGHT, y=28, text=", ".join(told), size=12, fill="muted", anchor="end")


def _scale(most: int) -> list[int]:
    """Whole numbers at even distances from 0 to `most` or beyond, five at most: 0, 20, 40, 60."""
    most = max(1, most)
    step = next(lead * 10**power for power in range(20) for lead in (1, 2, 5) if lead * 10**power * 4 >= most)
    return list(range(0, most + step, step)) if most % step else list(range(0, most + 1, step))


def _standing(histogram: Histogram) -> Iterator[Shape]:
    """Bars side by side along an axis with edges."""
    counts = [each.count for each in histogram.bins]
    ticks = _scale(max(counts))
    wide, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    base, top = _TOP + high, max(1, ticks[-1])
    for tick in ticks:
        y = base - high * tick / top
        yield Line(x=_LEFT, y=y, x2=_LEFT + wide, y2=y, stroke="line")
        yield Words(x=_LEFT - 8, y=y + 4, text=f"{tick:,}", size=12, fill="muted", anchor="end")
    each = wide / len(counts)
    gap = min(2.0, each * 0.15)
    for at, one in enumerate(histogram.bins):
        tall = high * one.count / top
        if one.count:
            tall = max(tall, 1.0)  # what is there is seen
            title = f"{histogram.edges[at]} – {histogram.edges[at + 1]}: {one.count:,}"
            yield Box(
                x=_LEFT + at * each + gap / 2, y=base - tall, width=each - gap, height=tall, fill="bar", title=title
            )
    every = -(-len(histogram.edges) * max(len(edge) for edge in histogram.edges) * 7 // wide) + (len(counts) > 12)
    for at, edge in list(enumerate(histogram.edges))[::every]:
        x = _LEFT + at * each
        yield Line(x=x, y=base, x2=x, y2=base + 4, stroke="muted")
        yield Words(x=x, y=base + 18, text=edge, size=12, fill="muted", anchor="middle")
    yield Words(x=_LEFT + wide / 2, y=HEIGHT - 12, text=histogram.unit, size=12, fill="muted", anchor="middle")
    if histogram.mark:
        x = _LEFT + histogram.mark[0] * wide
        yield Line(x=x, y=_TOP - 4, x2=x, y2=base, stroke="mark", width=1.5, dashed=True)
        yield Words(x=x - 6, y=_TOP + 8, text=histogram.mark[1], size=12, fill="mark", anchor="end")


def _lying(histogram: Histogram) -> Iterator[Shape]:
    """Bars below each other, each with its label, and its count at its end."""
    most = max(each.count for each in histogram.bins)
    rows, left = len(histogram.bins), 150
    high = (HEIGHT - _TOP - 16) / max(8, rows)
    size = min(13.0, high * 0.85)
    for at, each in enumerate(histogram.bins):
        y, wide = _TOP + at * high, (WIDTH - left - 70) * each.count / max(1, most)
        label = printable(each.label)
        label = label if len(label) <= 20 else label[:19] + "…"
        yield Words(x=left - 8, y=y + high / 2 + size * 0.35, text=label, size=size, fill="text", anchor="end")
        yield Box(x=left, y=y + 1, width=max(1.0, wide), height=high - 2, fill="bar", title=f"{label}: {each.count:,}")
        end = left + wide + 6
        yield Words(x=end, y=y + high / 2 + size * 0.35, text=f"{each.count:,}", size=size, fill="muted")


def text(histogram: Histogram, width: int, *, unicode: bool = True) -> list[str]:
    """A histogram as lines of at most `width` cells: its title, then a label, a bar and a count a line."""
    told = ", ".join(filter(None, [f"{histogram.counted} by {histogram.unit}", histogram.note]))
    labels = [printable(each.label) for each in histogram.bins]
    if histogram.edges:
        dash = "–" if unicode else "-"
        both = [(histogram.edges[at], histogram.edges[at + 1]) for at in range(len(labels))]
        single = histogram.name == "taken" and len(histogram.unit) < 6
        labels = [low if single else f"{low} {dash} {high}" for low, high in both]
    counts = [f"{each.count:,}" for each in histogram.bins]
    most = max(each.count for each in histogram.bins)
    side, last = min(24, max(map(_cells, labels))), max(map(len, counts))
    cells = max(0, min(_BAR, width - side - last - 6))
    lines = [f"{histogram.title}  {told}"]
    for label, count, each in zip(labels, counts, histogram.bins, strict=True):
        drawn = f"{bar(each.count / max(1, most), unicode=unicode, cells=cells)}  " if cells >= 4 else ""
        shown = pad(crop(label, side, "…" if unicode else "~"), side, right=bool(histogram.edges))
        lines.append(f"  {shown}  {drawn}{count:>{last}}")
    return lines


def _cells(label: str) -> int:
    from rich.cells import cell_len

    return cell_len(label)
