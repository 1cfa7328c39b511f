"""Says which files of a folder need work, from their stat alone: no file is opened here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pictocli.metadata import Metadata
from pictocli.protocols import Progress
from pictocli.records import IndexReport, Skipped
from pictocli.scan import Found, Rules, walk
from pictocli.sqlite import KnownFile, SqliteStore

__all__ = ["Candidate", "Candidates", "IndexOptions", "Target"]


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """What the user asked for; see `picto index --help`. pdf_dpi None: 72 for new files, as they are for known ones.

    never: full paths that are no pictures whatever they hold, such as the database itself.
    """

    batch_size: int = 16
    workers: int = 0
    rules: Rules = field(default_factory=Rules)
    pdf_dpi: int | None = None
    thumbnails: bool = False
    metadata: Metadata | None = None
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
class Candidate:
    """A file that is new, changed, or lacks something. named: the user named this very file."""

    root: str
    folder_id: int
    found: Found
    known: KnownFile | None
    named: bool = False

    @property
    def path(self) -> str:
        """Its full path."""
        return os.path.join(self.root, self.found.folder, self.found.name)


class Candidates:
    """Finds candidates, and counts in `report` the files that are none."""

    def __init__(self, store: SqliteStore, options: IndexOptions, report: IndexReport, progress: Progress) -> None:
        self.store, self.options, self.report, self.progress = store, options, report, progress
        self.count = 0

    def find(self, target: Target) -> Iterator[Candidate]:
        """The files of one root that need work, in the order of their paths."""
        rules = self.options.rules if target.only is None else Rules(hidden=True, follow=True)
        for folder, files in walk(target.root, rules, self.report.skipped.append, target.folder):
            if target.only is not None:
                if folder != target.folder:
                    return
                files = [found for found in files if found.name in target.only]
            if not files:
                continue
            folder_id = self._folder(target, folder)
            known = self.store.known(folder_id)
            bare = self.store.without_thumbnail(folder_id) if self.options.thumbnails else set()
            for found in files:
                candidate = Candidate(target.root, folder_id, found, known.get(found.name), target.only is not None)
                if candidate.path in self.options.never:
                    continue
                if self._settled(candidate, bare):
                    self.pass_metadata(candidate)
                    continue
                self.count += 1
                self.progress.found(self.count)
                yield candidate

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

    def _settled(self, candidate: Candidate, bare: set[str]) -> bool:
        """Whether a file needs no work; counted here if so."""
        known, found, options = candidate.known, candidate.found, self.options
        if options.force or known is None or (known.size, known.mtime_ns) != (found.size, found.mtime_ns):
            return False
        reason = known.reason or ("not an image" if candidate.named and known.kind == "other" else None)
        if reason is not None:
            self.report.skipped.append(Skipped(candidate.path, reason))
            return True
        if options.thumbnails and found.name in bare:
            return False
        if options.pdf_dpi is not None and known.kind == "pdf" and known.dpi != options.pdf_dpi:
            return False
        self.report.unchanged += known.kind != "other"
        return True
