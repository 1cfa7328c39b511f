"""A database as a whole: its counts, which `picto info` prints, and every image, for `picto export`."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pictocli.databases import shown, size
from pictocli.pairs import quantiles
from pictocli.queries import Queries
from pictocli.records import CATEGORIES, Contents, Exported, LibraryInfo, PairQuantiles
from pictocli.rows import COLUMNS, TABLES, file_fields, image_fields
from pictocli.schema import from_db
from pictocli.selection import Condition
from pictocli.stored import is_number, require

__all__ = ["Overview"]


class Overview(Queries):
    """A database at a glance."""

    def info(self, path: str) -> LibraryInfo:
        """All of it, of the database in the file `path`. DamagedError when it does not add up."""
        spec, images, kinds, rule = self.spec(), self.count(None), self.kinds(), self.meta("tag_rule") or "none yet"
        require(
            sum(kinds.values()) == images, f"its folders count {images:,} images, and it holds {sum(kinds.values()):,}"
        )
        require(isinstance(rule, str), "its tag rule is no text")
        return LibraryInfo(
            path=shown(path),
            size_bytes=size(path),
            images=images,
            kinds=kinds,
            datasets=self.datasets(),
            model=spec.id if spec else None,
            revision=spec.revision if spec else None,
            dim=spec.dim if spec else None,
            pairs=self.pair_quantiles(),
            recall=self.recall(),
            tag_rule=rule,
            tags=self.tags(),
            **self.totals(),
        )

    def datasets(self) -> list[Contents]:
        """Every dataset with its roots, the largest first."""
        rows: list[Any] = self.db.execute(
            "SELECT d.name, (SELECT ifnull(sum(o.images), 0) FROM folder o JOIN root r ON r.id = o.root_id"
            " WHERE r.dataset_id = d.id) n, d.id FROM dataset d ORDER BY n DESC, d.name"
        ).fetchall()
        require(all(isinstance(name, str) and is_number(n, 0, kind=int) for name, n, _ in rows), "a dataset is wrong")
        roots: list[Any] = self.db.execute("SELECT dataset_id, path FROM root ORDER BY id").fetchall()
        return [
            Contents(dataset=name, images=n, roots=[from_db(path) for owner, path in roots if owner == dataset_id])
            for name, n, dataset_id in rows
        ]

    def kinds(self) -> dict[str, int]:
        """Images by the kind of their file, the most common first."""
        rows: Any = self.db.execute(
            "SELECT f.kind, count(*) FROM image i JOIN file f ON f.id = i.file_id GROUP BY 1 ORDER BY 2 DESC, 1"
        )
        found: dict[str, int] = dict(rows)
        require(all(isinstance(kind, str) for kind in found), "a file is of no kind")
        return found

    def totals(self) -> Mapping[str, int]:
        """Counts of files with images, skipped files, thumbnails and PDF pages."""
        names = ("files", "skipped", "thumbnails", "pdf_pages")
        row: Any = self.db.execute(
            "SELECT (SELECT count(*) FROM file WHERE pages > 0 AND reason IS NULL),"
            " (SELECT count(*) FROM file WHERE reason IS NOT NULL), (SELECT count(*) FROM thumbnail),"
            " (SELECT count(*) FROM image i JOIN file f ON f.id = i.file_id WHERE f.kind = 'pdf')"
        ).fetchone()
        return dict(zip(names, row, strict=True))

    def pair_quantiles(self) -> PairQuantiles | None:
        """How similar random pairs of contents are, as far as it was measured."""
        pairs = self.pairs()
        if pairs is None:
            return None
        return PairQuantiles(n=pairs.n, contents=pairs.contents, quantiles=quantiles(pairs))

    def tags(self) -> list[tuple[str, str, int]]:
        """(category, label, images) of every label in use, the most common first."""
        rows: list[Any] = self.db.execute(
            "SELECT category, name, n FROM tag WHERE n > 0 ORDER BY n DESC, category, name"
        ).fetchall()
        whole = (
            category in (0, 1, 2) and isinstance(name, str) and is_number(n, kind=int) for category, name, n in rows
        )
        require(all(whole) and (not rows or self.count(None) > 0), "its tags are not as they are written")
        return [(CATEGORIES[category], name, n) for category, name, n in rows]

    def exported(
        self, folders: list[int] | None, *, embeddings: bool, conditions: Sequence[Condition] = ()
    ) -> Iterator[Exported]:
        """Every image in scope that meets all conditions, with all that is kept of it, in the order of ids, one by one.

        Raises DamagedError for what is not as it is written.
        """
        vector = "(SELECT v FROM embedding WHERE content_id = c.id)" if embeddings else "NULL"
        # CROSS JOIN and "+" keep SQLite to the order of ids: in any other it would sort all rows first
        tables = TABLES.replace(" JOIN ", " CROSS JOIN ").replace("LEFT CROSS ", "LEFT ")
        scope, ids = "" if folders is None else "WHERE +i.folder_id IN (SELECT value FROM json_each(:folders))", ""
        if conditions:
            scope = "WHERE i.id IN (SELECT value FROM json_each(:ids))"
            ids = json.dumps(sorted(set(self.passing(conditions, folders))))
        rows = self.db.execute(
            f"{COLUMNS}, f.kind, f.size, i.indexed_at, c.hash, c.measures, {vector} {tables} {scope} ORDER BY i.id",
            {"folders": json.dumps(folders), "ids": ids},
        )
        for row in rows:
            blob = row[-1]
            require(blob is None or len(blob) % 4 == 0, f"the embedding of image {row[0]} is none")
            yield Exported(
                **image_fields(row[:-6]),
                **file_fields(row[0], *row[-6:-1]),
                embedding=None if blob is None else struct.unpack(f"<{len(blob) // 4}f", blob),
            )
