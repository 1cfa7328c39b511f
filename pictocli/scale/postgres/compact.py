"""Compaction of a library in PostgreSQL: what was deleted makes room, its statistics and indexes come up to date."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

import psycopg
from psycopg import errors, sql

from pictocli.databases import connect, size, translated
from pictocli.errors import StoreError
from pictocli.protocols import Progress
from pictocli.reports import CompactReport
from pictocli.scale.postgres.opening import open_server, shown, target

__all__ = ["compact"]

_SHARE = 5  # where a fifth of its rows are deleted ones, an HNSW index is made anew: it finds less by then
_TABLES = (
    "SELECT c.relname, greatest(c.reltuples, s.n_live_tup, 0)::bigint, coalesce(s.n_dead_tup, 0),"
    " pg_total_relation_size(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid WHERE n.nspname = %s AND c.relkind = 'r' ORDER BY c.relname"
)
_OTHERS = (
    "SELECT DISTINCT pg_get_userbyid(c.relowner)::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND NOT pg_has_role(c.relowner, 'USAGE') ORDER BY 1"
)
_GRAPHS = (
    "SELECT i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am a ON a.oid = i.relam"
    " JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = %s AND c.relname = %s AND a.amname = 'hnsw'"
)


def compact(name: str, *, dry_run: bool, older_than: float, progress: Progress) -> CompactReport:  # noqa: ARG001 - of versions, which only Lance's tables have
    """Vacuum and analyse all tables, and bring the indexes up to date; see `Library.compact`.

    Readers and writers go on meanwhile. The room of deleted rows is used again, and given back where a table ends.
    """
    started, before = time.perf_counter(), size(name)
    schema = target(name).schema
    with translated(name), open_server(target(name)) as server:
        if not dry_run:
            _require_allowed(server, name)
        tables: list[Any] = server.execute(_TABLES, (schema,)).fetchall()
        room = sum(taken * dead // max(1, live + dead) for _, live, dead, taken in tables)
        for table, live, dead, _ in [] if dry_run else tables:
            progress.doing(f"vacuuming {table}")
            if dead * _SHARE > live:
                for (graph,) in server.execute(_GRAPHS, (schema, table)).fetchall():
                    server.execute(sql.SQL("REINDEX INDEX CONCURRENTLY {}").format(sql.Identifier(schema, graph)))
            server.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(schema, table)))
    if not dry_run:
        progress.doing("bringing the index up to date")
        with translated(name), closing(connect(name)) as db:
            if db.neighbours is not None:
                db.neighbours.build()
    progress.doing("")
    return CompactReport(
        before=before, after=before if dry_run else size(name), room=room, dry_run=dry_run,
        seconds=time.perf_counter() - started,
    )  # fmt: skip


def _require_allowed(server: psycopg.Connection[Any], name: str) -> None:
    """Raise StoreError unless the user may do all of it: the server only warns of what it then leaves undone."""
    owners = ", ".join(owner for (owner,) in server.execute(_OTHERS, (target(name).schema,)))
    if owners:
        hint = "picto compact is for the user who made it, or a member of that role; --dry-run is for all who read"
        raise StoreError(f"you may not compact {shown(name)}: its tables belong to {owners}", hint)
    if server.execute("SHOW transaction_read_only").fetchone() == ("on",):
        raise errors.ReadOnlySqlTransaction("the server lets this user only read (transaction_read_only is on)")
