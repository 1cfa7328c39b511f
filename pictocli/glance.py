"""A look at SQLite, sqlite-vec and one file, which changes nothing and waits for nobody."""

from __future__ import annotations

import os
from dataclasses import dataclass

import apsw

from pictocli.connection import Connection
from pictocli.errors import StoreError
from pictocli.migrations import APPLICATION_ID, MIGRATIONS
from pictocli.protocols import Database
from pictocli.schema import connect, memory, translated

__all__ = ["Header", "engine", "is_sound", "look", "read_header"]

_MAGIC = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Header:
    """What a SQLite file says of itself in its first 100 bytes (https://sqlite.org/fileformat2.html, 1.3).

    ours: picto made it. version: that of its tables; `current` is what this picto makes.
    """

    ours: bool
    version: int

    @property
    def current(self) -> bool:
        """Whether it can be read as it is."""
        return self.ours and self.version == len(MIGRATIONS)

    @property
    def older(self) -> bool:
        """Whether the next command brings it up to date."""
        return self.ours and 0 < self.version < len(MIGRATIONS)


def read_header(path: str) -> Header | None:
    """The header of the file at `path`; None when it is no SQLite file, or has none yet. Raises OSError."""
    with open(path, "rb") as file:
        head = file.read(100)
    if len(head) < 100 or not head.startswith(_MAGIC):
        return None
    return Header(int.from_bytes(head[68:72], "big") == APPLICATION_ID, int.from_bytes(head[60:64], "big"))


def look(path: str) -> Connection | None:
    """Open a database that this picto can read as it is, only to read from it; None for any other.

    Nothing is made, migrated or waited for. Raises StoreError, OSError.
    """
    if not os.path.isfile(path):
        return None
    header = read_header(path)
    if header is None or not header.current:
        return None
    db = connect(path, readonly=True, trusting=True)
    db.set_busy_timeout(0)
    return db


def engine() -> tuple[str, str]:
    """The versions of SQLite and of sqlite-vec. Raises StoreError when its library cannot be loaded."""
    with translated("SQLite in memory"):
        try:
            db = memory()
        except apsw.ExtensionLoadingError as exc:
            raise StoreError(f"sqlite-vec cannot be loaded: {exc}", "pip install --force-reinstall sqlite-vec") from exc
        try:
            return apsw.sqlite_lib_version(), str(db.execute("SELECT vec_version()").get)
        finally:
            db.close()


def is_sound(db: Database) -> bool:
    """Whether SQLite finds the file's structure whole; it reads all of it, 1 GB in some seconds."""
    return bool(db.execute("PRAGMA quick_check(1)").get == "ok")
