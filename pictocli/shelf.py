"""All images of a library, in memory, by date, folder and tag: every page of them, and every count, in milliseconds.

SQLite would sort all of them for each page, and read a million rows to count tags. What is held takes 24 bytes an image
and 8 a tag of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pictocli.browsed import ORDERS
from pictocli.columns import Columns, Numbers
from pictocli.errors import ValidationError

__all__ = ["Mask", "Shelf"]

Mask = NDArray[np.bool_]
"""Of every image, in the order of ids, whether it is among those that are meant; bool [n]."""

_LATEST = 2**34  # seconds since 1970: what a camera's or a file's time cannot lie beyond, as `stored.py` has it
_CURSOR = re.compile(r"(-?[0-9]{1,11})\.([0-9]{1,19})", re.ASCII)


class Shelf:
    """The images of a database as they were when it was made. Not changed afterwards: threads may share it."""

    def __init__(self, columns: Columns) -> None:
        self.ids, self._folders, moments = columns.places()
        self._moments = np.clip(moments, -_LATEST, _LATEST)
        self.tree, self.tags = columns.tree(), columns.tag_names()
        self._orders: dict[str, Numbers] = {}
        self._carriers: dict[int, Numbers] | None = None

    def carriers(self, columns: Columns) -> dict[int, Numbers]:
        """Tag id → the places among all ids of the images that carry it; read at the first call."""
        if self._carriers is None:
            self._carriers = {tag_id: self._places(ids) for tag_id, ids in columns.carriers()}
        return self._carriers

    def _places(self, ids: Numbers) -> Numbers:
        at = np.minimum(np.searchsorted(self.ids, ids), max(0, len(self.ids) - 1))
        return at[self.ids[at] == ids] if len(self.ids) else at[:0]

    # -- which images -----------------------------------------------------------------------------------------------

    def everything(self) -> Mask:
        """All of them."""
        return np.ones(len(self.ids), np.bool_)

    def of(self, ids: Iterable[int]) -> Mask:
        """Those with these ids."""
        found = ~self.everything()
        found[self._places(np.fromiter(ids, np.int64))] = True
        return found

    def within(self, folders: Sequence[int]) -> Mask:
        """Those in these folders."""
        return np.isin(self._folders, np.array(folders, np.int64))

    def between(self, first: float, last: float) -> Mask:
        """Those from a moment on and before another."""
        found: Mask = (self._moments >= first) & (self._moments < last)
        return found

    def carrying(self, columns: Columns, group: Sequence[int]) -> Mask:
        """Those that carry any of these tags."""
        found, carriers = ~self.everything(), self.carriers(columns)
        for tag_id in group:
            found[carriers.get(tag_id, np.zeros(0, np.int64))] = True
        return found

    # -- in an order ------------------------------------------------------------------------------------------------

    def ordered(self, mask: Mask, sort: str) -> Numbers:
        """The places of these images, in an order: "newest", "oldest" or "id". Of one moment those of lower id first.

        Raises ValidationError for another order.
        """
        if sort not in ORDERS:
            raise ValidationError(f"there is no order {sort}", f"orders: {', '.join(ORDERS)}")
        if sort not in self._orders:
            self._orders[sort] = np.argsort(self._key(sort), kind="stable")
        order = self._orders[sort]
        return order[mask[order]]

    def _key(self, sort: str) -> Numbers:
        if sort == "id":
            return np.zeros(len(self.ids), np.int64)
        return -self._moments if sort == "newest" else self._moments

    def find(self, ordered: Numbers, sort: str, cursor: str) -> int:
        """Where in `ordered` the image of a cursor stands; where it would, if it is not there. ValidationError."""
        parts = _CURSOR.fullmatch(cursor)
        if parts is None or int(parts[2]) >= 2**63:
            raise ValidationError(f"{cursor} is no place in a list of images", "leave it out to see the beginning")
        moment, image_id = int(parts[1]), int(parts[2])
        key, wanted = self._key(sort)[ordered], {"newest": -moment, "oldest": moment}.get(sort, 0)
        first, last = np.searchsorted(key, wanted, "left"), np.searchsorted(key, wanted, "right")
        return int(first + np.searchsorted(self.ids[ordered[first:last]], image_id))

    def cursor(self, place: int) -> str:
        """The text by which `find` finds an image again, in every order."""
        return f"{self._moments[place]}.{self.ids[place]}"

    # -- how many ---------------------------------------------------------------------------------------------------

    def tagged(self, columns: Columns, mask: Mask, category: str) -> list[tuple[str, int]]:
        """(label, how many of these images carry it) of each label that one does, the most common first."""
        carriers = self.carriers(columns)
        found = [
            (name, int(np.count_nonzero(mask[carriers[tag_id]])))
            for tag_id, (of, name) in self.tags.items()
            if of == category and tag_id in carriers
        ]
        return sorted([each for each in found if each[1]], key=lambda each: (-each[1], each[0]))

    def in_folders(self, mask: Mask) -> list[tuple[str, str, int]]:
        """(dataset, folder, how many of these images lie there) of each folder; folders of one path are one."""
        held, counts = np.unique(self._folders[mask], return_counts=True)
        by_id = dict(zip(held.tolist(), counts.tolist(), strict=True))
        found = dict[tuple[str, str], int]()
        for folder_id, dataset, path in self.tree:
            if folder_id in by_id:
                found[dataset, path] = found.get((dataset, path), 0) + by_id[folder_id]
        return [(dataset, path, count) for (dataset, path), count in found.items()]

    @cached_property
    def _months(self) -> Numbers:
        """Months since January 1970."""
        months: Numbers = self._moments.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
        return months

    def by_month(self, mask: Mask) -> list[tuple[str, int]]:
        """("2019-07", how many of these images are of that month), in turn."""
        held, counts = np.unique(self._months[mask], return_counts=True)
        return [
            (f"{1970 + month // 12:04}-{month % 12 + 1:02}", count)
            for month, count in zip(held.tolist(), counts.tolist(), strict=True)
        ]
