"""Decides when a process has asked so many questions by code that reading all codes into memory pays."""

from __future__ import annotations

from pictocli.queries import Queries

__all__ = ["Holding"]

FEW = 8  # questions: reading all codes, and importing numpy, costs what these do
MOST = 4_000_000  # images: 450 MB at 768 bits. The codes of a larger library are read by SQL for every question


class Holding:
    """Counts the questions of one connection, and holds its codes after a few."""

    def __init__(self) -> None:
        self._held: Queries | None = None
        self._version = self._asked = 0

    def answering(self, queries: Queries) -> Queries:
        """What answers the next question by code: `queries`, or the same with all codes in memory.

        When another connection has changed the database, what is held is dropped, and questions are counted anew.
        """
        if queries.db.neighbours is not None:
            return queries
        version = queries.version()
        if version != self._version:
            self._held, self._version, self._asked = None, version, 0
        self._asked += 1
        if self._held is None and self._asked > FEW and queries.count(None) <= MOST:
            from pictocli.codes import HeldCodes  # numpy: 60 ms

            self._held = HeldCodes(queries.db)
        return self._held or queries
