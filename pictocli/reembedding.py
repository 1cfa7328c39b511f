"""Moves a whole library into another model's space. Ids, datasets and metadata stay; nothing changes until the end.

New embeddings gather in `staged`, a batch a transaction, so a run that was stopped goes on where it was. The last
transaction swaps them in with their tags.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from pictocli.brain import Model, tag_rows, taxonomy_of
from pictocli.decode import Decoded, Inspected, Recipe, decode
from pictocli.downloads import Failed, Fetched
from pictocli.errors import PictoError
from pictocli.kinds import Limits
from pictocli.pdfs import Opening
from pictocli.pipeline import SPOOLED, ahead, embedded, inspected
from pictocli.protocols import Progress
from pictocli.recall import check_when_due
from pictocli.records import IndexReport, Skipped
from pictocli.remote import Remote
from pictocli.staging import Staging
from pictocli.urls import is_url
from pictocli.workers import Workers

__all__ = ["reembed"]

_ALLOWED = Limits(*[2**31] * 4)  # what is in the library passed the limits that its user gave


def reembed(
    store: Staging, model: Model, *, batch_size: int | None, workers: int, progress: Progress,
    passwords: tuple[str, ...] = (),
) -> IndexReport:  # fmt: skip
    """Re-embed every image of `store` with `model`, and swap the new space in when all are there.

    Remote originals are fetched again.

    Raises PictoError, leaving the library as it was, when an original is missing or has changed: its new embedding
    could not be made. What was staged is kept for the next run.
    """
    started = time.perf_counter()
    report = IndexReport()
    store.begin_staging(model.spec)
    pending = store.unstaged()
    progress.found(len(pending))
    pool = Workers(workers)
    try:
        with Remote(limits=_ALLOWED) as remote:
            for batch in embedded(model, _decoded(model, pool, pending, remote, report, passwords), batch_size):
                store.stage(batch)
                report.indexed += len(batch)
                progress.done(len(batch), len(report.skipped))
    finally:
        pool.close()
        progress.close()
    if report.skipped:
        first = report.skipped[0]
        raise PictoError(
            f"{len(report.skipped)} images cannot be embedded again, first {first.path}: {first.reason}",
            "the library is as it was; bring the files back or index the changes, then run this again",
        )
    tagger, rule = model.tagger(store, taxonomy_of(store))
    store.swap_staged(tag_rows(tagger), rule)
    store.build_codes()
    store.measure_pairs()
    check_when_due(store.db, progress)
    report.seconds = time.perf_counter() - started
    return report


def _decoded(
    model: Model,
    pool: Workers,
    rows: Sequence[Sequence[Any]],
    remote: Remote,
    report: IndexReport,
    passwords: tuple[str, ...],
) -> Iterator[tuple[int, Decoded]]:
    """(content id, picture) of those (content id, page, dpi, hash, kind, path) whose files are there as they were."""

    def calls() -> Iterator[Any]:
        # Pages of a PDF that stand together are looked for once: that reads the whole file.
        files = inspected(
            pool, _arrived(rows, remote, report), _ALLOWED, lambda _: Opening(passwords=passwords),
            lambda item: item[1].here if item[1] else 0,
        )  # fmt: skip
        for (pages, came), seen in files:
            wanted = []
            for content_id, page, dpi, digest, kind, path in pages:
                if not isinstance(seen, Inspected) or seen.digest != digest:
                    reason = "changed since it was indexed" if isinstance(seen, Inspected) else str(seen.reason)
                    report.skipped.append(Skipped(path, reason))
                    continue
                recipe = Recipe(model.spec.image_size, model.spec.resample, dpi, False, _ALLOWED, passwords)
                peak = max(seen.peak_at(dpi), SPOOLED * came.here if came else 0)
                here = came.path if came else path
                wanted.append((content_id, path, peak, (here, kind, page, recipe, seen.stamp)))
            if not wanted:
                _release(came)
            for at, (content_id, path, peak, arguments) in enumerate(wanted, 1):  # its bytes go with its last page
                yield (content_id, path, came if at == len(wanted) else None), peak, decode, arguments

    for (content_id, path, came), result in ahead(pool, calls()):
        _release(came)
        if isinstance(result, Decoded):
            yield content_id, result
        else:
            report.skipped.append(Skipped(path, result.reason))


def _arrived(
    rows: Sequence[Sequence[Any]], remote: Remote, report: IndexReport
) -> Iterator[tuple[tuple[list[Sequence[Any]], Fetched | None], str]]:
    """((rows of one file that stand together, that file if it was fetched), where its bytes are)."""
    files = ((path, list(pages)) for path, pages in groupby(rows, key=itemgetter(5)))
    wanted = ((pages, path if is_url(path) else None, "") for path, pages in files)
    for pages, outcome in remote.fetched(wanted):
        path = pages[0][5]
        if outcome is None:
            yield (pages, None), path
        elif isinstance(outcome, Fetched):
            yield (pages, outcome), outcome.path
        else:
            report.skipped.append(Skipped(path, outcome.reason if isinstance(outcome, Failed) else "no answer"))


def _release(came: Fetched | None) -> None:
    if came is not None:
        came.release()
