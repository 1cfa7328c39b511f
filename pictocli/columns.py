"""What of every image decides where it stands among all: its id, its folder, its moment, and which tags it carries."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pictocli.records import CATEGORIES
from pictocli.schema import from_db
from pictocli.selection import Selection
from pictocli.stored import require

__all__ = ["Columns", "Folder", "Numbers"]

Numbers = NDArray[np.int64]


class Folder(NamedTuple):
    """One folder that was indexed. path: relative to its root, "" for the root itself."""

    folder_id: int
    dataset: str
    path: str


class Columns(Selection):
    """Reads whole columns from one open database."""

    def places(self) -> tuple[Numbers, Numbers, Numbers]:
        """Of every image its id, its folder's id and its moment, each int64 [n], in the order of ids.

        Moments are seconds since 1970 as a clock on the wall showed them: the camera's; else this machine's, of when
        the file was changed.
        """
        rows: list[Any] = self.db.execute(
            "SELECT i.id, i.folder_id, ifnull(p.taken_at, unixepoch(ifnull(f.mtime_ns, 0) / 1000000000, 'unixepoch',"
            " 'localtime')) FROM image i CROSS JOIN file f ON f.id = i.file_id LEFT JOIN capture p"
            " ON p.content_id = i.content_id ORDER BY i.id"
        ).fetchall()
        found = np.array(rows or np.zeros((0, 3), np.int64))
        whole = found.dtype == np.int64 and self.count(None) == len(found)
        require(whole, "the folders and dates of its images are not as they are written")
        ids, folders, moments = found.T.copy()
        return ids, folders, moments

    def tree(self) -> list[Folder]:
        """Every folder with images."""
        rows: Any = self.db.execute(
            "SELECT o.id, d.name, o.path FROM folder o JOIN root r ON r.id = o.root_id JOIN dataset d"
            " ON d.id = r.dataset_id WHERE o.images > 0 ORDER BY d.name, o.path, o.id"
        )
        found = [Folder(folder_id, dataset, from_db(path)) for folder_id, dataset, path in rows]
        require(all(isinstance(each.dataset, str) for each in found), "a dataset is wrong")
        return found

    def tag_names(self) -> dict[int, tuple[str, str]]:
        """Tag id → (category, label) of every tag that an image carries, the most common first."""
        rows: Any = self.db.execute("SELECT id, category, name FROM tag WHERE n > 0 ORDER BY n DESC, category, name")
        found = list(rows)
        right = all(category in (0, 1, 2) and isinstance(name, str) for _, category, name in found)
        require(right, "its tags are not as they are written")
        return {tag_id: (CATEGORIES[category], name) for tag_id, category, name in found}

    def carriers(self) -> Iterator[tuple[int, Numbers]]:
        """(tag id, ids of the images that carry it, ascending), tag by tag."""
        # as one text a tag: 100,000 images with eight tags each are 800,000 rows, which would take twice as long
        for tag_id, text in self.db.execute("SELECT tag_id, json_group_array(image_id) FROM image_tag GROUP BY tag_id"):
            found = np.array(json.loads(text))
            require(found.dtype == np.int64, "its tags are not as they are written")
            yield tag_id, np.sort(found)

    def pages(self, image_id: int) -> list[int]:
        """The ids of all pages of the document that an image is a page of, in turn; none where it is none."""
        rows = self.db.execute(
            "SELECT o.id FROM image i JOIN image o ON o.file_id = i.file_id WHERE i.id = ? AND i.page > 0"
            " AND o.page > 0 ORDER BY o.page",
            (image_id,),
        )
        return [other for (other,) in rows]

    def some(self, ids: Sequence[int]) -> set[int]:
        """Those of these ids that are images still."""
        rows = self.db.execute("SELECT id FROM image WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(ids),))
        return {image_id for (image_id,) in rows}
