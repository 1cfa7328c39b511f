"""Finds the nearest in PostgreSQL: by pgvector's HNSW indexes, or by comparing with every image, in float32.

Both never share a text: PostgreSQL keeps plans by it, and the plan of one gives wrong answers in place of the other's,
without an error. Where few images pass, each is compared; where many do, the index is gone through until enough of
those that it gives pass. What an index gives, in float16, is compared once more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from struct import unpack
from typing import Any

from pictocli.catalog import EXACT_BELOW
from pictocli.protocols import Passing
from pictocli.scale.postgres import points
from pictocli.scale.postgres.points import Server
from pictocli.stored import require

__all__ = ["Points"]

# Images that are asked for are compared one by one where they are few: an index that gives 300 of those that pass
# looks at 300 * all / passing of all, which takes longer than comparing with those that pass below this many:
_FEW = 5000
_PER_IMAGE = 1000  # or the root of so many times all images
_MORE = (4, 100)  # candidates that an index is asked for: so many for each that is wanted, and so many more
# Where not all pass, it is asked for so many times as many, of which so many times as many as are wanted must pass: far
# from what is asked an index leaves some out, of 200,000 images .98 of the nearest were found where 1 in 10 passed. If
# not, all that pass are compared, up to so many; of more, the ids are kept, and the index is gone through until enough
# of them are there.
_AMONG = 4
_MOST = 100_000
_SEARCHED = (400, 1000)  # candidates that an index keeps in mind, at least and at most (hnsw.ef_search)
_SETTINGS = {
    "hnsw.iterative_scan": "relaxed_order",  # goes on until enough pass; strictly in order it would leave some out
    "hnsw.max_scan_tuples": "400000",
    "hnsw.scan_mem_multiplier": "16",
    "work_mem": "256MB",  # the ids of those that pass are looked up in it
    "enable_seqscan": "off",  # where there is an index, it is what was chosen
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "jit": "off",
}


@dataclass(frozen=True, slots=True)
class _Part:
    """A partition, of a dataset. images: in it; asked: of these, in scope; folders: in scope, None for all of them.

    indexed: whether it has an index of the right dimensions. kind: pgvector's type of its points.
    """

    dataset_id: int
    images: int
    asked: int
    folders: list[int] | None
    indexed: bool
    kind: str


class Points:
    """The `protocols.Neighbours` of a library in PostgreSQL."""

    def __init__(self, db: Server) -> None:
        self.db = db

    def serves(self, images: int) -> bool:
        """Whether there is an index, and comparing with so many images takes longer."""
        if images < EXACT_BELOW:
            return False
        return bool(self.db.native(
            "SELECT 1 FROM pg_inherits h JOIN pg_index x ON x.indrelid = h.inhrelid"
            " JOIN pg_class n ON n.oid = x.indexrelid JOIN pg_am a ON a.oid = n.relam"
            " WHERE h.inhparent = to_regclass('point') AND a.amname = 'hnsw' AND x.indisvalid LIMIT 1"
        ))  # fmt: skip

    def build(self) -> None:
        """Make the indexes that pay by now. What is written later they take in by themselves."""
        points.build(self.db)

    def nearest(
        self, vector: bytes, limit: int, folders: Sequence[int] | None, passing: Passing | None, *, without: int,
        exact: bool,
    ) -> list[tuple[int, float]]:  # fmt: skip
        """The `limit` images nearest to `vector`, as (image id, cosine), nearest first; see `Neighbours.nearest`."""
        if passing is not None:
            passing = self.db.translation(*passing)
        found = None if exact else self._indexed(vector, limit, folders, passing, without)
        if found is None:
            among: Passing = ("", ())
            if passing is not None:
                among = f"AND i.id IN (SELECT image_id FROM ({passing[0]}) l)", passing[1]
            elif folders is not None:
                among = "AND i.folder_id = ANY(%s)", [list(folders)]
            found = self._compared(vector, limit, among, without)
        return found

    def _compared(self, vector: bytes, limit: int, among: Passing, without: int) -> list[tuple[int, float]]:
        """The nearest of all that are asked for. "+ 0" is what no index is of."""
        rows = self.db.native(
            "SELECT i.id, (e.v <=> %s::vector) + 0 AS d FROM image i JOIN embedding e ON e.content_id = i.content_id"
            f" WHERE i.id <> %s {among[0]} ORDER BY d, i.id LIMIT %s",
            (_text(vector), without, *among[1], limit),
        )
        return _cosines(rows)

    def _indexed(
        self, vector: bytes, limit: int, folders: Sequence[int] | None, passing: Passing | None, without: int
    ) -> list[tuple[int, float]] | None:
        """The nearest by the indexes, or of those that pass; None where comparing with all in scope is better."""
        parts = self._parts(folders, len(vector) // 4)
        if not any(part.indexed for part in parts):
            return None
        if passing is None and self.db.native("SELECT to_regclass('pg_temp.image') IS NOT NULL")[0][0]:
            # The connection is to see some images only.
            passing = "SELECT id AS image_id FROM image", ()
        few, wanted = _few(sum(part.images for part in parts)), _MORE[0] * limit + _MORE[1]
        if passing is not None:
            text, values = passing
            ids = [row[0] for row in self.db.native(f"SELECT image_id FROM ({text}) l LIMIT %s", (*values, few + 1))]
            if len(ids) <= few:
                return self._compared(vector, limit, ("AND i.id = ANY(%s)", [list(set(ids))]), without)
            found = self._reached(vector, _AMONG * limit, parts, _AMONG * wanted, ("", ()), passing, without)
            if len(found) == _AMONG * limit:
                return found[:limit]
            some = f"SELECT count(*) FROM (SELECT 1 FROM ({text}) l LIMIT %s) l"
            if self.db.native(some, (*values, _MOST))[0][0] < _MOST:
                return None
        elif sum(part.asked for part in parts) <= few:
            return None
        found = self._reached(vector, limit, parts, wanted, passing or ("", ()), ("", ()), without)
        return found if len(found) >= limit else None

    def _reached(
        self, vector: bytes, limit: int, parts: Sequence[_Part], count: int, within: Passing, after: Passing,
        without: int,
    ) -> list[tuple[int, float]]:  # fmt: skip
        """The nearest of the `count` that the indexes give.

        Of those that pass `within`, or of all and then of those that pass `after`, each of which may be empty.
        """
        passed = f", passed AS MATERIALIZED ({within[0]})" if within[0] else ""
        queries, values = list[str](), [*within[1]]
        for part in parts:
            text, folders = _query(part, len(vector) // 4, passes=bool(within[0]))
            queries.append(f"({text} LIMIT {count})")
            values += folders
        only = f"AND i.id IN (SELECT image_id FROM ({after[0]}) l)" if after[0] else ""
        with self._set(min(max(_SEARCHED[0], count // len(parts)), _SEARCHED[1])):
            rows = self.db.native(
                f"WITH asked AS MATERIALIZED (SELECT %s::vector AS v){passed}, near AS MATERIALIZED"
                f" (SELECT image_id FROM ({' UNION ALL '.join(queries)}) u ORDER BY d LIMIT {count})"
                " SELECT i.id, e.v <=> (SELECT v FROM asked) AS distance"
                " FROM near n JOIN image i ON i.id = n.image_id JOIN embedding e ON e.content_id = i.content_id"
                f" WHERE i.id <> %s {only} ORDER BY distance, i.id LIMIT %s",
                (_text(vector), *values, without, *after[1], limit),
            )
        return _cosines(rows)

    def _parts(self, folders: Sequence[int] | None, dims: int) -> list[_Part]:
        """The partitions that hold images in these folders, or any."""
        scope = "TRUE" if folders is None else "o.id = ANY(%s)"
        rows = self.db.native(
            "SELECT d.id, greatest(d.images, c.reltuples::bigint), d.asked, d.folders, d.images = d.asked,"
            " x.indisvalid IS TRUE, (SELECT format_type(atttypid, NULL) FROM pg_attribute"
            " WHERE attrelid = to_regclass('point') AND attname = 'v') FROM"
            " (SELECT r.dataset_id AS id, sum(o.images)::bigint AS images, array_agg(o.id) FILTER (WHERE s.asked)"
            " AS folders, sum(o.images) FILTER (WHERE s.asked)::bigint AS asked FROM folder o"
            f" JOIN root r ON r.id = o.root_id CROSS JOIN LATERAL (SELECT {scope} AS asked) s GROUP BY 1) d"
            " LEFT JOIN pg_class c ON c.oid = to_regclass('point_' || d.id) LEFT JOIN pg_index x"
            " ON x.indrelid = c.oid AND x.indexrelid = to_regclass('point_' || d.id || %s) WHERE d.asked > 0",
            (*([] if folders is None else [list(folders)]), f"_{dims}"),
        )
        return [_Part(at, n, met, None if whole else ids, there, kind) for at, n, met, ids, whole, there, kind in rows]

    @contextmanager
    def _set(self, searched: int) -> Iterator[None]:
        """Use the indexes in this block, and go on when what they give does not pass. Nothing stays set behind it."""
        settings = _SETTINGS | {"hnsw.ef_search": str(searched)}
        within = self.db.in_transaction
        self.db.execute("SAVEPOINT near" if within else "BEGIN")
        try:
            self.db.native(
                "SELECT " + ", ".join("set_config(%s, %s, true)" for _ in settings),
                [part for setting in settings.items() for part in setting],
            )
            yield
        finally:
            if self.db.in_transaction:
                for undo in ("ROLLBACK TO near", "RELEASE near") if within else ("ROLLBACK",):
                    self.db.execute(undo)


def _text(vector: bytes) -> str:
    """A vector as pgvector reads it: float32 to the last bit."""
    return "[" + ",".join(map(repr, unpack(f"<{len(vector) // 4}f", vector))) + "]"


def _cosines(rows: Sequence[Any]) -> list[tuple[int, float]]:
    """(image id, cosine) of (image id, distance)."""
    for image_id, distance in rows:
        require(distance == distance, f"the embedding of image {image_id} is not made of numbers")  # NaN is not itself
    return [(image_id, 1.0 - distance) for image_id, distance in rows]


def _few(images: int) -> int:
    """How many of so many images are compared one by one sooner than found by an index."""
    return max(_FEW, math.isqrt(_PER_IMAGE * images))


def _query(part: _Part, dims: int, *, passes: bool) -> tuple[str, list[Any]]:
    """A query for the nearest of a partition, by its index where that is the sooner, and its values. LIMIT follows."""
    among = " AND (p.image_id IN (SELECT image_id FROM passed)) IS TRUE" if passes else ""
    table, asked = f"point_{part.dataset_id} p", f"(SELECT v::{part.kind}({dims}) FROM asked)"
    if part.indexed and (part.folders is None or part.asked > _few(part.images)):
        if part.folders is not None:
            among += " AND p.folder_id = ANY(%s)"
        distance = f"p.v::{part.kind}({dims}) <=> {asked}"
        text = f"SELECT p.image_id, {distance} AS d FROM {table} WHERE vector_dims(p.v) = {dims}{among}"
        return f"{text} ORDER BY {distance}", [] if part.folders is None else [part.folders]
    chosen = f"SELECT p.image_id, (p.v <=> {asked}) + 0 AS d FROM"  # "+ 0" is what no index is of
    if part.folders is None:
        return f"{chosen} {table} WHERE TRUE{among} ORDER BY d", []
    joined = f"image i JOIN {table} ON p.dataset_id = {part.dataset_id} AND p.image_id = i.id"
    return f"{chosen} {joined} WHERE i.folder_id = ANY(%s){among} ORDER BY d", [part.folders]
