"""Imports embeddings that were made elsewhere: `index`, with vectors looked up by path instead of asked of a model.

Files are opened, hashed, decoded and measured as ever, so that a later `index` finds them unchanged; only the model's
part comes from the file of vectors.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pictocli import stored
from pictocli.brain import Brain, Model, Thought, checked, choose, model_id, put_labels, taxonomy_of
from pictocli.candidates import Candidate, IndexOptions, Target
from pictocli.catalog import Catalog
from pictocli.databases import connect, translated
from pictocli.decode import Decoded, Inspected, Recipe, Refused
from pictocli.errors import (
    DamagedError,
    ModelError,
    ModelMismatchError,
    NotFoundError,
    ValidationError,
    check_range,
)
from pictocli.filling import existing, run
from pictocli.given import Carried, Given
from pictocli.indexing import Indexer
from pictocli.inputs import Seen
from pictocli.opening import held_model
from pictocli.parquet import Vectors
from pictocli.planning import Work
from pictocli.protocols import Progress
from pictocli.records import CATEGORIES, IndexReport, ModelSpec
from pictocli.reports import ImportReport
from pictocli.schema import memory
from pictocli.sqlite import SqliteStore
from pictocli.workers import default_workers

__all__ = ["Importer", "import_embeddings"]


class _Looking(Brain):
    """Tags vectors that are given; never asks the model for one."""

    def __init__(self, model: Model, catalog: Catalog, report: ImportReport) -> None:
        super().__init__(model, catalog)
        self._report = report

    def tags(self, vectors: list[bytes], measures: Sequence[Mapping[str, float]]) -> Sequence[Any]:
        """Tags by the stored vectors of labels, or none where the model that would make these is not here."""
        if not self._report.untagged:
            try:
                return self._tagger.tag(np.stack([np.frombuffer(each, "<f4") for each in vectors]), measures)
            except (ModelError, ModelMismatchError) as exc:
                self._report.untagged = True
                self._model.progress.say(f"no tags are given: {exc}")
        return [{category: {} for category in CATEGORIES} for _ in vectors]


class Importer(Indexer):
    """Indexes files whose vectors are given."""

    def __init__(
        self, store: SqliteStore, model: Model, given: Given, options: IndexOptions, report: ImportReport,
        progress: Progress,
    ) -> None:  # fmt: skip
        self._looking = _Looking(model, store, report)
        super().__init__(store, model.spec, self._looking, options, progress)
        self._given, self._told = given, report
        self.report.skipped.extend(given.skipped)
        report.index = self.report

    def _plan(self, candidate: Candidate, what: Inspected | Refused) -> list[tuple[Work, int, Recipe]]:
        if isinstance(what, Inspected):
            self._told.surplus += self._given.surplus(candidate.path, what.pages)
        return super()._plan(candidate, what)

    def _take(self, work: Work, page: int, result: Decoded | Refused) -> None:
        """A page without a vector is left for `index`, and its file with it."""
        known = page in work.stale and not self.options.force
        if isinstance(result, Decoded) and not known and self._given.vector(work.candidate.path, page) is None:
            result = Refused("no vector is given for it: picto index makes one", "unreadable")
        super()._take(work, page, result)

    def _seen(self, *_: object) -> dict[int, Seen]:
        """Vectors are given: none is taken over from a picture that looks the same."""
        return {}

    def _begin(self, asked: Sequence[tuple[Work, int, Decoded]]) -> Callable[[], Thought]:
        vectors = [self._given.vector(work.candidate.path, page) or bytes(4 * self.spec.dim) for work, page, _ in asked]
        checked(np.stack([np.frombuffer(each, "<f4") for each in vectors]), self.spec)
        tags = self._looking.tags(vectors, [page.measures for _, _, page in asked])
        return lambda: Thought(vectors, tags, 0.0)


def import_embeddings(
    path: str,
    file: str,
    progress: Progress,
    *,
    model: str = "auto",
    path_column: str | None = None,
    vector_column: str | None = None,
    root: str | os.PathLike[str] | None = None,
    dataset: str | None = None,
    device: str = "auto",
    workers: int | None = None,
    thumbnails: bool = False,
    thumbnail_width: int | None = None,
    force: bool = False,
    dry_run: bool = False,
) -> ImportReport:
    """Import the vectors of `file` into the database at `path`; see `Library.import_embeddings`."""
    check_range("workers", default_workers() if workers is None else workers, 0, 256)
    check_range("thumbnail_width", 640 if thumbnail_width is None else thumbnail_width, 16, 4096)
    if root is not None and not os.path.isdir(root):
        raise NotFoundError(f"no such folder: {root}", "--root names the folder that holds the pictures")
    root = None if root is None else os.fspath(root)
    vectors = Vectors(file, path_column, vector_column)
    with translated(path):
        held = held_model(path)
    chosen = _model(vectors, model, held, device, progress)
    report = ImportReport(index=IndexReport(), model=chosen.spec.id)
    progress.doing(f"reading {os.path.basename(file)}")
    with contextlib.closing(Given(vectors, chosen.spec, root, report)) as given:
        progress.doing("")
        if not given.pages:
            first = f", such as {report.first_absent}" if report.first_absent else ""
            raise NotFoundError(
                f"none of the {report.rows:,} rows of {file} has a vector and a path that is here{first}",
                "--root FOLDER is where relative paths begin",
            )
        options = IndexOptions(
            workers=default_workers() if workers is None else workers,
            thumbnails=thumbnails or thumbnail_width is not None,
            thumbnail_width=thumbnail_width,
            metadata=Carried(given) if given.metadata else None,
            force=force,
            dry_run=dry_run,
        )
        with translated(path):
            _run(path, chosen, given, (root, dataset), options, report, progress)
    return report


def _run(
    path: str, model: Model, given: Given, place: tuple[str | None, str | None], options: IndexOptions,
    report: ImportReport, progress: Progress,
) -> None:  # fmt: skip
    if options.dry_run:
        store = existing(path) or SqliteStore(memory())
        with contextlib.closing(store.db):
            Importer(store, model, given, options, report, progress).run(_targets(store, given, *place, create=False))
        return
    db = connect(path, create=True, page_size=32768 if model.spec.dim > 1000 else 16384)
    store = SqliteStore(db)
    store.require_model(model.spec)
    put_labels(store, taxonomy_of(store))
    targets = _targets(store, given, *place, create=True)
    run(db, path, targets, model, options, progress, Importer(store, model, given, options, report, progress))
    db.tidy()


def _model(vectors: Vectors, name: str, held: ModelSpec | None, device: str, progress: Progress) -> Model:
    """The model that made the vectors: the named one, the library's, or the one that picto's own file names.

    That last one need not be on this machine. Raises ModelMismatchError when these are not one and the same.
    """
    made = None
    if vectors.model:
        try:
            made = stored.model(vectors.model)
        except DamagedError as exc:
            raise ValidationError(f"{vectors.path} says wrong things of its model") from exc
    if held is not None:
        chosen = choose(name, held, device, progress)
    elif made is not None and (name == "auto" or model_id(name) == made.id):
        chosen = Model(made, device, progress)
    elif name == "auto":
        raise ValidationError(f"{vectors.path} does not say which model made its vectors", "name it with --model")
    else:
        chosen = choose(name, None, device, progress)
    if made is not None and (made.id, made.revision) != (chosen.spec.id, chosen.spec.revision):
        other = made.id if made.id != chosen.spec.id else f"another revision of {made.id}"
        raise ModelMismatchError(
            f"{vectors.path} holds embeddings of {other}, not of {chosen.spec.id}",
            "--db names another database; picto index embeds the pictures anew",
        )
    return chosen


def _targets(store: SqliteStore, given: Given, root: str | None, dataset: str | None, *, create: bool) -> list[Target]:
    """A target a folder. Roots are those that the library has, else `root`, else what picto's own file says, else the
    folder that holds all other files; they are made when all have been checked.
    """
    new: dict[str, str] = {}
    folders: dict[tuple[str, str], set[str]] = {}  # root, folder below it → names
    homeless: list[str] = []
    for path in given.pages:
        within = store.root_of(os.path.dirname(path))
        if within is not None:
            if within[0] is not None:
                store.check_dataset(within[0], within[1], dataset)
            _put(folders, within[1], path)
        elif root is None and path in given.places:
            home, its = given.places[path]
            if home not in new and store.root_to_be(home, dataset or its, dataset or its, new) is None:
                new[home] = dataset or its
            _put(folders, home, path)
        else:
            homeless.append(path)
    if homeless:
        home = os.path.realpath(root) if root else os.path.commonpath([os.path.dirname(path) for path in homeless])
        outside = next((path for path in homeless if not path.startswith(home.rstrip("/") + "/")), None)
        if outside is not None or home == "/":
            what = f"{outside} does not lie in {root}" if outside else f"{homeless[0]} and the others share no folder"
            raise ValidationError(what, "--root names a folder that holds them all; import them one by one")
        name = dataset or os.fsencode(os.path.basename(home)).decode("utf-8", "replace")
        if store.root_to_be(home, dataset, name, new) is None:
            new[home] = name
        for path in homeless:
            _put(folders, home, path)
    made = {path: store.add_root(path, name) for path, name in new.items()} if create else {}
    ids = {path: root_id for root_id, path in store.roots()} | made
    return [Target(ids.get(home), home, below, frozenset(names)) for (home, below), names in folders.items()]


def _put(folders: dict[tuple[str, str], set[str]], root: str, path: str) -> None:
    folder, name = os.path.split(path)
    below = os.path.relpath(folder, root)
    folders.setdefault((root, "" if below == "." else below), set()).add(name)
