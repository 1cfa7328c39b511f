"""The reading half of a library: which images are like this one, match these words, carry these tags.

Nothing heavy is imported before it is needed: a query about indexed images loads neither torch nor numpy.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from pictocli.databases import shown
from pictocli.errors import StoreError, ValidationError, check_range
from pictocli.labels import carrying, resolve_labels
from pictocli.nearest import MAX_LIMIT, near
from pictocli.pairs import closer_than
from pictocli.protocols import Progress
from pictocli.queries import Queries
from pictocli.questions import question
from pictocli.records import Answer, ModelSpec, Scope, SimilarImage, TaggedImage
from pictocli.references import ImageLike, Reference, find
from pictocli.selection import Condition
from pictocli.stored import require
from pictocli.viewing import Viewing

if TYPE_CHECKING:
    from pictocli.brain import Model
    from pictocli.filters import Filters
    from pictocli.several import Weighed

__all__ = ["MAX_LIMIT", "Reader", "filtered"]

TOLERANCE = 1e-6  # float32 cosines of equal vectors come out this far from 1


class Reader(Viewing):
    """Asks one database. Opens it read-only, at the first question."""

    def __init__(self, path: str, progress: Progress) -> None:
        super().__init__(path, progress)
        self._model: Model | None = None

    @question
    def similar(
        self,
        image: ImageLike,
        *,
        objects: Sequence[str] | None = None,
        scenes: Sequence[str] | None = None,
        attributes: Sequence[str] | None = None,
        match: str = "any",
        threshold: float = 0.6,
        limit: int = 50,
        dataset: str | None = None,
        folder: str | None = None,
        everywhere: bool = False,
        exact: bool = False,
        device: str = "auto",
        pdf_password: str | Sequence[str] | None = None,
        **filters: Unpack[Filters],
    ) -> Answer:
        """As `by_similarity`, with every choice of scope, and with what a person wants told beside the results.

        objects, scenes, attributes, match, filters: only images with these tags, as `tagged` has them, that meet these
        `Filters` are looked at. pdf_password: of a PDF that is not in the index, or several to try; None is what
        PICTO_PDF_PASSWORD holds.

        >>> answer = library.similar("sample_images/nature/mountain-trail.jpg", scenes=["outdoor"], folder="/")
        >>> answer.considered, answer.results[0].filename
        (61, 'mountain-trail-edited.jpg')
        """
        started = time.perf_counter()
        check_range("threshold", threshold, 0, 1)
        check_range("limit", limit, 1, MAX_LIMIT)
        if everywhere and (dataset is not None or folder is not None):
            raise ValidationError(
                "everywhere leaves no room for a dataset or a folder", "name a scope, or --everywhere"
            )
        queries = self._queries()
        asked = carrying(queries, objects, scenes, attributes, match) + filtered(queries, filters)
        reference = find(queries, image)
        scope = Scope() if everywhere else Scope(dataset, folder)
        if reference.image_id is not None and dataset is None and not everywhere:
            place = queries.place(reference.image_id)
            scope = Scope(place.dataset, place.folder if folder is None else folder)
        folders = queries.folders(scope)
        vector, without = self._vector(reference, device, pdf_password), reference.image_id or 0
        found = near(
            queries, self._holding, vector, folders, asked, limit,
            lambda cosine: cosine >= threshold - TOLERANCE, without=without, least=threshold > 0, exact=exact,
        )  # fmt: skip
        fields, pairs = queries.fields(image_id for image_id, _ in found.passing), queries.pairs()
        nearest = None if found.nearest is None else min(1.0, found.nearest)
        told = threshold if found.passing else nearest
        return Answer(
            results=[
                SimilarImage(**fields[i], similarity=min(1.0, cosine), closer_than=closer_than(pairs, cosine))
                for i, cosine in found.passing
            ],
            scope=scope,
            considered=queries.count(folders) - (without > 0 and queries.within(without, folders)),
            nearest=nearest,
            closer_than=None if told is None else closer_than(pairs, told),
            elsewhere=found.elsewhere,
            approximate=found.approximate,
            seconds=time.perf_counter() - started,
        )

    @question
    def search(
        self,
        text: Weighed[str] | Sequence[Weighed[str]] = "",
        *,
        images: Sequence[Weighed[ImageLike]] = (),
        without: Sequence[Weighed[str]] = (),
        objects: Sequence[str] | None = None,
        scenes: Sequence[str] | None = None,
        attributes: Sequence[str] | None = None,
        match: str = "any",
        limit: int = 50,
        min_probability: float = 0.0,
        dataset: str | None = None,
        folder: str | None = None,
        exact: bool = False,
        device: str = "auto",
        **filters: Unpack[Filters],
    ) -> Answer:
        """Images that match words, best first, each with its cosine and SigLIP's probability.

        images: pictures to mix in, as those of `similar`; without: words to push away. Each, and each of several texts,
        may be a (weight, value) pair; otherwise the weight is 1, of `without` a half. Of several parts each counts by
        how its cosines are spread over the library (`combining`); results then have a score and the cosine with each
        part, no probability, and leave the images given out.

        objects, scenes, attributes, match, filters: as those of `similar`. min_probability: least probability, 0..1.
        The first search for words runs the model's text half; the database keeps their embedding. Raises
        ValidationError, NotFoundError, ModelError.

        >>> answer = library.search("car", images=["sample_images/nature/boats-at-sunset.jpg"], without=[(0.3, "snow")])
        >>> answer.results[0].filename
        'red-car.jpg'
        """
        started = time.perf_counter()
        check_range("limit", limit, 1, MAX_LIMIT)
        check_range("min_probability", min_probability, 0, 1)
        from pictocli.words import probability

        queries, spec = self._queries(), self._spec()
        folders = queries.folders(Scope(dataset, folder))  # a wrong scope or label is told before a model is loaded
        asked = carrying(queries, objects, scenes, attributes, match) + filtered(queries, filters)
        texts: list[Weighed[str]] = [text] * (text != "") if isinstance(text, str | tuple) else list(text)

        def embedded(words: str) -> bytes:
            return self._words(queries, words, device)

        if images or without or len(texts) > 1:
            from pictocli.several import Several, combined

            if min_probability:
                raise ValidationError("a probability is of words alone", "leave --min-probability out")
            several = Several(queries, texts, images, without, embedded, lambda found: self._vector(found, device))
            scope = Scope(dataset, folder)
            return combined(queries, self._holding, several, scope, asked, limit, exact=exact)
        vector = embedded("" if not texts else texts[0] if isinstance(texts[0], str) else texts[0][1])
        found = near(
            queries, self._holding, vector, folders, asked, limit,
            lambda cosine: probability(spec, cosine) >= min_probability, least=min_probability > 0, exact=exact,
        )  # fmt: skip
        fields = queries.fields(image_id for image_id, _ in found.passing)
        return Answer(
            results=[
                SimilarImage(**fields[i], similarity=cosine, probability=probability(spec, cosine))
                for i, cosine in found.passing
            ],
            scope=Scope(dataset, folder),
            considered=queries.count(folders),
            nearest=None if found.nearest is None else probability(spec, found.nearest),
            elsewhere=found.elsewhere,
            approximate=found.approximate,
            seconds=time.perf_counter() - started,
        )

    @question
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
        **filters: Unpack[Filters],
    ) -> Answer:
        """As `by_tag`; match "all" asks for every label of a category, sort "score" puts the surest first.

        filters: only images that meet these `Filters`; then labels may be left out.

        >>> answer = library.tagged(attributes=["grayscale"], folder="city")
        >>> [(image.filename, image.matched) for image in answer.results]
        [('old-fort-aerial.jpg', {'grayscale': 1.0})]
        """
        started = time.perf_counter()
        check_range("limit", limit, 1, MAX_LIMIT)
        queries = self._queries()
        asked, groups, names = filtered(queries, filters), list[list[int]](), list[tuple[str, str]]()
        if not asked or not (objects is None and scenes is None and attributes is None):
            groups, names = resolve_labels(queries, objects, scenes, attributes, match)
        scope = Scope(dataset, folder)
        folders = queries.folders(scope)
        ids = queries.tagged(groups, folders, limit, by_score=sort == "score", conditions=asked)
        fields = queries.fields(ids)
        results = []
        for image_id in ids:
            scores = fields[image_id]["scores"]
            matched = {name: scores[category][name] for category, name in names if name in scores[category]}
            require(bool(matched) or not names, f"image {image_id} does not carry the tags that it is listed under")
            results.append(TaggedImage(**fields[image_id], matched=matched))
        elsewhere = None
        if not ids and folders is None and len(groups) == 1 and not asked:
            carriers = queries.carrying(groups)[0].most
            require(carriers == 0, f"{carriers:,} images should carry these tags, and none is listed")
        if not results and scope != Scope():
            elsewhere = len(queries.tagged(groups, None, MAX_LIMIT, by_score=False, conditions=asked))
        return Answer(
            results=results, scope=scope, considered=queries.count(folders), elsewhere=elsewhere,
            seconds=time.perf_counter() - started,
        )  # fmt: skip

    # -- below the questions ----------------------------------------------------------------------------------------

    @question
    def _own_taxonomy(self) -> str | None:
        """The label list that `retag` was given, if it was given one."""
        own = self._queries().meta("own_taxonomy")
        require(own is None or isinstance(own, str), "its own list of labels is no text")
        return own or None

    def _own_model(self, device: str) -> Model:
        """The database's own model, which picto reembed may have changed since the last question."""
        spec = self._spec()
        if self._model is None or self._model.spec != spec:
            from pictocli.brain import choose

            self._model = choose("auto", spec, device, self.progress)
        return self._model

    def _words(self, queries: Queries, words: str, device: str) -> bytes:
        """The embedding of words, which the database keeps."""
        from pictocli.words import text_vector

        return text_vector(self.path, queries, words, lambda: self._own_model(device).text_embedder)

    def _spec(self) -> ModelSpec:
        queries = self._queries()
        spec = queries.spec()
        if spec is None:
            require(queries.count_contents() == 0, "it no longer says which model its embeddings are of")
            raise StoreError(f"{shown(self.path)} holds no images yet", "picto index FOLDER fills it")
        return spec

    def _vector(self, reference: Reference, device: str, pdf_password: str | Sequence[str] | None = None) -> bytes:
        """The embedding of a reference: the stored one, or one made now."""
        indexed = reference.image_id or reference.twin
        if indexed is not None:
            vector, spec = self._queries().embedding(indexed), self._spec()
            if vector is not None:
                right = isinstance(vector, bytes) and len(vector) == 4 * spec.dim
                require(right, f"the embedding of image {indexed} is not {spec.dim} numbers")
                return vector
            raise StoreError(f"image {indexed} has no embedding", "picto index gives it one, after picto repair")
        self._spec()
        from pictocli.looking import embed_reference  # numpy, Pillow, torch

        return embed_reference(reference, self._own_model(device), pdf_password)[0]


def filtered(queries: Queries, filters: Filters) -> list[Condition]:
    """The conditions of filters other than tags."""
    if not filters:
        return []
    from pictocli.filters import filtering  # 2 ms

    return filtering(queries, filters)
