"""A connection to a library of Lance tables: SQL on the working copy, and commits that all others see.

`BEGIN` brings the copy up to date, `BEGIN IMMEDIATE` takes the lease first, and `COMMIT` writes what has changed to
Lance's tables and names their versions in the head; the copy follows last. Until then nobody else sees anything.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import apsw

from pictocli.connection import Connection, prepare
from pictocli.errors import StoreError, TakenError
from pictocli.scale.lance.blobs import Blobs
from pictocli.scale.lance.changes import begun, changes_in
from pictocli.scale.lance.copy import Copy, keep_state, reaches, state_in
from pictocli.scale.lance.head import Cell, Lease, State
from pictocli.scale.lance.nearest import Points
from pictocli.scale.lance.place import Place, lance
from pictocli.scale.lance.statements import VIEWS, giving, statement
from pictocli.scale.lance.store import Store
from pictocli.scale.lance.tables import digest_of

__all__ = ["LanceConnection"]

_WAIT = 60_000  # ms that another process is waited for which brings the copy up to date
_TRIES = 2  # times that a copy is opened which others make anew
_LOOK = 0.5  # s for which a copy counts as up to date, outside a transaction


class LanceConnection(Connection):
    """A `protocols.Database` over Lance tables."""

    def __init__(self, place: Place, head: Cell, *, readonly: bool) -> None:
        self.place, self.head, self._readonly = place, head, readonly
        self._store = Store(place)
        self._copy = Copy(place, self._store)
        self._looked, self._seen = time.monotonic(), -1
        self._lease, self._blobs = Lease(head), Blobs(place, self._seen_at)
        state = self._copy.follow(self._head_now)
        super().__init__(self._copy.path)
        self._settle(state)
        self._state: State = {}
        self._session: apsw.Session | None = None
        self._published: dict[str, int] = {}
        functions: dict[str, Any] = {"lance_bytes": self._blobs.read, "lance_digest": digest_of}
        for name, function in functions.items():
            self.create_scalar_function(name, function)
        for name, shown in VIEWS.items():
            self._run(f"CREATE TEMP VIEW {name} AS {shown}")
        if readonly:
            self._run("PRAGMA query_only=ON")
        self.neighbours = Points(self)

    def _settle(self, state: State) -> None:
        """Be sure to have opened the file that was brought to a head's state. Raises TakenError when it is another.

        Another process may have found the copy spoiled between the two, and made it anew.
        """
        prepare(self)
        self.set_busy_timeout(_WAIT)
        for _ in range(_TRIES):
            if reaches(state_in(self), state):
                return
            self._copy.close()
            state = self._copy.follow(self._head_now)
        what = f"the working copy {self._copy.path} is being made anew by another process"
        raise TakenError(what, "run the same command again")

    # -- what a Database can be asked -------------------------------------------------------------------------------

    @property
    def filename(self) -> str:  # type: ignore[override]  # apsw's is an attribute in its stubs
        """Of no file: the working copy is not the library."""
        return ""

    @property
    def engine(self) -> str:
        """What the library runs on, for a person."""
        return f"Lance {lance.__version__}"

    @property
    def writable(self) -> bool:
        """Whether it was opened to write."""
        return not self._readonly

    def version(self) -> int:
        """The number of the last commit."""
        self._follow()
        return int(state_in(self)["commit"])

    def execute(self, statements: str, bindings: Any = None, **options: Any) -> Any:
        """Run a statement, on the working copy as far as it asks."""
        found = statement(statements)
        if found.kind == "WRITE":
            return self._in_transaction(
                lambda: self._run(found.text, found.put(bindings, self._blobs.write), **options)
            )
        act: Callable[[], None] | None = {
            "BEGIN": self._begin, "BEGIN IMMEDIATE": self._begin_writing, "BEGIN EXCLUSIVE": self._begin_writing,
            "COMMIT": self._commit, "END": self._commit, "ROLLBACK": self._undo,
        }.get(found.kind)  # fmt: skip
        if act is not None:
            act()
            return self._run(*giving([]))
        begins = not self.in_transaction
        if begins and found.kind not in ("OWN", "PRAGMA"):
            self._follow(_LOOK)
        if found.asked is not None:
            self._expect(found.asked[0], found.asked[1], found.ids(bindings))
        done = self._run(found.text, bindings, **options)
        if begins and found.kind == "SAVEPOINT":
            self._state = state_in(self)
        return done

    def executemany(self, statements: str, sequenceofbindings: Iterable[Any], **options: Any) -> Any:
        """Run a statement once for each."""
        found = statement(statements)
        rows = (found.put(each, self._blobs.write) for each in sequenceofbindings)
        if found.kind != "WRITE":
            self._follow(_LOOK)
            return self._run_many(found.text, rows, **options)
        return self._in_transaction(lambda: self._run_many(found.text, rows, **options))

    def thumbnail_head(self, content_id: int, size: int) -> bytes:
        """The first bytes of a stored thumbnail."""
        found = self._run("SELECT jpeg FROM temp.thumbnail WHERE content_id = ?", (content_id,)).get
        if found is None:
            raise apsw.SQLError(f"no such thumbnail: {content_id}")
        return bytes(found[:size])

    def tidy(self) -> None:
        """Close: whatever was written is where it belongs."""
        self._run("PRAGMA optimize")
        self.close()

    def close(self, force: bool = False) -> None:
        """Close the connection, and undo what is not committed."""
        with contextlib.suppress(apsw.ConnectionClosedError):  # closing twice is nobody's fault
            if self.in_transaction:
                self._undo()
        self._copy.close()
        super().close(force)

    # -- Lance's tables ---------------------------------------------------------------------------------------------

    def dataset(self, name: str) -> Any:
        """The lance.LanceDataset of a table, as this connection sees it; None where there is none yet.

        Within a transaction that writes it may be written on, and `publish` makes that a part of the transaction.
        """
        if not self._lease.held:
            return self._seen_at(name)
        version = self._versions().get(name)
        return None if version is None else self._store.writable(name, version)

    def tables(self) -> list[str]:
        """The names of all tables that hold something."""
        return sorted(self._versions())

    def publish(self, name: str, dataset: Any) -> None:
        """Have the commit of this transaction name a version of a table which has the same rows."""
        if not self._lease.held:
            raise AssertionError("a table is published within a transaction that writes")
        self._published[name] = int(dataset.version)

    # -- transactions -----------------------------------------------------------------------------------------------

    def _versions(self) -> dict[str, int]:
        """The versions of all tables, as this connection sees them."""
        state = self._state if self.in_transaction else state_in(self)
        return {**state["tables"], **self._published}

    def _seen_at(self, name: str) -> Any:
        version = self._versions().get(name)
        return None if version is None else self._store.at(name, version)

    def _begin(self) -> None:
        self._follow()
        self._run("BEGIN")
        self._state = state_in(self)

    def _begin_writing(self) -> None:
        if self._readonly:
            raise apsw.ReadOnlyError("the library was opened to be read")
        if self.in_transaction:
            raise apsw.SQLError("cannot start a transaction within a transaction")
        head = self._lease.take()
        try:
            self._copy.follow(lambda: head)
            self._run("BEGIN IMMEDIATE")
            self._state = state_in(self)
            self._session = begun(self)
        except BaseException:
            self._undo()
            raise

    def _commit(self) -> None:
        if not self._lease.held:
            self._run("COMMIT")
            return
        try:
            assert self._session is not None
            changes = changes_in(self, self._session)
            if not changes and not self._published:
                self._run("COMMIT")
                self._over()
                return
            commit, tables = self._state["commit"] + 1, {**self._state["tables"], **self._published}
            versions = self._store.write(tables, changes, commit, self._blobs.read)
            head = self._lease.publish({"commit": commit, "tables": versions})
        except BaseException:
            self._undo()
            raise
        try:
            keep_state(self, head, self._store)
            self._run("COMMIT")
        except BaseException as exc:  # it is stored: the copy follows at the next look
            if self.in_transaction:
                self._run("ROLLBACK")
            self._looked, self._seen = 0.0, -1
            if not isinstance(exc, apsw.Error | StoreError):
                raise
        finally:
            self._over()

    def _undo(self) -> None:
        if self.in_transaction:
            self._run("ROLLBACK")
        self._over()

    def _over(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
        self._published.clear()
        self._blobs.forget()
        self._lease.release()

    def _in_transaction(self, run: Callable[[], Any]) -> Any:
        """Run a statement that writes, in a transaction of its own where there is none."""
        if self._lease.held:
            return run()
        if self.in_transaction:
            raise StoreError(f"{self.place.name} is only read here", "this is picto's fault")
        self._begin_writing()
        try:
            rows = run().fetchall()  # of RETURNING
        except BaseException:
            self._undo()
            raise
        self._commit()
        return self._run(*giving(rows))

    # -- statements -------------------------------------------------------------------------------------------------

    def _run(self, text: str, bindings: Sequence[Any] | Mapping[str, Any] | None = None, **options: Any) -> Any:
        try:
            return super().execute(text, bindings, **options)
        except apsw.Error:
            self._undone()
            raise

    def _run_many(self, text: str, rows: Iterable[Any], **options: Any) -> Any:
        try:
            return super().executemany(text, rows, **options)
        except apsw.Error:
            self._undone()
            raise

    def _undone(self) -> None:
        """Give the lease back where SQLite has undone the transaction by itself, as it does when the disk is full."""
        if self._lease.held and not self.in_transaction:
            self._over()

    def _expect(self, name: str, column: str, ids: Sequence[int]) -> None:
        """Read what a question is going to ask for at once, and not one by one."""
        if column == "i.id" and ids:
            asked = "SELECT DISTINCT content_id FROM main.image WHERE id IN (SELECT value FROM json_each(?))"
            ids = [content_id for (content_id,) in self._run(asked, (str(list(ids)),))]
        if ids:
            self._blobs.expect(name, ids)

    def _follow(self, within: float = 0.0) -> None:
        """Bring the copy up to date, unless it was so a moment ago or nothing has happened since."""
        if self.in_transaction or time.monotonic() - self._looked < within:
            return
        version = self.head.version()
        if version != self._seen:
            self._copy.follow(self._head_now)
            self._seen = version
        self._looked = time.monotonic()

    def _head_now(self) -> State:
        return self.head.read()[1]
