"""Indexing: candidates → inspect → decode → embed → tag → write, batch by batch.

Workers inspect and decode ahead of the model, by windows that bound what is in flight, in number and in bytes; results
are taken in the order of the files, so ids are the same on every run. Only `_flush` writes images, one transaction a
batch. Ctrl-C is `held` while anything is stored or counted, so that the report tells what the database holds.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pictocli.candidates import Candidate, Candidates, IndexOptions, Target
from pictocli.decode import Decoded, Inspected, Recipe, Refused, decode, inspect
from pictocli.errors import ModelError
from pictocli.interrupts import held
from pictocli.protocols import Progress
from pictocli.records import IndexReport, ModelSpec, Skipped
from pictocli.sqlite import FileRow, FinishedFile, PageRow, SqliteStore
from pictocli.workers import CrashedError, Job, Workers

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Brain", "Indexer", "ahead", "checked", "outcome"]

INSPECT_AHEAD = 64  # files; each is a hash and a kind
DECODE_AHEAD = 2**30  # bytes that decoding takes at a time: 12 pictures of 100 megapixels would take 5 to 10 of them
DEFAULT_DPI = 72  # the second reference system's
T = TypeVar("T")

Tags = Mapping[str, Mapping[str, float]]
Brain = Callable[
    ["NDArray[np.uint8]", Sequence[Mapping[str, float]]], "tuple[NDArray[np.float32], Sequence[Tags], float]"
]
"""Model input uint8 [n, size, size, 3] and n pages' measures → embeddings float32 [n, dim], n pages' tags, and the
milliseconds it took, the model's start aside."""


@dataclass(slots=True)
class _Work:
    """A file on its way through. peak: bytes that decoding a page of it takes at most.

    linked: page → content that is there; stale: page → content that lacks something.

    left: pages still on their way; written, refused: what became of the others. unsure: one of these could not be read
    today, so the file stays unfinished.
    """

    candidate: Candidate
    file: FileRow
    moved: bool
    peak: int
    linked: dict[int, int]
    stale: dict[int, int]
    left: int
    written: list[int] = field(default_factory=list)
    refused: list[Skipped] = field(default_factory=list)
    unsure: bool = False


def checked(vectors: NDArray[np.float32], spec: ModelSpec) -> list[bytes]:
    """Embeddings [n, dim] as little-endian float32. Raises ModelError unless all are finite and of unit length."""
    norms = np.linalg.norm(vectors, axis=1)
    if vectors.shape[1] != spec.dim or not np.isfinite(norms).all() or np.abs(norms - 1).max(initial=0) > 1e-3:
        raise ModelError(f"{spec.id} gave an embedding that is not {spec.dim} finite numbers of unit length")
    return [vector.astype("<f4").tobytes() for vector in vectors]


def outcome(pool: Workers, job: Job) -> Any:
    """What a decoding job gave; Refused where it crashed its process."""
    try:
        return pool.result(job)
    except CrashedError:
        return Refused("crashed its decoder", "crash")


def ahead(
    pool: Workers, calls: Iterable[tuple[T, int, Callable[..., Any], tuple[Any, ...]]], window: int
) -> Iterator[tuple[T, Any]]:
    """Make calls (item, bytes that it takes, function, arguments) and yield (item, outcome), in the same order.

    At most `window` calls and DECODE_AHEAD bytes are under way; one call always may be.
    """
    waiting: deque[tuple[T, int, Job]] = deque()
    taken = 0
    for item, size, function, arguments in calls:
        while waiting and (len(waiting) >= window or taken + size > DECODE_AHEAD):
            first, its_size, job = waiting.popleft()
            yield first, outcome(pool, job)
            taken -= its_size
        waiting.append((item, size, pool.submit(function, *arguments)))
        taken += size
    for item, _, job in waiting:
        yield item, outcome(pool, job)


class Indexer:
    """One run over some roots. `brain` is called for the first batch that needs it, so a run may load no model."""

    def __init__(
        self, store: SqliteStore, spec: ModelSpec, brain: Brain, options: IndexOptions, progress: Progress
    ) -> None:
        self.store, self.spec, self.brain, self.options, self.progress = store, spec, brain, options, progress
        self.report = IndexReport(dry_run=options.dry_run)
        self._candidates = Candidates(store, options, self.report, progress)
        self._workers = Workers(options.workers)
        self._batch: list[tuple[_Work, int, Decoded]] = []
        self._finished: list[_Work] = []
        self._settled: set[bytes] = set()  # hashes of which no file is gone: ten thousand copies are looked at once
        self._in_flight: dict[tuple[bytes | None, int], list[tuple[Candidate, Inspected]]] = {}

    def run(self, targets: Iterable[Target]) -> IndexReport:
        """Index every target. Ctrl-C stores what has been decoded by then, and says so in the report."""
        started = time.perf_counter()
        try:
            for target in targets:
                pending = list(self._candidates.pending(target))  # all, so that what is left can be told
                if self.options.dry_run:
                    self.report.indexed = self._candidates.count
                    continue
                candidates = (candidate for folder in pending for candidate in self._candidates.of(folder))
                for (work, page), result in self._decoded(self._inspected(candidates)):
                    self._take(work, page, result)
                self._flush()  # a file of this target may be named again by the next one
        except KeyboardInterrupt:
            self.report.interrupted = True
            self._flush()
        finally:
            self._workers.close()
            self.progress.close()
        self.report.seconds = time.perf_counter() - started
        return self.report

    # -- ahead of the model -----------------------------------------------------------------------------------------

    def _inspected(self, candidates: Iterable[Candidate]) -> Iterator[tuple[Candidate, Inspected | Refused]]:
        return ahead(self._workers, ((each, 0, inspect, (each.path,)) for each in candidates), INSPECT_AHEAD)

    def _decoded(
        self, inspected: Iterable[tuple[Candidate, Inspected | Refused]]
    ) -> Iterator[tuple[tuple[_Work, int], Decoded | Refused]]:
        calls = (
            ((work, page), work.peak, decode, (work.candidate.path, work.file.kind, page, recipe))
            for candidate, what in inspected
            for work, page, recipe in self._plan(candidate, what)
        )
        return ahead(self._workers, calls, self.options.batch_size + 4 * self.options.workers)

    @held()
    def _plan(self, candidate: Candidate, what: Inspected | Refused) -> list[tuple[_Work, int, Recipe]]:
        """The pages of a file that must be decoded. A file whose pages are all known is stored here and now."""
        if isinstance(what, Refused):
            self._skip(candidate, what)
            return []
        key = (what.digest, self._dpi(candidate, what))
        if key in self._in_flight:  # the same bytes are on their way: wait for them
            self._in_flight[key].append((candidate, what))
            return []
        work = self._work(candidate, what)
        if work.left == 0:
            self._finish([work])
            return []
        self._in_flight[key] = []
        recipe = Recipe(self.spec.image_size, self.spec.resample, work.file.dpi, self.options.thumbnails)
        return [(work, page, recipe) for page in what.pages or (0,) if page not in work.linked]

    def _work(self, candidate: Candidate, what: Inspected) -> _Work:
        """What a file needs, after one that has moved has been given its new place."""
        known, found, dpi = candidate.known, candidate.found, self._dpi(candidate, what)
        pages = what.pages or (0,)
        file = FileRow(
            candidate.folder_id, found.name, what.kind, found.size, found.mtime_ns, what.digest, len(pages), dpi
        )
        moved = known is None and self._move(file)
        linked: dict[int, int] = {}
        stale: dict[int, int] = {}
        for (page, page_dpi), (content_id, embedded, thumbnail) in self.store.contents(what.digest).items():
            if page_dpi == dpi and page in pages and embedded:
                whole = (thumbnail or not self.options.thumbnails) and not self.options.force
                (linked if whole else stale)[page] = content_id
        return _Work(candidate, file, moved, what.peak_at(dpi), linked, stale, len(pages) - len(linked))

    def _dpi(self, candidate: Candidate, what: Inspected) -> int:
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

    # -- behind the decoders ----------------------------------------------------------------------------------------

    @held()
    def _take(self, work: _Work, page: int, result: Decoded | Refused) -> None:
        work.left -= 1
        if isinstance(result, Decoded):
            self._batch.append((work, page, result))
        else:
            path = f"{work.candidate.path}#page={page}" if page else work.candidate.path
            work.refused.append(Skipped(path, result.reason or "damaged"))
            work.unsure |= result.kind == "unreadable"
            if page in work.stale:  # what was decoded before stays
                work.linked[page] = work.stale[page]
        if work.left == 0:
            self._finished.append(work)
        if len(self._batch) >= self.options.batch_size or len(self._finished) >= self.options.batch_size:
            self._flush()

    @held()
    def _flush(self) -> None:
        """Embed, tag and store what has been decoded."""
        batch, finished = self._batch, self._finished
        self._batch, self._finished = [], []
        rows = self._rows(batch)
        for work, page, _ in batch:
            work.written.append(page)
        self._finish(finished, rows)

    def _rows(self, batch: Sequence[tuple[_Work, int, Decoded]]) -> list[PageRow]:
        new = [at for at, (work, page, _) in enumerate(batch) if self.options.force or page not in work.stale]
        vectors: dict[int, bytes] = {}
        tags: dict[int, Tags] = {}
        share = 0.0
        if new:
            found = self.brain(np.stack([batch[at][2].pixels for at in new]), [batch[at][2].measures for at in new])
            share = found[2] / len(new)
            vectors = dict(zip(new, checked(found[0], self.spec), strict=True))
            tags = dict(zip(new, found[1], strict=True))
        return [
            PageRow(
                work.file, page, page_of.width, page_of.height, page_of.measures, page_of.ms + share,
                vectors.get(at), tags.get(at), page_of.thumbnail,
            )
            for at, (work, page, page_of) in enumerate(batch)
        ]  # fmt: skip

    def _finish(self, works: Sequence[_Work], rows: Sequence[PageRow] = ()) -> None:
        """Store pages, and files of which every page has been dealt with; then those that waited for the same bytes."""
        whole = [work for work in works if (work.written or work.linked) and not work.unsure]
        self.store.write(rows, [FinishedFile(work.file, work.written, work.linked) for work in whole])
        self.report.indexed += sum(row.vector is not None for row in rows)
        self.report.updated += sum(row.vector is None for row in rows)
        for work in works:
            self.report.skipped.extend(work.refused)
            if not work.written and not work.linked and not work.unsure:
                self.store.skip(replace(work.file, pages=0, reason=work.refused[0].reason))
            self._count(work)
            self._candidates.pass_metadata(work.candidate)
            self.progress.done(1, len(self.report.skipped))
            for candidate, what in self._in_flight.pop((work.file.hash, work.file.dpi), []):
                follower = self._work(candidate, what)
                follower.linked |= follower.stale  # done again a moment ago
                follower.left, follower.refused = 0, [Skipped(candidate.path, s.reason) for s in work.refused]
                follower.unsure = work.unsure
                self._finish([follower])

    def _count(self, work: _Work) -> None:
        if work.moved:
            self.report.moved += 1
        elif work.linked and not work.written and not work.refused:
            if work.candidate.known is None:
                self.report.copied += len(work.linked)
            else:
                self.report.unchanged += 1

    def _skip(self, candidate: Candidate, refused: Refused) -> None:
        """Report a file that gives no image, and remember it, unless it may be readable tomorrow."""
        reason = refused.reason or ("not an image" if candidate.named else None)
        if reason is not None:
            self.report.skipped.append(Skipped(candidate.path, reason))
        self.progress.done(1, len(self.report.skipped))
        if refused.kind != "unreadable":
            found = candidate.found
            file = FileRow(
                candidate.folder_id, found.name, refused.kind, found.size, found.mtime_ns, reason=refused.reason
            )
            self.store.skip(file)
