"""The part of a library that looks at what is there: one image, its thumbnail, the database at a glance."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, Unpack

from pictocli.errors import NotFoundError
from pictocli.grouped import Duplicates
from pictocli.overview import Overview
from pictocli.protocols import Progress
from pictocli.queries import Queries
from pictocli.questions import Questions, question
from pictocli.records import Answer, ImageDetail, LibraryInfo
from pictocli.references import ImageLike, find

if TYPE_CHECKING:
    from pictocli.paging import Seen
    from pictocli.reports import PageReport
    from pictocli.settings import PageSettings

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

    def page(
        self, found: Answer | Duplicates, *, title: str | None = None, about: str = "",
        references: Sequence[ImageLike] = (), limit: int | None = None,
        pdf_password: str | Sequence[str] | None = None,
    ) -> str:  # fmt: skip
        """One page of HTML that shows an answer: pictures of 320 px in it, no script, nothing to be fetched.

        title: by default how many images there are, and `references`, the pictures that were asked for, which stand
        above the results; about: goes on with it, as ", at 0.60 or above". limit: that of the question, to say that
        there may be more. pdf_password: as that of `thumbnail`. What has no picture any more gets a box that says so.
        Raises StoreError.

        >>> page = library.page(library.tagged(["car"]), title="A car")
        >>> page.count("<img"), "https://" in page
        (1, False)
        """
        return self._page(found, pdf_password, title=title, about=about, references=references, limit=limit)[0]

    def page_to(
        self,
        target: str | os.PathLike[str] | BinaryIO | None,
        found: Answer | Duplicates,
        **options: Unpack[PageSettings],
    ) -> PageReport:
        """Write `page` to a file, which is there as a whole or not at all, or to an open binary file or pipe.

        target: a new file, or one that holds a page; None for a new one in the folder for temporary files, which its
        user alone may read. options: those of `page`. Raises ValidationError, StoreError, PictoError when the file
        cannot be written.

        >>> library.page_to("cars.html", library.tagged(["car"])).images
        1
        """
        from pictocli.paging import for_page, put_page

        where = os.fspath(target) if isinstance(target, str | os.PathLike) else target
        if isinstance(where, str):
            for_page(self.path, where)
        text, report = self._page(found, **options)
        put_page(text, where, report)
        return report

    def _page(
        self, found: Answer | Duplicates, pdf_password: str | Sequence[str] | None = None, **words: Any
    ) -> tuple[str, PageReport]:
        from pictocli.paging import make_page

        return make_page(found, lambda image: self._look(image, pdf_password), self.progress, **words)

    @question
    def _look(self, image: ImageLike, pdf_password: str | Sequence[str] | None) -> Seen:
        from pictocli.paging import look

        return look(self._queries(), image, pdf_password)

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
