"""What exports, imports, keeping house and watching tell of what they did, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pictocli.records import IndexReport, Skipped

__all__ = [
    "CalibrationReport", "Change", "CompactReport", "CopyReport", "ExportReport", "Forgotten", "ImportReport",
    "MergeReport",
    "MoveReport", "PageReport", "RemovalReport", "RetagReport",
    "ThumbnailReport", "VacuumReport",
]  # fmt: skip


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
class PageReport:
    """What making a page of HTML came to. images: results in it. lacking: pictures that were not to be had, and why.

    path: the file made; None for a page that went elsewhere. size in bytes.
    """

    images: int
    lacking: list[Skipped] = field(default_factory=list)
    path: str | None = None
    size: int = 0
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """A file that the library no longer knows, or would not after a dry run. images: 0 of one that was skipped.

    path: in full; of a page that goes alone `/a/report.pdf#page=3`.
    """

    path: str
    dataset: str
    folder: str
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalReport:
    """What `picto prune` or `picto rm` did, or would do in a dry run.

    files: those forgotten. known: files with images that were looked for. passed: roots, folders and files of which
    nobody can say now whether they are gone, each with the reason. broad: a folder or a dataset was named, and holds
    several images. back: files that lie where they did, and come back with the next `picto index`.
    """

    files: Sequence[Forgotten]
    known: int = 0
    passed: Sequence[Skipped] = ()
    broad: bool = False
    back: int = 0
    dry_run: bool = False
    seconds: float = 0.0

    @property
    def images(self) -> int:
        """Images of all these files."""
        return sum(file.images for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveReport:
    """What `picto mv-root` did. files: known in the root; looked: of these looked for at `new`; there: those found."""

    old: str
    new: str
    files: int
    looked: int
    there: int
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """What `picto merge` took over. images, files, roots, datasets: new ones; kept: files that were known already.

    contents: pictures that the library did not have. waiting: files that the other library had not finished, which are
    left for `picto index`. rules: (ours, theirs), what made the tags, where these are different. labels: the other
    library has another list of labels than this one.
    """

    other: str
    images: int = 0
    files: int = 0
    contents: int = 0
    kept: int = 0
    waiting: int = 0
    roots: int = 0
    datasets: int = 0
    rules: tuple[str, str] | None = None
    labels: bool = False
    seconds: float = 0.0
    interrupted: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyReport:
    """What `picto move-db` did. source, target: the libraries' names, without a password. images: of the library.

    rows: of all tables that were copied, or would be in a dry run; kept: those that an earlier run had copied;
    compared: those that were read again from both, and are equal, 0 of a copy that was stopped.
    """

    source: str
    target: str
    images: int = 0
    rows: int = 0
    kept: int = 0
    compared: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VacuumReport:
    """What `picto vacuum` did: bytes of the file before and after."""

    before: int
    after: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactReport:
    """What `picto compact` did, or would. before, after: bytes of the library, about, in a dry run.

    pieces, left: those that Lance's tables lay in, and lie in now; versions: old ones of them that were removed. room:
    bytes of deleted rows in PostgreSQL, about, that new ones take now.
    """

    before: int
    after: int
    pieces: int = 0
    left: int = 0
    versions: int = 0
    room: int = 0
    dry_run: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What `picto watch` saw happen to one image. event: "new", "changed", "moved", "gone" or "skipped".

    path: where it lies, or lay; of a page `/a/report.pdf#page=3`. image_id: None of a skipped file, which has a reason.
    """

    event: str
    path: str
    image_id: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetagReport:
    """What `picto retag` did. changed: images whose tags are not what they were. rule: what made the tags."""

    images: int
    changed: int
    rule: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationReport:
    """What `picto calibrate` measured. images: those looked at. told: labels with pictures known to be of them; able:
    labels that can be given to a picture, all of them where nothing was known. file: where the constants lie.
    """

    model: str
    images: int
    skipped: list[Skipped]
    told: int
    able: int
    labels: int
    file: str
    seconds: float
