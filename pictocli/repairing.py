"""`picto repair`: makes anew what is derived, removes what refers to nothing, and has `index` redo what is gone."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from dataclasses import replace

import apsw

from pictocli.brain import put_labels, taxonomy_of
from pictocli.checking import BROKEN, UNREAD, check, check_file
from pictocli.claims import claimed
from pictocli.damage import Damage, RepairReport
from pictocli.databases import require_file
from pictocli.errors import DamagedError
from pictocli.fields import Fields
from pictocli.mending import mend, reindex
from pictocli.protocols import Database, Progress
from pictocli.recall import check_when_due
from pictocli.salvage import finish_swap, opened, salvage, swap
from pictocli.schema import connect, translated
from pictocli.sqlite import SqliteStore

__all__ = ["repair"]


def repair(path: str, progress: Progress, *, dry_run: bool) -> RepairReport:
    """Repair the database at `path`; see `Library.repair`."""
    started = time.perf_counter()
    require_file(path, "repair", "picto info --check looks for damage in any library")
    with nullcontext() if dry_run else claimed(path):
        if not dry_run and finish_swap(path):
            progress.say(f"An earlier repair was stopped at its last step: {path} is now what it had made")
        found = _found(path, progress)
        report = RepairReport(found=found, left=found, dry_run=dry_run)
        if found and not dry_run:
            report = _repaired(path, found, progress)
    return replace(report, seconds=time.perf_counter() - started)


def _found(path: str, progress: Progress) -> list[Damage]:
    """What is wrong, also where the file cannot be opened for what it is."""
    try:
        return check_file(path, progress)
    except DamagedError as exc:
        return [Damage(what=UNREAD, count=1, example=str(exc), derived=False, remedy="picto repair")]


def _repaired(path: str, found: list[Damage], progress: Progress) -> RepairReport:
    """Mended in its place, where SQLite can read all of it; else what can be read is taken to a new file."""
    if not any(damage.what in BROKEN for damage in found):
        with translated(path):
            db = connect(path)
            try:
                Fields(db).drop()  # over JSON that is none, no row can be changed
                reindex(db)
                return _finished(db, RepairReport(found=found), progress, lossy=False)
            except (apsw.CorruptError, apsw.ConstraintError) as exc:
                progress.say(f"It cannot be mended in its place: {exc}")
            finally:
                db.close()
    part = f"{path}.repairing"
    with opened(path) as damaged:
        saved = salvage(damaged, path, part, progress)
        with translated(part):
            db = connect(part, trusting=True)
            try:
                report = _finished(db, RepairReport(found=found, saved=saved), progress, lossy=True)
            finally:
                db.close()
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        return replace(report, kept=swap(path, part))


def _finished(db: Database, report: RepairReport, progress: Progress, *, lossy: bool) -> RepairReport:
    """Mend one database, measure anew what was measured of it, and look at it again."""
    progress.doing("repairing")
    store = SqliteStore(db)
    removed, unfinished = mend(db, lossy=lossy)
    Fields(db).restore()
    store.set_meta("taxonomy", None)
    put_labels(store, taxonomy_of(store))
    if store.spec() is not None:
        store.build_codes(store.vector("mean"))
        store.measure_pairs()
        check_when_due(db, progress)
    progress.doing("")
    return replace(report, removed=removed, unfinished=unfinished, left=check(db, progress))
