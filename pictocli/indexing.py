"""Indexing: candidates → inspect → decode → embed → tag → write, batch by batch.

Workers inspect and decode ahead of the model, by windows that bound what is in flight, in number and in bytes; results
are taken in the order of the files, so ids are the same on every run. Only `_flush` writes images, one transaction a
batch. Ctrl-C is `held` while anything is stored or counted, so that the report tells what the database holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pictocli.brain import Brain, Thought
from pictocli.candidates import Candidate, Candidates, IndexOptions, Target
from pictocli.decode import Decoded, Inspected, Recipe, Refused, decode
from pictocli.downloads import Failed, Unchanged
from pictocli.errors import PictoError
from pictocli.inputs import Seen, seen
from pictocli.interrupts import held
from pictocli.pdfs import LOCKED
from pictocli.pipeline import SPOOLED, ahead, inspected
from pictocli.planning import Planner, Work
from pictocli.protocols import Calls, Progress
from pictocli.records import IndexReport, ModelSpec, Skipped
from pictocli.sqlite import FileRow, FinishedFile, PageRow, SqliteStore
from pictocli.workers import Workers

__all__ = ["Indexer"]

LARGE = 10**7  # bytes; larger files are worth a word, as the reference system has it


@dataclass(slots=True)
class _Batch:
    """Pages that were decoded, and files that are finished with them.

    new: places in `pages` of those that the model is asked about; wait: gives its answer. seen: place → what it made of
    a picture that looked the same.
    """

    pages: list[tuple[Work, int, Decoded]] = field(default_factory=list)
    finished: list[Work] = field(default_factory=list)
    new: list[int] = field(default_factory=list)
    wait: Callable[[], Thought] | None = None
    seen: dict[int, Seen] = field(default_factory=dict)


class Indexer:
    """One run over some roots. `brain` is asked at the first batch that needs it, so a run may load no model."""

    def __init__(
        self, store: SqliteStore, spec: ModelSpec, brain: Brain, options: IndexOptions, progress: Progress
    ) -> None:
        self.store, self.spec, self.brain, self.options, self.progress = store, spec, brain, options, progress
        self.report = IndexReport(dry_run=options.dry_run)
        self._candidates = Candidates(store, options, self.report, progress)
        self._planner = Planner(store, options)
        limit = options.limits.max_seconds
        self._workers: Calls = options.runner.calls(limit) if options.runner else Workers(options.workers, limit)
        self._batch, self._under_way = _Batch(), _Batch()
        self._in_flight: dict[tuple[bytes | None, int, tuple[int, ...]], list[tuple[Candidate, Inspected]]] = {}

    def run(self, targets: Iterable[Target]) -> IndexReport:
        """Index every target. Ctrl-C stores what has been decoded by then, and says so in the report."""
        started = time.perf_counter()
        try:
            for target in targets:
                pending = list(self._candidates.pending(target))  # all, so that what is left can be told
                if self.options.dry_run:
                    self.report.indexed = self._candidates.count
                elif pending:  # else no machine is asked for
                    candidates = (candidate for folder in pending for candidate in self._candidates.of(folder))
                    for (work, page), result in self._decoded(candidates):
                        self._take(work, page, result)
                    self._drain()  # a file of this target may be named again by the next one
        except KeyboardInterrupt:
            self.report.interrupted = True
            self._drain()
        except PictoError:
            self._store()  # what the model has made of pictures by now
            raise
        finally:
            self._workers.close()
            self.progress.close()
        self.report.seconds = time.perf_counter() - started
        return self.report

    # -- ahead of the model -----------------------------------------------------------------------------------------

    def _decoded(self, candidates: Iterable[Candidate]) -> Iterator[tuple[tuple[Work, int], Decoded | Refused]]:
        limits, opening = self.options.limits, self._candidates.opening
        files = ((each, each.local) for each in self._arrived(candidates))
        calls = (
            ((work, page), work.peak, decode, (work.candidate.local, work.file.kind, page, recipe, work.stamp))
            for candidate, what in inspected(self._workers, files, limits, opening, lambda each: each.size)
            for work, page, recipe in self._plan(candidate, what)
        )
        return ahead(self._workers, calls, self._batch_size() + 4 * self._workers.count)

    def _arrived(self, candidates: Iterable[Candidate]) -> Iterator[Candidate]:
        """The candidates whose bytes are here: those of this machine, and those that could be fetched."""
        if self.options.remote is None:
            yield from candidates
            return
        wanted = ((each, each.url, each.validator) for each in candidates)
        for candidate, outcome in self.options.remote.fetched(wanted):
            if outcome is None:
                yield candidate
            elif isinstance(outcome, Unchanged):
                self._settle(candidate)
            elif isinstance(outcome, Failed):
                self._skip(candidate, Refused(outcome.reason, "unreadable"))
            else:
                self.report.downloaded += 1
                self.report.downloaded_bytes += outcome.here
                yield replace(candidate, spooled=outcome)

    @held()
    def _settle(self, candidate: Candidate) -> None:
        """Count a file of which the server says that it is unchanged."""
        self._candidates.settled(candidate)
        self.progress.done(1, len(self.report.skipped))

    @held()
    def _plan(self, candidate: Candidate, what: Inspected | Refused) -> list[tuple[Work, int, Recipe]]:
        """The pages of a file that must be decoded. A file whose pages are all known is stored here and now."""
        if isinstance(what, Refused):
            self._skip(candidate, what)
            return []
        self.report.large += what.stamp.size > LARGE
        key = (what.digest, self._planner.dpi(candidate, what), what.pages or (0,))
        if key in self._in_flight:  # the same bytes are on their way: wait for them
            self._in_flight[key].append((candidate, what))
            candidate.release()
            return []
        work = self._planner.work(candidate, what, self._candidates.opening(candidate).pages)
        work.peak = max(work.peak, SPOOLED * candidate.size)
        if work.left == 0:
            candidate.release()
            self._finish([work])
            return []
        self._in_flight[work.key] = []
        recipe = Recipe(
            self.spec.image_size, self.spec.resample, work.file.dpi, work.thumbnails, self.options.limits,
            self.options.pdf_passwords, self._planner.thumbnail_width,
        )  # fmt: skip
        return [(work, page, recipe) for page in work.pages if page not in work.linked]

    # -- behind the decoders ----------------------------------------------------------------------------------------

    @held()
    def _take(self, work: Work, page: int, result: Decoded | Refused) -> None:
        work.left -= 1
        if isinstance(result, Decoded):
            self._batch.pages.append((work, page, result))
        else:
            path = f"{work.candidate.path}#page={page}" if page else work.candidate.path
            work.refused.append(Skipped(path, result.reason or "damaged"))
            work.unsure |= result.kind == "unreadable"
            if page in work.stale:  # what was decoded before stays
                work.linked[page] = work.stale[page]
        if work.left == 0:
            work.candidate.release()
            self._batch.finished.append(work)
        if max(len(self._batch.pages), len(self._batch.finished)) >= self._batch_size():
            self._flush()

    def _batch_size(self) -> int:
        return self.options.batch_size or self.brain.batch_size

    @held()
    def _flush(self) -> None:
        """Have the model begin with what has been decoded. On a GPU the batch before is stored meanwhile."""
        batch, self._batch = self._batch, _Batch()
        at_once = any(work.stale for work, _, _ in batch.pages)  # nothing may be dropped between the look and the write
        if at_once:
            self._store()
        batch.new = [at for at, (work, page, _) in enumerate(batch.pages) if self._new(work, page)]
        if not self.options.force:
            batch.seen = self._seen(batch.pages, batch.new)
            batch.new = [at for at in batch.new if at not in batch.seen]
        asked = [batch.pages[at] for at in batch.new]
        try:
            if asked:
                batch.wait = self._begin(asked)
        finally:
            self._store()
        self._under_way = batch
        if at_once or not self.brain.asynchronous:
            self._store()

    def _begin(self, asked: Sequence[tuple[Work, int, Decoded]]) -> Callable[[], Thought]:
        """Have the model begin with pages; calling what this returns waits for it."""
        return self.brain.begin(np.stack([page.pixels for _, _, page in asked]), [page.measures for *_, page in asked])

    def _new(self, work: Work, page: int) -> bool:
        """Whether the model is to look at a page: one without an embedding, or any when --force is given."""
        return self.options.force or page not in work.stale or self._kept(work, page) is None

    def _seen(self, pages: Sequence[tuple[Work, int, Decoded]], new: Sequence[int]) -> dict[int, Seen]:
        """Place → what the model made of a page that looked the same, in this file before or anywhere in the library.

        By value: what is stored next may drop the picture that it came from.
        """
        known = seen(self.store.db, {pages[at][2].digest for at in new})
        found = {at: pages[at][0].before.get(pages[at][2].digest) or known.get(pages[at][2].digest) for at in new}
        return {at: each for at, each in found.items() if each is not None}

    @held()
    def _store(self) -> None:
        """Wait for the batch that is under way, and store it."""
        batch, self._under_way = self._under_way, _Batch()
        if not batch.pages and not batch.finished:
            return
        rows = self._rows(batch)
        for work, page, _ in batch.pages:
            work.written.append(page)
        for work in batch.finished:
            now = {page: self._kept(work, page) for page in work.linked}
            work.linked = {page: content_id for page, content_id in now.items() if content_id is not None}
            work.unsure |= len(work.linked) < len(now)  # the next run decodes it
        self._finish(batch.finished, rows, len(batch.seen))

    def _kept(self, work: Work, page: int) -> int | None:
        """The content id of a page whose embedding is still held: storing another file may have dropped it, or anew."""
        assert work.file.hash is not None
        return self.store.embedded(work.file.hash, page, work.file.dpi)

    @held()
    def _drain(self) -> None:
        self._flush()
        self._store()

    def _rows(self, batch: _Batch) -> list[PageRow]:
        made = batch.wait() if batch.wait else Thought([], [], 0.0)
        vectors = {at: each.vector for at, each in batch.seen.items()} | dict(zip(batch.new, made.vectors, strict=True))
        tags = {at: each.tags for at, each in batch.seen.items()} | dict(zip(batch.new, made.tags, strict=True))
        ms = dict.fromkeys(batch.new, made.ms / max(1, len(batch.new)))
        return [
            PageRow(
                work.file, page, page_of.width, page_of.height, page_of.measures, page_of.ms + ms.get(at, 0.0),
                vectors.get(at), tags.get(at), page_of.thumbnail, page_of.digest if at in vectors else None,
                page_of.capture, page_of.fingerprint,
            )
            for at, (work, page, page_of) in enumerate(batch.pages)
        ]  # fmt: skip

    def _finish(self, works: Sequence[Work], rows: Sequence[PageRow] = (), reused: int = 0) -> None:
        """Store pages, and files of which every page has been dealt with; then those that waited for the same bytes.

        reused: how many of the pages have the embedding of one that looked the same.
        """
        whole = [work for work in works if (work.written or work.linked) and not work.unsure]
        self.store.write(rows, [FinishedFile(work.file, work.written, work.linked) for work in whole])
        self.report.indexed += sum(row.vector is not None for row in rows) - reused
        self.report.reused += reused
        self.report.updated += sum(row.vector is None for row in rows)
        for work in works:
            self.report.skipped.extend(work.refused)
            if not work.written and not work.linked and not work.unsure:
                self.store.skip(replace(work.file, pages=0, reason=work.refused[0].reason))
            self._count(work)
            self._candidates.pass_metadata(work.candidate)
            self.progress.done(1, len(self.report.skipped))
            for candidate, what in self._in_flight.pop(work.key, []):
                follower = self._planner.work(candidate, what, self._candidates.opening(candidate).pages)
                follower.linked |= follower.stale  # done again a moment ago
                follower.left, follower.refused = 0, [Skipped(candidate.path, s.reason) for s in work.refused]
                follower.unsure = work.unsure
                self._finish([follower])

    def _count(self, work: Work) -> None:
        if work.moved:
            self.report.moved += 1
        elif work.linked and not work.written and not work.refused:
            if work.candidate.known is None:
                self.report.copied += len(work.linked)
            else:
                self.report.unchanged += 1

    def _skip(self, candidate: Candidate, refused: Refused) -> None:
        """Report a file that gives no image, and remember it, unless it may be readable tomorrow."""
        candidate.release()
        reason = refused.reason or ("not an image" if candidate.named else None)
        if reason is not None:
            self.report.skipped.append(Skipped(candidate.path, reason))
        self.progress.done(1, len(self.report.skipped))
        if refused.kind == "unreadable":
            return
        found, came = candidate.found, candidate.spooled
        size, mtime_ns = (came.size, came.mtime_ns) if came else (found.size, found.mtime_ns)
        known = candidate.known
        same = known is not None and (known.size, known.mtime_ns, known.reason) == (size, mtime_ns, None)
        if refused.reason in LOCKED and same:  # it has not changed, and only lacks the password this time
            return
        file = FileRow(candidate.folder_id, found.name, refused.kind, size, mtime_ns, reason=refused.reason)
        self.store.skip(replace(file, validator=came.validator) if came else file)
