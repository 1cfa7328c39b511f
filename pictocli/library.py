"""The public API: `pictocli.open()` and `Library`. Everything the command line can do goes through here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Unpack, cast

from pictocli.browsing import Browsing
from pictocli.databases import exists
from pictocli.errors import ValidationError, check_range
from pictocli.exchanging import Exchanging
from pictocli.grouped import Duplicates
from pictocli.labels import carrying
from pictocli.locations import default_path
from pictocli.picturing import Picturing
from pictocli.protocols import NoProgress, Progress
from pictocli.questions import question
from pictocli.reading import MAX_LIMIT, filtered
from pictocli.records import Embedded, IndexReport, Label, Scope, SimilarImage, TaggedImage
from pictocli.references import ImageLike, images_of, paths_of
from pictocli.reports import Change
from pictocli.tuning import Tuning
from pictocli.upkeep import Upkeep

if TYPE_CHECKING:
    import threading

    from pictocli.filters import Filters
    from pictocli.settings import IndexSettings, SearchSettings


__all__ = ["MAX_LIMIT", "Library", "default_path", "labels", "open_library"]


def labels(category: str | None = None, *, own: str | None = None) -> list[Label]:
    """The labels of one category ("objects", "scenes", "attributes") or of all three.

    own: a library's own list, as it keeps the text of it; without one these are the curated labels.
    """
    from pictocli.taxonomy import kept

    return [label for label in kept(own).labels if category in (None, label.category)]


def open_library(path: str | os.PathLike[str] | None = None, *, progress: Progress | None = None) -> Library:
    """Open the library in the SQLite file `path` (default: PICTO_DB, else the platform's user-data folder).

    The file is made by the first `index`; until then queries raise StoreError. progress: told what goes on.

    >>> with pictocli.open("picto.db") as library:
    ...     library.info().images
    62
    """
    return Library(os.fspath(path) if path is not None else default_path(), progress or NoProgress())


class Library(Tuning, Upkeep, Exchanging, Picturing, Browsing):
    """Indexed images in one SQLite file, and the questions one can ask of them. Use it as a context manager.

    `pictocli.open` makes one. path: the file, in full. Where several paths or images are taken, a single one does, too.
    For one thread at a time.
    """

    def index(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
        *,
        listing: str | os.PathLike[str] | None = None,
        nul: bool = False,
        image_column: str | None = None,
        passed: Sequence[str] = (),
        anonymous: bool = False,
        allow_local: bool = False,
        timeout: float = 30,
        **options: Unpack[IndexSettings],
    ) -> IndexReport:
        """Index files, folders, PDFs, `s3://bucket/prefix` and `https://…`; only what is new or changed costs anything.

        listing: a file, or "-" for standard input, with a path or URL a line, or with nul one a NUL; with image_column
        a CSV or JSONL that has them in this column, whose fields `passed` go with the images under their last name.
        Both may be dotted paths, as "payload.image_url". anonymous: read public buckets without credentials.
        allow_local: fetch from local addresses that were not named, too. timeout: seconds that a server may be silent.

        options: dataset, model, device, batch_size, workers, include, exclude, hidden, follow, pdf_dpi, pdf_pages,
        pdf_password, thumbnails, thumbnail_width, metadata, index_field, max_pixels, max_file_size, max_pages,
        max_seconds, force, dry_run, runner, ray_address: `pictocli.settings.IndexSettings` says what each is. A path
        that does not exist is listed in the report's `missing`. Raises ValidationError, ModelMismatchError, ModelError,
        StoreError; PictoError for a bucket, for the only URL, that cannot be fetched, or for a cluster that is not
        there, before anything is written.

        >>> report = library.index(["sample_images"], thumbnails=True)
        >>> report.indexed, report.unchanged, report.skipped
        (0, 59, [])
        """
        from pictocli.filling import index  # numpy, Pillow
        from pictocli.lists import Listing
        from pictocli.remote import Access

        check_range("timeout", timeout, 0.1, 3600)
        if listing is None and (nul or image_column is not None or passed):
            raise ValidationError("these options are for a list", "--from FILE names it, or --from - for stdin")
        named = None if listing is None else Listing(os.fspath(listing), nul, image_column, tuple(passed))
        access = Access(anonymous, allow_local, timeout)
        return index(self.path, paths_of(paths), self.progress, listing=named, access=access, **options)

    def watch(
        self, paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], *,
        caught_up: Callable[[IndexReport], None] | None = None, stop: threading.Event | None = None,
        poll: float | None = None, **options: Unpack[IndexSettings],
    ) -> Iterator[list[Change]]:  # fmt: skip
        """Index folders as `index` does, then follow them: yields the changes of each batch, until `stop` is set.

        caught_up: given the report of the first run. poll: seconds between looks, where the operating system tells of
        no changes, as on network shares. options: those of `index`. Files that go are forgotten, unless their root goes
        or more than a fifth and more than 20 go at once. Raises NotFoundError, ValidationError for a file, and as
        `index` does. KeyboardInterrupt ends it.

        >>> import shutil
        >>> add = lambda report: shutil.copy("sample_images/vehicles/red-car.jpg", "sample_images/new.jpg")
        >>> for change in next(library.watch("sample_images", caught_up=add)):
        ...     print(change.event, change.image_id)
        new 63
        """
        from pictocli.watching import watch  # numpy, Pillow

        self.close()
        told = caught_up or (lambda _: None)
        return watch(self.path, paths_of(paths), self.progress, caught_up=told, stop=stop, poll=poll, **options)

    def labels(self, category: str | None = None) -> list[Label]:
        """The labels that tags are taken from, of one category or of all: the library's own, else the bundled ones.

        >>> library.labels("objects")[0]
        Label(category='objects', id='person', phrase='a person', aliases=('human', 'people', 'man', 'woman', ...))
        """
        return labels(category, own=self._own_taxonomy() if exists(self.path) else None)

    def embed(
        self, images: ImageLike | Iterable[ImageLike], *, model: str = "auto", device: str = "auto",
        pdf_password: str | Sequence[str] | None = None,
    ) -> Iterator[Embedded]:  # fmt: skip
        """Embeddings of files or bytes, one by one; nothing is stored.

        pdf_password: of encrypted PDFs, or several to try; None is what PICTO_PDF_PASSWORD holds.
        model: "auto" is the database's own where there is one. Raises NotFoundError, UnreadableError, ModelError.

        >>> for embedded in library.embed(["sample_images/vehicles/red-car.jpg"]):
        ...     print(embedded.model, len(embedded.embedding))
        mini 256
        """
        from pictocli.filling import embed

        return embed(self.path, images_of(images), model, device, self.progress, pdf_password)

    def mcp(
        self, *, datasets: Sequence[str] = (), folders: Sequence[str] = (), where: Sequence[str] = (),
        paths: bool = True, files: bool = False, device: str = "auto",
        ready: Callable[[bool, str], None] | None = None, unexpected: Callable[[Exception], None] | None = None,
    ) -> None:  # fmt: skip
        """Answer an agent on standard input and output, by the Model Context Protocol, until it closes them.

        datasets, folders, where: what it may see: images in one of these datasets and in one of these folders that meet
        all conditions; nothing stands for all. paths: tell where files lie. files: let it ask with files that are not
        in the index. ready: told, before it waits, whether the library is there, and its path. unexpected: told of
        errors that the agent is not. Raises NotFoundError, ValidationError, StoreError for what it may see,
        PictoError without the package mcp, KeyboardInterrupt.

        >>> library.mcp(datasets=["nowhere"])
        Traceback (most recent call last):
        pictocli.errors.NotFoundError: there is no dataset nowhere
        """
        from pictocli.restricted import Restricted
        from pictocli.visible import Bounds

        self.close()
        bounds = Bounds(tuple(datasets), tuple(folders), tuple(where))
        library = Restricted(self.path, self.progress, bounds, paths=paths, files=files)
        there = library.check()
        from pictocli.agents import serve  # a second, with the SDK: what is wrong with the bounds is told before

        if ready is not None:
            ready(there, self.path)
        serve(library, paths=paths, device=device, unexpected=unexpected or (lambda _: None))

    @question
    def duplicates(
        self,
        *,
        exact: bool = False,
        threshold: float = 0.93,
        keep: str | None = None,
        pages: bool = False,
        objects: Sequence[str] | None = None,
        scenes: Sequence[str] | None = None,
        attributes: Sequence[str] | None = None,
        match: str = "any",
        dataset: str | None = None,
        folder: str | None = None,
        **filters: Unpack[Filters],
    ) -> Duplicates:
        """Groups of images that show the same picture; an image is in one group at most.

        exact: the same bytes only; else also copies that were resized, recompressed, marked, turned by 90° or cropped
        by up to 15 % a side, by fingerprints that `index` makes. threshold: least similarity of such, 0.93..1. keep:
        puts the "largest" (in pixels, then bytes), "oldest" or "newest" (as it was taken, else changed) or "first" (by
        id) of each group first and marks it. pages: pages of PDFs and of TIFFs with several, too. objects, scenes,
        attributes, match, filters: only images with these tags, that meet these `Filters`, as those of `similar`.
        Raises ValidationError, NotFoundError, StoreError.

        >>> found = library.duplicates(keep="largest", folder="nature")
        >>> [[copy.filename for copy in group.images] for group in found.groups]
        [['mountain-trail.jpg', 'mountain-trail-edited.jpg']]
        """
        from pictocli.duplicates import duplicates

        queries = self._queries()
        asked = carrying(queries, objects, scenes, attributes, match) + filtered(queries, filters)
        scope = Scope(dataset, folder)
        return duplicates(queries, scope, asked, keep, threshold, self.progress, exact=exact, pages=pages)

    def by_similarity(
        self, image: ImageLike, threshold: float = 0.6, limit: int = 50, folder_path: str | None = None
    ) -> list[SimilarImage]:
        """Images like `image` (a path, "report.pdf#page=3", an id, or bytes), most similar first, without itself.

        threshold: least cosine similarity, 0..1. limit: 1..500. folder_path: None for the reference's own dataset and
        folder, "/" for its whole dataset, else a folder. Raises NotFoundError, ValidationError, UnreadableError.

        >>> for image in library.by_similarity("sample_images/nature/mountain-trail.jpg", limit=1):
        ...     print(f"{image.similarity:.1f} {image.filename}")
        1.0 mountain-trail-edited.jpg
        """
        answer = self.similar(image, threshold=threshold, limit=limit, folder=folder_path)
        return cast(list[SimilarImage], list(answer.results))

    def by_text(self, text: str, limit: int = 50, **options: Unpack[SearchSettings]) -> list[SimilarImage]:
        """Images that match words, best first; `options` as those of `search`, and raises as it does.

        >>> [image.filename for image in library.by_text("a cup of coffee", limit=1)]
        ['coffee-cup.jpg']
        """
        return cast(list[SimilarImage], list(self.search(text, limit=limit, **options).results))

    def by_tag(
        self,
        objects: Sequence[str] | None = None,
        scenes: Sequence[str] | None = None,
        attributes: Sequence[str] | None = None,
        dataset_name: str | None = None,
        limit: int = 50,
    ) -> list[TaggedImage]:
        """Images by their tags: any of a category's labels, and every category that is given.

        Raises ValidationError when no label is given or one is unknown, NotFoundError for the dataset.

        >>> [image.filename for image in library.by_tag(objects=["car", "truck"], scenes=["outdoor"])]
        ['red-car.jpg']
        """
        answer = self.tagged(objects, scenes, attributes, dataset=dataset_name, limit=limit)
        return cast(list[TaggedImage], list(answer.results))
