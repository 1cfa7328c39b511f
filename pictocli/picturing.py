"""A library as a picture: a map of all its images, and histograms."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from pictocli.labels import carrying
from pictocli.questions import question
from pictocli.reading import Reader, filtered
from pictocli.records import Scope
from pictocli.references import is_indexed

if TYPE_CHECKING:
    from pictocli.figures import Histogram, MapReport
    from pictocli.filters import Filters

__all__ = ["Picturing"]


class Picturing(Reader):
    """Draws one database."""

    @question
    def map(
        self,
        target: str | os.PathLike[str],
        *,
        layout: str = "auto",
        seed: int = 0,
        size: int | None = None,
        objects: Sequence[str] | None = None,
        scenes: Sequence[str] | None = None,
        attributes: Sequence[str] | None = None,
        match: str = "any",
        dataset: str | None = None,
        folder: str | None = None,
        pdf_password: str | Sequence[str] | None = None,
        **filters: Unpack[Filters],
    ) -> MapReport:
        """Draw a map in which images that are alike lie together: an .svg, a .png, or an .html with zoom.

        layout: "umap", "pca", or "auto", UMAP where it is installed. What UMAP finds is kept in the user's cache. seed:
        the same gives the same map. size: px of the longer side, 400..8000, of an .svg or .png (2000). objects, scenes,
        attributes, match, dataset, folder, filters: only such images. pdf_password: as that of `thumbnail`. The file is
        there as a whole or not at all, and takes the place of another map only. Where no image meets the conditions,
        nothing is drawn: the report's path is "". Raises ValidationError for fewer than 3 images, another suffix, or a
        file that is no map of picto's; NotFoundError, StoreError, PictoError without umap-learn or when the file cannot
        be written.

        >>> library.map("samples.svg", layout="pca").images
        62
        """
        from pictocli.mapping import draw  # numpy, Pillow
        from pictocli.points import Points

        queries = self._queries()
        asked = carrying(queries, objects, scenes, attributes, match) + filtered(queries, filters)
        folders = queries.folders(Scope(dataset, folder))
        return draw(
            Points(queries.db), os.fspath(target), self.progress, folders=folders, conditions=asked, how=layout,
            seed=seed, size=size, library=self.path, pdf_password=pdf_password,
        )  # fmt: skip

    @question
    def histograms(self) -> list[Histogram]:
        """How the library is spread over tags, dates, similarities of random pairs, and sizes of files.

        One that has nothing to show is left out. Raises StoreError.

        >>> [each.name for each in library.histograms()]
        ['tags', 'similarity', 'sizes']
        """
        from pictocli.histograms import histograms

        return histograms(self._queries())

    def plot(self, target: str | os.PathLike[str]) -> str:
        """Draw the `histograms` in a file, .svg, .png, or .html with tables; returns its full path.

        The file is there as a whole or not at all, and takes the place of another such plot only. Raises
        ValidationError for another suffix or a file that is no plot of picto's, StoreError, PictoError when it cannot
        be written.

        >>> library.plot("samples.svg").rpartition("/")[2]
        'samples.svg'
        """
        from pictocli.plotting import plot  # Pillow, for a .png

        path = os.fspath(target)
        return plot(self.histograms, path, self.path, lambda: self._is_indexed(path))

    @question
    def _is_indexed(self, path: str) -> bool:
        return is_indexed(self._queries(), path)
