"""Compaction of a library of Lance tables: small pieces become large ones, and versions that nobody reads any more go.

Every commit leaves a piece in each table that it wrote, and a version. Pieces are merged without the lease, which is
taken for a moment when a table is done; readers keep the versions that they have opened.
"""

from __future__ import annotations

import contextlib
import time
from itertools import pairwise
from typing import Any

from lance.optimize import Compaction

from pictocli.databases import connect, size, translated
from pictocli.protocols import Progress
from pictocli.reports import CompactReport
from pictocli.scale.lance.indexes import Tables, build
from pictocli.scale.lance.place import beaten
from pictocli.schema import transaction

__all__ = ["compact"]

_ROWS = {"thumbnail": 65_536, "fingerprint": 262_144}  # of a piece: some 1 GB at most
_MORE = 1_048_576  # of all other tables
_TRIES = 3
_STEPS = 2  # versions that merging makes


def compact(name: str, *, dry_run: bool, older_than: float, progress: Progress) -> CompactReport:
    """Merge the pieces of all tables, remove old versions, bring the indexes up to date; see `Library.compact`.

    older_than: seconds since a version was replaced, after which it goes.
    """
    started, before = time.perf_counter(), size(name)
    pieces = left = versions = won = 0
    with translated(name), contextlib.closing(connect(name, readonly=dry_run)) as db:
        tables: Any = db
        for table in tables.tables():
            progress.doing(f"merging the pieces of {table}")
            held, fewer = _merged(tables, table, dry_run)
            pieces, left = pieces + held, left + fewer
        if not dry_run:
            progress.doing("bringing the indexes up to date")
            build(tables)
        for table in tables.tables():
            progress.doing(f"removing old versions of {table}")
            count, freed = _cleaned(tables, table, dry_run, older_than)
            versions, won = versions + count, won + freed
    progress.doing("")
    return CompactReport(
        before=before, after=max(0, before - won) if dry_run else size(name), pieces=pieces, left=left,
        versions=versions, dry_run=dry_run, seconds=time.perf_counter() - started,
    )  # fmt: skip


def _merged(db: Tables, table: str, dry_run: bool) -> tuple[int, int]:
    """How many pieces a table had, and has now, or would have. One that others write all the time stays as it is."""
    held = 0
    for again in range(_TRIES):
        if again:  # what lies beyond the named version is undone for good: pieces are not merged across that
            with transaction(db):
                db.publish(table, db.dataset(table))
        seen = db.dataset(table)
        held = len(seen.get_fragments())
        tasks = Compaction.plan(seen, {"target_rows_per_fragment": _ROWS.get(table, _MORE)}).tasks
        if not tasks or dry_run:
            return held, held - sum(len(task.fragments) - 1 for task in tasks)
        done = [task.execute(seen) for task in tasks]
        try:
            with transaction(db):
                now = db.dataset(table)
                version, rows = now.version, now.count_rows()
                Compaction.commit(now, done)
                if now.version <= version + _STEPS and now.count_rows() == rows:  # else who lost its lease wrote, too
                    db.publish(table, now)
                    return held, len(now.get_fragments())
        except (OSError, RuntimeError) as exc:
            if not beaten(db.place, exc):
                raise
    return held, held


def _cleaned(db: Tables, table: str, dry_run: bool, older_than: float) -> tuple[int, int]:
    """How many versions of a table were removed, or would be, and their bytes.

    Of those before the one that the head names, which is not always the latest, and those alone that were replaced so
    long ago: a version that has been the current one for a year is read until the moment when another takes its place.
    """
    seen, until = db.dataset(table), time.time() - older_than
    versions = sorted((each["version"], each["timestamp"].timestamp()) for each in seen.versions())
    old = [
        version for (version, _), (after, replaced) in pairwise(versions) if after <= seen.version and replaced < until
    ]
    if not old:
        return 0, 0
    if dry_run:
        stats = seen.explain_cleanup_old_versions(versions=old, error_if_tagged_old_versions=False).stats
    else:
        stats = seen.cleanup_old_versions(versions=old, error_if_tagged_old_versions=False)
    return stats.old_versions, stats.bytes_removed
