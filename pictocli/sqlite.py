"""The default store's writing side: what is known of a folder, and every change to the images.

The database as a whole is in `catalog.py`, queries in `queries.py`, tables and migrations in `schema.py`. All SQL is
bound; every public method that changes images is one transaction.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from pictocli.catalog import EXACT_BELOW, Catalog
from pictocli.errors import StoreError
from pictocli.filerows import FileRow, FinishedFile, KnownFile, PageRow
from pictocli.inputs import ask_for
from pictocli.pairs import chosen, measured, settled
from pictocli.records import CATEGORIES
from pictocli.schema import from_db, to_db, transaction

__all__ = ["FileRow", "FinishedFile", "KnownFile", "PageRow", "SqliteStore"]

_CODES = (
    "INSERT OR REPLACE INTO code SELECT i.folder_id, i.id, vec_quantize_binary(vec_sub(e.v, ?)) FROM image i"
    " JOIN embedding e ON e.content_id = i.content_id"
)
_NO_TAGS = ("{}", "{}", "{}")


class SqliteStore(Catalog):
    """Writes images to one open database."""

    # -- what is known ----------------------------------------------------------------------------------------------

    def known(self, folder_id: int) -> dict[str, KnownFile]:
        """Every file known in one folder, by name."""
        rows = self.db.execute(
            "SELECT f.name, f.size, f.mtime_ns, f.kind, f.dpi, f.reason, p.pages FROM file f"
            " LEFT JOIN page_range p ON p.file_id = f.id WHERE f.folder_id = ?",
            (folder_id,),
        )
        return {from_db(row[0]): KnownFile._make(row[1:]) for row in rows}

    def without_thumbnail(self, folder_id: int) -> set[str]:
        """Names of the files in one folder of which an image has no thumbnail."""
        rows = self.db.execute(
            "SELECT DISTINCT f.name FROM image i JOIN file f ON f.id = i.file_id WHERE i.folder_id = ?"
            " AND NOT EXISTS (SELECT 1 FROM thumbnail t WHERE t.content_id = i.content_id)",
            (folder_id,),
        )
        return {from_db(name) for (name,) in rows}

    def has_thumbnail(self, folder_id: int, name: str) -> bool:
        """Whether an image of this file has a thumbnail."""
        found = self.db.execute(
            "SELECT 1 FROM file f JOIN image i ON i.file_id = f.id JOIN thumbnail t ON t.content_id = i.content_id"
            " WHERE f.folder_id = ? AND f.name = ? LIMIT 1",
            (folder_id, to_db(name)),
        )
        return found.get is not None

    def holds(self, digest: bytes) -> bool:
        """Whether there is a file with these bytes, or anything that they decoded to."""
        found = self.db.execute(
            "SELECT EXISTS (SELECT 1 FROM file WHERE hash = ?1) OR EXISTS (SELECT 1 FROM content WHERE hash = ?1)",
            (digest,),
        )
        return bool(found.get)

    def contents(self, digest: bytes) -> dict[tuple[int, int], tuple[int, bool, bool]]:
        """(page, dpi) → (content id, has an embedding, has a thumbnail) of all that these bytes decoded to."""
        rows = self.db.execute(
            "SELECT c.page, c.dpi, c.id, e.content_id IS NOT NULL, t.content_id IS NOT NULL FROM content c"
            " LEFT JOIN embedding e ON e.content_id = c.id LEFT JOIN thumbnail t ON t.content_id = c.id"
            " WHERE c.hash = ?",
            (digest,),
        )
        return {(page, dpi): (content, bool(e), bool(t)) for page, dpi, content, e, t in rows}

    def embedded(self, digest: bytes, page: int, dpi: int) -> int | None:
        """The content id of one page of these bytes, if its embedding is held."""
        found: int | None = self.db.execute(
            "SELECT c.id FROM content c JOIN embedding e ON e.content_id = c.id"
            " WHERE c.hash = ? AND c.page = ? AND c.dpi = ?",
            (digest, page, dpi),
        ).get
        return found

    def files_with(self, digest: bytes) -> list[tuple[int, str, str]]:
        """(file id, full path, root) of every finished file with these bytes."""
        rows = self.db.execute(
            "SELECT f.id, r.path, d.path, f.name FROM file f JOIN folder d ON d.id = f.folder_id"
            " JOIN root r ON r.id = d.root_id WHERE f.hash = ? AND f.size IS NOT NULL ORDER BY f.id",
            (digest,),
        )
        return [(row[0], str(Path(from_db(row[1]), from_db(row[2]), from_db(row[3]))), from_db(row[1])) for row in rows]

    # -- changes ----------------------------------------------------------------------------------------------------

    def move(self, file_id: int, file: FileRow) -> None:
        """Give a file its new place; its images keep their ids, tags and metadata."""
        with transaction(self.db):
            self.db.execute("DELETE FROM file WHERE folder_id = ? AND name = ?", (file.folder_id, to_db(file.name)))
            self.db.execute(
                "UPDATE file SET folder_id = ?, name = ?, size = ?, mtime_ns = ? WHERE id = ?",
                (file.folder_id, to_db(file.name), file.size, file.mtime_ns, file_id),
            )
            self.db.execute("UPDATE image SET folder_id = ? WHERE file_id = ?", (file.folder_id, file_id))

    def skip(self, file: FileRow) -> None:
        """Remember a file that is no image, or a broken one, so that it is not opened again. Its images go."""
        with transaction(self.db):
            file_id = self._put_files({file: True})[file]
            self.db.execute("DELETE FROM image WHERE file_id = ?", (file_id,))

    def write(self, rows: Sequence[PageRow], finished: Sequence[FinishedFile]) -> None:
        """Store one batch in one transaction. A file's size and time are set when it is finished, and not before."""
        if not rows and not finished:
            return
        # First what has its embedding: a file's new picture drops its old one, which a copy may go on with.
        rows = sorted(rows, key=lambda row: row.vector is not None)
        files = dict.fromkeys((row.file for row in rows), False) | dict.fromkeys((done.file for done in finished), True)
        with transaction(self.db):
            mean = self.vector("mean")  # within: another process may just have given the library its codes
            ids = self._put_files(files)
            for part in self._together(rows, ids):
                contents = zip(part, self._put_contents(part), strict=True)
                self._put_images(
                    [(ids[row.file], row.file.folder_id, row.page, held, row.tags) for row, held in contents], mean
                )
            linked = [
                (ids[done.file], done.file.folder_id, *link, None) for done in finished for link in done.linked.items()
            ]
            self._put_images(linked, mean)
            self._drop_other_pages({ids[done.file]: {*done.written, *done.linked} for done in finished})

    def _put_files(self, files: Mapping[FileRow, bool]) -> dict[FileRow, int]:
        """Insert or update files, each with whether it is finished. Returns their ids."""
        stored = self.db.executemany(
            "INSERT INTO file(folder_id, name, kind, size, mtime_ns, hash, pages, dpi, reason)"
            " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT(folder_id, name) DO UPDATE SET"
            " kind = ?3, size = ?4, mtime_ns = ?5, hash = ?6, pages = ?7, dpi = ?8, reason = ?9 RETURNING id",
            [
                (file.folder_id, to_db(file.name), file.kind, *((file.size, file.mtime_ns) if whole else (None, None)),
                 file.hash, file.pages, file.dpi, file.reason)
                for file, whole in files.items()
            ],
        )  # fmt: skip
        ids = {file: int(file_id) for file, (file_id,) in zip(files, stored.fetchall(), strict=True)}
        ask_for(self.db, {file_id: file.wanted for file, file_id in ids.items()})
        for file, whole in files.items():
            if file.validator is not None:
                self.put_validator(ids[file], file.validator if whole else "")
        return ids

    def _together(self, rows: Sequence[PageRow], ids: Mapping[FileRow, int]) -> list[Sequence[PageRow]]:
        """The rows that are stored at once: all, or each by itself where one gives a content up that another takes."""
        new = {(ids[row.file], row.page): (row.file.hash, row.page, row.file.dpi) for row in rows}
        held = self.db.execute(
            "SELECT i.file_id, i.page, c.hash, c.page, c.dpi FROM image i JOIN content c ON c.id = i.content_id"
            " WHERE i.file_id IN (SELECT value FROM json_each(?)) AND i.page IN (SELECT value FROM json_each(?))",
            tuple(json.dumps(sorted(each)) for each in (set(ids.values()), {row.page for row in rows})),
        )
        given_up = {tuple(key) for file_id, page, *key in held if new.get((file_id, page), tuple(key)) != tuple(key)}
        return [rows] if given_up.isdisjoint(new.values()) else [[row] for row in rows]

    def _put_contents(self, rows: Sequence[PageRow]) -> list[int]:
        """Insert or update what pages decode to, with all that is kept of it. Returns their ids."""
        ids = list[int]()
        for new, part in groupby(rows, key=lambda row: row.vector is not None):
            spent = ", processing_time_ms = ?7" if new else ""
            stored = self.db.executemany(
                "INSERT INTO content(hash, page, dpi, width, height, measures, processing_time_ms)"
                " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT(hash, page, dpi) DO UPDATE SET"
                f" width = ?4, height = ?5, measures = ?6{spent} RETURNING id",
                [
                    (row.file.hash, row.page, row.file.dpi, row.width, row.height, json.dumps(row.measures),
                     row.processing_time_ms)
                    for row in part
                ],
            )  # fmt: skip
            ids += (int(content_id) for (content_id,) in stored.fetchall())
        beside = (
            ("embedding", "v", [row.vector for row in rows]), ("thumbnail", "jpeg", [row.thumbnail for row in rows]),
            ("input", "digest", [row.digest for row in rows]), ("fingerprint", "v", [row.fingerprint for row in rows]),
        )  # fmt: skip
        for table, column, blobs in beside:
            self.db.executemany(
                f"INSERT INTO {table} VALUES(?1, ?2) ON CONFLICT(content_id) DO UPDATE SET {column} = ?2",
                [(content_id, blob) for content_id, blob in zip(ids, blobs, strict=True) if blob is not None],
            )
        captures = [(held, *row.capture) for held, row in zip(ids, rows, strict=True) if row.capture is not None]
        self.db.executemany("INSERT OR REPLACE INTO capture VALUES(?, ?, ?, ?, ?)", captures)
        return ids

    def _put_images(
        self, images: Sequence[tuple[int, int, int, int, Mapping[str, Mapping[str, float]] | None]], mean: bytes | None
    ) -> None:
        """Insert or update images: (file id, folder id, page, content id, tags).

        Without tags one takes those of another image with the same content. mean: what codes are centred on, where
        there are any.
        """
        if not images:
            return
        held = self._tags_of({content_id for *_, content_id, tags in images if tags is None})
        now = int(time.time())
        self.db.executemany(
            "INSERT INTO image(file_id, folder_id, page, content_id, objects, scenes, attributes, indexed_at)"
            " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT(file_id, page) DO UPDATE SET"
            " indexed_at = iif(content_id = ?4, indexed_at, ?8), content_id = ?4, objects = ?5, scenes = ?6,"
            " attributes = ?7",
            [
                (*where, content_id,
                 *(held.get(content_id, _NO_TAGS) if tags is None else [json.dumps(tags[c]) for c in CATEGORIES]), now)
                for *where, content_id, tags in images
            ],
        )  # fmt: skip
        if mean is not None:
            places = [(mean, file_id, page) for file_id, _, page, *_ in images]
            self.db.executemany(f"{_CODES} WHERE i.file_id = ? AND i.page = ?", places)

    def _tags_of(self, contents: Iterable[int]) -> dict[int, tuple[str, ...]]:
        """Content id → the three columns of an image with it, of those that have one."""
        rows = self.db.executemany(
            "SELECT content_id, objects, scenes, attributes FROM image WHERE content_id = ? LIMIT 1",
            [(content_id,) for content_id in contents],
        )
        return {content_id: tuple(columns) for content_id, *columns in rows}

    def _drop_other_pages(self, pages: Mapping[int, Collection[int]]) -> None:
        """Forget all images of files but these pages: file id → pages."""
        held = self.db.execute(
            "SELECT file_id, page FROM image WHERE file_id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(pages)),),
        ).fetchall()
        others = [(file_id, page) for file_id, page in held if page not in pages[file_id]]
        self.db.executemany("DELETE FROM image WHERE file_id = ? AND page = ?", others)

    def set_metadata(self, folder_id: int, name: str, metadata: Mapping[str, Any]) -> bool:
        """Pass these fields through with every image of a file. True when that changed something."""
        text = json.dumps(metadata)  # as ASCII: JSON may hold half a surrogate pair, which is no UTF-8
        with transaction(self.db):
            self.db.execute(
                "UPDATE image SET metadata = ?1 WHERE metadata IS NOT ?1 AND file_id ="
                " (SELECT id FROM file WHERE folder_id = ?2 AND name = ?3)",
                (text, folder_id, to_db(name)),
            )
            return self.db.changes() > 0

    def build_codes(self, mean: bytes | None = None) -> None:
        """Give a library that has outgrown the exhaustive scan its 1-bit codes, centred on its mean embedding.

        mean: make all codes anew, centred on this one.
        """
        if self.db.neighbours is not None:
            self.db.neighbours.build()
            return
        if mean is None:
            count = self.db.execute("SELECT count(*) FROM embedding").get  # reads a page for every few of them
            if self.vector("mean") is not None or count < EXACT_BELOW:
                return
            mean = self._mean(count)
        with transaction(self.db):
            self.put_vector("mean", mean)
            self.db.execute("DELETE FROM code")
            self.db.execute(_CODES, (mean,))

    def _mean(self, count: int) -> bytes:
        """The mean of every (count // 20,000)-th embedding: that many settle it to a hundredth of its spread."""
        import numpy as np  # the writing side has it loaded

        total, seen = np.zeros(0), 0
        for (blob,) in self.db.execute("SELECT v FROM embedding WHERE content_id % ? = 0", (max(1, count // 20_000),)):
            vector = np.frombuffer(blob, "<f4").astype(np.float64)
            total = vector if seen == 0 else total + vector
            seen += 1
        if seen == 0:
            raise StoreError("the database holds no embedding")
        mean: bytes = (total / seen).astype("<f4").tobytes()
        return mean

    def measure_pairs(self) -> None:
        """Keep how similar random pairs of contents are, unless what is kept still holds; then this costs a count."""
        count = int(self.db.execute("SELECT count(*) FROM content").get)
        if settled(self.pairs(), count):
            return
        # In the order of an index that holds all that is asked: no row is read, and the choice hangs on the bytes alone
        ids = chosen([i for (i,) in self.db.execute("SELECT id FROM content ORDER BY hash, page, dpi")])
        rows = self.db.execute(
            "SELECT v FROM embedding WHERE content_id IN (SELECT value FROM json_each(?))", (json.dumps(ids),)
        )
        self.keep_pairs(measured([vector for (vector,) in rows], count))
