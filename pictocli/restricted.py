"""A library of which a part is seen: what an agent asks. It is never written to."""

from __future__ import annotations

import contextlib

from pictocli.databases import exists
from pictocli.errors import NotFoundError, StoreError, ValidationError
from pictocli.expressions import parse
from pictocli.fields import Fields
from pictocli.protocols import Progress
from pictocli.queries import Queries
from pictocli.questions import question
from pictocli.reading import Reader
from pictocli.records import Label
from pictocli.references import indexed
from pictocli.taxonomy import kept
from pictocli.urls import is_url
from pictocli.visible import Bounds, hide

__all__ = ["Restricted"]

_WORDS = 1000  # texts whose embeddings are held: 3 MB at 768 numbers


class Restricted(Reader):
    """Reads what lies within bounds of one library; what does not is not there, whatever is asked.

    paths: whether images may be named by path, else by id only. files: whether files that are not in the index may be
    named, too.
    """

    def __init__(
        self, path: str, progress: Progress, bounds: Bounds | None = None, *, paths: bool = True, files: bool = False
    ) -> None:
        super().__init__(path, progress)
        self._bounds, self._paths, self._files = bounds or Bounds(), paths, files
        self._hidden: int | None = None  # the version of the database, as the connection numbers it, that is hidden
        self._texts: dict[tuple[str, str, str], bytes] = {}

    def close(self) -> None:
        """Close the database."""
        super().close()
        self._hidden = None

    def check(self) -> bool:
        """Whether there is a library, no empty file. Raises as questions do, and where it has nothing that is meant."""
        for each in self._bounds.where:
            parse(each)
        if not exists(self.path):
            return False
        try:
            self._refill()
        except StoreError as exc:
            if isinstance(exc.__cause__, NotFoundError | ValidationError):  # told to whoever sets the bounds
                raise exc.__cause__ from None
            raise
        return True

    def found(self, image: int | str) -> int | str:
        """What an image is to be asked for by: its id where it is in the index, else the path of a file.

        Raises NotFoundError for all else, whether or not it exists.
        """
        text = f"id:{image}" if isinstance(image, int) or image.isdigit() else image
        if self._paths or text.startswith("id:"):
            with contextlib.suppress(NotFoundError, ValidationError):
                image_id = self._indexed_as(text)
                if image_id is not None:
                    return image_id
        if self._files and not text.startswith("id:") and not is_url(text):
            return text
        raise NotFoundError(f"no such image: {image}", "take its id from an answer of search, similar or tags")

    @question
    def _refill(self) -> None:
        self._queries()

    @question
    def _indexed_as(self, text: str) -> int | None:
        return indexed(self._queries(), text)

    @question
    def fields(self) -> list[str]:
        """The fields of metadata that images have, as conditions name them; of the first 2,000 with any."""
        return Fields(self._queries().db).names()

    @question
    def labels(self, category: str | None = None) -> list[Label]:
        """The labels that tags are taken from, of one category or of all: the library's own, else the bundled ones."""
        own = self._queries().meta("own_taxonomy")
        return [each for each in kept(own or None).labels if category in (None, each.category)]

    # -- below the questions ----------------------------------------------------------------------------------------

    def _queries(self) -> Queries:
        queries = super()._queries()
        if self._bounds:
            version = queries.version()
            if version != self._hidden:
                self._hidden = None
                self._hide(queries)
                self._hidden = version
        return queries

    def _hide(self, queries: Queries) -> None:
        """Hide what is out of bounds. What is wrong with the bounds would name what is out of them."""
        try:
            hide(queries, self._bounds)
        except (NotFoundError, ValidationError) as exc:
            raise StoreError("what may be seen of the library is not in it") from exc

    def _end(self) -> None:
        """Leave the state that the last question has looked at; what is hidden stays so."""
        self._asked = False
        if self._db is not None and self._db.in_transaction:
            self._db.execute("COMMIT")

    def _words(self, queries: Queries, words: str, device: str) -> bytes:
        """The embedding of words, which is held here."""
        from pictocli.words import text_vector

        spec = self._spec()
        key = (spec.id, spec.revision, words)
        if key not in self._texts:
            while len(self._texts) >= _WORDS:
                del self._texts[next(iter(self._texts))]
            self._texts[key] = text_vector(None, queries, words, lambda: self._own_model(device).text_embedder)
        return self._texts[key]
