"""Stored thumbnails, and the addresses under which they lie elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pictocli.catalog import Catalog
from pictocli.records import Scope
from pictocli.schema import from_db, transaction
from pictocli.selection import Selection
from pictocli.sizes import jpeg_width, thumbnail_size
from pictocli.stored import fields_of, is_number, require

__all__ = ["Links", "Thumbnail", "asked_width"]

_HEAD = 1024  # bytes of a JPEG in which Pillow writes its width, and to spare
_WITHIN = "(:folders = 'null' OR i.folder_id IN (SELECT value FROM json_each(:folders)))"


class Thumbnail(NamedTuple):
    """A thumbnail of an image: JPEG bytes, and the address that is stored for it, or None."""

    image_id: int
    url: str | None
    jpeg: bytes


def asked_width(catalog: Catalog, given: int | None = None) -> int | None:
    """The width in px of the thumbnails to make: what is given, else what the library was last asked for, or None."""
    kept = given or catalog.meta("thumbnail_width")
    require(kept is None or is_number(kept, 1, 65_535, int), "the width of its thumbnails is none")
    return None if kept is None else int(kept)


class Links(Selection):
    """Reads thumbnails and keeps their addresses."""

    # -- what lies in the file --------------------------------------------------------------------------------------

    def misfits(self, folder_id: int, width: int) -> set[str]:
        """Names of the files in one folder of which an image has a thumbnail that is not `width` px wide.

        As far as the image is: thumbnails are not enlarged.
        """
        rows: list[Any] = self.db.execute(
            "SELECT f.name, c.id, c.width, c.height FROM image i JOIN file f ON f.id = i.file_id"
            " JOIN content c ON c.id = i.content_id JOIN thumbnail t ON t.content_id = c.id"
            " WHERE i.folder_id = ? AND typeof(t.jpeg) = 'blob' ORDER BY c.id",
            (folder_id,),
        ).fetchall()
        found = set()
        for name, content_id, wide, high in rows:
            if jpeg_width(self._head(content_id)) != thumbnail_size(wide, high, width)[0]:
                found.add(from_db(name))
        return found

    def fits(self, content_id: int, width: int) -> bool:
        """Whether the thumbnail of one content is `width` px wide, as far as its image is."""
        size = self.db.execute(
            "SELECT c.width, c.height FROM content c JOIN thumbnail t ON t.content_id = c.id"
            " WHERE c.id = ? AND typeof(t.jpeg) = 'blob'",
            (content_id,),
        ).fetchone()
        if size is None:
            return False
        return jpeg_width(self._head(content_id)) == thumbnail_size(int(size[0]), int(size[1]), width)[0]

    def _head(self, content_id: int) -> bytes:
        return self.db.thumbnail_head(content_id, _HEAD)

    # -- what lies elsewhere ----------------------------------------------------------------------------------------

    def scoped(self, dataset: str | None, folder: str | None) -> str:
        """The folders of a scope as the other methods take them. NotFoundError when it is not there."""
        return json.dumps(self.folders(Scope(dataset, folder)))

    def counts(self, folders: str, base: str, suffix: str) -> tuple[int, int, int]:
        """Images in scope: (with a thumbnail, of these already at base + thumb_ID + suffix, without a thumbnail)."""
        row: Any = self.db.execute(
            "SELECT count(t.content_id), count(iif(i.thumbnail_url = :base || 'thumb_' || i.id || :suffix,"  # noqa: S608 - our text
            " t.content_id, NULL)), count(*) - count(t.content_id) FROM image i"
            f" LEFT JOIN thumbnail t ON t.content_id = i.content_id WHERE {_WITHIN}",
            {"folders": folders, "base": base, "suffix": suffix},
        ).fetchone()
        return row[0], row[1], row[2]

    def thumbnails(
        self, folders: str, base: str, suffix: str, size: int, *, again: bool
    ) -> Iterator[Sequence[Thumbnail]]:
        """Thumbnails in scope that do not lie at base + thumb_ID + suffix yet, or all; by `size`, in the order of ids.

        No statement is under way between two of them, so that addresses may be stored meanwhile.
        """
        after = 0
        while True:
            rows: list[Any] = self.db.execute(
                "SELECT i.id, i.thumbnail_url, t.jpeg FROM image i"  # noqa: S608 - our text
                " CROSS JOIN thumbnail t ON t.content_id = i.content_id"
                f" WHERE i.id > :after AND {_WITHIN} AND (:again"
                " OR i.thumbnail_url IS NOT :base || 'thumb_' || i.id || :suffix) ORDER BY i.id LIMIT :size",
                {"folders": folders, "base": base, "suffix": suffix, "after": after, "again": again, "size": size},
            ).fetchall()
            if not rows:
                return
            for image_id, _, jpeg in rows:
                require(isinstance(jpeg, bytes), f"the thumbnail of image {image_id} is none")
            yield [Thumbnail(*row) for row in rows]
            after = rows[-1][0]

    def others(self, folders: str, base: str) -> int:
        """Images outside the scope whose address begins with `base`."""
        return int(
            self.db.execute(
                f"SELECT count(*) FROM image i WHERE NOT {_WITHIN} AND substr(i.thumbnail_url, 1, :n) = :base",  # noqa: S608 - our text
                {"folders": folders, "base": base, "n": len(base)},
            ).get
        )

    def made(self, place: str) -> dict[str, Any] | None:
        """How what lies at a place was made and is linked to, as `begin` was told; None when nothing came there."""
        kept = self.meta(f"thumbnails {place}")
        if kept is None:
            return None
        require(isinstance(kept, str), "what it says of exported thumbnails is no text")
        return fields_of(kept, "what it says of exported thumbnails")

    def begin(self, place: str, base: str, made: dict[str, Any]) -> None:
        """Keep how thumbnails at a place are made from now on, and forget addresses with `base` that hold no longer."""
        with transaction(self.db):
            if self.made(place) != made:
                self.db.execute(
                    "UPDATE image SET thumbnail_url = NULL WHERE substr(thumbnail_url, 1, ?) = ?", (len(base), base)
                )
            self.set_meta(f"thumbnails {place}", json.dumps(made))

    def forget(self, place: str) -> None:
        """Know nothing of thumbnails at a place: none came there."""
        self.set_meta(f"thumbnails {place}", None)

    def link(self, urls: Iterable[tuple[int, str, bytes]]) -> None:
        """Store addresses: (image id, address, the thumbnail that lies there), unless it has another one by now."""
        with transaction(self.db):
            self.db.executemany(
                "UPDATE image SET thumbnail_url = ?2 WHERE id = ?1"
                " AND content_id IN (SELECT content_id FROM thumbnail WHERE jpeg = ?3)",
                urls,
            )
