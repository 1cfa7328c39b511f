"""The keyword options that several methods of `Library` share, by name and type. What is left out has its default.

For type checkers and for readers: nothing here is imported when a program runs. `Filters`, of queries and exports, are
in `filters.py`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from pictocli.filters import Filters

if TYPE_CHECKING:
    from pictocli.references import ImageLike
    from pictocli.several import Weighed

__all__ = [
    "CalibrationSettings", "ExportSettings", "ImportSettings", "IndexSettings", "PageSettings", "SearchSettings",
    "ThumbnailSettings",
]  # fmt: skip


class IndexSettings(TypedDict, total=False):
    """What `Library.index` and `Library.watch` can be asked for, as `picto index --help` has it.

    dataset: the folder's name. model: "auto", the library's own, else siglip2-base; "mini", a hub id or a folder.
    device: "auto", "cpu", "cuda" or "mps". batch_size: images a model run, 1..4096 (16, more on a GPU). workers:
    decoding processes, 0..256 (one a core). include, exclude: globs. hidden: hidden files, too. follow: symbolic links.
    pdf_dpi: 8..1200 (72). pdf_pages: "1-5,9,20-" (all). pdf_password: one, or several to try (PICTO_PDF_PASSWORD).
    thumbnails: keep one of each image. thumbnail_width: px, 16..4096 (640). metadata: the path of a CSV, JSONL or
    Parquet. index_field: names of its fields that conditions shall be fast on. max_pixels: in millions (200).
    max_file_size: in MB (1000). max_pages: of a PDF or TIFF (2000). max_seconds: of decoding (30). force: unchanged
    files, too. dry_run: only count. runner: "local", or "ray" for the nodes of a Ray cluster; workers and batch_size
    are then a node's. ray_address: its HOST:PORT (RAY_ADDRESS, else this machine alone).
    """

    dataset: str | None
    model: str
    device: str
    batch_size: int | None
    workers: int | None
    include: Sequence[str]
    exclude: Sequence[str]
    hidden: bool
    follow: bool
    pdf_dpi: int | None
    pdf_pages: str | None
    pdf_password: str | Sequence[str] | None
    thumbnails: bool
    thumbnail_width: int | None
    metadata: str | os.PathLike[str] | None
    index_field: Sequence[str]
    max_pixels: int
    max_file_size: int
    max_pages: int
    max_seconds: int
    force: bool
    dry_run: bool
    runner: str
    ray_address: str | None


class SearchSettings(Filters, total=False):
    """What `Library.by_text` takes of `Library.search`, beside the words and the limit; and `Filters`."""

    images: Sequence[Weighed[ImageLike]]
    without: Sequence[Weighed[str]]
    objects: Sequence[str] | None
    scenes: Sequence[str] | None
    attributes: Sequence[str] | None
    match: str
    min_probability: float
    dataset: str | None
    folder: str | None
    exact: bool
    device: str


class ExportSettings(Filters, total=False):
    """Which images `Library.export_to` writes: of a dataset or folder, that meet these `Filters`; else all."""

    dataset: str | None
    folder: str | None


class ImportSettings(TypedDict, total=False):
    """What `Library.import_embeddings` can be asked for, as `picto import --help` has it.

    model: "auto", the library's, or what picto's own file says. path_column, vector_column: the usual names. root:
    where relative paths begin, and what is indexed. dataset, device, workers, thumbnails, thumbnail_width, force,
    dry_run: as `IndexSettings`.
    """

    model: str
    path_column: str | None
    vector_column: str | None
    root: str | os.PathLike[str] | None
    dataset: str | None
    device: str
    workers: int | None
    thumbnails: bool
    thumbnail_width: int | None
    force: bool
    dry_run: bool


class CalibrationSettings(TypedDict, total=False):
    """What `Library.calibrate` can be asked for, as `picto calibrate --help` has it.

    model: "auto", the library's. labels: the path of a CSV or JSONL of what the pictures show. taxonomy: that of a
    label list of one's own. device, batch_size, workers: as `IndexSettings`.
    """

    model: str
    device: str
    labels: str | os.PathLike[str] | None
    taxonomy: str | os.PathLike[str] | None
    batch_size: int | None
    workers: int | None


class PageSettings(TypedDict, total=False):
    """What `Library.page_to` takes of `Library.page`, which says what each is."""

    title: str | None
    about: str
    references: Sequence[ImageLike]
    limit: int | None
    pdf_password: str | Sequence[str] | None


class ThumbnailSettings(TypedDict, total=False):
    """What `Library.export_thumbnails` can be asked for, as `picto thumbnails export --help` has it.

    cdn: an address that serves the bucket or folder. format: "jpeg" or "webp". width: px, 16..65500 (as they are, and
    never more). dataset, folder: only these. force: what lies there is written again. dry_run: only count.
    """

    cdn: str | None
    format: str
    width: int | None
    dataset: str | None
    folder: str | None
    force: bool
    dry_run: bool
