"""The index of a library of Lance tables by which the nearest are found: IVF_HNSW_SQ, made after the load.

It is made in segments, each of whole fragments of the table. That takes minutes and no lease: only when a segment is
done is it added to the table, in a transaction of a moment. Meanwhile others write, and what they add is compared
without the index until it has a segment of its own.
"""

from __future__ import annotations

from typing import Any, Protocol

from pictocli.catalog import EXACT_BELOW
from pictocli.protocols import Database
from pictocli.schema import transaction

__all__ = ["INDEX", "Tables", "build", "indexed_rows", "partitions", "segment"]

INDEX = "v_idx"
_PARTITION = 5000  # rows: 200,000 of 256 D take 45 s on one core; larger partitions take longer and find no more
_LINKS, _BREADTH = 20, 150  # HNSW's m and ef_construction, Lance's own
_STALE = 10  # a segment is added when more than a tenth of the rows are in none
_SEGMENTS = 6  # each is searched: more than so many are made one
_TRIES = 3  # compaction may take the fragments away that a segment was made of


class Tables(Database, Protocol):
    """What is asked of a library of Lance tables, beside its catalogue."""

    def tables(self) -> list[str]:
        """The names of all tables."""

    def dataset(self, name: str) -> Any:
        """The lance.LanceDataset of a table, as this connection sees it; None where there is none yet.

        Within a transaction that writes it may be written on, and `publish` makes that a part of the transaction.
        """

    def publish(self, name: str, dataset: Any) -> None:
        """Have the commit of this transaction name a version of a table which has the same rows."""


def indexed_rows(points: Any) -> int:
    """Rows of a lance.LanceDataset that are in the index."""
    return sum(each.num_rows_indexed for each in points.describe_indices() if each.name == INDEX)


def partitions(rows: int) -> int:
    """How many partitions an index of so many rows has."""
    return max(1, rows // _PARTITION)


def build(db: Tables) -> bool:
    """Make the index of the embeddings where it pays, or bring it up to date. True when that changed it."""
    for _ in range(_TRIES):
        points = db.dataset("embedding")
        made = None if points is None else segment(points)
        if made is None:
            return False
        with transaction(db):
            now = db.dataset("embedding")
            held = {each.fragment_id for each in now.get_fragments()}
            if held.issuperset(made.fragment_ids):
                db.publish("embedding", now.commit_existing_index_segments(INDEX, "v", [made]) or now)
                return True
    return False


def segment(points: Any) -> Any:
    """A new segment, which belongs to no version yet: of all rows, or of those that are in none; None when none pays.

    points: the lance.LanceDataset of the embeddings.
    """
    rows = points.count_rows()
    if rows < EXACT_BELOW:
        return None
    kept = [piece for each in points.describe_indices() if each.name == INDEX for piece in each.segments]
    covered = {number for piece in kept for number in piece.fragment_ids}
    fragments = points.get_fragments()
    left = [each for each in fragments if each.fragment_id not in covered]
    bare = sum(each.count_rows() for each in left)
    if kept and bare * _STALE <= rows:
        return None
    if not kept or bare * 2 >= rows or len(kept) >= _SEGMENTS:
        left, bare = fragments, rows
    return points.create_index_uncommitted(
        "v", "IVF_HNSW_SQ", name=INDEX, metric="cosine", num_partitions=partitions(bare), m=_LINKS,
        ef_construction=_BREADTH, fragment_ids=[each.fragment_id for each in left], replace=bool(kept),
    )  # fmt: skip
