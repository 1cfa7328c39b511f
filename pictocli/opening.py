"""How a change of a library begins and ends: which model it holds, its claim, its log folded in. Imports no numpy."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import apsw

from pictocli.claims import claimed
from pictocli.records import ModelSpec
from pictocli.schema import connect
from pictocli.sqlite import SqliteStore

__all__ = ["claimed_library", "held_model", "tidy"]


def held_model(path: str) -> ModelSpec | None:
    """The model of the database at `path`, None when there is none yet."""
    if not os.path.exists(path) or (os.path.isfile(path) and os.path.getsize(path) == 0):
        return None
    db = connect(path)
    try:
        return SqliteStore(db).spec()
    finally:
        db.close()


@contextlib.contextmanager
def claimed_library(path: str) -> Iterator[apsw.Connection]:
    """The database at `path`, which no other process changes meanwhile."""
    db = connect(path)
    try:
        with claimed(path):
            yield db
    finally:
        db.close()


def tidy(db: apsw.Connection) -> None:
    """Fold the write-ahead log into the file, so that one file is all there is; readers may hold it open a while."""
    db.execute("PRAGMA optimize")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    db.close()
