"""Opens a database for writing, chooses its model, and runs indexing, re-embedding or re-tagging over it."""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from pictocli.brain import Model, choose, put_labels, tag_rows, taxonomy_of
from pictocli.candidates import IndexOptions, Target
from pictocli.databases import claimed, connect, exists, shown, translated
from pictocli.errors import ModelError, StoreError, ValidationError, check_range
from pictocli.fields import Fields, field_shown, indexable
from pictocli.indexing import Indexer
from pictocli.kinds import Limits
from pictocli.lists import Listing
from pictocli.looking import embed_reference
from pictocli.metadata import Metadata
from pictocli.opening import claimed_library, held_model
from pictocli.pdfs import Pages, passwords
from pictocli.protocols import Database, Progress
from pictocli.recall import check_when_due
from pictocli.records import Embedded, IndexReport, ModelSpec
from pictocli.reembedding import reembed
from pictocli.references import ImageLike, at_path
from pictocli.remote import Access, Remote
from pictocli.reports import RetagReport
from pictocli.retagging import retag
from pictocli.runners import check_runner, elsewhere, runner_of
from pictocli.scan import Rules
from pictocli.schema import memory, transaction
from pictocli.sources import Sources, check_typed, gathered, readable
from pictocli.sources import targets as targets_of
from pictocli.sqlite import SqliteStore
from pictocli.staging import Staging
from pictocli.taxonomy import load, parse, read
from pictocli.urls import is_url
from pictocli.workers import default_workers

__all__ = ["Follow", "embed", "existing", "index", "index_with", "reembed_library", "retag_library", "run"]

_NONE = ModelSpec("", "", 0, 0, "", 0, 0, 0)
Follow = Callable[[str, Sources, str | None, str, str, IndexOptions, Progress], IndexReport]
"""What may be done in place of one run: (database, sources, dataset, model, device, options, progress)."""


def index(
    path: str,
    paths: Sequence[str],
    progress: Progress,
    *,
    dataset: str | None = None,
    model: str = "auto",
    device: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    hidden: bool = False,
    follow: bool = False,
    pdf_dpi: int | None = None,
    pdf_pages: str | None = None,
    pdf_password: str | Sequence[str] | None = None,
    thumbnails: bool = False,
    thumbnail_width: int | None = None,
    metadata: str | os.PathLike[str] | None = None,
    index_field: Sequence[str] = (),
    max_pixels: int = 200,
    max_file_size: int = 1000,
    max_pages: int = 2000,
    max_seconds: int = 30,
    force: bool = False,
    dry_run: bool = False,
    runner: str = "local",
    ray_address: str | None = None,
    listing: Listing | None = None,
    access: Access | None = None,
    follow_up: Follow | None = None,
) -> IndexReport:
    """Index `paths` into the database at `path`; see `Library.index`.

    follow_up: what to do with paths and options that have been checked, in place of one run.
    """
    check_runner(runner, ray_address, workers, batch_size, alone=follow_up is not None)
    check_range("pdf_dpi", 72 if pdf_dpi is None else pdf_dpi, 8, 1200)
    check_range("thumbnail_width", 640 if thumbnail_width is None else thumbnail_width, 16, 4096)
    check_range("max_pixels", max_pixels, 1, 100_000)
    check_range("max_file_size", max_file_size, 1, 1_000_000)
    check_range("max_pages", max_pages, 1, 1_000_000)
    check_range("max_seconds", max_seconds, 1, 86_400)
    if not paths and listing is None:
        raise ValidationError("no PATH given", "picto index FOLDER, or --from LIST")
    limits = Limits(max_pixels, max_file_size, max_pages, max_seconds)
    dataset = dataset and readable(dataset)
    options = IndexOptions(
        batch_size=batch_size,
        workers=default_workers() if workers is None else workers,
        rules=Rules(tuple(include), tuple(exclude), hidden, follow),
        limits=limits,
        pdf_dpi=pdf_dpi,
        pdf_pages=None if pdf_pages is None else Pages.parse(pdf_pages),
        pdf_passwords=passwords(pdf_password),
        thumbnails=thumbnails or thumbnail_width is not None,
        thumbnail_width=thumbnail_width,
        metadata=Metadata(metadata) if metadata else None,
        fields=indexable(index_field),
        force=force,
        dry_run=dry_run,
        never=frozenset(path + end for end in ("", "-wal", "-shm", "-journal", "-claims")),
    )
    with Remote(access, limits) as remote, translated(path):
        sources = gathered(paths, listing, remote)
        options = replace(options, remote=remote if sources.remote else None, named=sources.named)
        if sources.nothing:
            report = IndexReport(dry_run=dry_run)
        elif dry_run:
            report = _rehearse(path, sources, dataset, options, progress)
        else:
            does = follow_up or (_index if runner == "local" else partial(_index_there, ray_address, workers))
            report = does(path, sources, dataset, model, device, options, progress)
    if options.metadata:
        report.unmatched, report.duplicates = options.metadata.unmatched, options.metadata.duplicates
    return sources.told(report)


def reembed_library(
    path: str, name: str, device: str, batch_size: int | None, workers: int | None, progress: Progress,
    pdf_password: str | Sequence[str] | None = None,
) -> IndexReport:  # fmt: skip
    """Move the library at `path` into the space of the model `name`; see `Library.reembed`."""
    check_range("batch_size", 16 if batch_size is None else batch_size, 1, 4096)
    with translated(path), claimed_library(path) as db:
        store, model = Staging(db), choose(name, None, device, progress)
        if store.spec() is None:
            raise ModelError(f"{shown(path)} holds no images yet", f"picto index FOLDER --model {name} fills it")
        held = store.spec()
        if held and (held.id, held.revision) == (model.spec.id, model.spec.revision):
            return IndexReport(unchanged=store.count_files())
        count = default_workers() if workers is None else workers
        report = reembed(
            store, model, batch_size=batch_size, workers=count, progress=progress, passwords=passwords(pdf_password)
        )
        db.tidy()
    return report


def retag_library(path: str, labels: str | None, device: str, progress: Progress) -> RetagReport:
    """Make all tags of the library at `path` anew; see `Library.retag`."""
    started = time.perf_counter()
    with translated(path), claimed_library(path) as db:
        store = SqliteStore(db)
        spec = store.spec()
        if spec is None:
            raise StoreError(f"{shown(path)} holds no images yet", "picto index FOLDER fills it")
        taxonomy, own = taxonomy_of(store), store.meta("own_taxonomy")
        if labels == "built-in":
            taxonomy, own = load(), None
        elif labels is not None:
            content = read(Path(labels))
            taxonomy, own = parse(content, Path(labels).name), content.decode("utf-8")
        tagger, rule = choose("auto", spec, device, progress).tagger(store, taxonomy)
        contents = store.count_contents()
        progress.found(contents)
        with transaction(db):
            store.set_meta("own_taxonomy", own)
            put_labels(store, taxonomy)
            changed = retag(db, tag_rows(tagger), lambda count: progress.done(count, 0))
            store.drop_labels()
            store.set_meta("tag_rule", rule)
        progress.close()
        images = store.count_images()
        db.tidy()
    return RetagReport(images=images, changed=changed, rule=rule, seconds=time.perf_counter() - started)


def _index(
    path: str, sources: Sources, dataset: str | None, name: str, device: str, options: IndexOptions,
    progress: Progress,
) -> IndexReport:  # fmt: skip
    held = held_model(path)
    if options.remote is not None:
        known = existing(path)
        check_typed(sources, options.remote, known)
        if known is not None:
            known.db.close()
    model = choose(name, held, device, progress)  # before the database is made: no model, no file left behind
    if options.runner is not None:
        model = elsewhere(model, options.runner)
    return index_with(path, sources, dataset, model, options, progress)


def _index_there(
    address: str | None, workers: int | None, path: str, sources: Sources, dataset: str | None, name: str, device: str,
    options: IndexOptions, progress: Progress,
) -> IndexReport:  # fmt: skip
    """As `_index`, on the nodes of a Ray cluster."""
    new = held_model(path) is None  # tells what is wrong with the database; a new one is not made before all is there
    with runner_of(address, device, workers, options.batch_size, progress, now=new) as runner:
        return _index(path, sources, dataset, name, device, replace(options, runner=runner, batch_size=None), progress)


def index_with(
    path: str, sources: Sources, dataset: str | None, model: Model, options: IndexOptions, progress: Progress
) -> IndexReport:
    """Index folders and files by a model that has been chosen; the database is made if there is none."""
    db = connect(path, create=True, page_size=32768 if model.spec.dim > 1000 else 16384)
    store = SqliteStore(db)
    store.require_model(model.spec)
    put_labels(store, taxonomy_of(store))
    targets = targets_of(store, sources, dataset, create=True)
    report = run(db, path, targets, model, options, progress)
    db.tidy()
    return report


def run(
    db: Database, path: str, targets: Sequence[Target], model: Model, options: IndexOptions, progress: Progress,
    indexer: Indexer | None = None,
) -> IndexReport:  # fmt: skip
    """Index targets of an open database, whose roots nobody else changes meanwhile. indexer: another than the usual.

    Raises StoreError when somebody does, or has moved or removed one of them.
    """
    store = SqliteStore(db)
    roots = {target.root_id: target.root for target in targets if target.root_id is not None}
    with claimed(path, roots):
        store.require_model(model.spec)  # still: picto reembed may just have finished
        store.require_roots(roots)
        if options.runner is not None:
            options.runner.needs([root for root in roots.values() if not is_url(root)])
        if options.thumbnail_width is not None:
            store.set_meta("thumbnail_width", options.thumbnail_width)
        report = (indexer or Indexer(store, model.spec, model.brain(store), options, progress)).run(targets)
        if options.runner is not None:
            report.hosts, report.redone = options.runner.hosts(), options.runner.redone
        _index_fields(db, options.fields, progress)
        store.build_codes()
        store.measure_pairs()
        check_when_due(db, progress)
    return report


def _index_fields(db: Database, fields: Sequence[Sequence[str]], progress: Progress) -> None:
    """Put an index on these fields of the metadata, and say so where it is new."""
    found = Fields(db)
    if fields:
        progress.doing("indexing fields")
    new = found.index(fields)
    if fields:
        progress.doing("")
    for name in new:
        progress.say(f"The field {name} has an index from now on")
    for field in fields:
        if not found.exists(field):
            progress.say(f"No image has a field {field_shown(field)} so far: --metadata FILE gives it")


def _rehearse(
    path: str, sources: Sources, dataset: str | None, options: IndexOptions, progress: Progress
) -> IndexReport:
    """A dry run: nothing is written, no model is chosen, no file is opened or fetched."""
    store = existing(path) or SqliteStore(memory())

    def never(*_: object) -> None:
        raise AssertionError("a dry run embeds nothing")

    with contextlib.closing(store.db):
        targets, spec = targets_of(store, sources, dataset, create=False), store.spec()
        return Indexer(store, spec or _NONE, never, options, progress).run(targets)  # type: ignore[arg-type]


def existing(path: str) -> SqliteStore | None:
    """The library at `path` to look into, None when there is none yet."""
    return SqliteStore(connect(path, readonly=True)) if exists(path) else None


def embed(
    path: str, images: Iterable[ImageLike], name: str, device: str, progress: Progress,
    pdf_password: str | Sequence[str] | None = None,
) -> Iterator[Embedded]:  # fmt: skip
    """Embed images one by one with the model `name`, by default that of the database at `path`; store nothing."""
    references = [at_path(image) for image in images]  # a wrong one is told before a model is loaded
    held = None
    if name == "auto":
        with translated(path):
            held = held_model(path)
    model = choose(name, held, device, progress)
    for reference in references:
        vector, ms = embed_reference(reference, model, pdf_password)
        page = f"#page={reference.page}" if reference.page else ""
        told = "-" if reference.path is None else reference.path + page
        values = struct.unpack(f"<{model.spec.dim}f", vector)
        yield Embedded(path=told, embedding=values, processing_time_ms=round(ms, 1), model=model.spec.id)
