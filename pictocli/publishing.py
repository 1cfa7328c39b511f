"""Exports stored thumbnails to a folder or bucket, and stores the address of each once it lies there."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from pictocli.databases import claimed, connect, translated
from pictocli.errors import DamagedError, ValidationError, check_range
from pictocli.interrupts import held
from pictocli.links import Links, Thumbnail
from pictocli.places import Place, link_base, place
from pictocli.protocols import Progress
from pictocli.reports import ThumbnailReport
from pictocli.sizes import thumbnail_size
from pictocli.stored_jpegs import stored_jpeg
from pictocli.uploads import IN_FLIGHT

__all__ = ["export_thumbnails"]

_BATCH = 256  # thumbnails whose addresses are stored at a time
_QUALITY = 85  # of what is made anew, as of those that are stored
_FORMATS = {"jpeg": (".jpg", "image/jpeg"), "webp": (".webp", "image/webp")}


@dataclass(frozen=True, slots=True)
class _Making:
    """How objects are made of stored thumbnails. width: at most so many px, None as they are."""

    form: str
    width: int | None

    def of(self, jpeg: bytes) -> bytes:
        """The object's bytes: those that are stored where nothing is to be changed, which loses nothing."""
        with stored_jpeg(jpeg) as image:
            size = image.size if self.width is None else thumbnail_size(*image.size, self.width)
            if self.form == "jpeg" and size == image.size:
                return jpeg
            smaller = image.convert("RGB")
        if size != smaller.size:
            smaller = smaller.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
        out = io.BytesIO()
        smaller.save(out, self.form.upper(), quality=_QUALITY)
        return out.getvalue()


def export_thumbnails(
    path: str,
    destination: str,
    progress: Progress,
    *,
    cdn: str | None = None,
    format: str = "jpeg",  # noqa: A002 - the option's name
    width: int | None = None,
    dataset: str | None = None,
    folder: str | None = None,
    force: bool = False,
    dry_run: bool = False,
) -> ThumbnailReport:
    """Export the thumbnails of the library at `path`; see `Library.export_thumbnails`."""
    started = time.perf_counter()
    if format not in _FORMATS:
        raise ValidationError(f"thumbnails cannot be {format}", "jpeg or webp")
    if width is not None:
        check_range("width", width, 16, 65_500)
    target = place(destination)
    base = link_base(target, cdn)
    making: dict[str, object] = {"base": base, "width": width}
    with translated(path):
        db = connect(path, readonly=dry_run)
        try:
            links = Links(db)
            folders = links.scoped(dataset, folder)
            afresh = links.made(target.base) != making
            if afresh and links.others(folders, base):
                raise ValidationError(
                    f"{base} holds thumbnails of another width or place, of images outside this scope too",
                    "leave --dataset and --folder out to write all anew, or name another place",
                )
            suffix, media_type = _FORMATS[format]
            with_one, there, without = links.counts(folders, base, suffix)
            again = force or afresh
            report = ThumbnailReport(
                written=with_one if again else with_one - there, unchanged=0 if again else there, lacking=without,
                place=target.name, base=base, dry_run=dry_run,
            )  # fmt: skip
            if not dry_run and report.written:
                with claimed(path):
                    run = _Run(links, target, base, suffix, media_type, _Making(format, width), progress, report)
                    run.begin(making, force=force)
                    run.all(links.thumbnails(folders, base, suffix, _BATCH, again=again))
        finally:
            db.close()
            progress.close()
    report.seconds = time.perf_counter() - started
    return report


@dataclass(slots=True)
class _Run:
    """One export."""

    links: Links
    target: Place
    base: str
    suffix: str
    media_type: str
    making: _Making
    progress: Progress
    report: ThumbnailReport
    new: bool = False

    def begin(self, making: dict[str, object], *, force: bool) -> None:
        """Look at the place, and keep how it is filled from now on. Nothing is kept when it cannot be reached."""
        self.new = self.links.made(self.target.base) is None
        if self.new and not force and self.target.taken():
            raise ValidationError(
                f"{self.target.base} holds thumbnails already, which are not of this library",
                "name another place, or overwrite them with --force",
            )
        self.links.begin(self.target.base, self.base, making)

    def all(self, batches: Iterator[Sequence[Thumbnail]]) -> None:
        """Write all thumbnails, a batch at a time. Ctrl-C finishes the batch, and says so in the report."""
        self.progress.found(self.report.written)
        self.report.written = 0
        try:
            with ThreadPoolExecutor(IN_FLIGHT) as pool:
                for batch in batches:
                    self._write(pool, batch)
        except KeyboardInterrupt:
            self.report.interrupted = True
        finally:
            if self.new and not self.report.written:
                self.links.forget(self.target.base)

    @held()
    def _write(self, pool: ThreadPoolExecutor, batch: Sequence[Thumbnail]) -> None:
        """Write a batch, then store the addresses of those that lie there, whatever became of the others."""
        waiting = [pool.submit(self._put, each) for each in batch]
        errors = [each.exception() for each in waiting]
        written = [each for each, error in zip(batch, errors, strict=True) if error is None]
        self.links.link((each.image_id, self._address(each), each.jpeg) for each in written)
        self.report.written += len(written)
        self.progress.done(len(written), 0)
        failed = next((error for error in errors if error is not None), None)
        if failed is not None:
            raise failed

    def _put(self, each: Thumbnail) -> None:
        try:
            body = self.making.of(each.jpeg)
        except Exception as exc:  # what Pillow raises at a blob that is no picture
            raise DamagedError(f"the database is damaged: the thumbnail of image {each.image_id} is no JPEG") from exc
        self.target.put(self._name(each), body, self.media_type)

    def _name(self, each: Thumbnail) -> str:
        return f"thumb_{each.image_id}{self.suffix}"

    def _address(self, each: Thumbnail) -> str:
        return self.base + self._name(each)
