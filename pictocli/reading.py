"""The reading half of a library: which images are like this one, match these words, carry these tags.

Nothing heavy is imported before it is needed: a query about indexed images loads neither torch nor numpy.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Self, TypeVar

import apsw

from pictocli.errors import NotFoundError, StoreError, ValidationError, check_range
from pictocli.holding import Holding
from pictocli.labels import resolve_labels
from pictocli.overview import Overview
from pictocli.pairs import closer_than
from pictocli.protocols import Progress
from pictocli.queries import Queries
from pictocli.records import (
    CATEGORIES,
    Answer,
    ImageDetail,
    LibraryInfo,
    ModelSpec,
    Scope,
    SimilarImage,
    TaggedImage,
)
from pictocli.references import ImageLike, Reference, find
from pictocli.schema import connect, translated

if TYPE_CHECKING:
    from pictocli.brain import Model

__all__ = ["MAX_LIMIT", "Reader"]

MAX_LIMIT = 500  # the reference system's cap
TOLERANCE = 1e-6  # float32 cosines of equal vectors come out this far from 1
P = ParamSpec("P")
R = TypeVar("R")


def _question(method: Callable[Concatenate[Reader, P], R]) -> Callable[Concatenate[Reader, P], R]:
    """A method that raises StoreError where SQLite fails."""

    @wraps(method)
    def asked(self: Reader, /, *args: P.args, **options: P.kwargs) -> R:
        with translated(self.path):
            return method(self, *args, **options)

    return asked


class Reader:
    """Asks one database. Opens it read-only, at the first question."""

    def __init__(self, path: str, progress: Progress) -> None:
        self.path = os.path.abspath(path)
        self.progress = progress
        self._db: apsw.Connection | None = None
        self._model: Model | None = None
        self._holding = Holding()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        if self._db is not None:
            self._db.close()
            self._db, self._holding = None, Holding()

    @_question
    def similar(
        self,
        image: ImageLike,
        *,
        threshold: float = 0.6,
        limit: int = 50,
        dataset: str | None = None,
        folder: str | None = None,
        everywhere: bool = False,
        exact: bool = False,
        device: str = "auto",
    ) -> Answer:
        """As `by_similarity`, with every choice of scope, and with what a person wants told beside the results."""
        started = time.perf_counter()
        check_range("threshold", threshold, 0, 1)
        check_range("limit", limit, 1, MAX_LIMIT)
        if everywhere and (dataset is not None or folder is not None):
            raise ValidationError(
                "everywhere leaves no room for a dataset or a folder", "name a scope, or --everywhere"
            )
        queries = self._queries()
        reference = find(queries, image)
        scope = Scope() if everywhere else Scope(dataset, folder)
        if reference.image_id is not None and dataset is None and not everywhere:
            place = queries.place(reference.image_id)
            scope = Scope(place.dataset, place.folder if folder is None else folder)
        folders = queries.folders(scope)
        vector, without = self._vector(reference, device), reference.image_id or 0
        hits, exactly = self._nearest(vector, folders, limit, without, exact)
        passing = [hit for hit in hits if hit[1] >= threshold - TOLERANCE]
        elsewhere = None
        if not passing and folders is not None:
            wide, _ = self._nearest(vector, None, MAX_LIMIT, without, exact)
            elsewhere = sum(cosine >= threshold - TOLERANCE for _, cosine in wide)
        fields, pairs = queries.fields(found for found, _ in passing), queries.pairs()
        nearest = min(1.0, hits[0][1]) if hits else None
        told = threshold if passing else nearest
        return Answer(
            results=[
                SimilarImage(**fields[found], similarity=min(1.0, cosine), closer_than=closer_than(pairs, cosine))
                for found, cosine in passing
            ],
            scope=scope,
            considered=queries.count(folders) - (without > 0 and _inside(queries, without, folders)),
            nearest=nearest,
            closer_than=None if told is None else closer_than(pairs, told),
            elsewhere=elsewhere,
            approximate=not exactly,
            seconds=time.perf_counter() - started,
        )

    @_question
    def search(
        self,
        text: str,
        *,
        limit: int = 50,
        min_probability: float = 0.0,
        dataset: str | None = None,
        folder: str | None = None,
        exact: bool = False,
        device: str = "auto",
    ) -> Answer:
        """Images that match words, best first, each with its cosine and SigLIP's probability.

        min_probability: least probability, 0..1. The first search for words runs the model's text half; the database
        keeps their embedding. Raises ValidationError, NotFoundError, ModelError.
        """
        started = time.perf_counter()
        check_range("limit", limit, 1, MAX_LIMIT)
        check_range("min_probability", min_probability, 0, 1)
        from pictocli.words import probability, text_vector

        queries, spec = self._queries(), self._spec()
        folders = queries.folders(Scope(dataset, folder))  # a wrong scope is told before a model is loaded
        vector = text_vector(self.path, queries, text, lambda: self._own_model(device).text_embedder)
        hits, exactly = self._nearest(vector, folders, limit, 0, exact)
        scored = [(found, cosine, probability(spec, cosine)) for found, cosine in hits]
        passing = [hit for hit in scored if hit[2] >= min_probability]
        elsewhere = None
        if not passing and folders is not None:
            wide, _ = self._nearest(vector, None, MAX_LIMIT, 0, exact)
            elsewhere = sum(probability(spec, cosine) >= min_probability for _, cosine in wide)
        fields = queries.fields(hit[0] for hit in passing)
        return Answer(
            results=[SimilarImage(**fields[i], similarity=cosine, probability=p) for i, cosine, p in passing],
            scope=Scope(dataset, folder),
            considered=queries.count(folders),
            nearest=scored[0][2] if scored else None,
            elsewhere=elsewhere,
            approximate=not exactly,
            seconds=time.perf_counter() - started,
        )

    @_question
    def tagged(
        self,
        objects: Sequence[str] | None = None,
        scenes: Sequence[str] | None = None,
        attributes: Sequence[str] | None = None,
        *,
        match: str = "any",
        sort: str = "id",
        dataset: str | None = None,
        folder: str | None = None,
        limit: int = 50,
    ) -> Answer:
        """As `by_tag`; match "all" asks for every label of a category, sort "score" puts the surest first."""
        started = time.perf_counter()
        check_range("limit", limit, 1, MAX_LIMIT)
        asked = dict(zip(CATEGORIES, (objects or (), scenes or (), attributes or ()), strict=True))
        if not any(asked.values()):
            raise ValidationError("no tag given", "name at least one with --objects, --scenes or --attributes")
        queries = self._queries()
        groups, names = resolve_labels(queries, asked, every=match == "all")
        scope = Scope(dataset, folder)
        folders = queries.folders(scope)
        ids = queries.tagged(groups, folders, limit, by_score=sort == "score")
        fields = queries.fields(ids)
        results = []
        for image_id in ids:
            scores = fields[image_id]["scores"]
            matched = {name: scores[category][name] for category, name in names if name in scores[category]}
            results.append(TaggedImage(**fields[image_id], matched=matched))
        elsewhere = None
        if not results and scope != Scope():
            elsewhere = len(queries.tagged(groups, None, MAX_LIMIT, by_score=False))
        return Answer(
            results=results, scope=scope, considered=queries.count(folders), elsewhere=elsewhere,
            seconds=time.perf_counter() - started,
        )  # fmt: skip

    @_question
    def show(self, image: ImageLike) -> ImageDetail:
        """Everything known of one indexed image. Raises NotFoundError when it is not in the index."""
        queries = self._queries()
        reference = find(queries, image)
        image_id = reference.image_id or reference.twin
        if image_id is None:
            name = "the image on standard input" if isinstance(image, bytes) else str(image)
            raise NotFoundError(f"not in the index: {name}", "picto index adds it")
        return queries.detail(image_id)

    @_question
    def info(self, *, check_recall: bool = False) -> LibraryInfo:
        """The database at a glance.

        check_recall: compare the fast path with the exact one on 50 of its own pictures, and keep how many images must
        be compared. A database that cannot be written is checked too; what is found is then not kept.
        """
        recall = None
        if check_recall:
            from pictocli.recall import check_library  # numpy

            recall = check_library(self.path, self.progress)
        found = Overview(self._queries().db).info(self.path)
        return replace(found, recall=recall) if recall else found

    # -- below the questions ----------------------------------------------------------------------------------------

    def _queries(self) -> Queries:
        if self._db is None:
            self._db = connect(self.path, readonly=True)
        return Queries(self._db)

    def _own_model(self, device: str) -> Model:
        """The database's own model."""
        if self._model is None:
            from pictocli.brain import choose

            self._model = choose("auto", self._spec(), device, self.progress)
        return self._model

    def _spec(self) -> ModelSpec:
        spec = self._queries().spec()
        if spec is None:
            raise StoreError(f"{self.path} holds no images yet", "picto index FOLDER fills it")
        return spec

    def _vector(self, reference: Reference, device: str) -> bytes:
        """The embedding of a reference: the stored one, or one made now."""
        indexed = reference.image_id or reference.twin
        if indexed is not None:
            vector = self._queries().embedding(indexed)
            if vector is not None:
                return vector
            raise StoreError(f"image {indexed} has no embedding", "picto index --force gives it one")
        self._spec()
        from pictocli.looking import embed_reference  # numpy, Pillow, torch

        return embed_reference(reference, self._own_model(device))[0]

    def _nearest(
        self, vector: bytes, folders: list[int] | None, limit: int, without: int, exact: bool
    ) -> tuple[list[tuple[int, float]], bool]:
        """(image id, cosine) of the nearest in these folders, and whether every one of them was compared."""
        queries = self._queries()
        exactly = exact or not queries.uses_codes(folders, len(vector) // 4)
        if not exactly:
            queries = self._holding.answering(queries)
        return queries.nearest(vector, folders, limit, without=without, exact=exactly), exactly


def _inside(queries: Queries, image_id: int, folders: list[int] | None) -> bool:
    """Whether an image lies in one of these folders."""
    return folders is None or queries.folder_of(image_id) in folders
