"""The images of one page: some of all of them, or of the 500 that match best."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pictocli.browsed import Browsed
from pictocli.errors import NotFoundError, ValidationError
from pictocli.gallery.state import State
from pictocli.library import MAX_LIMIT, Library
from pictocli.records import Answer, Image
from pictocli.references import ImageLike

__all__ = ["PAGE", "Listing", "Neighbours", "beside", "best", "browsed", "cut", "ranks"]

PAGE = 100  # images
STALE = 5.0  # seconds that a list may be older than a database that is being changed
_CURSOR = re.compile(r"(-?[0-9]{1,11})\.([0-9]{1,19})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One page. cursors, at, previous, next: as in `Browsed`. total: images on all pages. answer: of a ranking."""

    results: Sequence[Image]
    cursors: Sequence[str]
    at: int
    total: int
    previous: str | None
    next: str | None
    answer: Answer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """An image among the results. position: from 0 on. cursor: where a page begins with it."""

    position: int
    total: int
    cursor: str
    previous: Image | None
    next: Image | None


def ranks(state: State) -> bool:
    """Whether the images are those that match best, 500 at most, rather than all in an order."""
    return state.ranked or (state.sort == "score" and state.tagged)


def browsed(library: Library, state: State, *, around: int | None = None, limit: int = PAGE) -> Browsed:
    """A page of all images. Raises as `Library.browse`."""
    return library.browse(
        sort="newest" if state.sort == "score" else state.sort, start=None if around else state.at or None,
        around=around, limit=limit, stale=STALE, **state.asked,
    )  # fmt: skip


def best(library: Library, state: State, like: ImageLike | None) -> Answer:
    """The images that match best. like: the picture that the state names. Raises as `Library`'s questions do."""
    if state.q:
        return library.search(state.q, images=[] if like is None else [like], limit=MAX_LIMIT, **state.asked)
    if like is None:
        return library.tagged(sort="score", limit=MAX_LIMIT, **state.asked)
    scope: dict[str, Any] = (
        {} if state.folder or not state.dataset else {"folder": "/"}
    )  # else a picture would bring its own
    return library.similar(
        like, threshold=state.threshold, limit=MAX_LIMIT, everywhere=not state.dataset, **state.asked, **scope
    )


def cut(answer: Answer, at: str) -> Listing:
    """The page of a ranking that begins at a cursor. Raises ValidationError for what is none."""
    results, first = answer.results, 0
    if at:
        parts = _CURSOR.fullmatch(at)
        if parts is None:
            raise ValidationError("that is no place in a list of images", "leave out at= to see the beginning")
        places = {image.image_id: place for place, image in enumerate(results)}
        first = max(0, min(places.get(int(parts[2]), int(parts[1])), len(results) - 1))
    last = first + PAGE
    return Listing(
        results=results[first:last], cursors=[_cursor(results, place) for place in range(first, len(results))[:PAGE]],
        at=first, total=len(results), previous=_cursor(results, max(0, first - PAGE)) if first else None,
        next=_cursor(results, last) if last < len(results) else None, answer=answer,
    )  # fmt: skip


def beside(answer: Answer, image_id: int) -> Neighbours:
    """An image's place in a ranking. Raises NotFoundError when it is not in it."""
    results = answer.results
    for place, image in enumerate(results):
        if image.image_id == image_id:
            return Neighbours(
                position=place, total=len(results), cursor=_cursor(results, place),
                previous=results[place - 1] if place else None,
                next=results[place + 1] if place + 1 < len(results) else None,
            )  # fmt: skip
    raise NotFoundError(f"image {image_id} is not among the results")


def _cursor(results: Sequence[Image], place: int) -> str:
    return f"{place}.{results[place].image_id}"
