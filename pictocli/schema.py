"""The SQLite file itself: opening it safely, whoever made it, and bringing an older one up to date."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import apsw

from pictocli.connection import PATIENCE, Connection, prepare
from pictocli.errors import DamagedError, StoreError, TakenError
from pictocli.migrations import APPLICATION_ID, MIGRATIONS, alteration
from pictocli.protocols import Database

__all__ = ["connect", "from_db", "kept_copy", "memory", "savepoint", "to_db", "transaction", "translated"]

_LEAST = 512  # bytes, SQLite's smallest page: it takes a file of one byte, all that is left of one, for an empty one


def to_db(name: str) -> str | bytes:
    """A file name as stored: TEXT when it is valid UTF-8, else its raw bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name)
    return name


def from_db(name: str | bytes) -> str:
    """A stored file name as Python and the operating system spell it. DamagedError for what cannot be one."""
    if not isinstance(name, str | bytes):
        raise DamagedError(f"the database is damaged: {name} stands where the name of a file should")
    text = name if isinstance(name, str) else os.fsdecode(name)
    if "\0" in text:
        raise DamagedError(f"the database is damaged: no file can be named {text!r}")
    return text


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn SQLite's errors about the database at `path` into a StoreError that a person can act on."""
    try:
        yield
    except apsw.NotADBError as exc:
        raise StoreError(f"{path} is not a picto database", "name another file with --db") from exc
    except apsw.BusyError as exc:
        raise TakenError(f"{path} is locked by another program", "try again when it has finished") from exc
    except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError) as exc:
        raise StoreError(f"cannot write {path}: {exc}", "check its folder and permissions, or use --db") from exc
    except apsw.IOError as exc:
        raise StoreError(
            f"{path} cannot be read or written: {exc}", "check its disk: it may be full or failing"
        ) from exc
    except apsw.FullError as exc:
        raise StoreError(f"no space left for {path}", "free some space and run the same command again") from exc
    except (apsw.CorruptError, apsw.SQLError, apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError) as exc:
        raise DamagedError(f"{path} is damaged: {exc}") from exc
    except UnicodeDecodeError as exc:
        raise DamagedError(f"{path} is damaged: it holds text that is no UTF-8") from exc
    except apsw.Error as exc:
        raise StoreError(f"{path} cannot be used: {exc}") from exc


@contextlib.contextmanager
def transaction(db: Database) -> Iterator[None]:
    """One write transaction: committed at the end, undone on any exception. Within another it is a part of that one.

    BEGIN IMMEDIATE takes the write lock at once, so a busy database fails before the work and not after it. Raises
    StoreError when the file has been removed: SQLite would go on writing to what nobody can open again.
    """
    if db.in_transaction:
        yield
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        if db.filename and not os.path.exists(db.filename):
            raise StoreError(f"{db.filename} has vanished", "bring its disk or folder back and run the command again")
    except BaseException:
        if db.in_transaction:  # SQLite undoes it by itself when the disk is full
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


@contextlib.contextmanager
def savepoint(db: Database) -> Iterator[None]:
    """A part of a transaction, or a transaction: what it changed is undone on any exception, and it sees one state."""
    db.execute("SAVEPOINT part")
    try:
        yield
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK TO part")
            db.execute("RELEASE part")
        raise
    db.execute("RELEASE part")


def connect(
    path: str, *, create: bool = False, readonly: bool = False, page_size: int = 16384, trusting: bool = False
) -> Connection:
    """Open the database at `path`, making or migrating it where asked to write.

    trusting: take one whose tables are not as picto makes them, to see what is wrong with it. Raises StoreError when
    the file does not exist and `create` is off, is not a picto database, is newer than this program, or cannot be
    opened; DamagedError when it has been changed.
    """
    if os.fsencode(path).decode("utf-8", "replace") != os.fspath(path):
        raise StoreError(f"the name {path} is not UTF-8, as SQLite wants it", "name another file with --db")
    size = _size(path)
    fresh = size == 0
    if fresh and not create:
        what = f"{path} is empty" if os.path.exists(path) else f"there is no database at {path}"
        raise StoreError(what, "picto index FOLDER makes one, --db names another")
    if fresh:
        _touch(path)
    elif size < _LEAST:
        raise StoreError(f"{path} is not a picto database", "name another file with --db")
    with translated(path):
        db = _open_readonly(path) if readonly else Connection(path)
        try:
            prepare(db)
            version = _recognise(db, path, fresh)
            if fresh:
                db.execute(f"PRAGMA page_size={int(page_size)}")
                db.execute("PRAGMA journal_mode=WAL")
            if version and not trusting:
                _require_ours(db, path, version)
            if version < len(MIGRATIONS):
                if readonly:  # an older file: let a writing connection bring it up to date first
                    connect(path).close()
                else:
                    _migrate(db, version, path)
            elif not readonly:
                _drop_copies(path)
        except BaseException:
            db.close()
            raise
    return db


def memory() -> Connection:
    """An empty database that is never written anywhere."""
    db = Connection(":memory:")
    prepare(db)
    _migrate(db, 0)
    return db


def kept_copy(path: str, version: int) -> str:
    """Where an older database is kept, as it was, until its migration is done."""
    return f"{path}.before-upgrade-from-{version}"


def _size(path: str) -> int:
    """The bytes of the file at `path`, 0 when there is none. Raises StoreError for what can be no database."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError as exc:
        raise StoreError(f"cannot open {path}: {exc.strerror}", "check its folder, or name another with --db") from exc
    if not stat.S_ISREG(found.st_mode):
        what = "folder" if stat.S_ISDIR(found.st_mode) else "device, pipe or socket"
        raise StoreError(f"{path} is a {what}, not a database", "name a file with --db")
    return found.st_size


def _touch(path: str) -> None:
    """Make an empty file that only its owner may read: a library says what somebody photographs."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError as exc:
        raise StoreError(f"cannot write {path}: {exc.strerror}", "check its folder, or name another with --db") from exc


def _open_readonly(path: str) -> Connection:
    """Open without writing. A WAL database in a folder we may not write opens only as immutable.

    Where we may write, the connection could and is told not to: a read-only one leaves its -wal and -shm files behind.
    """
    try:
        db = Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
        db.set_busy_timeout(PATIENCE)  # from the first statement on: the last reader to close locks all others out
        db.execute("PRAGMA query_only=ON; PRAGMA schema_version").fetchall()
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        wal = Path(path + "-wal")
        if wal.exists() and wal.stat().st_size:
            raise
        uri = f"file:{quote(str(Path(path).absolute()))}?immutable=1"
        db = Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    return db


def _recognise(db: Connection, path: str, fresh: bool) -> int:
    """The schema version of a picto database; StoreError for any other file."""
    version = int(db.pragma("user_version"))
    empty = db.execute("SELECT count(*) FROM sqlite_schema").get == 0  # made, then killed before its first table
    if fresh or (empty and version == 0):
        return 0
    if int(db.pragma("application_id")) != APPLICATION_ID:
        if not empty and alteration(db, MIGRATIONS[:1]) is None:
            raise DamagedError(f"{path} is damaged: it no longer says whose it is")
        raise StoreError(f"{path} is another program's database, not picto's", "name another file with --db")
    if version > len(MIGRATIONS):
        raise StoreError(f"{path} was made by a newer picto", "pip install --upgrade pictocli")
    if version < 1:
        raise DamagedError(f"{path} is damaged: it no longer says which version of picto made it")
    return version


def _require_ours(db: Connection, path: str, version: int) -> None:
    """DamagedError unless the tables, indexes, views and triggers are those that picto makes."""
    wrong = alteration(db, MIGRATIONS[:version])
    if wrong is not None and int(db.pragma("user_version")) == version:  # else it was brought up to date just now
        raise DamagedError(f"{path} was changed by another program, or is damaged: {wrong}")


def _migrate(db: Connection, version: int, path: str | None = None) -> None:
    """Bring a database up to date, each step in its own transaction; an older one is kept beside until all are done."""
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        with transaction(db):
            if int(db.pragma("user_version")) >= number:
                continue  # another process was faster
            if path is not None and number > 1:
                _keep_copy(path, number - 1)
            db.execute(script)
            db.execute(f"PRAGMA application_id={int(APPLICATION_ID)}")
            db.execute(f"PRAGMA user_version={int(number)}")
    if path is not None:
        _drop_copies(path)


def _keep_copy(path: str, version: int) -> None:
    """Keep the database as it is, unless a migration that was stopped has done so. The caller holds the write lock."""
    if any(os.path.exists(kept_copy(path, earlier)) for earlier in range(1, version)):
        return
    copy = kept_copy(path, version)
    part = copy + ".part"
    Path(part).unlink(missing_ok=True)  # of a run that was killed
    _touch(part)
    try:
        source, target = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE), apsw.Connection(part)
        with contextlib.closing(source), contextlib.closing(target), target.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step(1000)
        os.replace(part, copy)
    except (apsw.FullError, apsw.IOError) as exc:
        hint = "free as much space as the database takes, and run the same command again"
        raise StoreError(f"no room to keep {path} as it is while it is brought up to date", hint) from exc
    finally:
        Path(part).unlink(missing_ok=True)


def _drop_copies(path: str) -> None:
    """Remove what was kept of earlier versions: the migration is done."""
    for version in range(1, len(MIGRATIONS)):
        Path(kept_copy(path, version)).unlink(missing_ok=True)
