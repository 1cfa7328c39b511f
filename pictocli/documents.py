"""Files of many pages: how many one has; of a PDF what rendering takes, and a page as a picture."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

from PIL import Image

from pictocli.kinds import Limits, RefusalError
from pictocli.pdfs import LOCKED

__all__ = ["directories", "frames", "held", "page_count", "render", "rendered"]

_RENDERED = 7  # bytes a pixel of a page: MuPDF's three and Pillow's four

_LARGE = 2**20  # bytes of a picture; smaller ones, such as a letter's head, may be wanted for the next page
_DIRECTORIES = 1_000_000  # that are counted, 2 µs each
_OBJECTS = 20_000  # looked at for pictures, 18 µs each; a file may claim 8 million

_KEPT = 3  # open PDFs: the next file is looked at while pages of this one are drawn

_KEPT_PAGES = 16  # that may share small pictures and letters
_drawn = itertools.count(1)  # pages

_open: dict[object, Any] = {}  # the PDFs of the pages before, by path, stamp and passwords; the last one is the newest


def _document(source: str | io.BytesIO, passwords: tuple[str, ...]) -> Any:
    """An open, readable PDF with at least one page. Raises RefusalError."""
    import pymupdf  # 0.2 s that a folder of photos need not pay

    pymupdf.TOOLS.mupdf_display_errors(False)
    pymupdf.TOOLS.mupdf_display_warnings(False)
    key = None
    if isinstance(source, str):
        status = os.stat(source)
        key = (source, status.st_size, status.st_mtime_ns, status.st_ctime_ns, passwords)
    if key in _open:
        _open[key] = document = _open.pop(key)
        return document
    try:
        document = (
            pymupdf.open(source, filetype="pdf")
            if isinstance(source, str)
            else pymupdf.open(stream=source.getvalue(), filetype="pdf")
        )
        locked = document.needs_pass and not any(document.authenticate(each) for each in passwords)
        if not locked:
            document.largest = _largest(document)  # before pages are counted: it may mend a damaged file, and take some
        pages = 0 if locked else document.page_count
    except Exception as exc:
        raise RefusalError("damaged PDF") from exc
    if locked:
        raise RefusalError(LOCKED[bool(passwords)])
    if pages == 0:
        raise RefusalError("PDF without pages")
    if key is not None:  # a stream's id may soon be another stream's
        _open[key] = document
        if len(_open) > _KEPT:
            _open.pop(next(iter(_open)))
    return document


def page_count(path: str, passwords: tuple[str, ...] = ()) -> int:
    """How many pages a PDF has. Raises RefusalError."""
    return int(_document(path, passwords).page_count)


def frames(file: BinaryIO, limits: Limits) -> int:
    """How many pages a TIFF has. Raises RefusalError, also when they are too many."""
    try:
        limits.check_pages(directories(file))
        with Image.open(file) as image:
            return int(getattr(image, "n_frames", 1))
    except RefusalError:
        raise
    except Exception as exc:
        raise RefusalError("damaged TIFF") from exc


def directories(file: BinaryIO) -> int:
    """How many pages a TIFF has at most: the directories of its chain, counted without reading them."""
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    counted, entry, after = ("Q", 20, "Q") if big else ("H", 12, "I")
    size, width = struct.calcsize(counted), struct.calcsize(after)
    at, seen = int.from_bytes(head[8:16] if big else head[4:8], "little" if order == "<" else "big"), set[int]()
    while at and at not in seen and len(seen) < _DIRECTORIES:
        seen.add(at)
        try:
            file.seek(at)
            (entries,) = struct.unpack(order + counted, file.read(size))
            file.seek(at + size + entry * entries)
            (at,) = struct.unpack(order + after, file.read(width))
        except (struct.error, OverflowError, ValueError, OSError):  # it ends here
            break
    return len(seen)


def rendered(path: str, pages: Sequence[int], passwords: tuple[str, ...] = ()) -> int:
    """The bytes that rendering the largest of these pages at 72 DPI takes."""
    document = _document(path, passwords)
    return int(_RENDERED * max(_area(document, page - 1) for page in pages))


def _area(document: Any, index: int) -> float:
    """Of a page, in square points of 1/72 inch; its UserUnit says how many of them its own units are."""
    box = document.page_cropbox(index)
    unit = float(document.xref_get_key(document.page_xref(index), "UserUnit")[1].replace("null", "1"))
    return float(box.width * box.height) * unit**2


def held(path: str, passwords: tuple[str, ...] = ()) -> int:
    """The bytes that its largest picture takes while a page is drawn with it, at whatever resolution."""
    return int(_document(path, passwords).largest)


def _largest(document: Any) -> int:
    """The bytes of its largest picture, as far as the first objects tell."""
    found = 0
    for xref in range(1, min(document.xref_length(), _OBJECTS)):
        with contextlib.suppress(Exception):  # an object that cannot be read is not drawn, and others may be
            if document.xref_is_image(xref):
                told = {name: document.xref_get_key(xref, name)[1] for name in ("Width", "Height", "BitsPerComponent")}
                width, height, bits = (int(each) if each.isdigit() else 8 for each in told.values())
                found = max(found, width * height * bits // 8 * (1 if bits == 1 else 3))
    return found


def render(
    source: str | io.BytesIO, page: int, dpi: int, limits: Limits, passwords: tuple[str, ...] = ()
) -> Image.Image:
    """A page as an RGB picture at `dpi`. Raises RefusalError."""
    import pymupdf

    document = _document(source, passwords)
    if not 0 < page <= document.page_count:  # what was drawn before may have mended the file
        raise RefusalError("no such page")
    if document.largest > limits.max_pixels * 1e6 / 8 or document.xref_length() > _OBJECTS:  # a pixel takes a bit
        for picture in document.get_page_images(page - 1, full=True):
            limits.check_pixels(picture[2], picture[3], " on a page")
    sheet = document[page - 1]
    limits.check_pixels(sheet.rect.width * dpi / 72, sheet.rect.height * dpi / 72, f" at {dpi} DPI")
    drawn = sheet.get_pixmap(dpi=dpi, alpha=False, colorspace="rgb")
    if document.largest > _LARGE or next(_drawn) % _KEPT_PAGES == 0:
        pymupdf.TOOLS.store_shrink(100)  # else it keeps up to 256 MB of what pages were drawn from
    return Image.frombytes("RGB", (drawn.width, drawn.height), drawn.samples_mv)
