"""The public API: `pictocli.open()` and `Library`. Everything the command line can do goes through here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Unpack, cast

from pictocli.damage import Damage, RepairReport
from pictocli.errors import ValidationError, check_range
from pictocli.grouped import Duplicates
from pictocli.protocols import NoProgress, Progress
from pictocli.questions import question
from pictocli.reading import MAX_LIMIT, Reader
from pictocli.records import (
    CalibrationReport,
    Embedded,
    Exported,
    IndexReport,
    Label,
    RetagReport,
    Scope,
    SimilarImage,
    TaggedImage,
)
from pictocli.references import ImageLike
from pictocli.reports import Change, MergeReport, MoveReport, RemovalReport, VacuumReport
from pictocli.schema import translated

if TYPE_CHECKING:
    import threading

    from pictocli.filters import Filters
    from pictocli.reports import ExportReport, ImportReport, ThumbnailReport

__all__ = ["MAX_LIMIT", "Library", "default_path", "labels", "open_library"]


def default_path() -> str:
    """PICTO_DB, else picto.db in the platform's folder for user data."""
    if named := os.environ.get("PICTO_DB"):
        return named
    import platformdirs

    return str(Path(platformdirs.user_data_dir("picto", appauthor=False)) / "picto.db")


def labels(category: str | None = None, *, own: str | None = None) -> list[Label]:
    """The labels of one category ("objects", "scenes", "attributes") or of all three.

    own: a library's own list, as it keeps the text of it; without one these are the curated labels.
    """
    from pictocli.taxonomy import kept

    return [label for label in kept(own).labels if category in (None, label.category)]


def open_library(path: str | os.PathLike[str] | None = None, *, progress: Progress | None = None) -> Library:
    """Open the library in the SQLite file `path` (default: PICTO_DB, else the platform's user-data folder).

    The file is made by the first `index`; until then queries raise StoreError. progress: told what goes on.
    """
    return Library(os.fspath(path) if path is not None else default_path(), progress or NoProgress())


class Library(Reader):
    """Indexed images in one SQLite file, and the questions one can ask of them. Use it as a context manager."""

    def index(
        self,
        paths: Iterable[str | os.PathLike[str]] = (),
        *,
        listing: str | os.PathLike[str] | None = None,
        nul: bool = False,
        image_column: str | None = None,
        passed: Sequence[str] = (),
        anonymous: bool = False,
        allow_local: bool = False,
        timeout: float = 30,
        **options: Any,
    ) -> IndexReport:
        """Index files, folders, PDFs, `s3://bucket/prefix` and `https://…`; only what is new or changed costs anything.

        listing: a file, or "-" for standard input, with a path or URL a line, or with nul one a NUL; with image_column
        a CSV or JSONL that has them in this column, whose fields `passed` go with the images under their last name.
        Both may be dotted paths, as "payload.image_url". anonymous: read public buckets without credentials.
        allow_local: fetch from local addresses that were not named, too. timeout: seconds that a server may be silent.

        options: dataset (the folder's name), model ("auto"), device ("auto"), batch_size (16, more on a GPU), workers
        (one a core), include, exclude (globs), hidden, follow, pdf_dpi (72), pdf_pages ("1-5,9,20-"; all), pdf_password
        (one, or several to try; PICTO_PDF_PASSWORD), thumbnails, thumbnail_width (640), metadata (the path of a CSV,
        JSONL or Parquet), index_field (names of its fields), max_pixels (200, in millions), max_file_size (1000, in
        MB), max_pages (2000), max_seconds (30), force, dry_run; as in `picto index --help`. A path that does not exist
        is listed in the report's `missing`. Raises ValidationError, ModelMismatchError, ModelError, StoreError;
        PictoError for a bucket, or for the only URL, that cannot be fetched, before anything is written.
        """
        from pictocli.filling import index  # numpy, Pillow
        from pictocli.lists import Listing
        from pictocli.remote import Access

        check_range("timeout", timeout, 0.1, 3600)
        if listing is None and (nul or image_column is not None or passed):
            raise ValidationError("these options are for a list", "--from FILE names it, or --from - for stdin")
        options["listing"] = listing and Listing(os.fspath(listing), nul, image_column, tuple(passed))
        options["access"] = Access(anonymous, allow_local, timeout)
        return index(self.path, [os.fspath(path) for path in paths], self.progress, **options)

    def reembed(
        self, model: str, *, device: str = "auto", batch_size: int | None = None, workers: int | None = None,
        pdf_password: str | Sequence[str] | None = None,
    ) -> IndexReport:  # fmt: skip
        """Move the whole library into another model's space; ids, datasets and metadata stay.

        pdf_password: of encrypted PDFs, or several to try; None is what PICTO_PDF_PASSWORD holds.
        Raises PictoError, with the library as it was, when an original is missing or has changed; what was embedded is
        kept for the next try.
        """
        from pictocli.filling import reembed_library

        self.close()
        return reembed_library(self.path, model, device, batch_size, workers, self.progress, pdf_password)

    def retag(self, *, taxonomy: str | os.PathLike[str] | None = None, device: str = "auto") -> RetagReport:
        """Make all tags anew from stored embeddings and measures: no picture is opened.

        taxonomy: a label list of one's own, which the library then keeps; "built-in" goes back to the bundled one;
        None stays with the library's. The model is loaded only when the labels' prompts are new to the library.
        Raises NotFoundError, ValidationError naming the line, StoreError, ModelError; the tags are then as they were.
        """
        from pictocli.filling import retag_library

        self.close()
        return retag_library(self.path, None if taxonomy is None else os.fspath(taxonomy), device, self.progress)

    def calibrate(self, pictures: Iterable[str | os.PathLike[str]], **options: Any) -> CalibrationReport:
        """Measure what a model's scores mean on a varied set of pictures, and keep it for this user.

        options: model ("auto": the library's), labels (a CSV or JSONL of what the pictures show), taxonomy, device,
        batch_size, workers; as in `picto calibrate --help`. `retag` applies it.
        Raises NotFoundError, ValidationError, ModelError.
        """
        from pictocli.calibrating import calibrate

        self.close()
        return calibrate(self.path, [os.fspath(each) for each in pictures], self.progress, **options)

    def check(self) -> list[Damage]:
        """Everything that can be told to be wrong with the database, a record a kind of damage; [] when nothing is.

        Reads only. Raises StoreError when the file is no database of picto's.
        """
        from pictocli.checking import check_file  # numpy

        return check_file(self.path, self.progress)

    def repair(self, *, dry_run: bool = False) -> RepairReport:
        """Make anew what is derived, remove what refers to nothing, and have `index` redo what is gone.

        What SQLite can no longer read as a whole is read row by row into a new file; the old one is kept beside it. A
        database without damage is left alone. dry_run: only say what is wrong. Raises StoreError, with the file as it
        was, when nothing of it can be saved or another program has it open.
        """
        from pictocli.repairing import repair  # numpy

        self.close()
        return repair(self.path, self.progress, dry_run=dry_run)

    def prune(
        self, *, dataset: str | None = None, folder: str | None = None, dry_run: bool = False, yes: bool = False
    ) -> RemovalReport:
        """Forget the files, of a dataset or folder or of all, that are gone from the disk.

        What nobody can look at is passed over, and listed in the report: roots that are not there or empty, as an
        unmounted disk's, and folders that cannot be read. yes: also when more than a fifth of all files are gone, for
        which PictoError is raised otherwise. Raises NotFoundError for the dataset or folder, StoreError.
        """
        from pictocli.keeping import prune

        self.close()
        return prune(self.path, self.progress, dataset=dataset, folder=folder, dry_run=dry_run, yes=yes)

    def remove(
        self, images: Iterable[str | os.PathLike[str] | int] = (), *, dataset: str | None = None, dry_run: bool = False,
        yes: bool = False,
    ) -> RemovalReport:  # fmt: skip
        """Remove images by id, files, pages ("report.pdf#page=3"), folders or a dataset from the library, not the disk.

        yes: needed for a folder or dataset with several images. Nothing is removed when one is not in the library.
        Raises NotFoundError, ValidationError, StoreError.
        """
        from pictocli.removing import remove

        self.close()
        named = [each if isinstance(each, int) else os.fspath(each) for each in images]
        return remove(self.path, self.progress, named, dataset=dataset, dry_run=dry_run, yes=yes)

    def move_root(
        self, old: str | os.PathLike[str], new: str | os.PathLike[str], *, force: bool = False, dry_run: bool = False
    ) -> MoveReport:
        """Tell the library that the indexed folder `old` lies at `new` now. Nothing is embedded again.

        force: also when `new` is not there, or holds none of the files. Raises NotFoundError, ValidationError for a
        folder that is no root or lies in or around another one, PictoError, StoreError.
        """
        from pictocli.keeping import move_root

        self.close()
        return move_root(self.path, os.fspath(old), os.fspath(new), force=force, dry_run=dry_run)

    def merge(self, other: str | os.PathLike[str], *, dry_run: bool = False) -> MergeReport:
        """Take all that the library in the file `other` holds and this one does not; `other` is only read.

        Datasets are joined by name, roots by path; what this library has finished stays as it is. Raises NotFoundError,
        ModelMismatchError for another model, ValidationError, StoreError for a damaged one.
        """
        from pictocli.joining import merge  # numpy

        self.close()
        return merge(self.path, os.fspath(other), self.progress, dry_run=dry_run)

    def vacuum(self) -> VacuumReport:
        """Rebuild the file without the room that deleted rows have left. Raises StoreError when it is in use."""
        from pictocli.keeping import vacuum

        self.close()
        return vacuum(self.path, self.progress)

    def watch(
        self, paths: Iterable[str | os.PathLike[str]], *, caught_up: Callable[[IndexReport], None] | None = None,
        stop: threading.Event | None = None, poll: float | None = None, **options: Any,
    ) -> Iterator[list[Change]]:  # fmt: skip
        """Index folders as `index` does, then follow them: yields the changes of each batch, until `stop` is set.

        caught_up: given the report of the first run. poll: seconds between looks, where the operating system tells of
        no changes, as on network shares. options: those of `index`. Files that go are forgotten, unless their root goes
        or more than a fifth and more than 20 go at once. Raises NotFoundError, ValidationError for a file, and as
        `index` does. KeyboardInterrupt ends it.
        """
        from pictocli.watching import watch  # numpy, Pillow

        self.close()
        named = [os.fspath(path) for path in paths]
        told = caught_up or (lambda _: None)
        return watch(self.path, named, self.progress, caught_up=told, stop=stop, poll=poll, **options)

    def labels(self, category: str | None = None) -> list[Label]:
        """The labels that tags are taken from, of one category or of all: the library's own, else the bundled ones."""
        return labels(category, own=self._own_taxonomy() if os.path.exists(self.path) else None)

    def embed(
        self, images: Iterable[ImageLike], *, model: str = "auto", device: str = "auto",
        pdf_password: str | Sequence[str] | None = None,
    ) -> Iterator[Embedded]:  # fmt: skip
        """Embeddings of files or bytes, one by one; nothing is stored.

        pdf_password: of encrypted PDFs, or several to try; None is what PICTO_PDF_PASSWORD holds.
        model: "auto" is the database's own where there is one. Raises NotFoundError, UnreadableError, ModelError.
        """
        from pictocli.filling import embed

        return embed(self.path, images, model, device, self.progress, pdf_password)

    def export(
        self, *, embeddings: bool = False, dataset: str | None = None, folder: str | None = None,
        **filters: Unpack[Filters],
    ) -> Iterator[Exported]:  # fmt: skip
        """Every image, of a dataset or folder or of all, with all that is kept of it, in the order of ids.

        embeddings: with those of the pictures. filters: only images that meet these `Filters`. The rows are those of
        one moment, and are read as they are asked for. Raises NotFoundError for the dataset or folder, ValidationError
        for a filter, StoreError.
        """
        from pictocli.filters import filtering
        from pictocli.overview import Overview

        with translated(self.path):
            queries = self._queries()
            folders = queries.folders(Scope(dataset, folder))
            asked = filtering(queries, filters)

        def rows() -> Iterator[Exported]:
            with translated(self.path):
                yield from Overview(queries.db).exported(folders, embeddings=embeddings, conditions=asked)

        return rows()

    def export_to(
        self,
        target: str | os.PathLike[str] | BinaryIO,
        format: str | None = None,  # noqa: A002 - the option's name
        *,
        embeddings: bool = False,
        spreadsheet_safe: bool = False,
        **scope: Any,
    ) -> ExportReport:
        """Write every row to a file, which is there as a whole or not at all, or to an open binary file or pipe.

        format: "jsonl", "csv", "parquet" (see `parquet.write` for its columns), or "npy": the embeddings as NAME.npy,
        float32 [n, dim], with NAME.npy.jsonl beside it, line i for row i; by default what the file is named for.
        scope: as `export`'s. Raises ValidationError, NotFoundError, StoreError, PictoError when the file cannot be
        written.
        """
        from pictocli.exporting import export_to, for_file

        form = for_file(self.path, target, format, embeddings=embeddings, spreadsheet_safe=spreadsheet_safe)
        rows = self.export(embeddings=embeddings or form == "npy", **scope)
        with translated(self.path):
            spec = self._queries().spec()
        return export_to(
            rows, os.fspath(target) if isinstance(target, str | os.PathLike) else target, form, spec=spec,
            embeddings=embeddings or form == "npy", spreadsheet_safe=spreadsheet_safe, progress=self.progress,
        )  # fmt: skip

    def import_embeddings(self, file: str | os.PathLike[str], **options: Any) -> ImportReport:
        """Index the files that a Parquet file has vectors for, with these instead of the model's.

        options: model ("auto": the library's, or what picto's own file says), path_column, vector_column (usual names),
        root (where relative paths begin, and what is indexed), dataset, device, workers, thumbnails, thumbnail_width,
        force, dry_run; as in `picto import --help`. A file that the library knows keeps its embedding, unless force is
        given. Raises NotFoundError, ValidationError, ModelMismatchError, ModelError, StoreError.
        """
        from pictocli.importing import import_embeddings  # numpy, Pillow, pyarrow

        held = None
        if os.path.exists(self.path) and os.path.getsize(self.path):
            with translated(self.path):
                held = self._queries().spec()
        self.close()
        return import_embeddings(self.path, os.fspath(file), held, self.progress, **options)

    def export_thumbnails(self, destination: str | os.PathLike[str], **options: Any) -> ThumbnailReport:
        """Write stored thumbnails to a folder or "s3://bucket/prefix", and store the address of each once it is there.

        options: cdn (an address that serves the bucket or folder), format ("jpeg" or "webp"), width (px, at most as
        they are), dataset, folder, force, dry_run; as in `picto thumbnails --help`. What lies there already is not
        written again. Raises ValidationError, NotFoundError for a bucket, dataset or folder, PictoError for a place
        that cannot be written, StoreError.
        """
        from pictocli.publishing import export_thumbnails  # Pillow, s3fs

        self.close()
        return export_thumbnails(self.path, os.fspath(destination), self.progress, **options)

    @question
    def duplicates(
        self,
        *,
        exact: bool = False,
        threshold: float = 0.93,
        keep: str | None = None,
        pages: bool = False,
        dataset: str | None = None,
        folder: str | None = None,
    ) -> Duplicates:
        """Groups of images that show the same picture; an image is in one group at most.

        exact: the same bytes only; else also copies that were resized, recompressed, marked, turned by 90° or cropped
        by up to 15 % a side, by fingerprints that `index` makes. threshold: least similarity of such, 0.93..1. keep:
        puts the "largest" (in pixels, then bytes), "oldest" or "newest" (as it was taken, else changed) or "first" (by
        id) of each group first and marks it. pages: pages of PDFs and of TIFFs with several, too.
        Raises ValidationError, NotFoundError, StoreError.
        """
        from pictocli.duplicates import duplicates

        return duplicates(
            self._queries(), Scope(dataset, folder), keep, threshold, self.progress, exact=exact, pages=pages
        )

    def by_similarity(
        self, image: ImageLike, threshold: float = 0.6, limit: int = 50, folder_path: str | None = None
    ) -> list[SimilarImage]:
        """Images like `image` (a path, "report.pdf#page=3", an id, or bytes), most similar first, without itself.

        threshold: least cosine similarity, 0..1. limit: 1..500. folder_path: None for the reference's own dataset and
        folder, "/" for its whole dataset, else a folder. Raises NotFoundError, ValidationError, UnreadableError.
        """
        answer = self.similar(image, threshold=threshold, limit=limit, folder=folder_path)
        return cast(list[SimilarImage], list(answer.results))

    def by_text(self, text: str, limit: int = 50, **options: Any) -> list[SimilarImage]:
        """Images that match words, best first; `options` as those of `search`."""
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
        """
        answer = self.tagged(objects, scenes, attributes, dataset=dataset_name, limit=limit)
        return cast(list[TaggedImage], list(answer.results))
