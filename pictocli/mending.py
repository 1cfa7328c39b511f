"""One transaction over a database that SQLite can read, after which its tables agree."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import apsw

from pictocli.checking import METAS
from pictocli.consistency import (
    ALONE,
    BAD_BESIDE,
    BAD_CONTENT,
    BAD_DATASET,
    BAD_FILE,
    BAD_FOLDER,
    BAD_NAME,
    BAD_ROOT,
    BAD_TAG,
    BAD_THUMBNAIL,
    BAD_TIME,
    KINDS,
    OTHER_CONTENT,
    TEXTS,
)
from pictocli.migrations import MIGRATIONS
from pictocli.protocols import Database
from pictocli.records import CATEGORIES
from pictocli.schema import transaction
from pictocli.soundness import bad_json, bad_named_vectors, bad_texts, bad_vectors, is_right, mean_of, width

__all__ = ["mend", "reindex"]

_GIVEN = "(SELECT value FROM json_each(?))"
_AGAIN = "UPDATE file SET size = NULL, mtime_ns = NULL WHERE"
_PAGES = "(SELECT iif(count(*), max(1, max(page)), 0) FROM image i WHERE i.file_id = file.id)"
_IMAGES = "(SELECT count(*) FROM image i WHERE i.file_id = file.id)"
_OF_NOTHING = tuple(
    f"DELETE FROM {table} WHERE content_id NOT IN (SELECT id FROM content)"
    for table in ("embedding", "staged", "thumbnail", "capture", "input", "fingerprint")
)

_PLACES = (
    f"UPDATE dataset SET name = 'recovered-' || id WHERE {BAD_DATASET}",
    f"DELETE FROM root WHERE {BAD_ROOT}",
    "INSERT INTO dataset(id, name) SELECT DISTINCT dataset_id, 'recovered-' || dataset_id FROM root"
    " WHERE dataset_id NOT IN (SELECT id FROM dataset)",
    f"DELETE FROM folder WHERE root_id NOT IN (SELECT id FROM root) OR {BAD_FOLDER}",
    f"DELETE FROM file WHERE folder_id NOT IN (SELECT id FROM folder) OR {BAD_NAME}",
    f"DELETE FROM validator WHERE {BAD_BESIDE['validator']} OR file_id NOT IN (SELECT id FROM file)",
    f"DELETE FROM page_range WHERE {BAD_BESIDE['page_range']} OR file_id NOT IN (SELECT id FROM file)",
    "DELETE FROM image WHERE file_id NOT IN (SELECT id FROM file) OR content_id NOT IN (SELECT id FROM content)"
    " OR typeof(page) <> 'integer' OR page < 0",
    "UPDATE image SET folder_id = (SELECT folder_id FROM file f WHERE f.id = file_id)"
    " WHERE folder_id IS NOT (SELECT folder_id FROM file f WHERE f.id = file_id)",
    "UPDATE image SET thumbnail_url = NULL WHERE typeof(thumbnail_url) NOT IN ('text', 'null')",
)
"""Where things lie: what is in no place is removed."""

_CONTENTS = (
    f"DELETE FROM embedding WHERE content_id IN (SELECT id FROM content WHERE {BAD_CONTENT})",
    "UPDATE content SET hash = CAST('lost ' || id AS BLOB), page = 0, dpi = 0, width = 1, height = 1,"
    f" processing_time_ms = 0 WHERE {BAD_CONTENT}",
    *_OF_NOTHING,
    f"DELETE FROM thumbnail WHERE {BAD_THUMBNAIL}",
    *(f"DELETE FROM {table} WHERE {BAD_BESIDE[table]}" for table in ("capture", "input", "fingerprint")),
)
"""What bytes decode to: what is said wrongly of them is found out again when they are embedded again."""

_UNFINISHED = (
    f"UPDATE file SET size = NULL, mtime_ns = NULL, reason = NULL, kind = iif(kind IN {KINDS}, kind, 'other'),"
    f" pages = iif(typeof(pages) = 'integer' AND pages >= 0, pages, {_PAGES}),"
    " dpi = iif(typeof(dpi) = 'integer' AND dpi >= 0, dpi, 0), hash = iif(typeof(hash) = 'blob', hash, NULL)"
    f" WHERE {BAD_FILE}",
    f"UPDATE file SET size = NULL, mtime_ns = NULL, reason = NULL, pages = {_PAGES} WHERE EXISTS"
    " (SELECT 1 FROM image i WHERE i.file_id = file.id AND (file.pages = 0 OR reason IS NOT NULL OR i.page > pages))",
    f"{_AGAIN} size IS NOT NULL AND reason IS NULL AND pages > 0 AND {_IMAGES} = 0",
    f"{_AGAIN} id IN (SELECT i.file_id FROM image i"
    " WHERE NOT EXISTS (SELECT 1 FROM embedding e WHERE e.content_id = i.content_id))",
    f"{_AGAIN} id IN (SELECT f.id FROM file f JOIN image i ON i.file_id = f.id JOIN content c ON c.id = i.content_id"
    f" WHERE {OTHER_CONTENT})",
    f"{_AGAIN} hash IN (SELECT hash FROM content WHERE {ALONE}) AND pages > {_IMAGES}",
)
"""Files that `index` must take up again, as it does where size and time are NULL."""

_SHORT = f"{_AGAIN} pages > {_IMAGES}"

_DERIVED = (
    f"DELETE FROM content WHERE {ALONE}",
    *_OF_NOTHING,
    f"DELETE FROM tag WHERE {BAD_TAG}",
    "UPDATE tag SET phrase = NULL WHERE typeof(phrase) NOT IN ('text', 'null')",
    "INSERT INTO tag(category, name) SELECT DISTINCT category, name FROM image_label l"
    " WHERE NOT EXISTS (SELECT 1 FROM tag t WHERE t.category = l.category AND t.name = l.name)",
    "DELETE FROM image_tag",
    "INSERT INTO image_tag SELECT t.id, l.image_id, l.score FROM image_label l"
    " JOIN tag t ON t.category = l.category AND t.name = l.name ORDER BY 1, 2",
    "UPDATE tag SET n = (SELECT count(*) FROM image_tag WHERE tag_id = tag.id)",
    "DELETE FROM tag_alias WHERE tag_id NOT IN (SELECT id FROM tag)",
    "DELETE FROM tag WHERE phrase IS NULL AND n = 0",
    "UPDATE folder SET images = (SELECT count(*) FROM image i WHERE i.folder_id = folder.id)",
    "DELETE FROM code",
)  # fmt: skip
_DATA = ("dataset", "root", "folder", "file", "image", "content", "embedding", "staged", "thumbnail", "text_embedding")


def reindex(db: Database) -> None:
    """Build all indexes anew. Raises apsw.Error where their tables cannot be indexed."""
    with transaction(db):
        db.execute("REINDEX")


def mend(db: Database, *, lossy: bool) -> tuple[dict[str, int], int]:
    """Make all tables agree. Returns table → rows removed, and how many files `index` must take up again.

    lossy: rows may be missing that nothing tells of, so that files with fewer images than pages are taken up again.
    Triggers are put aside: they would follow every step, and fail over JSON that is none. Without codes, labels and
    what was measured: these need more than SQL.
    """
    db.execute("PRAGMA foreign_keys=OFF")
    try:
        with transaction(db):
            for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
                db.execute(f"DROP TRIGGER {name}")
            before, waiting = _counts(db), _unfinished(db)
            _mend_texts(db)
            _mend_meta(db)
            for statement in _PLACES:
                db.execute(statement)
            _mend_values(db)
            for statement in (*_CONTENTS, *_UNFINISHED, *([_SHORT] if lossy else []), *_DERIVED):
                db.execute(statement)
            after = _counts(db)
            _restore_triggers(db)
            removed = {table: before[table] - after[table] for table in _DATA if after[table] < before[table]}
            return removed, max(0, _unfinished(db) - waiting)
    finally:
        db.execute("PRAGMA foreign_keys=ON")


def _counts(db: Database) -> dict[str, int]:
    return {table: int(db.execute(f"SELECT count(*) FROM {table}").get) for table in _DATA}


def _unfinished(db: Database) -> int:
    return int(db.execute("SELECT count(*) FROM file WHERE size IS NULL").get)


def _restore_triggers(db: Database) -> None:
    plain = apsw.Connection(":memory:")
    for script in MIGRATIONS:
        plain.execute(script)
    statements: list[Any] = plain.execute("SELECT sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for (statement,) in statements:
        db.execute(statement)
    plain.close()


def _mend_texts(db: Database) -> None:
    """Text that is no UTF-8: a name of a file is bytes then, anything else is lost."""
    for table, column in TEXTS:
        for raw in dict.fromkeys(bad_texts(db, table, column)):
            where = f"WHERE typeof({column}) = 'text' AND CAST({column} AS BLOB) = ?"
            if (table, column) in (("root", "path"), ("folder", "path"), ("file", "name")):
                db.execute(f"UPDATE OR REPLACE {table} SET {column} = CAST({column} AS BLOB) {where}", (raw,))
            elif table in ("tag", "tag_alias", "meta", "vector", "text_embedding"):
                db.execute(f"DELETE FROM {table} {where}", (raw,))
            elif table == "dataset":
                name = raw.decode(errors="replace")
                db.execute(f"UPDATE OR REPLACE {table} SET {column} = ? {where}", (name, raw))
            else:
                db.execute(f"UPDATE {table} SET {column} = '' {where}", (raw,))


def _mend_meta(db: Database) -> None:
    """Entries that are no use go; without its model a library's embeddings say nothing, and are made anew."""
    if not is_right(db, "model"):
        for table in ("embedding", "text_embedding", "vector"):
            db.execute(f"DELETE FROM {table}")
    if not is_right(db, "staged_model"):
        db.execute("DELETE FROM staged")
    for key in METAS:
        if not is_right(db, key):
            db.execute("DELETE FROM meta WHERE key = ?", (key,))


def _mend_values(db: Database) -> None:
    """Vectors that are none, and JSON that is none."""
    for table, dim in (("embedding", width(db)), ("staged", width(db, "staged_model")), ("text_embedding", width(db))):
        _delete(db, table, bad_vectors(db, table, dim))
    for name in bad_named_vectors(db):
        db.execute("DELETE FROM vector WHERE name = ?", (name,))
    if mean_of(db) is None:
        db.execute("DELETE FROM vector WHERE name = 'mean'")
    now = int(time.time())
    db.execute(f"UPDATE image SET indexed_at = ? WHERE {BAD_TIME}", (now,))
    for column, empty in (*((name, "{}") for name in CATEGORIES), ("metadata", None)):
        rows = json.dumps(bad_json(db, "image", column))
        db.execute(f"UPDATE image SET {column} = ? WHERE id IN {_GIVEN}", (empty, rows))
    bad = bad_json(db, "content", "measures")
    _delete(db, "embedding", bad)  # measured again when it is embedded again
    db.execute(f"UPDATE content SET measures = '{{}}' WHERE id IN {_GIVEN}", (json.dumps(bad),))


def _delete(db: Database, table: str, rows: Sequence[Any]) -> None:
    db.execute(f"DELETE FROM {table} WHERE rowid IN {_GIVEN}", (json.dumps(list(rows)),))
