"""The default store's writing side: what is known of a folder, and every change to the images.

The database as a whole is in `catalog.py`, queries in `queries.py`, tables and migrations in `schema.py`. All SQL is
bound; every public method that changes images is one transaction.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
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
            file_id = self._put_file(file, finished=True)
            self.db.execute("DELETE FROM image WHERE file_id = ?", (file_id,))

    def write(self, rows: Sequence[PageRow], finished: Sequence[FinishedFile]) -> None:
        """Store one batch in one transaction. A file's size and time are set when it is finished, and not before."""
        if not rows and not finished:
            return
        whole = {done.file for done in finished}
        ids: dict[FileRow, int] = {}
        with transaction(self.db):
            mean = self.vector("mean")  # within: another process may just have given the library its codes
            # First what has its embedding: a file's new picture drops its old one, which a copy may go on with.
            for row in sorted(rows, key=lambda row: row.vector is not None):
                if row.file not in ids:
                    ids[row.file] = self._put_file(row.file, finished=row.file in whole)
                self._put_image(ids[row.file], row.file.folder_id, row.page, self._put_content(row), row.tags, mean)
            for done in finished:
                file_id = ids.get(done.file) or self._put_file(done.file, finished=True)
                for page, content_id in done.linked.items():
                    self._put_image(file_id, done.file.folder_id, page, content_id, None, mean)
                self._drop_other_pages(file_id, [*done.written, *done.linked])

    def _put_file(self, file: FileRow, *, finished: bool) -> int:
        size, mtime_ns = (file.size, file.mtime_ns) if finished else (None, None)
        stored = self.db.execute(
            "INSERT INTO file(folder_id, name, kind, size, mtime_ns, hash, pages, dpi, reason)"
            " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT(folder_id, name) DO UPDATE SET"
            " kind = ?3, size = ?4, mtime_ns = ?5, hash = ?6, pages = ?7, dpi = ?8, reason = ?9 RETURNING id",
            (file.folder_id, to_db(file.name), file.kind, size, mtime_ns, file.hash, file.pages, file.dpi, file.reason),
        )
        file_id = ask_for(self.db, int(stored.get), file.wanted)
        if file.validator is not None:
            self.put_validator(file_id, file.validator if finished else "")
        return file_id

    def _put_content(self, row: PageRow) -> int:
        stored = self.db.execute(
            "INSERT INTO content(hash, page, dpi, width, height, measures, processing_time_ms)"
            " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT(hash, page, dpi) DO UPDATE SET"
            " width = ?4, height = ?5, measures = ?6, processing_time_ms = iif(?8, ?7, processing_time_ms)"
            " RETURNING id",
            (row.file.hash, row.page, row.file.dpi, row.width, row.height, json.dumps(row.measures),
             row.processing_time_ms, row.vector is not None),
        )  # fmt: skip
        content_id = int(stored.get)
        beside = (("embedding", "v", row.vector), ("thumbnail", "jpeg", row.thumbnail), ("input", "digest", row.digest))
        for table, column, blob in (*beside, ("fingerprint", "v", row.fingerprint)):
            if blob is not None:
                self.db.execute(
                    f"INSERT INTO {table} VALUES(?1, ?2) ON CONFLICT(content_id) DO UPDATE SET {column} = ?2",
                    (content_id, blob),
                )
        if row.capture is not None:
            self.db.execute("INSERT OR REPLACE INTO capture VALUES(?, ?, ?, ?, ?)", (content_id, *row.capture))
        return content_id

    def _put_image(
        self, file_id: int, folder_id: int, page: int, content_id: int, tags: Mapping[str, Mapping[str, float]] | None,
        mean: bytes | None,
    ) -> None:  # fmt: skip
        """Insert or update one image row. Without `tags` it takes those of another image with the same content.

        mean: what codes are centred on, where there are any.
        """
        columns = self._tags_of(content_id) if tags is None else [json.dumps(tags[c]) for c in CATEGORIES]
        now = int(time.time())
        self.db.execute(
            "INSERT INTO image(file_id, folder_id, page, content_id, objects, scenes, attributes, indexed_at)"
            " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT(file_id, page) DO UPDATE SET"
            " indexed_at = iif(content_id = ?4, indexed_at, ?8), content_id = ?4, objects = ?5, scenes = ?6,"
            " attributes = ?7",
            (file_id, folder_id, page, content_id, *columns, now),
        )
        if mean is not None:
            self.db.execute(f"{_CODES} WHERE i.file_id = ? AND i.page = ?", (mean, file_id, page))

    def _tags_of(self, content_id: int) -> list[str]:
        row = self.db.execute(
            "SELECT objects, scenes, attributes FROM image WHERE content_id = ? LIMIT 1", (content_id,)
        ).fetchone()
        return list(row) if row else ["{}", "{}", "{}"]

    def _drop_other_pages(self, file_id: int, pages: Sequence[int]) -> None:
        self.db.execute(
            "DELETE FROM image WHERE file_id = ? AND page NOT IN (SELECT value FROM json_each(?))",
            (file_id, json.dumps(list(pages))),
        )

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
