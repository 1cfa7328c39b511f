"""Reads what maps and histograms are drawn of: images with their contents, embeddings, dates and sizes of files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pictocli.queries import Queries
from pictocli.selection import Condition
from pictocli.stored import is_number, moment, require

__all__ = ["Points"]

_BATCH = 4096  # embeddings that are held at a time: 13 MB at 768 numbers


class Points(Queries):
    """A database as points of its embeddings' space."""

    def placed(self, folders: list[int] | None, conditions: Sequence[Condition]) -> list[tuple[int, int]]:
        """(image id, content id) of the images in scope that meet all conditions and have an embedding, by image id."""
        among = ""
        if conditions:
            among = " WHERE i.id IN (SELECT value FROM json_each(:ids))"
        elif folders is not None:
            among = " WHERE i.folder_id IN (SELECT value FROM json_each(:folders))"
        ids = sorted(set(self.passing(conditions, folders))) if conditions else []
        rows: list[Any] = self.db.execute(
            "SELECT i.id, i.content_id FROM image i JOIN embedding e ON e.content_id = i.content_id"  # noqa: S608 - our texts
            f"{among} ORDER BY i.id",
            {"ids": json.dumps(ids), "folders": json.dumps(folders)},
        ).fetchall()
        return rows

    def matching(self, folders: list[int] | None, conditions: Sequence[Condition]) -> int:
        """How many images in scope meet all conditions, with an embedding or without."""
        return len(set(self.passing(conditions, folders))) if conditions else self.count(folders)

    def embeddings(self, contents: Sequence[int], dim: int) -> Iterator[bytes]:
        """The embeddings of contents, whose ids ascend: float32 bytes, some thousands of rows of `dim` at a time."""
        for at in range(0, len(contents), _BATCH):
            some = contents[at : at + _BATCH]
            rows: list[Any] = self.db.execute(
                "SELECT v FROM embedding WHERE content_id IN (SELECT value FROM json_each(?)) ORDER BY content_id",
                (json.dumps(list(some)),),
            ).fetchall()
            right = all(isinstance(blob, bytes) and len(blob) == 4 * dim for (blob,) in rows)
            require(right and len(rows) == len(some), f"an embedding is not {dim} numbers")
            yield b"".join(blob for (blob,) in rows)

    def taken(self) -> list[int]:
        """When each image was taken, in seconds since 1970 by its camera's clock, of those that say."""
        rows = self.db.execute(
            "SELECT p.taken_at FROM image i JOIN capture p ON p.content_id = i.content_id"
            " WHERE p.taken_at IS NOT NULL ORDER BY 1"
        )
        return [moment(seconds, "the time of an image") for (seconds,) in rows]

    def file_sizes(self) -> list[int]:
        """The bytes of each file that holds images, the smallest first."""
        rows: list[Any] = self.db.execute(
            "SELECT size FROM file WHERE pages > 0 AND size IS NOT NULL ORDER BY 1"
        ).fetchall()
        require(all(is_number(size, 0, kind=int) for (size,) in rows), "the size of a file is no size")
        return [size for (size,) in rows]
