"""What the database says of pictures that may be copies of each other: their files, and their fingerprints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from pictocli.selection import Selection
from pictocli.stored import is_number, require

__all__ = ["Copies", "Picture"]


class Picture(NamedTuple):
    """An image, for comparison. moment: when it was taken, else when its file was changed; seconds since 1970."""

    image_id: int
    content_id: int
    hash: bytes
    width: int
    height: int
    size: int
    moment: float


class Copies(Selection):
    """Reads from one open database."""

    def pictures(self, folders: list[int] | None, *, pages: bool) -> list[Picture]:
        """Every image in scope, in the order of ids. pages: those of PDFs and TIFFs of several, too."""
        where = "" if folders is None else " AND i.folder_id IN (SELECT value FROM json_each(:folders))"
        rows = self.db.execute(
            "SELECT i.id, c.id, c.hash, c.width, c.height, ifnull(f.size, 0),"  # noqa: S608 - one of two texts
            " ifnull(p.taken_at, ifnull(f.mtime_ns, 0) / 1e9) FROM image i JOIN file f ON f.id = i.file_id"
            " JOIN content c ON c.id = i.content_id LEFT JOIN capture p ON p.content_id = c.id"
            f" WHERE (:pages OR i.page = 0){where} ORDER BY i.id",
            {"pages": pages, "folders": json.dumps(folders)},
        )
        found = [Picture._make(row) for row in rows]
        for each in found:
            right = isinstance(each.hash, bytes) and all(is_number(value) for value in each[3:])
            require(right, f"what image {each.image_id} shows is not as it is written")
        return found

    def fingerprints(self, length: int) -> Iterator[tuple[int, bytes]]:
        """(content id, fingerprint) of every content that has one, in the order of ids."""
        for content_id, print_ in self.db.execute("SELECT content_id, v FROM fingerprint ORDER BY content_id"):
            right = isinstance(print_, bytes) and len(print_) == length
            require(right, f"the fingerprint of content {content_id} is not {length} bytes")
            yield content_id, print_
