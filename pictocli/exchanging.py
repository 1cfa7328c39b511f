"""What goes out of a library to other programs, and what comes in from them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Unpack

from pictocli.reading import Reader
from pictocli.records import Exported, Scope
from pictocli.schema import translated

if TYPE_CHECKING:
    from pictocli.filters import Filters
    from pictocli.reports import ExportReport, ImportReport, ThumbnailReport

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

        self.close()
        return import_embeddings(self.path, os.fspath(file), self.progress, **options)

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
