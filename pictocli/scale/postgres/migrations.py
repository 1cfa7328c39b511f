"""The numbered scripts that made the tables of a library in PostgreSQL, and how an older one is brought up to date.

Functions are no part of them: those of this picto replace the older ones, when a library is made or brought up to date.
In a script {s} stands for the library's schema, {v} for that of pgvector, {type} for pgvector's type of its points.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import errors

from pictocli.errors import StoreError
from pictocli.scale.postgres.functions import FUNCTIONS
from pictocli.scale.postgres.opening import Target, shown
from pictocli.scale.postgres.points import POINT_FUNCTIONS, POINTS
from pictocli.scale.postgres.session import PATIENCE, quoted, writers
from pictocli.scale.postgres.tables import TABLES

__all__ = ["MIGRATIONS", "bring_up_to_date", "latest", "make"]

MIGRATIONS = (
    TABLES + POINTS,
    "",  # functions that keep texts whole, and a dataset's points beside another library's
    # Functions that tell the largest whole numbers apart, and to which 0 is no place in a list: indexes are of these.
    """
DO $$
DECLARE name text;
BEGIN
  FOR name IN SELECT c.oid::regclass FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
    WHERE x.indrelid = 'image'::regclass AND c.relname LIKE 'field %' LOOP
    EXECUTE 'REINDEX INDEX ' || name;
  END LOOP;
END $$;
""",
)
"""What leads from each version to the next: the first from none. What stands here stays as it is."""

_TYPE = "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = 'point'::regclass AND attname = 'v'"


def latest() -> int:
    """The version of the tables that this picto makes."""
    return len(MIGRATIONS)


def make(server: psycopg.Connection[Any], where: Target, extension: str) -> None:
    """Make all tables in an empty schema, within the caller's transaction. extension: the schema of pgvector."""
    _run(server, where, extension, where.vectors, 0)
    server.execute("INSERT INTO library VALUES (%s, 0)", (latest(),))


def bring_up_to_date(server: psycopg.Connection[Any], where: Target, extension: str) -> None:
    """Take the steps that an older library lacks, all or none of them, while nobody writes.

    Raises StoreError where it may not be changed; psycopg's LockNotAvailable when somebody else is long.
    """
    try:
        with server.transaction():
            server.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'".encode())
            server.execute("SELECT pg_advisory_xact_lock(%s)", (writers(where.schema),))
            (version,) = server.execute("SELECT version FROM library").fetchone() or (0,)
            if version >= latest():
                return  # another process was faster
            (kind,) = server.execute(_TYPE).fetchone() or ("",)
            _run(server, where, extension, kind.rpartition(".")[2], version)
            server.execute("UPDATE library SET version = %s, changes = changes + 1", (latest(),))
    except (errors.ReadOnlySqlTransaction, errors.InsufficientPrivilege) as exc:
        what = f"{shown(where.name)} was made by an older picto, and cannot be brought up to date from here"
        hint = "open it once on its primary server, as the user who made it: picto info does"
        raise StoreError(f"{what}: {exc.diag.message_primary}", hint) from exc


def _run(server: psycopg.Connection[Any], where: Target, extension: str, vectors: str, version: int) -> None:
    """Replace the functions, and run the scripts after those of a version."""
    path = f"{quoted(where.schema)}, {quoted(extension)}, pg_temp"  # last: a temporary table is none of its own
    server.execute("SELECT set_config('search_path', %s, true)", (path,))
    for script in (FUNCTIONS + POINT_FUNCTIONS, *MIGRATIONS[version:]):
        for sign, text in (("{s}", quoted(where.schema)), ("{v}", quoted(extension)), ("{type}", vectors)):
            script = script.replace(sign, text)
        server.execute(script.encode())
