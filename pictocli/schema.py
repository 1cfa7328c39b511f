"""The SQLite file itself: opening it safely, its tables, and the numbered migrations that made them.

apsw brings its own SQLite, so extensions load on every Python; sqlite-vec's library is loaded by its path, because
importing the package would import numpy (60 ms on every query).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import apsw

from pictocli.errors import StoreError

__all__ = ["APPLICATION_ID", "MIGRATIONS", "connect", "from_db", "memory", "to_db", "transaction", "translated"]

APPLICATION_ID = 0x50494354  # "PICT": tells our files from other programs' SQLite files

MIGRATIONS = (
    """
    CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    -- mean: what codes are centred on; labels, nulls: text vectors of the taxonomy's prompts
    CREATE TABLE vector(name TEXT PRIMARY KEY, v BLOB NOT NULL);
    CREATE TABLE text_embedding(text TEXT PRIMARY KEY, v BLOB NOT NULL);

    CREATE TABLE dataset(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE TABLE root(id INTEGER PRIMARY KEY, dataset_id INT NOT NULL REFERENCES dataset, path NOT NULL UNIQUE);
    CREATE TABLE folder(id INTEGER PRIMARY KEY, root_id INT NOT NULL REFERENCES root, path NOT NULL,
      images INT NOT NULL DEFAULT 0, UNIQUE(root_id, path));

    -- One row a file seen, skipped ones too (reason). size and mtime_ns are written with its last page: while they
    -- are NULL the file is unfinished and the next run takes it up again.
    CREATE TABLE file(id INTEGER PRIMARY KEY, folder_id INT NOT NULL REFERENCES folder, name NOT NULL,
      kind TEXT NOT NULL, size INT, mtime_ns INT, hash BLOB, pages INT NOT NULL DEFAULT 0, dpi INT NOT NULL DEFAULT 0,
      reason TEXT, UNIQUE(folder_id, name));
    CREATE INDEX file_hash ON file(hash) WHERE hash IS NOT NULL;

    -- What bytes decode to, shared by every copy of them. dpi is 0 unless rendered (PDF); page is 0 in one-image files.
    CREATE TABLE content(id INTEGER PRIMARY KEY, hash BLOB NOT NULL, page INT NOT NULL, dpi INT NOT NULL,
      width INT NOT NULL, height INT NOT NULL, measures TEXT NOT NULL, processing_time_ms REAL NOT NULL,
      UNIQUE(hash, page, dpi));
    CREATE TABLE embedding(content_id INTEGER PRIMARY KEY REFERENCES content ON DELETE CASCADE, v BLOB NOT NULL);
    CREATE TABLE staged(content_id INTEGER PRIMARY KEY REFERENCES content ON DELETE CASCADE, v BLOB NOT NULL);
    CREATE TABLE thumbnail(content_id INTEGER PRIMARY KEY REFERENCES content ON DELETE CASCADE, jpeg BLOB NOT NULL);

    -- folder_id repeats the file's: every scope filter needs it, and none then has to touch `file`.
    CREATE TABLE image(id INTEGER PRIMARY KEY, file_id INT NOT NULL REFERENCES file ON DELETE CASCADE,
      folder_id INT NOT NULL REFERENCES folder, page INT NOT NULL DEFAULT 0, content_id INT NOT NULL REFERENCES content,
      objects TEXT NOT NULL DEFAULT '{}', scenes TEXT NOT NULL DEFAULT '{}', attributes TEXT NOT NULL DEFAULT '{}',
      metadata TEXT, thumbnail_url TEXT, indexed_at INT NOT NULL, UNIQUE(file_id, page));
    CREATE INDEX image_folder ON image(folder_id);
    CREATE INDEX image_content ON image(content_id);
    CREATE TABLE code(folder_id INT, image_id INT, c BLOB NOT NULL, PRIMARY KEY(folder_id, image_id)) WITHOUT ROWID;

    CREATE TABLE tag(id INTEGER PRIMARY KEY, category INT NOT NULL, name TEXT NOT NULL, phrase TEXT,
      n INT NOT NULL DEFAULT 0, UNIQUE(category, name));
    CREATE TABLE tag_alias(category INT, alias TEXT, tag_id INT NOT NULL REFERENCES tag, PRIMARY KEY(category, alias))
      WITHOUT ROWID;
    CREATE TABLE image_tag(tag_id INT, image_id INT, score REAL NOT NULL, PRIMARY KEY(tag_id, image_id)) WITHOUT ROWID;

    -- The JSON columns are the truth; the inverted table, and the counts, follow them. No OR IGNORE in a trigger: the
    -- statement that fires it has its own conflict rule, and that one holds (an upsert's update aborts).
    CREATE VIEW image_label(image_id, category, name, score) AS
      SELECT i.id, 0, j.key, j.value FROM image i, json_each(i.objects) j UNION ALL
      SELECT i.id, 1, j.key, j.value FROM image i, json_each(i.scenes) j UNION ALL
      SELECT i.id, 2, j.key, j.value FROM image i, json_each(i.attributes) j;
    CREATE TRIGGER image_tagged AFTER INSERT ON image BEGIN
      INSERT INTO tag(category, name) SELECT category, name FROM image_label l WHERE image_id = new.id
        AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.category = l.category AND t.name = l.name);
      INSERT INTO image_tag SELECT t.id, new.id, l.score FROM image_label l
        JOIN tag t ON t.category = l.category AND t.name = l.name WHERE l.image_id = new.id;
      UPDATE folder SET images = images + 1 WHERE id = new.folder_id;
    END;
    CREATE TRIGGER image_untagging BEFORE UPDATE OF objects, scenes, attributes ON image BEGIN
      DELETE FROM image_tag WHERE image_id = old.id AND tag_id IN (SELECT t.id FROM image_label l
        JOIN tag t ON t.category = l.category AND t.name = l.name WHERE l.image_id = old.id);
    END;
    CREATE TRIGGER image_retagged AFTER UPDATE OF objects, scenes, attributes ON image BEGIN
      INSERT INTO tag(category, name) SELECT category, name FROM image_label l WHERE image_id = new.id
        AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.category = l.category AND t.name = l.name);
      INSERT INTO image_tag SELECT t.id, new.id, l.score FROM image_label l
        JOIN tag t ON t.category = l.category AND t.name = l.name WHERE l.image_id = new.id;
    END;
    CREATE TRIGGER image_deleting BEFORE DELETE ON image BEGIN
      DELETE FROM image_tag WHERE image_id = old.id AND tag_id IN (SELECT t.id FROM image_label l
        JOIN tag t ON t.category = l.category AND t.name = l.name WHERE l.image_id = old.id);
      DELETE FROM code WHERE folder_id = old.folder_id AND image_id = old.id;
      UPDATE folder SET images = images - 1 WHERE id = old.folder_id;
    END;
    CREATE TRIGGER image_deleted AFTER DELETE ON image BEGIN
      DELETE FROM content WHERE id = old.content_id AND NOT EXISTS
        (SELECT 1 FROM image WHERE content_id = old.content_id);
    END;
    CREATE TRIGGER image_recontent AFTER UPDATE OF content_id ON image WHEN old.content_id <> new.content_id BEGIN
      DELETE FROM content WHERE id = old.content_id AND NOT EXISTS
        (SELECT 1 FROM image WHERE content_id = old.content_id);
    END;
    CREATE TRIGGER image_moved AFTER UPDATE OF folder_id ON image WHEN old.folder_id <> new.folder_id BEGIN
      UPDATE code SET folder_id = new.folder_id WHERE folder_id = old.folder_id AND image_id = old.id;
      UPDATE folder SET images = images - 1 WHERE id = old.folder_id;
      UPDATE folder SET images = images + 1 WHERE id = new.folder_id;
    END;
    CREATE TRIGGER tag_more AFTER INSERT ON image_tag BEGIN UPDATE tag SET n = n + 1 WHERE id = new.tag_id; END;
    CREATE TRIGGER tag_less AFTER DELETE ON image_tag BEGIN UPDATE tag SET n = n - 1 WHERE id = old.tag_id; END;
    """,
)


def to_db(name: str) -> str | bytes:
    """A file name as stored: TEXT when it is valid UTF-8, else its raw bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name)
    return name


def from_db(name: str | bytes) -> str:
    """A stored file name as Python and the operating system spell it."""
    return name if isinstance(name, str) else os.fsdecode(name)


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn SQLite's errors about the database at `path` into a StoreError that a person can act on."""
    try:
        yield
    except apsw.NotADBError as exc:
        raise StoreError(f"{path} is not a picto database", "name another file with --db") from exc
    except apsw.BusyError as exc:
        raise StoreError(f"{path} is locked by another program", "try again when it has finished") from exc
    except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError) as exc:
        raise StoreError(f"cannot write {path}: {exc}", "check its folder and permissions, or use --db") from exc
    except apsw.IOError as exc:
        raise StoreError(
            f"{path} cannot be read or written: {exc}", "check its disk: it may be full or failing"
        ) from exc
    except apsw.FullError as exc:
        raise StoreError(f"no space left for {path}", "free some space and run the same command again") from exc
    except apsw.CorruptError as exc:
        raise StoreError(
            f"{path} is damaged: {exc}", "restore it from a backup, or index again into a new file"
        ) from exc
    except apsw.Error as exc:
        raise StoreError(f"{path} cannot be used: {exc}") from exc


@contextlib.contextmanager
def transaction(db: apsw.Connection) -> Iterator[None]:
    """One write transaction: committed at the end, undone on any exception. Within another it is a part of that one.

    BEGIN IMMEDIATE takes the write lock at once, so a busy database fails before the work and not after it.
    """
    if db.in_transaction:
        yield
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:  # SQLite undoes it by itself when the disk is full
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def connect(path: str, *, create: bool = False, readonly: bool = False, page_size: int = 16384) -> apsw.Connection:
    """Open the database at `path`, making or migrating it where asked to write.

    Raises StoreError when it does not exist and `create` is off, is not a picto database, is
    newer than this program, or cannot be opened.
    """
    if os.path.isdir(path):  # not Path's: it raises for a name that is too long
        raise StoreError(f"{path} is a folder, not a database", "name a file with --db")
    if os.fsencode(path).decode("utf-8", "replace") != os.fspath(path):
        raise StoreError(f"the name {path} is not UTF-8, as SQLite wants it", "name another file with --db")
    fresh = not os.path.exists(path) or os.path.getsize(path) == 0
    if fresh and not create:
        raise StoreError(f"there is no database at {path}", "picto index FOLDER makes one, --db names another")
    if fresh:
        _touch(path)
    with translated(path):
        db = _open_readonly(path) if readonly else apsw.Connection(path)
        try:
            _prepare(db)
            version = _recognise(db, path, fresh)
            if fresh:
                db.execute(f"PRAGMA page_size={page_size}")
                db.execute("PRAGMA journal_mode=WAL")
            if version < len(MIGRATIONS):
                if readonly:  # an older file: let a writing connection bring it up to date first
                    connect(path).close()
                else:
                    _migrate(db, version)
        except BaseException:
            db.close()
            raise
    return db


def memory() -> apsw.Connection:
    """An empty database that is never written anywhere."""
    db = apsw.Connection(":memory:")
    _prepare(db)
    _migrate(db, 0)
    return db


def _touch(path: str) -> None:
    """Make an empty file that only its owner may read: a library says what somebody photographs."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError as exc:
        raise StoreError(f"cannot write {path}: {exc.strerror}", "check its folder, or name another with --db") from exc


def _open_readonly(path: str) -> apsw.Connection:
    """Open without writing. A WAL database in a folder we may not write opens only as immutable.

    Where we may write, the connection could and is told not to: a read-only one leaves its -wal and -shm files behind.
    """
    try:
        db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
        db.execute("PRAGMA query_only=ON; PRAGMA schema_version").fetchall()
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        wal = Path(path + "-wal")
        if wal.exists() and wal.stat().st_size:
            raise
        uri = f"file:{quote(str(Path(path).absolute()))}?immutable=1"
        db = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    return db


def _prepare(db: apsw.Connection) -> None:
    db.set_busy_timeout(5000)
    db.enable_load_extension(True)
    db.load_extension(_vec_library())
    db.enable_load_extension(False)
    # trusted_schema off: a stranger's view or trigger cannot call what we load
    for pragma in ("foreign_keys=ON", "synchronous=NORMAL", "journal_size_limit=67108864", "trusted_schema=OFF"):
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


def _recognise(db: apsw.Connection, path: str, fresh: bool) -> int:
    """The schema version of a picto database; StoreError for any other file."""
    version = int(db.pragma("user_version"))
    empty = db.execute("SELECT count(*) FROM sqlite_schema").get == 0  # made, then killed before its first table
    if fresh or (empty and version == 0):
        return 0
    if int(db.pragma("application_id")) != APPLICATION_ID:
        raise StoreError(f"{path} is another program's database, not picto's", "name another file with --db")
    if version > len(MIGRATIONS):
        raise StoreError(f"{path} was made by a newer picto", "pip install --upgrade pictocli")
    return version


def _migrate(db: apsw.Connection, version: int) -> None:
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        with transaction(db):
            if int(db.pragma("user_version")) >= number:
                continue  # another process was faster
            db.execute(script)
            db.execute(f"PRAGMA application_id={APPLICATION_ID}")
            db.execute(f"PRAGMA user_version={number}")
