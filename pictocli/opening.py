"""How a change of a library begins and ends: which model it holds, and its claim. Imports no numpy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pictocli.databases import claimed, connect, exists
from pictocli.protocols import Database
from pictocli.records import ModelSpec
from pictocli.sqlite import SqliteStore

__all__ = ["claimed_library", "held_model"]


def held_model(path: str) -> ModelSpec | None:
    """The model of the database at `path`, None when there is none yet."""
    if not exists(path):
        return None
    db = connect(path)
    try:
        return SqliteStore(db).spec()
    finally:
        db.close()


@contextlib.contextmanager
def claimed_library(path: str) -> Iterator[Database]:
    """The database at `path`, which no other process changes meanwhile."""
    db = connect(path)
    try:
        with claimed(path):
            yield db
    finally:
        db.close()
