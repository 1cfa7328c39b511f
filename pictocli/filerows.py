"""Files and pages as the store is handed them, and as it hands them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["FileRow", "FinishedFile", "KnownFile", "PageRow"]


class KnownFile(NamedTuple):
    """What the database holds of one file. size: None of an unfinished one; reason: why skipped; pages: as `wanted`."""

    size: int | None
    mtime_ns: int | None
    kind: str
    dpi: int
    reason: str | None
    pages: str | None = None


@dataclass(frozen=True, slots=True)
class FileRow:
    """One file to be stored. pages: 0 when it is no image; wanted: which, None for all. dpi: 0 unless rendered.

    validator: what its server said of its bytes, "" when it said nothing; None for a file of this machine.
    """

    folder_id: int
    name: str
    kind: str
    size: int
    mtime_ns: int
    hash: bytes | None = None
    pages: int = 0
    dpi: int = 0
    reason: str | None = None
    wanted: str | None = None
    validator: str | None = None


@dataclass(frozen=True, slots=True)
class PageRow:
    """One decoded page on its way into the database.

    vector: float32 bytes. None, as for all after it, keeps what is stored. digest: of what the vector is made of.
    capture: a row of that table.
    """

    file: FileRow
    page: int
    width: int
    height: int
    measures: Mapping[str, float]
    processing_time_ms: float
    vector: bytes | None
    tags: Mapping[str, Mapping[str, float]] | None
    thumbnail: bytes | None
    digest: bytes | None = None
    capture: tuple[int | None, str | None, float | None, float | None] | None = None
    fingerprint: bytes | None = None


@dataclass(frozen=True, slots=True)
class FinishedFile:
    """A file of which every page has been dealt with.

    written: pages that are stored as PageRows; linked: page → id of content that was there already. Pages in neither
    are forgotten.
    """

    file: FileRow
    written: Sequence[int] = ()
    linked: Mapping[int, int] = field(default_factory=dict)
