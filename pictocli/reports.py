"""What exports and imports tell of what they did."""

from __future__ import annotations

from dataclasses import dataclass, field

from pictocli.records import IndexReport

__all__ = ["ExportReport", "ImportReport", "ThumbnailReport"]


@dataclass(slots=True, kw_only=True)
class ThumbnailReport:
    """What an export of thumbnails did. unchanged: those that lay there already. lacking: images without a thumbnail.

    place: the folder or s3:// where they lie; base: what their addresses begin with, another one with a CDN. In a dry
    run `written` counts those that would be written.
    """

    written: int
    unchanged: int
    lacking: int
    place: str
    base: str
    dry_run: bool = False
    interrupted: bool = False
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class ExportReport:
    """What an export to a file did. images: rows written. lacking: images left out, or without a vector, as they have
    no embedding yet. paths: the files made.
    """

    images: int = 0
    lacking: int = 0
    paths: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class ImportReport:
    """What an import of embeddings did. index: as of `index`; its `indexed` images took a vector of the file.

    rows: vectors in the file. absent: how many of them are of files that do not exist; first_absent: one of those.
    surplus: those of pages that their file has not. repeated: paths that the file names again; the first counts.
    normalised: vectors that were not of unit length, and have been made so. untagged: the model is not on this machine,
    so images have no tags until `retag`.
    """

    index: IndexReport
    model: str
    rows: int = 0
    absent: int = 0
    first_absent: str | None = None
    surplus: int = 0
    repeated: int = 0
    normalised: int = 0
    untagged: bool = False
