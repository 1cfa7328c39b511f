"""Reads what is left of a database that SQLite can no longer read as a whole, into a new file beside it."""

from __future__ import annotations

import contextlib
import heapq
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from pictocli.errors import StoreError
from pictocli.protocols import Progress
from pictocli.schema import connect, transaction, translated

__all__ = ["finish_swap", "opened", "salvage", "swap"]

TABLES = (
    "meta", "vector", "text_embedding", "dataset", "root", "folder", "file", "content", "embedding", "staged",
    "thumbnail", "capture", "input", "fingerprint", "validator", "page_range", "image", "tag",
)  # fmt: skip
"""What is read; code, image_tag and tag_alias are made anew from these."""

_FAILURES = 200_000  # reads of one table that may fail: 4 s. A page that is gone costs twice the rows that it held
_LONGEST = 2**40  # bytes that a file is made longer by; they take no room
_ENDS = ("", "-wal")  # of what makes a database; -shm is made anew


@contextlib.contextmanager
def opened(path: str) -> Iterator[apsw.Connection]:
    """A damaged database, for nobody else to open meanwhile; its files stay as they are, the log beside it too.

    Raises StoreError when another program has it open, or it is no SQLite file any more.
    """
    with translated(path), _lengthened(path) as whole:
        db = apsw.Connection(whole, flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            # writable_schema: tables that can be understood are there, though others cannot
            db.execute("PRAGMA locking_mode=EXCLUSIVE; PRAGMA trusted_schema=OFF; PRAGMA writable_schema=ON")
            with contextlib.suppress(apsw.CorruptError):
                db.execute("BEGIN EXCLUSIVE")
            yield db
        finally:
            db.close()


@contextlib.contextmanager
def _lengthened(path: str) -> Iterator[str]:
    """The file at `path`; of one that was cut short a copy with empty pages at its end, else SQLite reads none.

    The header says how many pages there should be (https://sqlite.org/fileformat.html, 1.3).
    """
    with open(path, "rb") as file:
        head = file.read(100)
    size, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
    missing = (65_536 if size == 1 else size) * pages - os.path.getsize(path)
    if not head.startswith(b"SQLite format 3\0") or not 0 < missing <= _LONGEST:
        yield path
        return
    copy = f"{path}.lengthened"
    try:
        for end in _ENDS:
            if os.path.exists(path + end):
                shutil.copyfile(path + end, copy + end)
                os.chmod(copy + end, 0o600)
        os.truncate(copy, os.path.getsize(copy) + missing)
        yield copy
    finally:
        for end in (*_ENDS, "-shm"):
            Path(copy + end).unlink(missing_ok=True)


def salvage(db: apsw.Connection, path: str, part: str, progress: Progress) -> dict[str, int]:
    """Copy every row that can be read into a new database `part`. Returns table → rows.

    db: the database at `path`, as `opened` gives it. Raises StoreError when nothing can be read.
    """
    for end in (*_ENDS, "-shm"):
        Path(part + end).unlink(missing_ok=True)
    found = _tables(db, path)
    new = connect(part, create=True, page_size=int(db.pragma("page_size") or 16384))
    saved = {}
    try:
        new.execute("PRAGMA foreign_keys=OFF")
        with transaction(new):
            for (name,) in new.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
                new.execute(f"DROP TRIGGER {name}")
            for table in TABLES:
                progress.doing(f"reading {table}")
                saved[table] = _copy(db, new, table) if table in found else 0
    finally:
        new.close()
        progress.doing("")
    if not any(saved.values()):
        raise _hopeless(path, "it holds no row that can be read")
    return saved


def _hopeless(path: str, why: str) -> StoreError:
    hint = "restore it from a backup, or index again into a new file with --db"
    return StoreError(f"nothing of {path} can be saved: {why}", hint)


def _tables(db: apsw.Connection, path: str) -> set[str]:
    try:
        found = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    except (apsw.Error, UnicodeDecodeError) as exc:
        raise _hopeless(path, str(exc)) from exc
    if not found & {"image", "file", "content"}:
        raise _hopeless(path, "it has none of picto's tables")
    return found


def _copy(old: apsw.Connection, new: apsw.Connection, table: str) -> int:
    columns = [row[1] for row in new.execute(f"PRAGMA table_info({table})")]
    marks = ", ".join("?" * len(columns))
    before = new.total_changes()
    rows = _by_key(old, columns) if table == "meta" else _by_rowid(old, table, columns)
    new.executemany(f"INSERT OR IGNORE INTO {table} VALUES({marks})", rows)
    return new.total_changes() - before


def _read(columns: list[str]) -> str:
    """What to select for these columns: each value, text as its bytes, and whether it is text."""
    return ", ".join(f"iif(typeof({c}) = 'text', CAST({c} AS BLOB), {c}), typeof({c}) = 'text'" for c in columns)


def _values(row: tuple[Any, ...]) -> list[Any]:
    """The values of a row; text that is no UTF-8 as bytes."""
    found = []
    for value, text in zip(row[::2], row[1::2], strict=True):
        with contextlib.suppress(UnicodeDecodeError):
            value = value.decode() if text else value
        found.append(value)
    return found


def _by_key(db: apsw.Connection, columns: list[str]) -> Iterator[list[Any]]:
    """Rows of `meta` from both ends, as far as they can be read."""
    for order in ("", " DESC"):
        with contextlib.suppress(apsw.Error):
            for row in db.execute(f"SELECT {_read(columns)} FROM meta ORDER BY key{order}"):
                yield _values(row)


def _by_rowid(db: apsw.Connection, table: str, columns: list[str]) -> Iterator[list[Any]]:
    """Rows from both ends, as far as they can be read, then from both ends of each half of what lies between.

    The widest gap is looked at first: where a page above many others is gone, every look into it fails.
    """
    gaps, failures = [(-(2**64), -(2**63), 2**63 - 1)], 0
    while gaps and failures < _FAILURES:
        _, low, high = heapq.heappop(gaps)
        for backward in (False, True):
            whole = True
            for row in _between(db, table, columns, low, high, backward):
                if row is None:
                    whole = False
                    failures += 1
                    break
                low, high = (low, row[0]) if backward else (row[0], high)
                yield _values(row[1:])
            if whole:
                break
        else:
            middle = (low + high) // 2
            for start, end in ((low, middle + 1), (middle, high)):
                if high - low > 2 and end - start > 1:
                    heapq.heappush(gaps, (start - end, start, end))


def _between(
    db: apsw.Connection, table: str, columns: list[str], low: int, high: int, backward: bool
) -> Iterator[tuple[Any, ...] | None]:
    """(rowid, *_read) of the rows between two rowids, in their order or backward; None where reading fails."""
    order, last = (" DESC", high) if backward else ("", low)
    sql = f"SELECT rowid, {_read(columns)} FROM {table} NOT INDEXED WHERE rowid > ? AND rowid < ? ORDER BY rowid{order}"
    try:
        for row in db.execute(sql, (low, high)):
            if not (low < row[0] < high) or (row[0] >= last if backward else row[0] <= last):
                yield None  # pages that lead back to earlier ones
                return
            last = row[0]
            yield row
    except apsw.Error:
        yield None


def swap(path: str, part: str) -> str:
    """Put the database `part` in the place of the damaged one, which is kept; returns where.

    Stopped at any moment, both are there; `finish_swap` then does what is left to do.
    """
    kept, number = f"{path}.damaged", 1
    while os.path.lexists(kept):
        number += 1
        kept = f"{path}.damaged-{number}"
    for end in reversed(_ENDS):
        if os.path.exists(path + end) and os.path.getsize(path + end):
            _link(path + end, kept + end)
    os.replace(part, _repaired(path))
    finish_swap(path)
    return kept


def finish_swap(path: str) -> bool:
    """Put a repaired database where it belongs, if there is one; whether there was."""
    if not os.path.exists(_repaired(path)):
        return False
    for end in ("-wal", "-shm", "-journal"):  # before the new file is there: a log is replayed into any
        Path(path + end).unlink(missing_ok=True)
    os.replace(_repaired(path), path)
    return True


def _repaired(path: str) -> str:
    return f"{path}.repaired"


def _link(path: str, kept: str) -> None:
    """The same file under another name; where the file system has no links, a copy."""
    try:
        os.link(path, kept)
    except OSError:
        shutil.copy2(path, kept)
    os.chmod(kept, 0o600)
