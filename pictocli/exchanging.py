"""What goes out of a library to other programs, and what comes in from them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Unpack

from pictocli.databases import translated
from pictocli.reading import Reader
from pictocli.records import Exported, Scope

if TYPE_CHECKING:
    from pictocli.filters import Filters
    from pictocli.reports import ExportReport, ImportReport, ThumbnailReport
    from pictocli.settings import ExportSettings, ImportSettings, ThumbnailSettings

__all__ = ["Exchanging"]


class Exchanging(Reader):
    """Exports and imports."""

    def export(
        self, *, embeddings: bool = False, dataset: str | None = None, folder: str | None = None,
        **filters: Unpack[Filters],
    ) -> Iterator[Exported]:  # fmt: skip
        """Every image, of a dataset or folder or of all, with all that is kept of it, in the order of ids.

        embeddings: with those of the pictures. filters: only images that meet these `Filters`. The rows are those of
        one moment, and are read as they are asked for. Raises NotFoundError for the dataset or folder, ValidationError
        for a filter, StoreError.

        >>> row = next(library.export(embeddings=True, folder="vehicles"))
        >>> row.filename, len(row.embedding)
        ('fighter-jet-cutout.png', 256)
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
        **scope: Unpack[ExportSettings],
    ) -> ExportReport:
        """Write every row to a file, which is there as a whole or not at all, or to an open binary file or pipe.

        format: "jsonl", "csv", "parquet" (see `parquet.write` for its columns), or "npy": the embeddings as NAME.npy,
        float32 [n, dim], with NAME.npy.jsonl beside it, line i for row i; by default what the file is named for.
        scope: as `export`'s. Raises ValidationError, NotFoundError, StoreError, PictoError when the file cannot be
        written.

        >>> library.export_to("library.csv").images
        62
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

    def import_embeddings(self, file: str | os.PathLike[str], **options: Unpack[ImportSettings]) -> ImportReport:
        """Index the files that a Parquet file has vectors for, with these instead of the model's.

        options: model, path_column, vector_column, root, dataset, device, workers, thumbnails, thumbnail_width, force,
        dry_run: `pictocli.settings.ImportSettings` says what each is. A file that the library knows keeps its
        embedding, unless force is given. Raises NotFoundError, ValidationError, ModelMismatchError, ModelError,
        StoreError.

        >>> _ = library.export_to("library.parquet", embeddings=True)
        >>> with pictocli.open("copy.db") as copy:
        ...     copy.import_embeddings("library.parquet").index.indexed
        62
        """
        from pictocli.importing import import_embeddings  # numpy, Pillow, pyarrow

        self.close()
        return import_embeddings(self.path, os.fspath(file), self.progress, **options)

    def export_thumbnails(
        self, destination: str | os.PathLike[str], **options: Unpack[ThumbnailSettings]
    ) -> ThumbnailReport:
        """Write stored thumbnails to a folder or "s3://bucket/prefix", and store the address of each once it is there.

        options: cdn, format, width, dataset, folder, force, dry_run: `pictocli.settings.ThumbnailSettings` says what
        each is. What lies there already is not written again. Raises ValidationError, NotFoundError for a bucket,
        dataset or folder, PictoError for a place that cannot be written, StoreError.

        >>> library.export_thumbnails("thumbs", cdn="https://cdn.example").written
        62
        >>> library.show(1).thumbnail_url
        'https://cdn.example/thumb_1.jpg'
        """
        from pictocli.publishing import export_thumbnails  # Pillow, s3fs

        self.close()
        return export_thumbnails(self.path, os.fspath(destination), self.progress, **options)
