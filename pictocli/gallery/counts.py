"""The facets beside a list: how many images carry each label, lie in each folder, are of each year."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pictocli.browsed import Facets
from pictocli.display import closer, printable
from pictocli.gallery.state import State
from pictocli.records import CATEGORIES, Answer

__all__ = ["shown"]

_FIRST = 10  # labels of a category, before "more"
_LEVEL = 200  # folders in one folder
_MONTHS = 1200  # in a histogram
_TITLES = {"objects": "Objects", "scenes": "Scenes", "attributes": "Attributes", "years": "Years"}


def shown(state: State, counted: Facets, answer: Answer | None, note: str) -> dict[str, Any]:
    """What the template shows of the counts. answer: of a ranking. note: what the numbers are of."""
    return {
        "groups": [_labels(state, category, counted.tags.get(category)) for category in CATEGORIES],
        "tree": _tree(state, counted.folders),
        "everywhere": "/" + state.without("dataset", "folder").query() if state.dataset else None,
        "years": _years(state, counted.months),
        "dates": _dates(state, counted.months),
        "threshold": _threshold(state, answer),
        "note": note,
    }


def _group(
    state: State, key: str, choices: Sequence[tuple[str, int | None, bool, str]], counted: bool
) -> dict[str, Any]:
    """choices: (label, images, whether it is chosen, address) of all, the first ones first."""
    most = max((count or 0 for _, count, _, _ in choices), default=0)
    listed = [each for at, each in enumerate(choices) if at < _FIRST or each[2] or state.more == key]
    more = len(choices) - len(listed)
    query = state.but(more=key, at=state.at).query()
    return {
        "key": key, "title": _TITLES[key], "counted": counted, "more": more,
        "more_url": f"/facets{query}" if more else None, "more_page": f"/{query}" if more else None,
        "choices": [
            {"label": printable(label), "count": count, "text": "" if count is None else f"{count:,}", "chosen": chosen,
             "url": url, "share": round(100 * (count or 0) / most) if most else 0}
            for label, count, chosen, url in listed
        ],
    }  # fmt: skip


def _labels(state: State, category: str, counted: Sequence[tuple[str, int]] | None) -> dict[str, Any]:
    held = getattr(state, category)
    found: list[tuple[str, int | None]] = list(counted or ())
    found = [(label, 0 if counted is not None else None) for label in held if label not in dict(found)] + found
    choices = [(label, count, label in held, "/" + state.toggled(category, label).query()) for label, count in found]
    return _group(state, category, choices, counted is not None)


def _years(state: State, months: Sequence[tuple[str, int]] | None) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for month, count in months or ():
        year = month.rpartition("-")[0]
        counts[year] = counts.get(year, 0) + count
    choices = []
    for year, count in sorted(counts.items(), key=lambda each: -int(each[0])):
        after, before = f"{int(year):04}", f"{int(year) + 1:04}"
        chosen = (state.after, state.before) == (after, before)
        other = state.without("after", "before") if chosen else state.but(after=after, before=before)
        choices.append((year, count, chosen, "/" + other.query()))
    return _group(state, "years", choices, months is not None)


def _dates(state: State, months: Sequence[tuple[str, int]] | None) -> dict[str, Any] | None:
    """The months from the first with images to the last, also those without."""
    if not months:
        return None
    counts = {_number(month): count for month, count in months}
    first, last = min(counts), max(counts)
    every = range(first, last + 1) if last - first < _MONTHS else sorted(counts)
    return {
        "first": _month(first), "last": _month(last),
        "after": printable(state.after), "before": printable(state.before),
        "months": [(_month(each), counts.get(each, 0)) for each in every],
    }  # fmt: skip


def _number(month: str) -> int:
    year, _, number = month.rpartition("-")
    return int(year) * 12 + int(number) - 1


def _month(number: int) -> str:
    return f"{number // 12:04}-{number % 12 + 1:02}"


def _threshold(state: State, answer: Answer | None) -> dict[str, Any] | None:
    if not state.like or state.q:
        return None
    share = answer.closer_than if answer is not None and answer.results else None
    return {
        "value": state.threshold,
        "text": f"{state.threshold:.2f}",
        "closer_than": "" if share is None else closer(share),
    }


def _tree(state: State, folders: Sequence[tuple[str, str, int]] | None) -> list[dict[str, Any]]:
    """Datasets, the largest first; below the chosen one the folders that lead to the chosen folder, and lie in it."""
    if folders is None:
        return []
    sums: dict[str, int] = {}
    below: dict[str, dict[str, int]] = {}
    for dataset, path, count in folders:
        sums[dataset] = sums.get(dataset, 0) + count
        if dataset == state.dataset:
            parts = path.split("/") if path else []
            for depth in range(len(parts)):
                inside = below.setdefault("/".join(parts[:depth]), {})
                inside["/".join(parts[: depth + 1])] = inside.get("/".join(parts[: depth + 1]), 0) + count
    if state.dataset and state.dataset not in sums:
        sums[state.dataset] = 0
    found = []
    for dataset, count in sorted(sums.items(), key=lambda each: (-each[1], each[0])):
        here = dataset == state.dataset
        found.append(_node(state, dataset, "", count, 0, opened=here, parent=here and bool(below)))
        if here:
            found += _branch(state, below, "", 1)
    return found


def _branch(state: State, below: Mapping[str, Mapping[str, int]], folder: str, depth: int) -> list[dict[str, Any]]:
    found = []
    chosen = state.folder.strip("/")
    for at, (path, count) in enumerate(sorted(below.get(folder, {}).items())):
        opened = chosen == path or chosen.startswith(path + "/")
        if at < _LEVEL or opened:
            found.append(_node(state, state.dataset, path, count, depth, opened=opened, parent=path in below))
        if opened and depth < 64:
            found += _branch(state, below, path, depth + 1)
    return found


def _node(
    state: State, dataset: str, folder: str, count: int, depth: int, *, opened: bool, parent: bool
) -> dict[str, Any]:  # fmt: skip
    chosen = (state.dataset, state.folder.strip("/")) == (dataset, folder)
    up = state.but(folder=folder.rpartition("/")[0]) if folder else state.without("dataset", "folder")
    other = up if chosen else state.but(dataset=dataset, folder=folder)
    return {
        "label": printable(folder.rpartition("/")[2] or dataset), "depth": depth, "count": count, "text": f"{count:,}",
        "url": "/" + other.query(), "chosen": chosen, "open": opened, "parent": parent,
    }  # fmt: skip
