"""Libraries in PostgreSQL with pgvector, one a schema: a `protocols.Engine`, whose functions are this module's."""

from __future__ import annotations

from typing import Any

from pictocli.errors import DamagedError, PictoError, StoreError

try:
    import psycopg
    from psycopg import errors
except ImportError as exc:
    raise StoreError("PostgreSQL needs the package psycopg", "pip install 'pictocli[postgres]'") from exc

from pictocli.scale.postgres.claims import claimed, require_held
from pictocli.scale.postgres.compact import compact
from pictocli.scale.postgres.connection import PostgresConnection
from pictocli.scale.postgres.errors import translated
from pictocli.scale.postgres.migrations import bring_up_to_date, latest, make
from pictocli.scale.postgres.nearest import Points
from pictocli.scale.postgres.opening import Target, open_server, settle, shown, target
from pictocli.scale.postgres.session import quoted

__all__ = ["claimed", "compact", "connect", "exists", "full", "identity", "shown", "size", "translated"]

_MADE = "SELECT pg_advisory_xact_lock(hashtextextended('picto makes', 0))"  # not one a schema: pgvector is for all


def connect(name: str, *, create: bool = False, readonly: bool = False, page_size: int = 16384) -> PostgresConnection:  # noqa: ARG001 - of files
    """Open the library of this name, making it where asked to; an older one is brought up to date, to be read, too.

    page_size: of files, which this is none.

    Raises StoreError when there is none and `create` is off, when its server cannot be reached or is too old, when the
    schema is another program's, or newer than this picto.
    """
    where = target(name)
    with translated(name):
        server = open_server(where)
        try:
            _recognise(server, where, create=create)
        except BaseException:
            server.close()
            raise
        first: list[psycopg.Connection[Any]] = [server]
        db = PostgresConnection(
            lambda: first.pop() if first else open_server(where),
            where.schema,
            held=None if readonly else lambda: require_held(name),
        )
        db.neighbours = Points(db)
        return db


def exists(name: str) -> bool:
    """Whether there is a library of this name. Where its server cannot be asked, opening it says why."""
    try:
        with translated(name), open_server(target(name)) as server:
            return _version(server, target(name)) is not None
    except PictoError:
        return True


def full(name: str) -> str:
    """The name in full: it is."""
    return name


def identity(name: str) -> object:
    """Which library is meant: where it lies. Each question looks there anew, so that none is of a replaced one."""
    return target(name).place


def size(name: str) -> int:
    """Bytes that the library takes on its server, with its indexes."""
    with translated(name), open_server(target(name)) as server:
        found = server.execute(
            "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relkind = 'r'",
            (target(name).schema,),
        ).fetchone()
    return int(found[0] or 0) if found else 0


def _recognise(server: psycopg.Connection[Any], where: Target, *, create: bool) -> None:
    """See that picto's library is there, and up to date, or make it.

    Raises StoreError where it is not, and may not be made.
    """
    version = _version(server, where)
    if version is None:
        if not create:
            raise StoreError(
                f"there is no library at {shown(where.name)}", "picto index FOLDER makes one, --db names another"
            )
        _create(server, where)
        settle(server, where)
    elif version > latest():
        raise StoreError(f"{shown(where.name)} was made by a newer picto", "pip install --upgrade pictocli")
    elif version < latest():
        bring_up_to_date(server, where, _extension(server, where))


def _version(server: psycopg.Connection[Any], where: Target) -> int | None:
    """The version of the library's tables; None where the schema is empty, or not there. StoreError for another's."""
    ours, others = server.execute(
        "SELECT count(*) FILTER (WHERE c.relname = 'library'), count(*) FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind IN ('r', 'v', 'm', 'p')",
        (where.schema,),
    ).fetchone() or (0, 0)
    if not others:
        return None
    if ours:
        try:
            row = server.execute(f"SELECT version FROM {quoted(where.schema)}.library".encode()).fetchone()
        except errors.UndefinedColumn:
            row, ours = None, 0
        if row is not None:
            return int(row[0])
    if ours:
        raise DamagedError(f"{shown(where.name)} is damaged: it no longer says which version of picto made it")
    hint = "name another schema: ?schema=NAME"
    raise StoreError(f"the schema {where.schema} of {shown(where.name)} is another program's, not picto's", hint)


def _create(server: psycopg.Connection[Any], where: Target) -> None:
    """Make the schema with all that is in it, in one transaction."""
    encoding = server.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        hint = "createdb --encoding UTF8 --template template0 makes one that is"
        raise StoreError(f"the database of {shown(where.name)} is in {encoding}, not in UTF8", hint)
    with server.transaction():
        server.execute(_MADE)
        if _version(server, where) is not None:
            return  # another process was faster
        extension = _extension(server, where)
        try:
            # Where it is there, the server would want CREATE on the database all the same.
            if not server.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (where.schema,)).fetchone():
                server.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(where.schema)}".encode())
            make(server, where, extension)
        except errors.InsufficientPrivilege as exc:
            hint = "making one takes a schema of your own there, or CREATE on the database"
            raise StoreError(f"you may not make {shown(where.name)}: {exc.diag.message_primary}", hint) from exc


def _extension(server: psycopg.Connection[Any], where: Target) -> str:
    """The schema in which pgvector is, which is made where it may be. Raises StoreError."""
    asked = (
        "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'vector'"
    )
    library = shown(where.name)
    try:
        if server.execute(asked).fetchone() is None:
            with server.transaction():
                server.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
    except (errors.UndefinedFile, errors.FeatureNotSupported) as exc:
        hint = "install pgvector 0.8 or newer there: https://github.com/pgvector/pgvector#installation"
        raise StoreError(f"the server of {library} has not the extension pgvector", hint) from exc
    except errors.InvalidSchemaName as exc:
        hint = "let its administrator run in that database: CREATE EXTENSION vector SCHEMA one_of_its_own"
        raise StoreError(f"the database of {library} has no schema public, where pgvector goes", hint) from exc
    except errors.InsufficientPrivilege as exc:
        hint = "let its administrator run in that database: CREATE EXTENSION vector"
        raise StoreError(
            f"the database of {library} has not the extension vector, and you may not make it", hint
        ) from exc
    settle(server, where)  # refuses one that is too old
    found = server.execute(asked).fetchone()
    assert found is not None
    return str(found[0])
