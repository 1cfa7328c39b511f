"""One connection to a library in PostgreSQL, which takes SQLite's SQL."""

from __future__ import annotations

import contextlib
import itertools
import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import errors
from psycopg.pq import ExecStatus, Format
from psycopg.raw_cursor import RawCursor

from pictocli.protocols import Neighbours
from pictocli.scale.postgres.many import together
from pictocli.scale.postgres.session import Rows, Session, quoted
from pictocli.scale.postgres.sql import Statement, index_name, translated
from pictocli.scale.postgres.tables import COLUMNS, TRIGGERS
from pictocli.scale.postgres.values import DYNAMIC, TEXT, bound, packed
from pictocli.stored import require

__all__ = ["PostgresConnection"]

_CHUNK = 1000  # rows that are held at a time of a query that may give millions
_BATCH = 1000  # statements that are sent before an answer is waited for
_PLAIN = re.compile(r"INSERT INTO (\w+(?: \( [\w ,]+ \))?) VALUES \( \$\d+(?: , \$\d+)* \)(?: RETURNING id)?")
_CHANGES = ("INSERT", "UPDATE", "DELETE")
_MUCH = frozenset(("v", "jpeg", "metadata", "measures", "objects"))  # columns of which no million rows are held

Bindings = Sequence[Any] | Mapping[str, Any] | None
_TRANSACTIONS = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")


class PostgresConnection(Session):
    """A `protocols.Database` in one schema of a PostgreSQL database."""

    neighbours: Neighbours | None = None
    filename = ""

    def __init__(
        self, opened: Callable[[], psycopg.Connection[Any]], schema: str, *, held: Callable[[], None] | None
    ) -> None:
        super().__init__(opened, schema, held=held)
        self._statements: dict[str, list[Statement]] = {}
        self._kinds: dict[tuple[int, str], list[int]] = {}
        self._last = 0

    # -- statements -------------------------------------------------------------------------------------------------

    def execute(self, statements: str, bindings: Bindings = None) -> Rows:
        """Run SQLite's SQL: one statement, or several that take no values."""
        rows = Rows()
        for statement in self._translated(statements):
            rows = self._run(statement, bindings or ())
        return rows

    def executemany(self, statements: str, sequenceofbindings: Iterable[Sequence[Any]]) -> Rows:
        """Run a statement once for each, and return all rows that it gave.

        Rows that are only put into a table go there as a stream (COPY), those that replace others many at a time.
        """
        (statement,) = self._translated(statements)
        given = iter(sequenceofbindings)
        first = next(given, None)
        if first is None:
            return Rows()
        rows = ([each[key] for key in statement.takes] for each in itertools.chain([first], given))  # type: ignore[index]
        if not statement.writes:
            asked = list(rows)
            return self._again(lambda: Rows(self._each(statement.sql, asked, self._kinds_of(statement))))
        with self._writing():
            kinds = self._kinds_of(statement)
            sql = statement.sql.removesuffix(" RETURNING id") if statement.returns_id else statement.sql
            plain, many = _PLAIN.fullmatch(statement.sql), together(sql, rows)
            if plain:
                into = plain[1] if "(" in plain[1] else f"{plain[1]}({', '.join(COLUMNS[statement.table])})"
                return self._copy(into, rows, kinds)
            if many is None:
                return Rows(self._each(sql, rows, kinds))
            found = list[Any]()
            for text, part in many:
                found += self._each(text, [[value for row in part for value in row]], kinds * len(part))
            return Rows(found)

    def translation(self, statement: str, bindings: Bindings = None) -> tuple[str, list[Any]]:
        """A statement of SQLite's SQL and its values, as `native` takes them."""
        (one,) = self._translated(statement)
        text, values = one.sql.replace("%", "%%"), self._values(one, bindings or ())
        order = list[Any]()
        parts = text.split(" ")
        for at, part in enumerate(parts):
            if part[0] == "$":
                number, mark, cast = part[1:].partition("::")
                order.append(values[int(number) - 1])
                parts[at] = f"%s{mark}{cast}"
        return " ".join(parts), order

    def changes(self) -> int:
        """Rows that the last INSERT, UPDATE or DELETE changed, without those of triggers."""
        self._settle()
        return self._changes

    def total_changes(self) -> int:
        """Rows that have been changed since the connection was opened, without those of triggers."""
        self._settle()
        return self._total

    def last_insert_rowid(self) -> int:
        """The id of the last row that was inserted."""
        return self._last

    @property
    def engine(self) -> str:
        """The program that keeps the library, and its version."""
        version = self.native("SELECT current_setting('server_version'), extversion FROM pg_extension"
                              " WHERE extname = 'vector'")  # fmt: skip
        return "PostgreSQL {}, pgvector {}".format(*version[0])

    # -- the library ------------------------------------------------------------------------------------------------

    def version(self) -> int:
        """A number that is another one once another connection has changed the database, and on another connection."""
        changes = self.native(f"SELECT changes FROM {quoted(self.schema)}.library")[0][0]
        return int(changes) << 20 | self.number

    def has_index(self, name: str) -> bool:
        """Whether there is an index of this name on the images."""
        return index_name(name) in self.indexes()

    def indexes(self) -> list[str]:
        """The names of all indexes on the images."""
        asked = "SELECT indexname FROM pg_indexes WHERE schemaname = %s AND tablename = 'image'"
        return [str(name) for (name,) in self.native(asked, (self.schema,))]

    def thumbnail_head(self, content_id: int, size: int) -> bytes:
        """The first bytes of a stored thumbnail. Raises DamagedError when there is none."""
        found = self.native("SELECT substr(jpeg, 1, %s) FROM thumbnail WHERE content_id = %s", (size, content_id))
        require(bool(found), f"the thumbnail of content {content_id} is missing")
        return bytes(found[0][0])

    @contextlib.contextmanager
    def without_triggers(self, names: Sequence[str]) -> Iterator[None]:
        """Put some triggers aside for a block, within the caller's transaction: what they keep in step, it does."""
        aside = [(table, name) for table, held in TRIGGERS.items() for name in held if name in names]
        for table, name in aside:
            self.native(f"ALTER TABLE {quoted(self.schema)}.{table} DISABLE TRIGGER {name}")
        yield
        for table, name in aside:
            self.native(f"ALTER TABLE {quoted(self.schema)}.{table} ENABLE TRIGGER {name}")

    def tidy(self) -> None:
        """Let the server count what is in the tables where much was written, and close."""
        if self._total > _CHUNK and not self._native.closed:
            self.native("ANALYZE " + ", ".join(f"{quoted(self.schema)}.{table}" for table in COLUMNS))
        self.close()

    # -- below ------------------------------------------------------------------------------------------------------

    def _translated(self, sql: str) -> list[Statement]:
        found = self._statements.get(sql)
        if found is None:
            found = self._statements[sql] = translated(sql, self.schema)
        return found

    def _run(self, statement: Statement, bindings: Sequence[Any] | Mapping[str, Any]) -> Rows:
        if statement.verb in _TRANSACTIONS:
            self.transact(statement.verb, statement.sql)
            return Rows()
        if statement.verb == "PRAGMA":
            return Rows()
        if not statement.writes:
            return self._again(lambda: self._ask(statement, bindings))
        with self._writing():
            return self._ask(statement, bindings)

    def _ask(self, statement: Statement, bindings: Sequence[Any] | Mapping[str, Any]) -> Rows:
        values = self._values(statement, bindings)
        words = statement.sql.split(" ")
        if self._locked and statement.writes and statement.verb in _CHANGES and "RETURNING" not in words:
            self._put_off(statement.sql, values)
            return Rows()
        self._settle()
        if statement.verb in ("SELECT", "WITH") and not _MUCH.isdisjoint(words) and "LIMIT" not in words:
            stream = RawCursor(self._native).stream(statement.sql, values, binary=True, size=_CHUNK)
            first = list(itertools.islice(stream, _CHUNK))
            if len(first) < _CHUNK:
                return Rows(first)
            rows = Rows(itertools.chain(first, stream))
            self._stream = (weakref.ref(rows), stream)
            return rows
        with RawCursor(self._native) as cursor:
            cursor.execute(statement.sql, values, binary=True, prepare=False)
            found = cursor.fetchall() if cursor.description else []
            if statement.verb in _CHANGES:
                self._changed(cursor.rowcount)
        if statement.returns_id and found:
            self._last = found[-1][0]
        return Rows(() if statement.returns_id else found)

    def _copy(self, into: str, rows: Iterable[Sequence[Any]], kinds: Sequence[int]) -> Rows:
        self._settle()
        with RawCursor(self._native) as cursor:
            with cursor.copy(f"COPY {into} FROM STDIN (FORMAT BINARY)".encode()) as copy:
                for row in rows:
                    copy.write_row([packed(value, kind) for value, kind in zip(row, kinds, strict=True)])
            self._changed(cursor.rowcount)
        return Rows()

    def _each(self, sql: str, rows: Iterable[Sequence[Any]], kinds: Sequence[int]) -> list[Any]:
        """Run a statement once for each of these rows, and return the rows that it gave."""
        self._settle()
        found, done = list[Any](), 0
        changes = sql.startswith(_CHANGES)
        returning = not changes or " RETURNING " in sql
        made = ([bound(value, kind) for value, kind in zip(row, kinds, strict=True)] for row in rows)
        while batch := list(itertools.islice(made, _BATCH)):
            with RawCursor(self._native) as cursor:
                cursor.format = Format.BINARY
                if len(batch) == 1:
                    cursor.execute(sql, batch[0], prepare=False)
                else:
                    if returning:  # libpq 18 takes the mode of a stream into a pipeline that comes next
                        self._native.pgconn.exec_(b"")
                    cursor.executemany(sql, batch, returning=returning)
                done += cursor.rowcount
                for result in cursor.results() if returning else ():
                    found += result.fetchall()
        if changes:
            self._changed(done)
        return found

    def _values(self, statement: Statement, bindings: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
        taken = [bindings[key] for key in statement.takes]  # type: ignore[index]
        return [bound(value, kind) for value, kind in zip(taken, self._kinds_of(statement), strict=True)]

    def _kinds_of(self, statement: Statement) -> list[int]:
        """The types that the server expects a statement's values to be of, by their numbers."""
        key = self.number, statement.sql
        found = self._kinds.get(key)
        if found is None:
            found = self._kinds[key] = self._described(statement) if statement.takes else []
        return found

    def _described(self, statement: Statement) -> list[int]:
        self._settle()
        server = self._native.pgconn
        for answer in (server.prepare(b"", statement.sql.encode()), server.describe_prepared(b"")):
            if answer.status != ExecStatus.COMMAND_OK:
                raise errors.error_from_result(answer)
        found = [answer.param_type(at) for at in range(answer.nparams)]
        return [DYNAMIC if kind == TEXT else kind for kind in found] if statement.table == "meta" else found
