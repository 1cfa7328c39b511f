"""One open database, and the questions that are asked of it, each of which sees one state."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

from pictocli.databases import connect, full, identity, translated
from pictocli.holding import Holding
from pictocli.protocols import Database
from pictocli.queries import Queries

__all__ = ["Questions", "question"]

_FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
Q = TypeVar("Q", bound="Questions")
P = ParamSpec("P")
R = TypeVar("R")


def question(method: Callable[Concatenate[Q, P], R]) -> Callable[Concatenate[Q, P], R]:
    """A method that sees one state of the database from its first look to its last.

    Raises StoreError where SQLite fails, and DamagedError where something fails because of what is stored.
    """

    @wraps(method)
    def asked(self: Q, /, *args: P.args, **options: P.kwargs) -> R:
        with translated(self.path):
            self._asked = True
            try:
                return method(self, *args, **options)
            except _FAULTS as exc:
                self._end()
                from pictocli.checking import damage_in  # numpy

                told = damage_in(self.path)
                if told is None:  # the fault is ours
                    raise
                raise told from exc
            finally:
                self._end()

    return asked


class Questions:
    """A database that is opened read-only, at the first question. Use it as a context manager."""

    def __init__(self, path: str) -> None:
        self.path = full(path)
        self._db: Database | None = None
        self._file: object = None
        self._holding, self._asked = Holding(), False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the database. The next question opens it again.

        >>> library.close()
        """
        if self._db is not None:
            self._db.close()
            self._db, self._holding = None, Holding()

    def _queries(self) -> Queries:
        self._reopen()
        if self._db is None:
            self._db = connect(self.path, readonly=True)
        queries = Queries(self._db)
        if self._asked:
            queries.begin()
        return queries

    def _reopen(self) -> None:
        """Close a database whose file has been replaced or removed: SQLite would go on reading the old one.

        Not within a question, which sees one state.
        """
        if self._db is not None and self._db.in_transaction:
            return
        found = identity(self.path)
        if self._db is not None and found != self._file:
            self.close()
        self._file = found

    def _end(self) -> None:
        """Leave the state of the database that the last question has looked at."""
        self._asked = False
        if self._db is not None:
            Queries(self._db).end()
