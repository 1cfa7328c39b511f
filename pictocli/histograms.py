"""How a library is spread over tags, dates, similarities and sizes: counts, without numpy."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

from pictocli.display import counted, size_of
from pictocli.figures import Bin, Histogram
from pictocli.overview import Overview
from pictocli.pairs import closer_than
from pictocli.points import Points
from pictocli.queries import Queries

__all__ = ["histograms"]

_FEWEST, _MOST = 10, 50  # bins of a histogram
_R10 = (1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8)  # Renard's ten preferred numbers, ISO 3
_TAGS = 20  # labels that are told
_THRESHOLD = 0.6  # that `picto similar` has by default


def histograms(queries: Queries) -> list[Histogram]:
    """Those of tags, dates, similarities of random pairs, and sizes of files, as far as there is anything to count."""
    points, overview = Points(queries.db), Overview(queries.db)
    found = (_tags(overview), _taken(points), _similarity(overview), _sizes(points))
    return [each for each in found if each is not None]


def _tags(overview: Overview) -> Histogram | None:
    """Images by tag, the most common first."""
    tags = overview.tags()
    if not tags:
        return None
    told = tags[:_TAGS]
    more = f"the {len(told)} most common of {len(tags)}" if len(told) < len(tags) else ""
    bins = [Bin(histogram="tags", label=label, count=count) for _, label, count in told]
    return Histogram(name="tags", title="Tags", unit="tag", counted="images", bins=bins, note=more)


def _taken(points: Points) -> Histogram | None:
    """Images by when they were taken: days, months or years, whichever are few enough."""
    seconds, images = points.taken(), points.count(None)
    if not seconds:
        return None
    first, last = (datetime.fromtimestamp(each, UTC) for each in (seconds[0], seconds[-1]))
    if (last - first).days < 31:
        unit, form = "day", "%Y-%m-%d"
    elif _months(last) - _months(first) < 36:
        unit, form = "month", "%Y-%m"
    else:
        unit, form = "year", "%Y"
    begins = _begins(first, last, unit)
    step = -(-(len(begins) - 1) // _MOST)  # years, where there are more than 50
    begins = begins[::step] + [begins[-1]] * ((len(begins) - 1) % step > 0)
    numbers = [each.timestamp() for each in begins]
    sums = Counter(bisect_right(numbers, each) - 1 for each in seconds)
    bins = [
        Bin(histogram="taken", label=begins[at].strftime(form), low=numbers[at], high=numbers[at + 1], count=sums[at])
        for at in range(len(begins) - 1)
    ]
    lack = images - len(seconds)
    note = f"{counted(lack, 'image')} without a date" if lack else ""
    edges = [each.strftime(form) for each in begins]
    unit = f"{step} years" if step > 1 else unit
    return Histogram(name="taken", title="Taken", unit=unit, counted="images", bins=bins, edges=edges, note=note)


def _months(moment: datetime) -> int:
    return moment.year * 12 + moment.month - 1


def _begins(first: datetime, last: datetime, unit: str) -> list[datetime]:
    """When each day, month or year from `first` to `last` begins, and the one after."""
    if unit == "day":
        days = range(first.toordinal(), last.toordinal() + 2)
        return [datetime.fromordinal(each).replace(tzinfo=UTC) for each in days]
    if unit == "month":
        months = range(_months(first), _months(last) + 2)
        return [datetime(each // 12, each % 12 + 1, 1, tzinfo=UTC) for each in months]
    return [datetime(each, 1, 1, tzinfo=UTC) for each in range(first.year, last.year + 2)]


def _similarity(overview: Overview) -> Histogram | None:
    """Random pairs by their cosine, in steps of 0.05, from what is kept of them; None where that was not measured."""
    pairs = overview.pairs()
    if pairs is None:
        return None
    low, high = int(pairs.cosines[0] * 20 // 1), int(pairs.cosines[-1] * 20 // 1) + 1
    high = max(high, round(_THRESHOLD * 20) + 1)
    edges = [at / 20 for at in range(low, high + 1)]
    below = [0, *(round((closer_than(pairs, edge) or 0) * pairs.n) for edge in edges[1:-1]), pairs.n]
    bins = [
        Bin(histogram="similarity", label=f"{low:.2f}", low=low, high=high, count=below[at + 1] - below[at])
        for at, (low, high) in enumerate(pairwise(edges))
    ]  # fmt: skip
    mark = ((_THRESHOLD - edges[0]) / (edges[-1] - edges[0]), f"threshold {_THRESHOLD}")
    return Histogram(
        name="similarity", title="Similarity of random pairs", unit="cosine", counted="pairs", bins=bins,
        edges=[f"{edge:.2f}" for edge in edges], note=f"{pairs.n:,} compared", mark=mark,
    )  # fmt: skip


def _around(sizes: Sequence[int], leads: Sequence[float]) -> list[int]:
    """Round numbers, of `leads` in each power of ten, from below the first of ascending sizes to above the last."""
    steps = [0, 1, *sorted({round(lead * 10**power) for power in range(1, 16) for lead in leads})]
    return steps[bisect_right(steps, sizes[0]) - 1 : bisect_right(steps, sizes[-1]) + 1]


def _sizes(points: Points) -> Histogram | None:
    """Files by their bytes, in steps of 1, 2, 5, or in finer ones: a logarithmic axis."""
    sizes = points.file_sizes()
    if not sizes:
        return None
    edges = _around(sizes, (1, 2, 5))
    if len(edges) <= _FEWEST:
        edges = _around(sizes, _R10)
    held = Counter(bisect_right(edges, size) - 1 for size in sizes)
    labels = [size_of(edge).replace(".0 ", " ") for edge in edges]
    bins = [
        Bin(histogram="sizes", label=labels[at], low=edges[at], high=edges[at + 1], count=held[at])
        for at in range(len(edges) - 1)
    ]
    note = f"{size_of(sum(sizes))} in {counted(len(sizes), 'file')}"
    return Histogram(
        name="sizes", title="Sizes of files", unit="size", counted="files", bins=bins, edges=labels, note=note
    )
