"""The part of a library that goes through all of it: images in an order, page by page, and counts of what they are."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Unpack

from pictocli.errors import NotFoundError, check_range
from pictocli.labels import resolve_labels
from pictocli.queries import Queries
from pictocli.questions import Questions, question
from pictocli.records import CATEGORIES, Image, Scope
from pictocli.references import ImageLike, find

if TYPE_CHECKING:
    from pictocli.browsed import Browsed, Facets
    from pictocli.columns import Columns
    from pictocli.filters import Filters
    from pictocli.shelf import Mask, Shelf

__all__ = ["Browsing"]

_MOST = 1000  # images on a page
_SELDOM = 20  # times as long as reading all images takes is waited before it is done again, where that may be


class Browsing(Questions):
    """Goes through one database. All its images are read at the first question, 0.2 s of 100,000: see `shelf.py`."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._shelf: Shelf | None = None
        self._shelf_version, self._shelf_read, self._shelf_took = 0, 0.0, 0.0

    def close(self) -> None:
        """Close the database; the next question opens it again.

        >>> library.close()
        """
        self._shelf = None
        super().close()

    @question
    def browse(
        self, *, objects: Sequence[str] | None = None, scenes: Sequence[str] | None = None,
        attributes: Sequence[str] | None = None, match: str = "any", dataset: str | None = None,
        folder: str | None = None, sort: str = "newest", start: str | None = None, around: int | None = None,
        limit: int = 100, stale: float = 0.0, **filters: Unpack[Filters],
    ) -> Browsed:  # fmt: skip
        """A page of all images, or of those with these tags that meet these `Filters`, as those of `tagged`.

        sort: "newest", "oldest" or "id"; an image is as old as `Filters` has it. start: a cursor of another page, with
        whose image this one begins; it may be gone. around: the id of an image that is in the middle. limit: 1..1000.
        stale: seconds for which what is asked of may be older than the database, where that changes. Raises
        ValidationError, NotFoundError also where the image `around` is not among those asked for, StoreError.

        >>> page = library.browse(scenes=["outdoor"], sort="id", limit=2)
        >>> [image.image_id for image in page.results], page.total
        ([1, 4], 36)
        """
        check_range("limit", limit, 1, _MOST)
        queries = self._queries()
        masks = self._masks(queries, (objects, scenes, attributes), match, Scope(dataset, folder), filters, stale)
        shelf, columns = self._read(queries, stale)
        ordered = shelf.ordered(_all(shelf, masks.values()), sort)
        first = 0 if start is None else shelf.find(ordered, sort, start)
        if around is not None:
            found = (shelf.ids[ordered] == around).nonzero()[0]
            if not len(found):
                raise NotFoundError(f"image {around} is not among those asked for", "ask for fewer things of it")
            first = max(0, int(found[0]) - limit // 2)
        places = ordered[first : first + limit]
        ids, cursors = shelf.ids[places].tolist(), [shelf.cursor(place) for place in places]
        if self._shelf_version != queries.version():
            there = columns.some(ids)
            cursors = [cursor for i, cursor in zip(ids, cursors, strict=True) if i in there]
            ids = [i for i in ids if i in there]
        fields, last = queries.fields(ids), first + len(places)
        from pictocli.browsed import Browsed

        return Browsed(
            results=[Image(**fields[i]) for i in ids], cursors=cursors, at=first, total=len(ordered),
            previous=shelf.cursor(ordered[max(0, first - limit)]) if first else None,
            next=shelf.cursor(ordered[last]) if last < len(ordered) else None,
        )  # fmt: skip

    @question
    def facets(
        self, *, objects: Sequence[str] | None = None, scenes: Sequence[str] | None = None,
        attributes: Sequence[str] | None = None, match: str = "any", dataset: str | None = None,
        folder: str | None = None, among: Iterable[int] | None = None, facets: Sequence[str] | None = None,
        seconds: float = math.inf, stale: float = 0.0, **filters: Unpack[Filters],
    ) -> Facets:  # fmt: skip
        """How many of the images that are asked for carry which labels, lie in which folders, are of which months.

        among: only of the images with these ids. facets: those to count, of `browsed.FACETS`; None for all. seconds:
        what counting may take; what has not been begun by then is left out. The rest is as in `browse`.

        >>> library.facets(objects=["car"]).total
        1
        """
        from pictocli.browsed import FACETS, Facets

        started, queries = time.perf_counter(), self._queries()
        masks = self._masks(queries, (objects, scenes, attributes), match, Scope(dataset, folder), filters, stale)
        shelf, columns = self._read(queries, stale)
        if among is not None:
            masks["among"] = shelf.of(among)

        def others(facet: str) -> Mask:
            return _all(shelf, [mask for name, mask in masks.items() if name != facet])

        counted: dict[str, Any] = {}
        for facet in FACETS if facets is None else facets:
            if time.perf_counter() - started > seconds:
                break
            if facet in CATEGORIES:
                counted[facet] = shelf.tagged(columns, others(facet), facet)
            else:
                counted[facet] = (shelf.in_folders if facet == "folders" else shelf.by_month)(others(facet))
        return Facets(
            total=int(_all(shelf, masks.values()).sum()), folders=counted.pop("folders", None),
            months=counted.pop("months", None), tags=counted,
        )  # fmt: skip

    @question
    def pages(self, image: ImageLike, *, beside: int = 3) -> Browsed:
        """The pages around one of a document, with it, at most so many on either side; without cursors.

        total: pages of that document in the index; 0 for an image that is no page. Raises NotFoundError.

        >>> library.pages("sample_images/documents/travel-report.pdf#page=2").total
        3
        """
        from pictocli.columns import Columns  # numpy

        queries = self._queries()
        reference = find(queries, image)
        if reference.image_id is None:
            name = "these bytes" if isinstance(image, bytes) else str(image)
            raise NotFoundError(f"not in the index: {name}", "picto index adds it")
        every = Columns(queries.db).pages(reference.image_id)
        at = every.index(reference.image_id) if every else 0
        ids = every[max(0, at - beside) : at + beside + 1]
        fields = queries.fields(ids)
        from pictocli.browsed import Browsed

        return Browsed(results=[Image(**fields[i]) for i in ids], cursors=(), at=max(0, at - beside), total=len(every))

    def _read(self, queries: Queries, stale: float) -> tuple[Shelf, Columns]:
        """All images, read again where the database has changed, and what reads more of them."""
        from pictocli.columns import Columns  # numpy
        from pictocli.shelf import Shelf

        columns, now = Columns(queries.db), time.monotonic()
        waited = now - self._shelf_read >= (stale and max(stale, _SELDOM * self._shelf_took))
        if self._shelf is None or (self._shelf_version != queries.version() and waited):
            self._shelf, self._shelf_version = Shelf(columns), queries.version()
            self._shelf_read = time.monotonic()
            self._shelf_took = self._shelf_read - now
        assert self._shelf is not None
        return self._shelf, columns

    def _masks(
        self, queries: Queries, labels: Sequence[Sequence[str] | None], match: str, scope: Scope, filters: Filters,
        stale: float,
    ) -> dict[str, Mask]:  # fmt: skip
        """By facet the images that meet what is asked of it; "rest": what is asked of none."""
        found: dict[str, Mask] = {}
        given = dict(zip(CATEGORIES, labels, strict=True))
        groups = {
            category: resolve_labels(queries, **{each: names if each == category else None for each in CATEGORIES},
                                     match=match)[0]
            for category, names in given.items() if names
        }  # fmt: skip
        folders = queries.folders(scope)
        dates = {name: filters[name] for name in ("after", "before") if filters.get(name) is not None}
        shelf, columns = self._read(queries, stale)
        for category, each in groups.items():
            found[category] = _all(shelf, [shelf.carrying(columns, group) for group in each])
        if folders is not None:
            found["folders"] = shelf.within(folders)
        if dates:
            found["months"] = shelf.between(*_span(**dates))
        rest: Any = {name: value for name, value in filters.items() if name not in dates and value is not None}
        if rest:
            from pictocli.filters import filtering

            found["rest"] = shelf.of(queries.passing(filtering(queries, rest), None))
        return found


def _all(shelf: Shelf, masks: Iterable[Mask]) -> Mask:
    """The images that all of these hold."""
    found = shelf.everything()
    for mask in masks:
        found &= mask
    return found


def _span(after: Any = None, before: Any = None) -> tuple[float, float]:
    """Two dates in seconds since 1970 by a clock on the wall. Raises ValidationError as `filters.moment` does."""
    from pictocli.errors import ValidationError
    from pictocli.filters import moment

    now, epoch = datetime.now(), datetime(1970, 1, 1)
    first = -math.inf if after is None else (moment(after, now) - epoch).total_seconds()
    last = math.inf if before is None else (moment(before, now) - epoch).total_seconds()
    if first >= last:
        raise ValidationError(
            f"nothing lies after {after} and before {before}", "the earlier date is the one after which"
        )
    return first, last
