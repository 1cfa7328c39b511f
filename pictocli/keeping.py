"""Keeping house: forgets what is gone, follows a folder that moved, makes the file small. No file of the
user's is ever touched here."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence

from pictocli.databases import claimed, connect, require_file, translated
from pictocli.display import counted, size_of
from pictocli.errors import NotFoundError, PictoError, StoreError, ValidationError
from pictocli.forgetting import Forgetting, Known, Place, rebuild
from pictocli.opening import claimed_library
from pictocli.protocols import Database, Progress
from pictocli.queries import Queries
from pictocli.records import Scope, Skipped
from pictocli.remote import exists
from pictocli.reports import Forgotten, MoveReport, RemovalReport, VacuumReport
from pictocli.urls import is_url, joined, normal, stored

__all__ = [
    "absent",
    "as_forgotten",
    "finish",
    "forget",
    "is_gone",
    "move_root",
    "opened",
    "prune",
    "too_many",
    "vacuum",
]

_SHARE = 5  # more than a fifth of all files missing looks like a disk that is not mounted
_LOOKED = 100  # files that mv-root looks for at the new place


def too_many(gone: int, known: int) -> bool:
    """Whether so many files of so many look like a disk that is not there, and not like files that were deleted."""
    return gone * _SHARE > known


def is_gone(path: str) -> bool:
    """Whether there is nothing at `path`. Raises OSError when nobody can say: no permission, a share that fails."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    return False


def absent(root: str) -> str | None:
    """Why nothing can be said of the files of a root, such as that its disk is not mounted; None when it is there."""
    if is_url(root):
        return "not a folder of this machine: --remote asks its server"
    try:
        with os.scandir(root) as entries:
            return "an empty folder: is its disk mounted?" if next(entries, None) is None else None
    except (FileNotFoundError, NotADirectoryError):
        return "not there: is its disk mounted? picto mv-root follows a folder that moved"
    except OSError as exc:
        return (exc.strerror or "cannot be read").lower()


def prune(
    path: str, progress: Progress, *, dataset: str | None = None, folder: str | None = None, dry_run: bool = False,
    yes: bool = False, remote: bool = False,
) -> RemovalReport:  # fmt: skip
    """Forget the files that are gone; see `Library.prune`."""
    started = time.perf_counter()
    with translated(path), opened(path, dry_run) as db:
        store = Forgetting(db)
        places = store.places(Queries(db).folders(Scope(dataset, folder)))
        gone, known, passed = _looked_for(store, places, progress, remote)
        progress.doing("")
        missing = sum(file.images > 0 for _, file in gone)
        if too_many(missing, known) and not (yes or dry_run):
            raise PictoError(
                f"{missing:,} of {counted(known, 'file')} are missing, more than a fifth: nothing was forgotten",
                "is a disk unmounted, or a folder moved (picto mv-root)? --dry-run lists them, --yes forgets them",
            )
        files = [as_forgotten(place, file) for place, file in gone]
        if not dry_run:
            forget(store, [file.file_id for _, file in gone], progress)
            store.drop_empty_folders(list({place.root_id for place in places}))
            finish(store)
    return RemovalReport(
        files=files, known=known, passed=passed, dry_run=dry_run, seconds=time.perf_counter() - started
    )


def _looked_for(
    store: Forgetting, places: Sequence[Place], progress: Progress, remote: bool
) -> tuple[list[tuple[Place, Known]], int, list[Skipped]]:
    """The files of these folders that are gone, how many with images were looked for, and what was passed over."""
    gone: list[tuple[Place, Known]] = []
    passed: dict[str, Skipped] = {}
    roots = {place.root for place in places}
    why = {root: None if remote and is_url(root) else absent(root) for root in roots}
    known, told = 0, time.monotonic()
    for place in places:
        if (reason := why[place.root]) is not None:
            if store.count_known([place.root_id]):
                passed.setdefault(place.root, Skipped(place.root, reason))
            continue
        here = os.path.join(place.root, place.folder)
        for file, missing in (_unserved if is_url(here) else _unlisted)(here, store.files(place.folder_id)):
            if isinstance(missing, str):
                passed.setdefault(here, Skipped(here, missing))
                continue
            known += file.images > 0
            if missing:
                gone.append((place, file))
        if time.monotonic() - told > 1:
            told = time.monotonic()
            progress.doing(f"looking for files, {counted(known, 'file')} so far, {len(gone):,} missing")
    return gone, known, list(passed.values())


def _unlisted(here: str, files: Sequence[Known]) -> Iterator[tuple[Known, bool | str]]:
    """Files of a folder, each with whether it is gone, or why nobody can say."""
    try:
        names = set(os.listdir(here))
    except OSError:
        names = set()  # gone, or not to be read: each file is asked for
    for file in files:
        try:
            yield file, file.name not in names and is_gone(os.path.join(here, file.name))
        except OSError as exc:
            yield file, (exc.strerror or "cannot be read").lower()


def _unserved(here: str, files: Sequence[Known]) -> Iterator[tuple[Known, bool | str]]:
    """As `_unlisted`, of objects and web pages, of which their server is asked."""
    there = exists(joined(here, "", file.name) for file in files)
    for file in files:
        answer = there[joined(here, "", file.name)]
        yield file, "its server does not say whether it is there" if answer is None else not answer


def move_root(path: str, old: str, new: str, *, force: bool = False, dry_run: bool = False) -> MoveReport:
    """Tell the library that a root lies elsewhere now; see `Library.move_root`."""
    with translated(path), opened(path, dry_run) as db:
        store = Forgetting(db)
        root_id, root = _root_named(store, old)
        place = stored(normal(new)) if is_url(new) else os.path.realpath(new)
        if not force and not is_url(place) and not os.path.isdir(place):
            raise NotFoundError(f"there is no folder {place}", "--force takes it all the same")
        if place == root:
            raise ValidationError(f"{root} is where the library has it already")
        for other_id, other in store.roots():
            if other_id == root_id:
                continue
            if place == other:
                raise ValidationError(f"{place} is a root of the library already", "picto rm takes it out first")
            if (place + "/").startswith(other.rstrip("/") + "/") or other.startswith(place.rstrip("/") + "/"):
                raise ValidationError(f"{place} and {other}, another root of the library, lie one inside the other")
        looked = list(store.some(root_id, _LOOKED))
        there = _there([joined(place, "", name) for name in looked])
        if looked and not there and not force:
            raise PictoError(
                f"none of {counted(len(looked), 'file')} looked for is in {place}",
                "is it the folder that was indexed, and not one above or below it? --force takes it all the same",
            )
        files = store.count_known([root_id])
        if not dry_run:
            store.move_root(root_id, place)
            db.tidy()
    return MoveReport(old=root, new=place, files=files, looked=len(looked), there=there, dry_run=dry_run)


def _there(paths: Sequence[str]) -> int:
    """How many files, objects or web pages there are."""
    if paths and is_url(paths[0]):
        return sum(answer is True for answer in exists(paths).values())
    return sum(map(os.path.lexists, paths))


def vacuum(path: str, progress: Progress) -> VacuumReport:
    """Rebuild the file without what has been deleted from it; see `Library.vacuum`.

    In place, as one transaction of SQLite's (https://sqlite.org/lang_vacuum.html): stopped at any moment, the file is
    as it was. It takes as much room again, twice: for the new one, and for the log by which it can be undone.
    """
    started = time.perf_counter()
    require_file(path, "vacuum", "picto compact brings room back there")
    connect(path).close()  # tells what is no database, and brings an older one up to date
    beside = os.path.dirname(os.path.realpath(path))
    with translated(path), claimed(path):
        before, free = os.path.getsize(path), shutil.disk_usage(beside).free
        if free < 2 * before:
            needs = f"rebuilding {path} takes up to {size_of(2 * before)}, and {size_of(free)} are free"
            raise StoreError(needs, "free some space and run the same command again")
        progress.doing("rebuilding the database")
        try:
            rebuild(path)
        finally:
            progress.doing("")
        after = os.path.getsize(path)
    return VacuumReport(before=before, after=after, seconds=time.perf_counter() - started)


# -- what these and picto rm share


@contextlib.contextmanager
def opened(path: str, dry_run: bool) -> Iterator[Database]:
    """The database, read-only for a dry run, else claimed as a whole."""
    if not dry_run:
        with claimed_library(path) as db:
            yield db
        return
    db = connect(path, readonly=True)
    try:
        yield db
    finally:
        db.close()


def as_forgotten(place: Place, file: Known, page: int | None = None) -> Forgotten:
    """What is told of a file that goes, or of one page of it."""
    path = joined(place.root, place.folder, file.name)
    alone = page is not None
    if alone:
        path += f"#page={page}"
    return Forgotten(path=path, dataset=place.dataset, folder=place.folder, images=1 if alone else file.images)


def forget(store: Forgetting, file_ids: Sequence[int], progress: Progress) -> None:
    """Remove files, and say how far that is."""
    progress.found(len(file_ids))
    try:
        for count in store.forget(file_ids):
            progress.done(count, 0)
    finally:
        progress.close()


def finish(store: Forgetting) -> None:
    """Measure anew what was measured of a library that has become smaller, and make it one file."""
    store.measure_pairs()
    store.db.tidy()


def _root_named(store: Forgetting, old: str) -> tuple[int, str]:
    """The root at `old`, which may be gone. Raises ValidationError for a folder inside one, NotFoundError."""
    spelled = [stored(normal(old))] * 2 if is_url(old) else [old, os.path.abspath(old), os.path.realpath(old)]
    names = ", ".join(root for _, root in store.roots()[:5])
    for full in spelled:
        for root_id, root in store.roots():
            if root.rstrip("/") == full.rstrip("/"):
                return root_id, root
    for _, root in store.roots():
        if any(full.startswith(root.rstrip("/") + "/") for full in spelled[1:]):
            raise ValidationError(f"{spelled[1]} lies in {root}, and only whole roots move", f"roots: {names}")
    raise NotFoundError(f"{spelled[1]} is no root of the library", f"roots: {names}" if names else None)
