"""One connection to SQLite, as picto has it: sqlite-vec loaded, nothing in the file trusted.

apsw brings its own SQLite, so extensions load on every Python; sqlite-vec's library is loaded by its path, because
importing the package would import numpy (60 ms on every query).
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from pictocli.errors import StoreError
from pictocli.protocols import Neighbours

__all__ = ["PATIENCE", "Connection", "prepare"]

_LIMITS = (
    (apsw.SQLITE_LIMIT_LENGTH, 2**28),  # the ids of 25 million images, as the JSON text in which they are bound
    (apsw.SQLITE_LIMIT_SQL_LENGTH, 100_000),
    (apsw.SQLITE_LIMIT_TRIGGER_DEPTH, 16),  # ours go four deep
    (apsw.SQLITE_LIMIT_ATTACHED, 0),
)
PATIENCE = 5000  # ms that a lock is waited for


class Connection(apsw.Connection):
    """A `protocols.Database` in one file, or in memory."""

    neighbours: Neighbours | None = None  # the nearest are found by 1-bit codes, in SQL

    @property
    def engine(self) -> str:
        """What runs its statements, for a person."""
        return f"SQLite {apsw.sqlite_lib_version()}"

    @property
    def writable(self) -> bool:
        """Whether it may write."""
        return not (self.readonly("main") or self.pragma("query_only"))

    def version(self) -> int:
        """A number that is another one once another connection has changed the database."""
        return int(self.pragma("data_version"))

    def has_index(self, name: str) -> bool:
        """Whether there is an index of this name on the images."""
        return name in self.indexes()

    def indexes(self) -> list[str]:
        """The names of all indexes on the images."""
        rows: Any = self.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'image'")
        return [str(name) for (name,) in rows]

    def thumbnail_head(self, content_id: int, size: int) -> bytes:
        """The first bytes of a stored thumbnail: a query would read all of them."""
        blob = self.blob_open("main", "thumbnail", "jpeg", content_id, False)
        try:
            return bytes(blob.read(min(size, blob.length())))
        finally:
            blob.close()

    @contextlib.contextmanager
    def without_triggers(self, names: Sequence[str]) -> Iterator[None]:
        """Put some triggers aside for a block, within the caller's transaction: what they keep in step, it does."""
        rows: Any = self.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        aside = [(name, statement) for name, statement in rows if name in names]
        for name, _ in aside:
            self.execute(f"DROP TRIGGER {name}")
        yield
        for _, statement in aside:
            self.execute(statement)

    def tidy(self) -> None:
        """Fold the write-ahead log into the file, so that one file is all there is, and close.

        Readers may hold the log open a while.
        """
        self.execute("PRAGMA optimize")
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.close()


def prepare(db: apsw.Connection) -> None:
    """Load sqlite-vec, and trust nothing in the file.

    trusted_schema off: a stranger's view or trigger cannot call what we load. No mmap: a mapped file that another
    program cuts short ends the process.
    """
    db.set_busy_timeout(PATIENCE)
    db.enable_load_extension(True)
    db.load_extension(_vec_library())
    db.enable_load_extension(False)
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    for limit, value in _LIMITS:
        db.limit(limit, value)
    for pragma in (
        "trusted_schema=OFF", "mmap_size=0", "cell_size_check=ON", "foreign_keys=ON", "synchronous=NORMAL",
        "journal_size_limit=67108864",
    ):  # fmt: skip
        db.execute(f"PRAGMA {pragma}")


def _vec_library() -> str:
    """The path of sqlite-vec's library without its suffix, found without importing the package."""
    beside = Path(apsw.__file__).parent.parent / "sqlite_vec"
    if not beside.is_dir():
        spec = importlib.util.find_spec("sqlite_vec")
        if spec is None or spec.origin is None:
            raise StoreError("the package sqlite-vec is missing", "pip install sqlite-vec")
        beside = Path(spec.origin).parent
    return str(beside / "vec0")
