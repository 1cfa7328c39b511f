"""The part of a library that looks at what is there: one image, its thumbnail, the database at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pictocli.errors import NotFoundError
from pictocli.overview import Overview
from pictocli.protocols import Progress
from pictocli.queries import Queries
from pictocli.questions import Questions, question
from pictocli.records import ImageDetail, LibraryInfo
from pictocli.references import ImageLike, find

__all__ = ["Viewing"]


class Viewing(Questions):
    """Looks at one database, which is opened read-only, at the first question."""

    def __init__(self, path: str, progress: Progress) -> None:
        super().__init__(path)
        self.progress = progress

    @question
    def show(self, image: ImageLike) -> ImageDetail:
        """Everything known of one indexed image. Raises NotFoundError when it is not in the index.

        >>> image = library.show("sample_images/city/brick-basilica.jpg")
        >>> image.width, image.height, image.tags["scenes"]
        (640, 426, ['outdoor'])
        """
        return (queries := self._queries()).detail(self._indexed(queries, image))

    @question
    def thumbnail(
        self, image: ImageLike, *, width: int = 640, pdf_password: str | Sequence[str] | None = None
    ) -> bytes:
        """A JPEG of one indexed image, at most `width` px wide (16..4096), upright; only a PDF's page is enlarged.

        The stored one where it is wide enough, else made of the original. pdf_password: of an encrypted PDF, or several
        to try; None is what PICTO_PDF_PASSWORD holds. Raises NotFoundError when it is not in the index, UnreadableError
        when nothing is stored and the original is on a server, gone or unreadable.

        >>> library.thumbnail("sample_images/city/brick-basilica.jpg", width=320)[:3]
        b'\\xff\\xd8\\xff'
        """
        from pictocli.thumbnails import thumbnail  # Pillow

        return thumbnail(queries := self._queries(), self._indexed(queries, image), width, pdf_password)

    @question
    def info(self, *, check_recall: bool = False) -> LibraryInfo:
        """The database at a glance.

        check_recall: compare the fast path with the exact one on 50 of its own pictures, and keep how many images must
        be compared. A database that cannot be written is checked too; what is found is then not kept.

        >>> found = library.info()
        >>> found.images, found.pdf_pages, found.model
        (62, 3, 'mini')
        """
        recall = None
        if check_recall:
            from pictocli.recall import check_library  # numpy

            recall = check_library(self.path, self.progress)
        found = Overview(self._queries().db).info(self.path)
        return replace(found, recall=recall) if recall else found

    def _indexed(self, queries: Queries, image: ImageLike) -> int:
        """The id of an indexed image. Raises NotFoundError."""
        reference = find(queries, image)
        image_id = reference.image_id or reference.twin
        if image_id is None:
            name = "the image on standard input" if isinstance(image, bytes) else str(image)
            raise NotFoundError(f"not in the index: {name}", "picto index adds it")
        return image_id
