"""`picto move-db`: opens two libraries, copies all rows of the one into the other, and compares what came of it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace

from pictocli.databases import claimed, connect, exists, full, identity, is_file, shown, translated
from pictocli.errors import NotFoundError, ValidationError
from pictocli.joining import other_library
from pictocli.moving import Moving, Origin
from pictocli.protocols import Progress
from pictocli.recall import check_when_due
from pictocli.reports import CopyReport

__all__ = ["copy_library"]


def copy_library(path: str, name: str, progress: Progress, *, dry_run: bool, afresh: bool) -> CopyReport:
    """Copy the library at `path` into a new one of this name; see `Library.copy_to`."""
    started, target = time.perf_counter(), full(name)
    if not exists(path):
        raise NotFoundError(f"there is no database at {shown(path)}")
    there = exists(target)
    if target == path or (there and identity(target) == identity(path)):
        raise ValidationError(f"{shown(target)} is this library itself", "name another one to copy it into")
    if there:  # what is wrong with it is told before the other is read
        _kept(path, target, None, afresh=afresh)
    beside = os.path.dirname(target) if is_file(target) else ""
    with other_library(path, beside if os.path.isdir(beside) else None, progress, "nothing was copied") as theirs:
        origin = Origin(theirs, path)
        state = origin.state(progress)
        report = CopyReport(
            source=shown(path), target=shown(target), images=origin.count("image"), dry_run=dry_run,
            rows=origin.total(),
        )  # fmt: skip
        if dry_run:
            report = replace(report, kept=_kept(path, target, state, afresh=afresh) if there else 0)
        else:
            report = _copied(origin, state, target, report, progress, afresh=afresh)
    return replace(report, seconds=time.perf_counter() - started)


def _kept(path: str, target: str, state: Mapping[str, str] | None, *, afresh: bool) -> int:
    """Rows that a copy which was begun holds already. Raises what `Moving.kept` does."""
    with translated(target):
        db = connect(target, readonly=True, unfinished=True)
        try:
            return Moving(db, target).kept(shown(path), state, afresh=afresh)
        finally:
            db.close()


def _copied(
    origin: Origin, state: Mapping[str, str], target: str, report: CopyReport, progress: Progress, *, afresh: bool
) -> CopyReport:
    """Copy all that is not there yet. Ctrl-C ends it after a batch, and the report says so."""
    with translated(target):
        db = connect(target, create=True, unfinished=True)
        try:
            with claimed(target):
                moving = Moving(db, target)
                report = replace(report, kept=moving.kept(report.source, state, afresh=afresh))
                return _fill(moving, origin, state, report, progress, afresh=afresh)
        finally:
            db.close()


def _fill(
    moving: Moving, origin: Origin, state: Mapping[str, str], report: CopyReport, progress: Progress, *, afresh: bool
) -> CopyReport:
    """Copy, compare, and make what is derived."""
    try:
        progress.found(report.rows)
        progress.done(report.kept, 0)
        moving.begin(origin, state, afresh=afresh)
        for table, rows in moving.copy(origin):
            progress.doing(f"copying {table}")
            progress.done(rows, 0)
        progress.close()
        report = replace(report, compared=moving.compare(origin, state, progress))
        moving.build(progress)
        check_when_due(moving.db, progress)
        moving.finish()
    except KeyboardInterrupt:
        return replace(report, interrupted=True)
    finally:
        progress.close()
    moving.db.tidy()
    return report
