"""The store's half of `picto move-db`: copies every row of a library into an empty one, in batches of whole rows.

Ids stay. What is derived is not copied: 1-bit codes and an engine's own index are made of the embeddings at the end.
Rows go in the order of their keys, so the last key that is there says where a copy that was stopped goes on.
The other library is a second connection that only reads: no statement of ours ever sees both.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pictocli.begun import MARKER, Begun, begun
from pictocli.databases import shown, translated
from pictocli.errors import StoreError, ValidationError
from pictocli.fields import Fields
from pictocli.interrupts import held
from pictocli.protocols import Database, Progress
from pictocli.schema import memory, transaction
from pictocli.sqlite import SqliteStore

__all__ = ["Moving", "Origin", "Table", "tables"]

_BATCHES = {
    "dataset": 5000, "root": 5000, "folder": 5000, "file": 5000, "content": 5000, "embedding": 2000, "staged": 2000,
    "thumbnail": 1000, "capture": 5000, "input": 5000, "fingerprint": 2000, "page_range": 5000, "validator": 5000,
    "tag": 5000, "tag_alias": 5000, "image": 5000, "image_tag": 20000,
}  # fmt: skip
"""Every table whose rows are copied batch by batch, in the order in which they refer to each other: rows a batch."""
_WHOLE = {"vector": 1000, "text_embedding": 5000}  # questions add to these, so that every run copies them anew
_SAMPLED = ("embedding", "staged", "thumbnail", "input", "fingerprint", "image_tag")
_FILLING = ("image_tagged", "tag_more")  # triggers that would count, and make, what is copied
_ALL = (*_FILLING, "image_deleting", "image_deleted", "tag_less")
_OWN = (MARKER, "recall")  # keys of `meta` that are of one copy of a library alone
_MEAN = "mean"  # in `vector`; like "recall" it is of 1-bit codes
_BLOCKS, _ROWS = 20, 50  # of a sampled table that are compared


class Table(NamedTuple):
    """A table: its columns, those of its key, which are its first ones, and how many rows make a batch."""

    name: str
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    batch: int

    def key(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """The key of a row."""
        return tuple(row[: len(self.keys)])


@functools.cache
def tables() -> Mapping[str, Table]:
    """Every table that is copied, by its name."""
    db, found = memory(), dict[str, Table]()
    for name, batch in (_BATCHES | _WHOLE).items():
        rows = db.execute("SELECT name, pk FROM pragma_table_info(?) ORDER BY pk = 0, pk, cid", (name,)).fetchall()
        found[name] = Table(
            name, tuple(str(row[0]) for row in rows), tuple(str(row[0]) for row in rows if row[1]), batch
        )
    db.close()
    return found


class Origin:
    """A library that is copied, or the copy: what it holds, read in batches. name: as `databases` has it."""

    def __init__(self, db: Database, name: str) -> None:
        self.db, self.name = db, name

    def count(self, table: str) -> int:
        """Rows of a table."""
        return int(self.db.execute(f"SELECT count(*) FROM {table}").get)

    def rows(self, table: Table, after: Sequence[Any] = ()) -> Iterator[list[Any]]:
        """The rows of a table in the order of keys, after one key, a batch at a time."""
        keys, marks = ", ".join(table.keys), ", ".join("?" * len(table.keys))
        while True:
            where = f" WHERE ({keys}) > ({marks})" if after else ""
            rows = self._ask(table, f"{where} ORDER BY {keys} LIMIT {table.batch}", after)
            if rows:
                yield rows
            if len(rows) < table.batch:
                return
            after = table.key(rows[-1])

    def total(self) -> int:
        """Rows of all tables that are copied."""
        return sum(map(self.count, tables()))

    def whole(self, name: str) -> list[Any]:
        """All rows of a table, but for what only 1-bit codes need."""
        return [row for rows in self.rows(tables()[name]) for row in rows if (name, row[0]) != ("vector", _MEAN)]

    def last(self, table: Table) -> tuple[Any, ...]:
        """The last key of a table, () of an empty one."""
        keys, order = ", ".join(table.keys), ", ".join(f"{key} DESC" for key in table.keys)
        with translated(self.name):
            row = self.db.execute(f"SELECT {keys} FROM {table.name} ORDER BY {order} LIMIT 1").fetchone()
        return () if row is None else tuple(row)

    def metas(self) -> list[tuple[str, Any]]:
        """What is kept of the library as a whole, but for what is of this copy of it alone."""
        rows = self.db.execute("SELECT key, value FROM meta ORDER BY key").fetchall()
        return [(key, value) for key, value in rows if key not in _OWN and not key.startswith("engine ")]

    def state(self, progress: Progress) -> dict[str, str]:
        """What every table holds: a digest of all its rows or, of those with much in a row, count and last key.

        So what an index run, retag, prune or another change of the library alters is seen; what a question keeps is
        none of it.
        """
        progress.doing(f"reading {shown(self.name)}")
        kept = [(key, value) for key, value in self.metas() if key != "pairs" and value is not None]
        found = {"meta": hashlib.sha256(repr(kept).encode()).hexdigest()}
        for table in (tables()[name] for name in _BATCHES):
            if table.name in _SAMPLED:
                found[table.name] = f"{self.count(table.name)} {self.last(table)}"
                continue
            digest = hashlib.sha256()
            for rows in self.rows(table):
                digest.update("".join(f"{row!r}\n" for row in rows).encode())
            found[table.name] = digest.hexdigest()
        progress.doing("")
        return found

    def samples(self, name: str) -> Iterator[list[Any]]:
        """The rows of a table, of a large one some from all over it: which ones hangs on its keys alone."""
        table, count = tables()[name], self.count(name)
        keys = ", ".join(table.keys)
        if name in _WHOLE:
            yield self.whole(name)
            return
        if count <= _BLOCKS * _ROWS:
            yield self._ask(table, f" ORDER BY {keys} LIMIT {_BLOCKS * _ROWS}", ())
            return
        first = table.keys[0]
        least, most = self.db.execute(f"SELECT min({first}), max({first}) FROM {table.name}").fetchall()[0]
        for block in range(_BLOCKS):
            at = least + (most - least + 1 - _ROWS) * block // (_BLOCKS - 1)
            yield self._ask(table, f" WHERE {first} >= ? ORDER BY {keys} LIMIT {_ROWS}", (at,))

    def _ask(self, table: Table, rest: str, values: Sequence[Any]) -> list[Any]:
        with translated(self.name):
            columns = ", ".join(table.columns)
            return self.db.execute(f"SELECT {columns} FROM {table.name}{rest}", values).fetchall()


class Moving(SqliteStore):
    """A store into which a library is copied. name: its own."""

    def __init__(self, db: Database, name: str) -> None:
        super().__init__(db)
        self.own = Origin(db, name)

    def kept(self, source: str, state: Mapping[str, str] | None, *, afresh: bool) -> int:
        """Rows that are there of a copy of the library `source` which was begun; 0 for an empty library.

        state: of `source`; None while nobody has looked. afresh: they will be dropped. Raises ValidationError when it
        holds a library, or is a copy of another one; StoreError when `source` has changed meanwhile.
        """
        before, name = begun(self.db), shown(self.own.name)
        if before is None:
            if any(self.own.count(table) for table in ("root", "file", "content")):
                images = self.own.count("image")
                raise ValidationError(
                    f"{name} holds a library already, of {images:,} image{'' if images == 1 else 's'}",
                    "name a new one; picto merge takes over what another library holds",
                )
            return 0
        if afresh:
            return 0
        again = f"picto move-db {source} {name} --afresh drops what is there of it, and copies all"
        if state is not None and before.state != _told(state):
            if before.source == source:
                raise StoreError(f"{source} has changed since its copy in {name} was begun", again)
            raise ValidationError(f"{name} holds an unfinished copy of {before.source}, another library", again)
        return sum(self.own.count(name) for name in _BATCHES)

    @held()
    def begin(self, origin: Origin, state: Mapping[str, str], *, afresh: bool) -> None:
        """Mark the library as a copy that is not finished, and copy what is of it as a whole."""
        with transaction(self.db):
            if afresh or begun(self.db) is None:
                self._clear()
                self.set_meta(MARKER, Begun(shown(origin.name), _told(state)).encoded())
            for key, value in origin.metas():
                self.set_meta(key, value)
            for name in _WHOLE:
                self.db.execute(f"DELETE FROM {name}")
                self._insert(tables()[name], origin.whole(name))
            if self.db.neighbours is None and origin.db.neighbours is None:  # both find the nearest by 1-bit codes
                theirs = SqliteStore(origin.db)
                mean, recall = theirs.vector(_MEAN), theirs.meta("recall")
                if mean is not None:
                    self.put_vector(_MEAN, mean)
                if recall is not None:
                    self.set_meta("recall", recall)

    def copy(self, origin: Origin) -> Iterator[tuple[str, int]]:
        """Copy all rows that are not there, a transaction a batch; yields the table's name and how many each was."""
        for table in (tables()[name] for name in _BATCHES):
            for rows in origin.rows(table, self.own.last(table)):
                self._put(table, rows)
                yield table.name, len(rows)

    def compare(self, origin: Origin, state: Mapping[str, str], progress: Progress) -> int:
        """Read both again, tables with much in a row in samples; how many rows are equal. StoreError when any is not.

        state: of `origin`.
        """
        wrong = [name for name, value in self.own.state(progress).items() if value != state[name]]
        compared = sum(self.own.count(name) for name in _BATCHES if name not in _SAMPLED)
        progress.doing("comparing samples")
        for name in (*_WHOLE, *_SAMPLED):
            for theirs, ours in zip(origin.samples(name), self.own.samples(name), strict=False):
                compared += len(ours)
                wrong += [name] * (ours != theirs)
        progress.doing("")
        if wrong:
            name, source = shown(self.own.name), shown(origin.name)
            told = " and ".join(dict.fromkeys(wrong))
            raise StoreError(
                f"the rows of {told} in {name} are not those in {source}",
                f"picto move-db {source} {name} --afresh copies all again",
            )
        return compared

    def build(self, progress: Progress) -> None:
        """Make what is derived of the rows: the indexes on fields, and 1-bit codes or the engine's own index."""
        progress.doing("building the index")
        Fields(self.db).restore()
        self.build_codes(self.vector(_MEAN))
        progress.doing("")

    def finish(self) -> None:
        """Take the mark away: from now on it is a library as any other."""
        with transaction(self.db):
            self.db.execute("DELETE FROM meta WHERE key = ?", (MARKER,))

    @held()
    def _put(self, table: Table, rows: Sequence[Any]) -> None:
        with transaction(self.db), self.db.without_triggers(_FILLING):
            self._insert(table, rows)

    def _insert(self, table: Table, rows: Sequence[Any]) -> None:
        columns, marks = ", ".join(table.columns), ", ".join("?" * len(table.columns))
        self.db.executemany(f"INSERT INTO {table.name}({columns}) VALUES({marks})", rows)

    def _clear(self) -> None:
        """Drop all rows: of a copy that was begun, and the labels that an empty library has."""
        with self.db.without_triggers(_ALL):
            for name in reversed(list(_BATCHES)):
                self.db.execute(f"DELETE FROM {name}")
        if self.db.neighbours is None:
            self.db.execute("DELETE FROM code")
        for key, _ in self.own.metas():
            self.db.execute("DELETE FROM meta WHERE key = ?", (key,))


def _told(state: Mapping[str, str]) -> str:
    return hashlib.sha256(repr(sorted(state.items())).encode()).hexdigest()
