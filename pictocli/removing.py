"""Removes what a person names from the library: images, pages, files, folders, datasets. The files stay."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pictocli.databases import translated
from pictocli.display import counted
from pictocli.errors import NotFoundError, ValidationError
from pictocli.forgetting import Forgetting, Place
from pictocli.keeping import as_forgotten, finish, forget, opened
from pictocli.protocols import Progress
from pictocli.queries import Queries
from pictocli.records import Scope
from pictocli.reports import Forgotten, RemovalReport
from pictocli.urls import is_url, is_web, normal, stored

__all__ = ["remove"]


def remove(
    path: str, progress: Progress, images: Iterable[str | int] = (), *, dataset: str | None = None,
    dry_run: bool = False, yes: bool = False,
) -> RemovalReport:  # fmt: skip
    """Remove images, files, folders or a dataset from the library; see `Library.remove`."""
    started = time.perf_counter()
    with translated(path), opened(path, dry_run) as db:
        store = Forgetting(db)
        files: dict[int, Forgotten] = {}
        pages: dict[int, tuple[int, Forgotten]] = {}
        roots, broad = set[int](), dataset is not None
        if dataset is not None:
            _take(store, files, store.places(Queries(db).folders(Scope(dataset))))
            roots |= store.roots_in(dataset)
        for image in images:
            broad |= _take_named(store, image, files, pages, roots)
        alone = {image_id: page for image_id, (file_id, page) in pages.items() if file_id not in files}
        report = RemovalReport(
            files=[*files.values(), *alone.values()], broad=broad, dry_run=dry_run,
            back=sum(is_url(file.path) or os.path.lexists(file.path) for file in files.values()),
        )  # fmt: skip
        if broad and report.images > 1 and not (yes or dry_run):
            raise ValidationError(
                f"{counted(report.images, 'image')} would go", "--yes removes them, --dry-run lists them"
            )
        if not dry_run:
            store.forget_pages(list(alone))
            forget(store, list(files), progress)
            store.forget_roots(sorted(roots))
            store.drop_empty_folders([root_id for root_id, _ in store.roots()])
            finish(store)
    return replace(report, seconds=time.perf_counter() - started)


def _take(store: Forgetting, files: dict[int, Forgotten], places: Sequence[Place]) -> None:
    """Add every file of these folders."""
    for place in places:
        files.update({file.file_id: as_forgotten(place, file) for file in store.files(place.folder_id)})


def _take_named(
    store: Forgetting, image: str | int, files: dict[int, Forgotten], pages: dict[int, tuple[int, Forgotten]],
    roots: set[int],
) -> bool:  # fmt: skip
    """Add what one argument of `picto rm` names; whether that is a folder. Raises NotFoundError, ValidationError."""
    text = f"id:{image}" if isinstance(image, int) else image
    queries = Queries(store.db)
    image_id = _id(text)
    if image_id is not None:
        if not queries.by_id(image_id):
            raise NotFoundError(f"no image has the id {image_id}", "picto tags prints ids with --format json")
        _take_page(store, image_id, files, pages)
        return False
    stem, _, page = text.rpartition("#page=")
    paged = bool(stem) and page.isascii() and page.isdigit() and len(page) < 10
    for full in () if paged and is_web(text) else _spellings(text):
        if (known := store.lookup(full)) is not None:
            (place,) = store.places([known.folder_id])
            files[known.file_id] = as_forgotten(place, known)
            return False
        if places := store.below(full):
            _take(store, files, places)
            roots |= {root_id for root_id, root in store.roots() if (root + "/").startswith(full.rstrip("/") + "/")}
            return True
    if paged:
        for full in _spellings(stem):
            if (found := queries.by_path(full, int(page))) is not None:
                _take_page(store, found, files, pages)
                return False
    raise NotFoundError(f"not in the library: {text}", "nothing was removed; picto info names the folders it holds")


def _spellings(text: str) -> Iterable[str]:
    """The full paths that a text may mean."""
    return [stored(normal(text))] if is_url(text) else dict.fromkeys((os.path.abspath(text), os.path.realpath(text)))


def _take_page(
    store: Forgetting, image_id: int, files: dict[int, Forgotten], pages: dict[int, tuple[int, Forgotten]]
) -> None:
    """Add one image: the whole of a file that holds no other."""
    known, page = store.file_of(image_id)
    (place,) = store.places([known.folder_id])
    if known.images == 1:
        files[known.file_id] = as_forgotten(place, known)
    else:
        pages[image_id] = known.file_id, as_forgotten(place, known, page)


def _id(text: str) -> int | None:
    """The number of id:123."""
    number = text.removeprefix("id:")
    if number == text:
        return None
    if not number.isascii() or not number.isdigit() or not 0 < int(number[:20]) < 2**63:
        raise ValidationError(f"{text} is not an image id", "ids are whole numbers: id:123")
    return int(number[:20])
