"""Says which files of a folder need work, from their stat alone: no file is opened here."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pictocli.downloads import Fetched
from pictocli.inputs import pages_held
from pictocli.kinds import LATE_SUFFIXES
from pictocli.links import Links, asked_width
from pictocli.objects import objects
from pictocli.pdfs import LOCKED, Opening, Pages
from pictocli.protocols import Progress
from pictocli.records import IndexReport, Skipped
from pictocli.scan import LATEST, Found, Rules, walk
from pictocli.sqlite import KnownFile, SqliteStore
from pictocli.urls import is_url, spelled, stored
from pictocli.wanted import IndexOptions, Target

__all__ = ["Candidate", "Candidates", "IndexOptions", "Pending", "Target"]


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
    """A file that is new, changed, or lacks something. path: in full, or its URL. named: the user named this very file.

    validator: by which its server may say that it is unchanged, "" when it must come. spooled: its bytes, fetched.
    """

    root: str
    path: str
    folder_id: int
    found: Found
    known: KnownFile | None
    named: bool = False
    validator: str = ""
    spooled: Fetched | None = None

    @property
    def url(self) -> str | None:
        """Where its bytes must be fetched from, None for a file of this machine."""
        return self.path if is_url(self.root) else None

    @property
    def local(self) -> str:
        """Where its bytes can be read."""
        return self.path if self.spooled is None else self.spooled.path

    @property
    def size(self) -> int:
        """Bytes that lie here because they were fetched."""
        return 0 if self.spooled is None else self.spooled.here

    def release(self) -> None:
        """Its bytes are needed no more."""
        if self.spooled is not None:
            self.spooled.release()


class Candidates:
    """Finds candidates, and counts in `report` the files that are none. count: of those found so far."""

    def __init__(self, store: SqliteStore, options: IndexOptions, report: IndexReport, progress: Progress) -> None:
        self.store, self.options, self.report, self.progress = store, options, report, progress
        self.count = 0
        self._width = asked_width(store, options.thumbnail_width)

    def pending(self, target: Target) -> Iterator[Pending]:
        """The folders of one root where files need work, in the order of their paths."""
        for folder, files, etags in self._folders(target):
            here = os.path.join(target.root, folder, "")
            never = {path.removeprefix(here) for path in self.options.never}
            files = [found for found in files if found.name not in never]
            if not files:
                continue
            folder_id = self._folder(target, folder)
            work = self._unsettled(target, here, folder_id, files, etags)
            if work:
                self.count += len(work)
                self.progress.found(self.count)
                names, sizes, times = zip(*work, strict=True)
                yield Pending(target, folder, folder_id, "/".join(names), array("q", sizes), array("q", times))

    def of(self, pending: Pending) -> Iterator[Candidate]:
        """The files of one folder that need work, in the order of their names."""
        here = os.path.join(pending.target.root, pending.folder, "")
        known, named = self.store.known(pending.folder_id), _is_named(pending.target)
        etags, bare = dict[str, str](), set[str]()
        if pending.target.named is not None and is_url(here):
            etags, bare = self.store.validators(pending.folder_id), self._bare(pending.folder_id)
        for found in map(Found, pending.names.split("/"), pending.sizes, pending.times):
            held, path = known.get(found.name), spelled(here + found.name)
            asked = held is not None and found.name in etags and not self._lacks(held, held.size is None, found, bare)
            yield Candidate(
                pending.target.root, path, pending.folder_id, found, held, named, etags[found.name] if asked else ""
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
        metadata, named, fields = self.options.metadata, self.options.named, None
        if metadata is not None:
            fields = metadata.of(candidate.root, candidate.path)
        if named is not None:
            passed = named.fields(stored(candidate.path) if candidate.url else candidate.path)
            fields = fields if passed is None else {**(fields or {}), **passed}
        if fields is not None and not self.options.dry_run:
            changed = self.store.set_metadata(candidate.folder_id, candidate.found.name, fields)
            self.report.described += changed

    def settled(self, candidate: Candidate) -> None:
        """Count a known file that needs no work."""
        assert candidate.known is not None
        held = candidate.known
        reason = held.reason or ("not an image" if candidate.named and held.kind == "other" else None)
        if reason is not None:
            self.report.skipped.append(Skipped(candidate.path, reason))
        else:
            self.report.unchanged += held.kind != "other"
        self.pass_metadata(candidate)

    def _folders(self, target: Target) -> Iterator[tuple[str, Sequence[Found], Mapping[str, str] | None]]:
        """Folders with their files, and with the ETags of these where a listing tells them."""
        skip = self.report.skipped.append
        if target.named is not None:
            for path, names in target.named.below(target.root):
                look = _unseen if is_url(path) else self._looked_at
                yield path[len(target.root.rstrip("/")) + 1 :], look(path, names), None
        elif is_url(target.root):
            assert self.options.remote is not None
            yield from objects(self.options.remote, target.root, target.folder, self.options.rules, skip)
        else:
            rules = self.options.rules if target.only is None else Rules(hidden=True, follow=True)
            for folder, files in walk(target.root, rules, skip, target.folder):
                if target.only is None:
                    yield folder, files, None
                elif folder == target.folder:
                    yield folder, [found for found in files if found.name in target.only], None
                    return

    def _looked_at(self, folder: str, names: Sequence[str]) -> list[Found]:
        """Those of the named files that are there."""
        found = []
        for name in names:
            try:
                seen = os.stat(os.path.join(folder, name))
            except OSError as exc:
                reason = "no such file" if isinstance(exc, FileNotFoundError) else (exc.strerror or "").lower()
                self.report.skipped.append(Skipped(os.path.join(folder, name), reason))
                continue
            if stat.S_ISREG(seen.st_mode):
                found.append(Found(name, seen.st_size, min(seen.st_mtime_ns, LATEST)))
            else:
                self.report.skipped.append(Skipped(os.path.join(folder, name), "not a regular file"))
        return found

    def _bare(self, folder_id: int) -> set[str]:
        """Files without a thumbnail, or with one of another width, where these are asked for."""
        if not self.options.thumbnails:
            return set()
        bare = self.store.without_thumbnail(folder_id)
        return bare if self._width is None else bare | Links(self.store.db).misfits(folder_id, self._width)

    def _folder(self, target: Target, folder: str) -> int:
        """The folder's id, made unless this is a dry run; -1, which no folder has, when it is unknown."""
        if target.root_id is None:
            return -1
        return self.store.folder_id(target.root_id, folder, create=not self.options.dry_run) or -1

    def _unsettled(
        self, target: Target, here: str, folder_id: int, files: Sequence[Found], etags: Mapping[str, str] | None
    ) -> list[Found]:
        """Those of a folder's files that need work; the others are counted. here: the folder's path, with its "/".

        etags: those of a listing. A URL that was named alone is always asked for.
        """
        known, named, remote = self.store.known(folder_id), _is_named(target), is_url(here)
        held_etags = self.store.validators(folder_id) if remote else {}
        bare, work = self._bare(folder_id), []
        passing = self.options.metadata is not None or (self.options.named is not None and self.options.named.described)
        for found in files:
            held = known.get(found.name)
            if held is None or (remote and etags is None):
                work.append(found)
                self.report.asked += held is not None and found.name in held_etags
                continue
            changed = held.size != found.size or held.mtime_ns != found.mtime_ns
            if etags is not None and etags[found.name]:
                changed = held.size != found.size or etags[found.name] != held_etags.get(found.name)
            if self._lacks(held, changed, found, bare):
                work.append(found)
            elif held.reason is None and held.kind != "other" and not passing:
                self.report.unchanged += 1  # a million of these are counted, and nothing is made for them
            else:
                self.settled(Candidate(target.root, spelled(here + found.name), folder_id, found, held, named))
        return work

    def _lacks(self, held: KnownFile, changed: bool, found: Found, bare: set[str]) -> bool:
        """Whether a file has changed, or something that is asked for is not stored."""
        options = self.options
        if options.force or changed or found.name in bare:
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


def _is_named(target: Target) -> bool:
    return target.only is not None or target.named is not None


def _unseen(_: str, names: Sequence[str]) -> list[Found]:
    """Files of which nothing is known before they are asked for."""
    return [Found(name, 0, 0) for name in names]
