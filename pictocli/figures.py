"""What maps and histograms of a library hold, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Bin", "Histogram", "MapReport", "Pinned", "Region"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """One bar: how many (count) of what a histogram counts lie from low up to high, or carry the label.

    low, high: None for a label's. label: as a person reads it.
    """

    histogram: str
    label: str
    low: float | None = None
    high: float | None = None
    count: int

    def cells(self) -> list[list[str]]:
        """Its line of TSV."""
        ends = ["" if each is None else f"{each:.10g}" for each in (self.low, self.high)]
        return [[self.histogram, self.label, *ends, str(self.count)]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Bars of one kind. name: "tags", "taken", "similarity" or "sizes". unit: what stands along its axis.

    counted: what the counts are of, as "images". edges: the label of each place where a bin begins or ends; empty for
    bars that each have a label of their own. note: what a reader must know beside it. mark: (low of an axis of 0..1
    along all bins, text) of a line to draw.
    """

    name: str
    title: str
    unit: str
    counted: str
    bins: Sequence[Bin]
    edges: Sequence[str] = ()
    note: str = ""
    mark: tuple[float, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A cluster of a map. label: the tag that tells it from the rest, "" where none does. x, y: where its
    label stands.

    colour: its place among the six colours, 6 for all others.
    """

    label: str
    images: int
    x: float
    y: float
    colour: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """One image of a map. x, y: 0..1 of the map's longer side, from the top left. level: from which zoom, in powers of
    two, it has a cell of its own. region: its place among the regions.
    """

    image_id: int
    name: str
    place: str
    tags: Sequence[str]
    x: float
    y: float
    level: int
    region: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MapReport:
    """What `Library.map` made. path: "" where no image met the conditions, so that nothing was drawn. layout: "umap" or
    "pca". considered: images in scope. clusters: label → images, the largest first; those with a label.

    shown: images that have a thumbnail in it. lacking: those that should and have none: their originals are gone, or on
    a server. left_out: images in scope without an embedding. seconds: wall time.
    """

    path: str
    images: int
    layout: str
    clusters: Mapping[str, int]
    shown: int
    lacking: int
    left_out: int
    considered: int
    size_bytes: int
    seconds: float
