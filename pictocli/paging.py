"""Makes a page of an answer: small pictures of its images, its words, and the file it goes to."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import BinaryIO

from pictocli.cells import inside
from pictocli.display import counted, size_of
from pictocli.errors import DamagedError, NotFoundError, PictoError, StoreError, UnreadableError, ValidationError
from pictocli.grouped import Duplicates, Group
from pictocli.page import Markup, Picture, Section, called, card, page, reference
from pictocli.places import whole
from pictocli.protocols import Progress
from pictocli.queries import Queries
from pictocli.records import Answer, Image, ImageDetail, Skipped
from pictocli.references import ImageLike, find
from pictocli.reports import PageReport
from pictocli.targets import require_replaceable

__all__ = ["WIDTH", "Look", "Seen", "for_page", "look", "make_page", "put_page"]

WIDTH = 320
"""px: the longer side of a page's pictures, at most."""

_GIVEN = "the picture given"
_DAMAGED = "the stored thumbnail is damaged"
_QUALITY, _METHOD = 75, 2  # WebP's default quality; the method takes 4 ms less than its default of 4, for 3% more
_PATIENCE, _EVERY = 0.5, 0.1  # s before progress is told, and between


@dataclass(frozen=True, slots=True)
class Seen:
    """One picture. detail: of an indexed image. jpeg: a small picture of it, None where there is none: `why`."""

    detail: ImageDetail | None
    jpeg: bytes | None
    why: str = ""


Look = Callable[[ImageLike], Seen]
"""Shows an indexed image by its id, or any picture that can be asked for. Raises PictoError."""


def look(queries: Queries, image: ImageLike, pdf_password: str | Sequence[str] | None) -> Seen:
    """What a page shows of an image, indexed or not. Raises as `find` does, and UnreadableError for what is not."""
    found = find(queries, image)
    image_id = found.image_id or found.twin
    if image_id is None:
        from pictocli.looking import small  # numpy

        return Seen(None, small(found, WIDTH, pdf_password))
    from pictocli.thumbnails import thumbnail  # Pillow

    detail = queries.detail(image_id)
    try:
        return Seen(detail, thumbnail(queries, image_id, WIDTH, pdf_password))
    except DamagedError:
        return Seen(detail, None, _DAMAGED)
    except UnreadableError as exc:
        return Seen(detail, None, _reason(exc))


def _reason(exc: PictoError) -> str:
    """Why there is no picture, without the path: "no such file or directory"."""
    return "it is not there" if isinstance(exc, NotFoundError) else str(exc).rpartition(": ")[2]


@dataclass(slots=True)
class _Album:
    """Inlines pictures, one after the other, and notes those that are not to be had. total: how many it will be."""

    look: Look
    progress: Progress
    total: int
    made: int = 0
    lacking: list[Skipped] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    told: float = 0.0
    names: list[str] = field(default_factory=list)

    def result(self, image: Image, level: int) -> Markup:
        """The card of a result."""
        detail, picture = self._seen(image.image_id, image.path)
        return card(image, picture, detail.size if detail else None, level=level)

    def asked(self, image: ImageLike) -> Markup:
        """A picture that was asked for."""
        detail, picture = self._seen(image, _path(image))
        name = _name(image, detail)
        self.names.append(name)
        return reference(name, picture, detail, detail.size if detail else None)

    def _seen(self, image: ImageLike, path: str) -> tuple[ImageDetail | None, Picture]:
        now = time.monotonic()
        if now - self.began > _PATIENCE and now - self.told > _EVERY:
            self.told = now
            self.progress.doing(f"making the page, {self.made:,} of {counted(self.total, 'picture')}")
        self.made += 1
        try:
            seen = self.look(image)
        except StoreError:
            raise
        except PictoError as exc:  # it was removed since it was found; a server has gone
            seen = Seen(None, None, _reason(exc))
        picture = Picture("", why=seen.why) if seen.jpeg is None else _inlined(seen.jpeg)
        if not picture.src:
            self.lacking.append(Skipped(path, picture.why))
            picture = Picture("", why=f"No picture: {picture.why}")
        return seen.detail, picture


def _path(image: ImageLike) -> str:
    if isinstance(image, bytes):
        return _GIVEN
    return f"id:{image}" if isinstance(image, int) else os.fspath(image)


def _name(image: ImageLike, detail: ImageDetail | None) -> str:
    """What a picture that was asked for is called: as it was named, not as its copy in the library is."""
    path = _path(image)
    named = os.path.basename(path) or path
    same = detail is not None and (path.startswith("id:") or os.path.basename(detail.path) == named)
    return called(detail) if detail is not None and same else named


def _inlined(jpeg: bytes) -> Picture:
    """A JPEG as a data: URL of a WebP of at most WIDTH px, without anything else that the JPEG may say."""
    from PIL import Image as Pillow

    from pictocli.stored_jpegs import stored_jpeg

    out = io.BytesIO()
    try:
        with stored_jpeg(jpeg) as image:
            image.thumbnail((WIDTH, WIDTH), Pillow.Resampling.LANCZOS)
            image.info.clear()  # a place or a name, which are not for whoever gets the page
            image.convert("RGB").save(out, "WEBP", quality=_QUALITY, method=_METHOD)
            size = image.size
    except Exception:  # what Pillow raises at a blob that is no picture
        return Picture("", why=_DAMAGED)
    return Picture(f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}", *size)


# -- the words --------------------------------------------------------------------------------------------------------


def make_page(
    found: Answer | Duplicates, look: Look, progress: Progress, *, title: str | None = None, about: str = "",
    references: Sequence[ImageLike] = (), limit: int | None = None,
) -> tuple[str, PageReport]:  # fmt: skip
    """The page of an answer, and what it came to; see `Library.page`."""
    started = time.perf_counter()
    results = found.results if isinstance(found, Answer) else [each for group in found.groups for each in group.images]
    album = _Album(look, progress, len(references) + len(results))
    try:
        shown = [album.asked(each) for each in references]
        if isinstance(found, Answer):
            sections = [Section("Results", [album.result(each, 2) for each in results])] if results else []
        else:
            sections = [_group(group, album) for group in found.groups]
    finally:
        progress.doing("")
    text = page((title or _title(found, album.names)) + about, _lede(found, limit), shown, sections, _today())
    report = PageReport(images=len(results), lacking=album.lacking, seconds=time.perf_counter() - started)
    return text, report


def _title(found: Answer | Duplicates, names: Sequence[str]) -> str:
    """12 images like beach.jpg; 4 groups of duplicates."""
    if isinstance(found, Duplicates):
        return f"{counted(len(found.groups), 'group')} of duplicates"
    return counted(len(found.results), "image") + (f" like {' and '.join(names)}" if names else "")


def _group(group: Group, album: _Album) -> Section:
    spare = group.images[1:]
    note = f"{counted(len(group.images), 'image')}, {len(spare):,} could go: {size_of(sum(e.size for e in spare))}"
    heading = f"Group {group.group:,}"
    return Section(heading, [album.result(each, 3) for each in group.images], heading, note)


def _lede(found: Answer | Duplicates, limit: int | None) -> str:
    """Of how many images: Among 12,407 images in holiday. Of duplicates also what could go."""
    among = f"{counted(found.considered, 'image')} {inside(found.scope)}"
    if isinstance(found, Answer):
        cut = limit is not None and len(found.results) >= limit
        return f"Among {among}{f'; cut after the first {limit}' if cut else ''}."
    spare = [each for group in found.groups for each in group.images[1:]]
    total = sum(len(group.images) for group in found.groups)
    among += f", {counted(found.left_out, 'page')} left out" if found.left_out else ""
    return f"{total:,} of {among}; {len(spare):,} could go: {size_of(sum(each.size for each in spare))}."


def _today() -> str:
    now = date.today()
    return f"{now.day} {now:%B %Y}"


# -- the file ---------------------------------------------------------------------------------------------------------


def for_page(library: str, target: str) -> None:
    """Raise ValidationError unless a page may be written to `target`: a new file, or in place of another page.

    PictoError where its folder is not there. So a picture that the shell put behind --html is not lost.
    """
    if not target or "\0" in target:
        raise ValidationError("no file is named for the page", "--html page.html, or --html - for standard output")
    require_replaceable(
        target, library, _is_page, "is no page", hint="--html names another file",
        folder_hint=f"--html {os.path.join(target, 'page.html')}", special_hint="--html - writes to standard output",
    )  # fmt: skip


def _is_page(head: bytes) -> bool:
    """Whether a file that begins so holds HTML."""
    return head.lower().lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<!doctype html", b"<html"))


def put_page(text: str, target: str | BinaryIO | None, report: PageReport) -> None:
    """Write a page to a file, as a whole or not at all; to an open binary file; or to a new one that is the user's."""
    body = text.encode("utf-8")
    report.size = len(body)
    if target is None:
        report.path = _temporary(body)
    elif isinstance(target, str):
        with whole(target) as file:
            file.write(body)
        report.path = os.path.abspath(target)
    else:
        target.write(body)
        target.flush()


def _temporary(body: bytes) -> str:
    """The path of a new file in the folder for temporary ones, which its user alone may read."""
    try:
        with _named() as (path, file):
            file.write(body)
    except OSError as exc:
        place = tempfile.gettempdir()
        raise PictoError(f"cannot write a page to {place}: {exc.strerror or exc}", "--html FILE names a file") from exc
    return path


@contextlib.contextmanager
def _named() -> Iterator[tuple[str, BinaryIO]]:
    handle, path = tempfile.mkstemp(prefix="picto-", suffix=".html")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            yield path, file
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
