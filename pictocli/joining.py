"""`picto merge`: opens two libraries, has the one take over the other, and measures anew what was measured of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace

import apsw

from pictocli import databases
from pictocli.brain import put_labels, taxonomy_of
from pictocli.checking import check
from pictocli.databases import exists, identity, is_file, shown, translated
from pictocli.display import printable
from pictocli.errors import NotFoundError, StoreError, ValidationError
from pictocli.merging import Merging
from pictocli.migrations import MIGRATIONS
from pictocli.opening import claimed_library
from pictocli.protocols import Database, Progress
from pictocli.recall import check_when_due
from pictocli.reports import MergeReport
from pictocli.schema import connect

__all__ = ["merge", "other_library"]


def merge(path: str, other: str, progress: Progress, *, dry_run: bool) -> MergeReport:
    """Take all of the library `other` into that at `path`; see `Library.merge`."""
    started = time.perf_counter()
    if not exists(other):
        raise NotFoundError(f"there is no database at {shown(other)}")
    if identity(path) == identity(other):
        raise ValidationError(f"{shown(other)} is this library itself", "--db names the library that takes it over")
    with translated(path):
        databases.connect(path, readonly=dry_run).close()  # what is wrong with it is told before the other is read
        beside = os.path.dirname(os.path.realpath(path)) if is_file(path) else None
        if dry_run:
            with other_library(other, beside, progress) as theirs:
                db = databases.connect(path, readonly=True)
                merging = Merging(db, theirs)
                merging.require_same_model(shown(other))
                report = merging.take_over(shown(other), progress, dry_run=True)
                db.close()
        else:
            with claimed_library(path) as db, other_library(other, beside, progress) as theirs:
                merging = Merging(db, theirs)
                merging.require_same_model(shown(other))
                report = merging.take_over(shown(other), progress, dry_run=False)
                put_labels(merging, taxonomy_of(merging))
                merging.build_codes()
                merging.measure_pairs()
                check_when_due(db, progress)
                db.tidy()
    return replace(report, seconds=time.perf_counter() - started)


@contextlib.contextmanager
def other_library(
    path: str, beside: str | None, progress: Progress, undone: str = "nothing was merged"
) -> Iterator[Database]:
    """The library at `path`, read and found sound; of a file of an older version a copy, which is brought up
    to date.

    beside: the folder where such a copy lies for the time being. undone: what to say when it is damaged. Raises
    NotFoundError, StoreError, DamagedError.
    """
    with contextlib.ExitStack() as stack:
        with translated(path):  # what happens later happens to the library that takes it over
            copy = path
            if is_file(path) and 0 < _version(path) < len(MIGRATIONS):
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=".merging-", dir=beside))
                copy = os.path.join(folder, "other.db")
                _copy(path, copy)
                connect(copy).close()
            db = databases.connect(copy, readonly=True)
            stack.callback(db.close)
            _leave_log(db, copy)
            db.execute("BEGIN")  # one state of it, whatever its owner writes meanwhile
            wrong = [damage for damage in check(db, progress) if not damage.derived]
        if wrong:
            example = f", such as {wrong[0].example}" if wrong[0].example else ""
            told = printable(f"{shown(path)} is damaged: {wrong[0].count:,} {wrong[0].what}{example}")
            mends = f"picto repair --db {path} mends what can be mended; " if is_file(path) else ""
            raise StoreError(told, mends + undone)
        yield db


def _leave_log(db: Database | apsw.Connection, path: str) -> None:
    """Keep a log that its owner has not folded in from being so by us, who only read."""
    if isinstance(db, apsw.Connection) and os.path.exists(f"{path}-wal") and os.path.getsize(f"{path}-wal"):
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def _version(path: str) -> int:
    """The schema version of a database, with what its log holds; 0 for what is none: `connect` says why."""
    try:
        db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
        _leave_log(db, path)
        try:
            return int(db.pragma("user_version"))
        finally:
            db.close()
    except (apsw.NotADBError, apsw.CantOpenError, apsw.ReadOnlyError):
        return 0


def _copy(path: str, copy: str) -> None:
    os.close(os.open(copy, os.O_CREAT | os.O_WRONLY, 0o600))
    source, target = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE), apsw.Connection(copy)
    _leave_log(source, path)
    with contextlib.closing(source), contextlib.closing(target), target.backup("main", source, "main") as backup:
        while not backup.done:
            backup.step(1000)
