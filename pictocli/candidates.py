"""Says which files of a folder need work, from their stat alone: no file is opened here."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pictocli.inputs import pages_held
from pictocli.kinds import LATE_SUFFIXES, Limits
from pictocli.links import Links, asked_width
from pictocli.metadata import Metadata
from pictocli.pdfs import LOCKED, Opening, Pages
from pictocli.protocols import Progress
from pictocli.records import IndexReport, Skipped
from pictocli.scan import Found, Rules, walk
from pictocli.sqlite import KnownFile, SqliteStore

__all__ = ["Candidate", "Candidates", "IndexOptions", "Pending", "Target"]


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """What the user asked for; see `picto index --help`. pdf_dpi None: 72 for new files, as they are for known ones.

    thumbnail_width: px; None is what the library was last asked for, else 640.
    never: full paths that are no pictures whatever they hold, such as the database itself.
    """

    batch_size: int | None = None
    workers: int = 0
    rules: Rules = field(default_factory=Rules)
    limits: Limits = field(default_factory=Limits)
    pdf_dpi: int | None = None
    pdf_pages: Pages | None = None
    pdf_passwords: tuple[str, ...] = field(default=(), repr=False)
    thumbnails: bool = False
    thumbnail_width: int | None = None
    metadata: Metadata | None = None
    fields: Sequence[Sequence[str]] = ()
    force: bool = False
    dry_run: bool = False
    never: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Target:
    """A root to index, or, with `only`, just the files so named in its folder `folder`.

    root_id: None when the root is new and this is a dry run.
    """

    root_id: int | None
    root: str
    folder: str = ""
    only: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """The files of one folder that need work, in 30 bytes each: a library's worth of them waits while it is indexed.

    names: joined by "/", which no name holds. sizes, times: theirs, as in `Found`.
    """

    target: Target
    folder: str
    folder_id: int
    names: str
    sizes: array[int]
    times: array[int]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that is new, changed, or lacks something. path: in full. named: the user named this very file."""

    root: str
    path: str
    folder_id: int
    found: Found
    known: KnownFile | None
    named: bool = False


class Candidates:
    """Finds candidates, and counts in `report` the files that are none. count: of those found so far."""

    def __init__(self, store: SqliteStore, options: IndexOptions, report: IndexReport, progress: Progress) -> None:
        self.store, self.options, self.report, self.progress = store, options, report, progress
        self.count = 0
        self._width = asked_width(store, options.thumbnail_width)

    def pending(self, target: Target) -> Iterator[Pending]:
        """The folders of one root where files need work, in the order of their paths."""
        rules = self.options.rules if target.only is None else Rules(hidden=True, follow=True)
        for folder, files in walk(target.root, rules, self.report.skipped.append, target.folder):
            if target.only is not None:
                if folder != target.folder:
                    return
                files = [found for found in files if found.name in target.only]
            here = os.path.join(target.root, folder, "")
            never = {path.removeprefix(here) for path in self.options.never}
            files = [found for found in files if found.name not in never]
            if not files:
                continue
            folder_id = self._folder(target, folder)
            work = self._unsettled(target, here, folder_id, files)
            if work:
                self.count += len(work)
                self.progress.found(self.count)
                names, sizes, times = zip(*work, strict=True)
                yield Pending(target, folder, folder_id, "/".join(names), array("q", sizes), array("q", times))

    def of(self, pending: Pending) -> Iterator[Candidate]:
        """The files of one folder that need work, in the order of their names."""
        here = os.path.join(pending.target.root, pending.folder, "")
        known, named = self.store.known(pending.folder_id), pending.target.only is not None
        for found in map(Found, pending.names.split("/"), pending.sizes, pending.times):
            yield Candidate(
                pending.target.root, here + found.name, pending.folder_id, found, known.get(found.name), named
            )

    def opening(self, candidate: Candidate) -> Opening:
        """How a file is to be opened, if it is a PDF: with the pages that are asked for, and those that it has."""
        return Opening(self._pages(candidate), self.options.pdf_passwords)

    def _pages(self, candidate: Candidate) -> Pages | None:
        asked, known = self.options.pdf_pages, candidate.known
        if known is None or known.kind != "pdf":
            return asked
        if known.pages is not None:
            kept = Pages.parse(known.pages)
            return kept | asked if asked else kept
        if known.reason is not None:
            return asked
        if asked and known.size is None:  # all were wanted, and the run was stopped: perhaps that is why fewer are now
            return asked | Pages.numbers(pages_held(self.store.db, candidate.folder_id, candidate.found.name))
        return None

    def pass_metadata(self, candidate: Candidate) -> None:
        """Store the fields of the metadata file for a file's images, if it names any."""
        metadata = self.options.metadata
        if metadata is None:
            return
        fields: Mapping[str, Any] | None = metadata.of(candidate.root, candidate.path)
        if fields is not None and not self.options.dry_run:
            changed = self.store.set_metadata(candidate.folder_id, candidate.found.name, fields)
            self.report.described += changed

    def _folder(self, target: Target, folder: str) -> int:
        """The folder's id, made unless this is a dry run; -1, which no folder has, when it is unknown."""
        if target.root_id is None:
            return -1
        return self.store.folder_id(target.root_id, folder, create=not self.options.dry_run) or -1

    def _unsettled(self, target: Target, here: str, folder_id: int, files: Sequence[Found]) -> list[Found]:
        """Those of a folder's files that need work; the others are counted. here: the folder's path, with its "/"."""
        known = self.store.known(folder_id)
        bare = self.store.without_thumbnail(folder_id) if self.options.thumbnails else set()
        if self.options.thumbnails and self._width is not None:
            bare |= Links(self.store.db).misfits(folder_id, self._width)
        work, named = [], target.only is not None
        for found in files:
            held = known.get(found.name)
            if held is None or self._lacks(held, found, bare):
                work.append(found)
                continue
            reason = held.reason or ("not an image" if named and held.kind == "other" else None)
            if reason is not None:
                self.report.skipped.append(Skipped(here + found.name, reason))
            else:
                self.report.unchanged += held.kind != "other"
            if self.options.metadata is not None:
                self.pass_metadata(Candidate(target.root, here + found.name, folder_id, found, held))
        return work

    def _lacks(self, held: KnownFile, found: Found, bare: set[str]) -> bool:
        """Whether a file has changed, or something that is asked for is not stored."""
        options = self.options
        if options.force or held.size != found.size or held.mtime_ns != found.mtime_ns or found.name in bare:
            return True
        if held.reason is not None and self._allowed(held.reason):
            return True
        if held.kind == "other" and held.reason is None and os.path.splitext(found.name)[1].lower() in LATE_SUFFIXES:
            return True  # now it is read, or refused with a reason
        if held.kind != "pdf" or held.reason is not None:
            return False
        if options.pdf_pages and held.pages is not None:
            kept = Pages.parse(held.pages)
            if kept | options.pdf_pages != kept:
                return True
        return options.pdf_dpi is not None and held.dpi != options.pdf_dpi

    def _allowed(self, reason: str) -> bool:
        """Whether a file that was refused for `reason` may pass with what is asked for now."""
        options = self.options
        if reason in LOCKED:
            return bool(options.pdf_passwords)
        if options.pdf_pages and "not --pdf-pages " in reason:
            return not reason.endswith(f" {options.pdf_pages}")
        return options.limits.allow(reason)
