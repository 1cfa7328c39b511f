"""The session with a PostgreSQL server below a library's connection: its transactions, and how it is taken up again.

A transaction that writes holds a lock of the whole library, so that there is one writer at a time, as in a file; one
that only reads sees one state. Outside of both every statement is a transaction of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.raw_cursor import RawCursor

__all__ = ["PATIENCE", "Rows", "Session", "quoted", "writers"]

T = TypeVar("T")
_TOGETHER = 100  # changes that are sent before an answer is waited for: 1 MB with their thumbnails
PATIENCE = "5s"  # that a lock is waited for
_numbers = itertools.count(1)


def quoted(name: str) -> str:
    """A name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def writers(schema: str) -> int:
    """The number of the lock that a library's writer holds, for the length of a transaction."""
    return int.from_bytes(sha256(f"picto writes {schema}".encode()).digest()[:8], signed=True)


def _broken(exc: BaseException) -> Iterator[Any]:
    """Rows that can be read no more."""
    raise exc
    yield


class Rows:
    """The rows that a statement gives: those that are still to come are read when they are asked for."""

    def __init__(self, rows: Iterable[Any] = ()) -> None:
        self.rows = iter(rows)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self.rows)

    def fetchone(self) -> Any:
        """The next row, or None."""
        return next(self.rows, None)

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        return list(self.rows)

    @property
    def get(self) -> Any:
        """The first row, or its only value when it has one; None when there is none."""
        row = next(self.rows, None)
        return row[0] if row is not None and len(row) == 1 else row


class Session:
    """One session. opened: makes a connection to the server; again, when a reader lost it between two transactions.

    held: of a writer, raises when its claim was lost; None of a reader. A writer who lost the connection to the server
    lost its claim, too, and ends. number: of the connection, which no other has in this process.
    """

    def __init__(
        self, opened: Callable[[], psycopg.Connection[Any]], schema: str, *, held: Callable[[], None] | None
    ) -> None:
        self.schema, self.writable = schema, held is not None
        self._opened, self._held = opened, held
        self._native, self.number = opened(), next(_numbers)
        self._within = self._locked = self._wrote = False
        self._savepoints: list[tuple[bool, bool]] = []  # whether each of them began the transaction, and had the lock
        self._changes = self._total = 0
        self._waiting: list[tuple[str, list[Any]]] = []  # what is to be written before anything else is asked
        self._stream: tuple[weakref.ref[Rows], Iterator[Any]] | None = None
        self._lock = writers(schema)

    def __del__(self) -> None:
        if hasattr(self, "_native"):
            self._native.close()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is under way."""
        return self._within and not self._native.closed

    def close(self) -> None:
        """Close the connection, and undo what is not committed."""
        stream, self._stream = self._stream, None
        self._waiting.clear()
        self._within = self._locked = self._wrote = False
        self._native.close()
        del stream

    def native(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run a statement of PostgreSQL's SQL, values bound as %s, never prepared; and return its rows, if any."""
        self._settle()

        def ask() -> list[Any]:
            with psycopg.Cursor(self._native) as cursor:
                cursor.execute(statement.encode(), values or None, prepare=False)
                return cursor.fetchall() if cursor.description else []

        return self._again(ask)

    def transact(self, verb: str, statement: str) -> None:
        """Begin or end a transaction, or a part of one."""
        {
            "BEGIN": self._begin, "COMMIT": self._commit, "ROLLBACK": self._rollback, "SAVEPOINT": self._savepoint,
            "RELEASE": self._release,
        }[verb](statement)  # fmt: skip

    def _settle(self) -> None:
        """Read what is left of a query under way, and write what was put off: a server answers one at a time."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            with self._native.pipeline():
                cursors = [RawCursor(self._native).execute(sql, values, binary=True) for sql, values in waiting]
            for cursor in cursors:
                self._changed(cursor.rowcount)
                cursor.close()
        if self._stream is not None:
            (held, stream), self._stream = self._stream, None
            rows = held()
            if rows is not None:
                try:
                    rows.rows = iter(list(rows.rows))
                except BaseException as exc:
                    rows.rows = _broken(exc)
                    raise
            for _ in stream:  # nobody wants them: to cancel the query would undo the transaction
                pass

    def _put_off(self, statement: str, values: list[Any]) -> None:
        """Let a change, of which nobody awaits an answer, wait for others: they go to the server together."""
        self._waiting.append((statement, values))
        if len(self._waiting) >= _TOGETHER:
            self._settle()

    def _changed(self, rows: int) -> None:
        self._changes = rows
        self._total += rows

    def _plain(self, statement: str) -> None:
        self._settle()
        with psycopg.Cursor(self._native) as cursor:
            cursor.execute(statement.encode())

    def _again(self, ask: Callable[[], T]) -> T:
        """Ask the server; once more by a new connection where a reader lost the old one, and nothing was under way."""
        try:
            return ask()
        except psycopg.OperationalError:
            if not self._native.closed:
                raise
            self._stream, lost = None, self._within
            self._waiting.clear()
            self._within = self._locked = self._wrote = False
            if lost or self.writable:
                raise
            self._native, self.number = self._opened(), next(_numbers)
            return ask()

    def _begin(self, statement: str) -> None:
        immediate = "IMMEDIATE" in statement.upper()
        kind = "BEGIN ISOLATION LEVEL READ COMMITTED" if immediate else "BEGIN ISOLATION LEVEL REPEATABLE READ"
        self._again(lambda: self._plain(kind))
        self._within, self._savepoints = True, []
        if immediate:
            try:
                self._take_lock()
            except BaseException:
                self._rollback("ROLLBACK")
                raise

    def _take_lock(self) -> None:
        """Be the only writer until the transaction ends. Raises psycopg's LockNotAvailable when another one is long."""
        if self._held is None:
            raise errors.ReadOnlySqlTransaction("the library was opened to read")
        self._held()
        self._plain(f"SET LOCAL lock_timeout = '{PATIENCE}'")
        self._plain(f"SELECT pg_advisory_xact_lock({self._lock})")
        self._plain("SET LOCAL lock_timeout = 0")
        self._locked = True

    def _commit(self, _: str) -> None:
        try:
            if self._wrote:
                self._plain(f"UPDATE {quoted(self.schema)}.library SET changes = changes + 1")
            self._plain("COMMIT")
        except BaseException:
            self._rollback("ROLLBACK")
            raise
        self._within = self._locked = self._wrote = False

    def _rollback(self, statement: str) -> None:
        self._waiting.clear()
        if "TO" in statement.split():
            self._plain(statement)
            self._locked = self._savepoints[-1][1]  # a lock that was taken since is given back
            return
        self._within = self._locked = self._wrote = False
        if not self._native.closed:
            try:
                self._plain("ROLLBACK")
            except psycopg.Error:  # it was stopped in the middle of something: the server undoes what is not committed
                self._native.close()

    def _savepoint(self, statement: str) -> None:
        alone = not self._within
        if alone:
            self._begin("BEGIN")
        self._savepoints.append((alone, self._locked))
        self._plain(statement)

    def _release(self, statement: str) -> None:
        if self._savepoints.pop()[0]:
            self._commit("COMMIT")
        else:
            self._plain(statement)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction around a statement that writes, unless there is one; the lock of a writer in any case."""
        alone = not self._within
        if alone:
            self._begin("BEGIN IMMEDIATE")
        elif not self._locked:
            self._take_lock()
        self._wrote = True
        try:
            yield
        except BaseException:
            if alone:
                self._rollback("ROLLBACK")
            raise
        if alone:
            self._commit("COMMIT")
