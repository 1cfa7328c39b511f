"""The working copy: a SQLite file in the user's cache that follows the tables of a library, for SQL to run on.

It has every row but the bytes of vectors and pictures, for which digests stand. The truth is in Lance's tables: a copy
that is lost, spoiled or of another library is made anew. What is new is brought in with triggers off, as it is stored;
only the inverted table of tags follows from the images here.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from pictocli import schema
from pictocli.connection import Connection
from pictocli.errors import StoreError, TakenError
from pictocli.fields import Fields
from pictocli.migrations import MIGRATIONS
from pictocli.progress import slow
from pictocli.scale.lance.head import State, mark_of
from pictocli.scale.lance.place import Place, told
from pictocli.scale.lance.store import Store
from pictocli.scale.lance.tables import TABLES, Row, Table, read_columns, rows_in

__all__ = ["Copy", "keep_state", "of_copy", "reaches", "state_in"]

_WAIT = 600_000  # ms that another process is waited for which makes the copy
_PAGE = 16384  # bytes
_BAD = ".bad"  # is added to the name of a copy for a file that says it was found spoiled
_HINT = "check its disk and permissions; XDG_CACHE_HOME names another folder"
_LABELLED = (
    "SELECT t.id, l.image_id, l.score FROM image_label l"
    " CROSS JOIN tag t ON t.category = l.category AND t.name = l.name"
)


class Copy:
    """The working copy of one library, as this process brings it up to date."""

    def __init__(self, place: Place, store: Store) -> None:
        self.place, self.store = place, store
        self.path = _path(place)
        self._db: Connection | None = None

    def open(self) -> Connection:
        """A connection to the copy, to ask and to write. A copy that cannot be used is put away, and made anew.

        One that another process is making is waited for.
        """
        until, spoiled = time.monotonic() + _WAIT / 1000, os.path.exists(self.path + _BAD)
        if not os.path.exists(self.path):
            for number in range(len(MIGRATIONS)):
                _remove(_path(self.place, number))
        while True:
            if spoiled:
                _remove(self.path)
            try:
                return schema.connect(self.path, create=True, page_size=_PAGE)
            except TakenError:
                if time.monotonic() > until:
                    raise
                spoiled = False
            except StoreError as exc:
                cause = exc.__cause__
                if spoiled or isinstance(cause, apsw.FullError):
                    raise (exc if cause is None else _of_file(self.place, cause)) from cause
                spoiled = True

    def close(self) -> None:
        """Let go of the copy; it stays for the next time."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def follow(self, head_now: Callable[[], State]) -> State:
        """Bring the copy to the commit that the head names, or further, where another process has done so.

        Returns the head's state.
        """
        if self._db is None:
            self._db = self.open()
            self._db.set_busy_timeout(_WAIT)
            self._db.execute("PRAGMA foreign_keys=OFF")
            self._db.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
            self._db.execute("CREATE TABLE IF NOT EXISTS lance_copy(name TEXT PRIMARY KEY, value) WITHOUT ROWID")
        state, head = state_in(self._db), head_now()
        went_back = state.get("library") == head["library"] and state["commit"] > head["commit"]  # a backup came back
        if not went_back and reaches(state, head):
            return head
        with slow(f"bringing the working copy of {self.place.name} up to date"):
            self._update(self._db, head, anew=went_back)
        return head

    def _update(self, db: Connection, head: State, *, anew: bool) -> None:
        db.execute("BEGIN IMMEDIATE")
        try:
            state = {} if anew else state_in(db)
            if not reaches(state, head):
                _Update(db, self.store, head, state).run()
                keep_state(db, head, self.store)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def state_in(db: apsw.Connection) -> State:
    """Which commit of which library a copy holds; {} for one that is only being made."""
    run = apsw.Connection.execute  # and nothing that a connection of ours makes of it
    if not run(db, "SELECT count(*) FROM main.sqlite_schema WHERE name = 'lance_copy'").get:
        return {}
    text = run(db, "SELECT value FROM main.lance_copy WHERE name = 'state'").get
    found = json.loads(text) if isinstance(text, str) else {}
    return found if isinstance(found, dict) else {}


@contextlib.contextmanager
def of_copy(place: Place) -> Iterator[None]:
    """Tell errors of a copy's file as such, and have a copy that is found to be spoiled made anew the next time."""
    try:
        yield
    except (
        apsw.CorruptError, apsw.NotADBError, apsw.FullError, apsw.CantOpenError, apsw.PermissionsError, apsw.IOError
    ) as exc:  # fmt: skip
        raise _of_file(place, exc) from exc


def _of_file(place: Place, exc: BaseException) -> StoreError:
    """What is said of an error of a copy's file."""
    path = _path(place)
    if isinstance(exc, apsw.CorruptError | apsw.NotADBError):
        with contextlib.suppress(OSError):
            Path(path + _BAD).touch(mode=0o600)
        hint = "run the same command again: the copy is made anew"
        return StoreError(f"the working copy {path} of {place.name} is spoiled", hint)
    if isinstance(exc, apsw.FullError) or (isinstance(exc, OSError) and exc.errno == errno.ENOSPC):
        hint = "free some space and run the same command again, or let XDG_CACHE_HOME name another folder"
        return StoreError(f"no space left for the working copy {path}", hint)
    reason = exc.strerror if isinstance(exc, OSError) else exc
    return StoreError(f"cannot use the working copy {path}: {reason}", _HINT)


def keep_state(db: apsw.Connection, head: State, store: Store) -> None:
    """Keep in mind which commit the copy now holds, and up to which fragments each table has been read."""
    before = state_in(db)
    read, tables = dict(before.get("fragments", {})), before.get("tables", {})
    for name, version in head["tables"].items():
        if name not in read or tables.get(name) != version:
            with told(store.place):
                read[name] = max((piece.fragment_id for piece in store.at(name, version).get_fragments()), default=-1)
    state = {name: head.get(name) for name in ("library", "commit", "tables", "writer")} | {"fragments": read}
    apsw.Connection.execute(db, "INSERT OR REPLACE INTO main.lance_copy VALUES('state', ?)", (json.dumps(state),))


class _Update:
    """Brings what commits have changed since the copy's into it, within a transaction of the caller's."""

    def __init__(self, db: Connection, store: Store, head: State, state: State) -> None:
        self.db, self.store, self.head = db, store, head
        follows = state.get("library") == head["library"] and state["commit"] < head["commit"]
        # Else it is of a branch that was lost when a backup was put back. Older heads do not say.
        follows = follows and mark_of(state["writer"]) in head.get("writers", mark_of(state["writer"]))
        self.since = state["commit"] if follows else -1
        self.read = state.get("fragments", {}) if follows else {}
        self.versions = state.get("tables", {}) if follows else {}

    def run(self) -> None:
        """Change the copy. Tags are taken off before their names change, and put on after."""
        if self.since < 0:
            for name in (*TABLES, "image_tag", "code"):
                self.db.execute(f"DELETE FROM {name}")  # noqa: S608 - our names
        else:
            self._untag()
            self._drop()
        for table in TABLES.values():
            for rows in self._new(table, read_columns(table), rows_in):
                self._put(table, rows)
        self._tag()
        self._index()

    def _untag(self) -> None:
        """Take off the tags of all images that are changed or gone."""
        ids = [row[0] for rows in self._new(TABLES["image"], ["id"], _ids_in) for row in rows]
        ids += [key[0] for name, key in self._gone() if name == "image" and key is not None]
        if any(name == "image" and key is None for name, key in self._gone()):
            self.db.execute("DELETE FROM image_tag")
        self.db.executemany(
            "DELETE FROM image_tag WHERE image_id = ?1 AND tag_id IN (SELECT t.id FROM image_label l CROSS JOIN tag t"
            " ON t.category = l.category AND t.name = l.name WHERE l.image_id = ?1)",
            [(image_id,) for image_id in ids],
        )

    def _drop(self) -> None:
        for name, key in self._gone():
            if name in TABLES:
                where = "" if key is None else f" WHERE {_is(TABLES[name])}"
                self.db.execute(f"DELETE FROM {name}{where}", key or ())  # noqa: S608 - our names

    def _put(self, table: Table, rows: Sequence[Row]) -> None:
        """Put rows in the place of those with their keys: first all out, for two may have changed their names."""
        if self.since >= 0:
            keys = [table.key_of(row) for row in rows]
            self.db.executemany(f"DELETE FROM {table.name} WHERE {_is(table)}", keys)  # noqa: S608 - our names
        marks = ", ".join("?" * len(table.columns))
        self.db.executemany(f"INSERT OR REPLACE INTO {table.name} VALUES({marks})", rows)

    def _tag(self) -> None:
        """Put on the tags of all images that are new or changed."""
        if self.since < 0:
            self.db.execute(f"INSERT OR IGNORE INTO image_tag {_LABELLED} ORDER BY 1, 2")
            return
        ids = [row for rows in self._new(TABLES["image"], ["id"], _ids_in) for row in rows]
        self.db.executemany(f"INSERT OR IGNORE INTO image_tag {_LABELLED} WHERE l.image_id = ?", ids)

    def _index(self) -> None:
        """Make the indexes on fields of metadata that the library has, and remove those of another library."""
        fields = Fields(self.db)
        if self.since < 0:
            fields.drop()
        fields.restore()

    def _new(self, table: Table, columns: Sequence[str], taken: Any) -> Iterator[list[Row]]:
        """The rows of a table that later commits than the copy's have written, batch by batch."""
        version = self.head["tables"].get(table.name)
        if version is None or version == self.versions.get(table.name):
            return
        where = f"seq > {int(self.since)}" if self.since >= 0 else None
        with told(self.store.place):
            rows = self.store.at(table.name, version)
            pieces = [p for p in rows.get_fragments() if p.fragment_id > self.read.get(table.name, -1)]
            if pieces:
                found = rows.scanner(columns=list(columns), filter=where, fragments=pieces)
                yield from taken(table, found.to_batches())

    def _gone(self) -> list[tuple[str, Row | None]]:
        """What later commits than the copy's have removed: (table, key), no key for all that there was."""
        version = self.head["tables"].get("gone")
        if version is None or version == self.versions.get("gone"):
            return []
        with told(self.store.place):
            rows = self.store.at("gone", version)
            pieces = [p for p in rows.get_fragments() if p.fragment_id > self.read.get("gone", -1)]
            if not pieces:
                return []
            found = rows.scanner(filter=f"seq > {int(self.since)}", fragments=pieces).to_table().to_pylist()
        return [(row["table"], None if row["key"] is None else tuple(json.loads(row["key"]))) for row in found]


def _ids_in(_: Table, batches: Any) -> Iterator[list[Row]]:
    for batch in batches:
        yield [(image_id,) for image_id in batch.column("id").to_pylist()]


def reaches(state: State, head: State) -> bool:
    """Whether a copy in this state holds the commit that the head names, or a later one."""
    if state.get("library") != head["library"]:
        return False
    return state["commit"] > head["commit"] or (state["commit"], state["writer"]) == (head["commit"], head["writer"])


def _is(table: Table) -> str:
    return " AND ".join(f"{name} = ?" for name in table.key)


def _path(place: Place, version: int = len(MIGRATIONS)) -> str:
    """Where the copy of a library lies, as this version of the schema has it: it is never migrated.

    Raises StoreError when no folder can be made for it.
    """
    import platformdirs

    folder = Path(platformdirs.user_cache_dir("picto", appauthor=False)) / "lance"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise StoreError(f"cannot write {folder}: {exc.strerror}", "XDG_CACHE_HOME names another folder") from exc
    digest = hashlib.sha256(os.fsencode(place.name)).hexdigest()[:24]
    return str(folder / f"{digest}-{version}.db")


def _remove(path: str) -> None:
    """Remove a copy. The log goes before its file, so that a new file is never left without its own."""
    try:
        for end in ("-wal", "-shm", "", _BAD):
            Path(path + end).unlink(missing_ok=True)
    except OSError as exc:
        raise StoreError(f"cannot write the working copy {path}: {exc.strerror}", _HINT) from exc
