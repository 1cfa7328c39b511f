"""The indexes of a library of Lance tables, made after the load: the nearest are found by IVF_HNSW_SQ, rows by others.

They are made in segments, each of whole fragments of a table. That takes minutes and no lease: only when a table's
segments are done are they added to it, in a transaction of a moment. Meanwhile others write, and what they add is
looked through without the index until it has a segment of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pictocli.catalog import EXACT_BELOW
from pictocli.protocols import Database
from pictocli.scale.lance.place import Place
from pictocli.scale.lance.tables import TABLES
from pictocli.schema import transaction

__all__ = ["INDEXES", "Tables", "build", "indexed_rows", "partitions", "segment"]

INDEXES = {
    # Of a million rows one is read by its key in .8 ms, not 12, and changed in 6, not 17: else every key is read.
    **{
        name: {each.key[0]: "BTREE"}
        for name, each in TABLES.items()
        if [kind for column, kind in each.columns if column in each.key] == ["i"]
    },
    "embedding": {"content_id": "BTREE", "v": "IVF_HNSW_SQ"},
    # All but the first are for other programs: of a million images those of a folder take 1 ms, not 18, those of a
    # hundred contents 9, not 34, and those with a label that one in a hundred has 9, not 107.
    "image": {
        "id": "BTREE", "folder_id": "BTREE", "content_id": "BTREE", "objects_labels": "LABEL_LIST",
        "scenes_labels": "LABEL_LIST", "attributes_labels": "LABEL_LIST",
    },
}  # fmt: skip
"""A table → its columns with an index → the index's kind, as Lance names it."""

_PARTITION = 5000  # rows: 200,000 of 256 D take 45 s on one core; larger partitions take longer and find no more
_LINKS, _BREADTH = 20, 150  # HNSW's m and ef_construction, Lance's own
_STALE = 10  # a segment is added when more than a tenth of the rows are in none
_SEGMENTS = 6  # each is searched: more than so many are made one
_TRIES = 3  # compaction may take the fragments away that a segment was made of


class Tables(Database, Protocol):
    """What is asked of a library of Lance tables, beside its catalogue."""

    place: Place

    def tables(self) -> list[str]:
        """The names of all tables."""

    def dataset(self, name: str) -> Any:
        """The lance.LanceDataset of a table, as this connection sees it; None where there is none yet.

        Within a transaction that writes it may be written on, and `publish` makes that a part of the transaction.
        """

    def publish(self, name: str, dataset: Any) -> None:
        """Have the commit of this transaction name a version of a table which has the same rows."""


def indexed_rows(rows: Any, column: str) -> int:
    """Rows of a lance.LanceDataset that are in the index of a column."""
    return sum(each.num_rows_indexed for each in rows.describe_indices() if each.name == _name(column))


def partitions(rows: int) -> int:
    """How many partitions an index of so many vectors has."""
    return max(1, rows // _PARTITION)


def build(db: Tables) -> None:
    """Make the indexes that pay, or bring them up to date where they fell behind."""
    for table in INDEXES:
        some = f"SELECT 1 FROM main.{table} LIMIT {EXACT_BELOW}"  # noqa: S608 - our names
        if db.execute(f"SELECT count(*) FROM ({some})").get == EXACT_BELOW:  # noqa: S608 - our names
            _build(db, table)


def _build(db: Tables, table: str) -> None:
    for _ in range(_TRIES):
        made = _segments(db.dataset(table), INDEXES[table])
        if not made:
            return
        with transaction(db):
            held = {each.fragment_id for each in db.dataset(table).get_fragments()}
            if all(held.issuperset(each.fragment_ids) for each in made.values()) and all(
                _added(db, table, column, each) for column, each in made.items()
            ):
                return


def _added(db: Tables, table: str, column: str, segment: Any) -> bool:
    """Add a segment to a table's index; whether nobody who has lost its lease wrote meanwhile."""
    now = db.dataset(table)
    version, rows = now.version, now.count_rows()
    done = now.commit_existing_index_segments(_name(column), column, [segment])
    alone = bool(done.version == version + 1 and done.count_rows() == rows)
    if alone:
        db.publish(table, done)
    return alone


def _segments(rows: Any, kinds: Mapping[str, str]) -> dict[str, Any]:
    """The new segments of a table's indexes, by columns."""
    made = {column: segment(rows, column, kind) for column, kind in kinds.items()}
    return {column: each for column, each in made.items() if each is not None}


def segment(rows: Any, column: str, kind: str) -> Any:
    """A new segment, which belongs to no version yet: of all rows, or of those that are in none; None when none pays.

    rows: the lance.LanceDataset of a table.
    """
    count = rows.count_rows()
    kept = [piece for each in rows.describe_indices() if each.name == _name(column) for piece in each.segments]
    covered = {number for piece in kept for number in piece.fragment_ids}
    fragments = rows.get_fragments()
    left = [each for each in fragments if each.fragment_id not in covered]
    bare = sum(each.count_rows() for each in left)
    if kept and bare * _STALE <= count:
        return None
    if not kept or bare * 2 >= count or len(kept) >= _SEGMENTS:
        left, bare = fragments, count
    how: dict[str, Any] = {}
    if kind == "IVF_HNSW_SQ":
        how = {"metric": "cosine", "num_partitions": partitions(bare), "m": _LINKS, "ef_construction": _BREADTH}
    return rows.create_index_uncommitted(
        column, kind, name=_name(column), fragment_ids=[each.fragment_id for each in left], replace=bool(kept), **how
    )


def _name(column: str) -> str:
    """An index's name: Lance's own for it."""
    return f"{column}_idx"
