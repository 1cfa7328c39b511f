"""What a page says of its list: how many images, what is asked of them, and what to do when there is none."""

from __future__ import annotations

from typing import Any

from pictocli.display import counted, printable
from pictocli.gallery.listing import Listing, ranks
from pictocli.gallery.state import ORDERS, State
from pictocli.library import MAX_LIMIT
from pictocli.records import CATEGORIES

__all__ = ["chips", "clear", "nothing", "sorts", "summary", "title"]


def title(state: State) -> str:
    """Of the page."""
    told = state.q or ("more like this" if state.like else "")
    parts = [
        told,
        *(label for category in CATEGORIES for label in getattr(state, category)),
        state.folder or state.dataset,
    ]
    return " · ".join([*(printable(part) for part in parts if part), "picto"])


def summary(state: State, listing: Listing, images: int) -> str:
    """How many there are, of how many. images: of the whole library."""
    total, answer = listing.total, listing.answer
    if answer is None:
        return counted(total, "image") if total == images else f"{total:,} of {counted(images, 'image')}"
    capped, of = total == MAX_LIMIT, f"{answer.considered:,}"
    if state.like and not state.q:
        where = f"in {printable(state.dataset)}" if state.dataset else "in the whole library"
        where += f", folder {printable(state.folder)}" if state.folder else ""
        above = f"{where} at {state.threshold:.2f} or above"
        return f"The {total} nearest of {of} {above}" if capped else f"{total:,} of {of} {above}"
    told = f" for “{printable(state.q)}”" if state.q else ""
    return f"The {total} best of {of}{told}" if capped else f"{total:,} of {of}{told}"


def chips(state: State) -> list[dict[str, str]]:
    """What is asked for, each with the address of the page without it."""
    found = [
        {"group": category, "label": label, "url": "/" + state.toggled(category, label).query()}
        for category in CATEGORIES
        for label in getattr(state, category)
    ]
    if state.folder:
        found.append({"group": "folder", "label": state.folder, "url": "/" + state.without("folder").query()})
    if state.dataset:
        found.append(
            {"group": "dataset", "label": state.dataset, "url": "/" + state.without("dataset", "folder").query()}
        )
    year = (
        state.after
        if state.after.isdigit() and state.before.isdigit() and int(state.before) == int(state.after) + 1
        else ""
    )
    if year:
        found.append({"group": "year", "label": year, "url": "/" + state.without("after", "before").query()})
    else:
        found += [
            {"group": name, "label": f"{word} {value}", "url": "/" + state.without(name).query()}
            for name, word, value in (("after", "since", state.after), ("before", "before", state.before)) if value
        ]  # fmt: skip
    if state.q:
        found.insert(0, {"group": "q", "label": f"“{state.q}”", "url": "/" + state.without("q").query()})
    return [{**chip, "label": printable(chip["label"])} for chip in found]


def clear(state: State) -> str | None:
    """The address without any filter."""
    return "/" + _plain(state).query() if state.narrowed else None


def _plain(state: State) -> State:
    return state.without(*CATEGORIES, "dataset", "folder", "after", "before")


def sorts(state: State) -> list[dict[str, Any]]:
    """The orders that a list can have; none where it is one of those that match best."""
    if state.ranked:
        return []
    possible = [order for order in ORDERS if order != "score" or state.tagged]
    return [
        {"value": order, "text": ORDERS[order], "url": "/" + state.but(sort=order).query(),
         "chosen": order == state.sort or (order == "newest" and state.sort == "score" and not ranks(state))}
        for order in possible
    ]  # fmt: skip


def nothing(state: State, listing: Listing, images: int) -> dict[str, Any] | None:
    """What to say and to offer instead of images; None where there are some."""
    if listing.results:
        return None
    if not images:
        return {"message": "This library holds no images yet", "command": "picto index FOLDER", "links": []}
    answer, links, message = listing.answer, [], "No image is all of that"
    if answer is not None and state.like and not state.q:
        message = f"Nothing at {state.threshold:.2f} or above"
        if answer.nearest is not None and answer.nearest > 0:
            message += f"; the nearest is {answer.nearest:.2f}"
            lower = int(answer.nearest * 20) / 20
            links.append({"text": f"Lower to {lower:.2f}", "url": "/" + state.but(threshold=lower).query()})
    if state.dataset:
        links.append({"text": "Look everywhere", "url": "/" + state.without("dataset", "folder").query()})
    if state.narrowed:
        links.append({"text": "Drop all filters", "url": clear(state) or "/"})
    links.append({"text": "All images", "url": "/"})
    return {"message": message, "command": None, "links": links}
