"""What browsing a library answers, as plain values: a page of images in an order, and how many there are of what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pictocli.records import Image

__all__ = ["FACETS", "ORDERS", "Browsed", "Facets"]

ORDERS = ("newest", "oldest", "id")
FACETS = ("objects", "scenes", "attributes", "folders", "months")


@dataclass(frozen=True, slots=True, kw_only=True)
class Browsed:
    """One page of the images that are asked for, in their order. at: how many come before it. total: of all pages.

    cursors: of each result a text, with which a page can begin. previous, next: those of the pages before and after
    this one; None where there is none.
    """

    results: Sequence[Image]
    cursors: Sequence[str]
    at: int
    total: int
    previous: str | None = None
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facets:
    """How many of the images that are asked for carry each label, lie in each folder, are of each month.

    What is asked of a facet itself does not count for it: with objects=["car"] the counts of other objects are those
    that choosing them would give. total: images that meet everything. tags: category → (label, images), the most common
    first; a category is missing, folders or months are None, where time was up, or nobody asked for it. folders:
    (dataset, folder, images), without the folders below it. months: ("2019-07", images), in turn.
    """

    total: int
    tags: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)
    folders: Sequence[tuple[str, str, int]] | None = None
    months: Sequence[tuple[str, int]] | None = None
