"""Plans what a file needs: which of its pages must be decoded, and which are known by their bytes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from pictocli.candidates import Candidate, IndexOptions
from pictocli.decode import DRAFT, Inspected
from pictocli.inputs import Seen, pages_asked_for, seen_in
from pictocli.links import Links, asked_width
from pictocli.pdfs import Pages
from pictocli.pipeline import DEFAULT_DPI
from pictocli.records import Skipped
from pictocli.scan import LATEST
from pictocli.sizes import THUMBNAIL_WIDTH
from pictocli.sqlite import FileRow, SqliteStore
from pictocli.steady import Stamp

__all__ = ["Planner", "Work"]


@dataclass(slots=True)
class Work:
    """A file on its way through. thumbnails: whether they are asked for, or were kept of it so far. stamp: as it was
    inspected. peak: bytes that decoding a page of it takes at most.

    pages: those that are wanted. linked: page → content that is there; stale: page → content that lacks something.
    before: digest → what the model made of the pages that the file had, of which storing others drops some.

    left: pages still on their way; written, refused: what became of the others. unsure: one of these could not be read
    today, so the file stays unfinished.
    """

    candidate: Candidate
    file: FileRow
    moved: bool
    thumbnails: bool
    stamp: Stamp
    peak: int
    pages: tuple[int, ...]
    before: dict[bytes, Seen]
    linked: dict[int, int]
    stale: dict[int, int]
    left: int
    written: list[int] = field(default_factory=list)
    refused: list[Skipped] = field(default_factory=list)
    unsure: bool = False

    @property
    def key(self) -> tuple[bytes | None, int, tuple[int, ...]]:
        """What other files on their way must share to wait for this one: bytes, resolution and pages."""
        return self.file.hash, self.file.dpi, self.pages


class Planner:
    """Looks each file up by its bytes."""

    def __init__(self, store: SqliteStore, options: IndexOptions) -> None:
        self.store, self.options = store, options
        self._links = Links(store.db)
        self._asked = asked_width(store, options.thumbnail_width)
        self.thumbnail_width = self._asked or THUMBNAIL_WIDTH
        self._settled: set[bytes] = set()  # hashes of which no file is gone: ten thousand copies are looked at once

    def work(self, candidate: Candidate, what: Inspected, wanted: Pages | None = None) -> Work:
        """What a file needs, after one that has moved has been given its new place. wanted: of a PDF, None for all."""
        known, dpi, pages = candidate.known, self.dpi(candidate, what), what.pages or (0,)
        size, mtime_ns = what.stamp.size, min(what.stamp.mtime_ns, LATEST)  # of these bytes: the walk was earlier
        file = FileRow(
            candidate.folder_id, candidate.found.name, what.kind, size, mtime_ns, what.digest, what.count, dpi,
            wanted=str(wanted) if wanted and what.kind == "pdf" else None,
            validator=None if candidate.spooled is None else candidate.spooled.validator,
        )  # fmt: skip
        held = self.store.holds(what.digest)  # of most files nothing is: one look, where there were several
        moved = held and known is None and candidate.url is None and self._move(file)
        if moved and what.kind == "pdf":  # what was wanted of it where it lay still is
            kept = pages_asked_for(self.store.db, file.folder_id, file.name)
            wanted = Pages.parse(kept) | (wanted or Pages(())) if kept else None
            file = replace(file, wanted=str(wanted) if wanted else None)
            pages = wanted.within(what.count) if wanted else tuple(range(1, what.count + 1))
        thumbnails = self.options.thumbnails or (
            known is not None and self.store.has_thumbnail(candidate.folder_id, file.name)
        )
        linked: dict[int, int] = {}
        stale: dict[int, int] = {}
        contents = self.store.contents(what.digest) if held else {}
        for (page, page_dpi), (content_id, embedded, thumbnail) in contents.items():
            if page_dpi == dpi and page in pages and embedded:
                whole = not thumbnails or (thumbnail and self._fits(content_id))
                whole = whole and not self.options.force
                (linked if whole else stale)[page] = content_id
        left, peak = len(pages) - len(linked), what.peak_at(dpi)
        if thumbnails and self.thumbnail_width > DRAFT:  # decoded at a larger scale than the peak is told for
            peak = int(peak * (self.thumbnail_width / DRAFT) ** 2)
        changed = known is not None and left and not self.options.force
        before = seen_in(self.store.db, candidate.folder_id, file.name) if changed else {}
        return Work(candidate, file, moved, thumbnails, what.stamp, peak, pages, before, linked, stale, left)

    def _fits(self, content_id: int) -> bool:
        """Whether a thumbnail is as wide as is asked for; where no width ever was, any will do."""
        return not self.options.thumbnails or self._asked is None or self._links.fits(content_id, self._asked)

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
