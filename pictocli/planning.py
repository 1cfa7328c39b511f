"""Plans what a file needs: which of its pages must be decoded, and which are known by their bytes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from pictocli.candidates import Candidate, IndexOptions
from pictocli.decode import Inspected
from pictocli.pipeline import DEFAULT_DPI
from pictocli.records import Skipped
from pictocli.scan import LATEST
from pictocli.sqlite import FileRow, SqliteStore
from pictocli.steady import Stamp

__all__ = ["Planner", "Work"]


@dataclass(slots=True)
class Work:
    """A file on its way through. thumbnails: whether they are asked for, or were kept of it so far. stamp: as it was
    inspected. peak: bytes that decoding a page of it takes at most.

    linked: page → content that is there; stale: page → content that lacks something.

    left: pages still on their way; written, refused: what became of the others. unsure: one of these could not be read
    today, so the file stays unfinished.
    """

    candidate: Candidate
    file: FileRow
    moved: bool
    thumbnails: bool
    stamp: Stamp
    peak: int
    linked: dict[int, int]
    stale: dict[int, int]
    left: int
    written: list[int] = field(default_factory=list)
    refused: list[Skipped] = field(default_factory=list)
    unsure: bool = False


class Planner:
    """Looks each file up by its bytes."""

    def __init__(self, store: SqliteStore, options: IndexOptions) -> None:
        self.store, self.options = store, options
        self._settled: set[bytes] = set()  # hashes of which no file is gone: ten thousand copies are looked at once

    def work(self, candidate: Candidate, what: Inspected) -> Work:
        """What a file needs, after one that has moved has been given its new place."""
        known, dpi, pages = candidate.known, self.dpi(candidate, what), what.pages or (0,)
        size, mtime_ns = what.stamp.size, min(what.stamp.mtime_ns, LATEST)  # of these bytes: the walk was earlier
        file = FileRow(
            candidate.folder_id, candidate.found.name, what.kind, size, mtime_ns, what.digest, len(pages), dpi
        )
        moved = known is None and self._move(file)
        thumbnails = self.options.thumbnails or (
            known is not None and self.store.has_thumbnail(candidate.folder_id, file.name)
        )
        linked: dict[int, int] = {}
        stale: dict[int, int] = {}
        for (page, page_dpi), (content_id, embedded, thumbnail) in self.store.contents(what.digest).items():
            if page_dpi == dpi and page in pages and embedded:
                whole = (thumbnail or not thumbnails) and not self.options.force
                (linked if whole else stale)[page] = content_id
        peak, left = what.peak_at(dpi), len(pages) - len(linked)
        return Work(candidate, file, moved, thumbnails, what.stamp, peak, linked, stale, left)

    def dpi(self, candidate: Candidate, what: Inspected) -> int:
        if what.kind != "pdf":
            return 0
        return self.options.pdf_dpi or (candidate.known.dpi if candidate.known else 0) or DEFAULT_DPI

    def _move(self, file: FileRow) -> bool:
        """Whether `file` is one that lay elsewhere: the same bytes, the old path gone, its root still there."""
        assert file.hash is not None
        if file.hash in self._settled:
            return False
        same = self.store.files_with(file.hash)
        for file_id, path, root in same:
            if not os.path.lexists(path) and os.path.isdir(root):
                self.store.move(file_id, file)
                return True
        if same:
            self._settled.add(file.hash)
        return False
