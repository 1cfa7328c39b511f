"""The default store's counts: what `picto info` prints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pictocli.pairs import quantiles
from pictocli.queries import Queries
from pictocli.records import CATEGORIES, Contents, LibraryInfo, PairQuantiles
from pictocli.schema import from_db

__all__ = ["Overview"]


class Overview(Queries):
    """A database at a glance."""

    def info(self, path: str) -> LibraryInfo:
        """All of it, of the database in the file `path`."""
        spec = self.spec()
        return LibraryInfo(
            path=path,
            size_bytes=sum(os.stat(path + end).st_size for end in ("", "-wal") if os.path.exists(path + end)),
            images=self.count(None),
            kinds=self.kinds(),
            datasets=self.datasets(),
            model=spec.id if spec else None,
            revision=spec.revision if spec else None,
            dim=spec.dim if spec else None,
            pairs=self.pair_quantiles(),
            recall=self.recall(),
            tag_rule=self.meta("tag_rule") or "none yet",
            tags=self.tags(),
            **self.totals(),
        )

    def datasets(self) -> list[Contents]:
        """Every dataset with its roots, the largest first."""
        rows: list[Any] = self.db.execute(
            "SELECT d.name, (SELECT ifnull(sum(o.images), 0) FROM folder o JOIN root r ON r.id = o.root_id"
            " WHERE r.dataset_id = d.id) n, d.id FROM dataset d ORDER BY n DESC, d.name"
        ).fetchall()
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
        return dict(rows)

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
        rows = self.db.execute("SELECT category, name, n FROM tag WHERE n > 0 ORDER BY n DESC, category, name")
        return [(CATEGORIES[category], name, n) for category, name, n in rows]
