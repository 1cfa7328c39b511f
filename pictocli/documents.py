"""PDFs: how many pages one has, what rendering takes, and a page as a picture."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any

from PIL import Image

from pictocli.kinds import MAX_PIXELS, RefusalError

__all__ = ["held", "page_count", "render", "rendered"]

_RENDERED = 7  # bytes a pixel of a page: MuPDF's three and Pillow's four

_LARGE = 2**20  # bytes of a picture; smaller ones, such as a letter's head, may be wanted for the next page

_last: tuple[object, Any] | None = None  # the PDF of the page before: its pages come one after another


def _document(source: str | io.BytesIO) -> Any:
    """An open, readable PDF with at least one page. Raises RefusalError."""
    global _last
    import pymupdf  # 0.2 s that a folder of photos need not pay

    pymupdf.TOOLS.mupdf_display_errors(False)
    pymupdf.TOOLS.mupdf_display_warnings(False)
    key = (source, os.stat(source).st_mtime_ns) if isinstance(source, str) else None
    if _last is not None and _last[0] == key:
        return _last[1]
    try:
        document = (
            pymupdf.open(source, filetype="pdf")
            if isinstance(source, str)
            else pymupdf.open(stream=source.getvalue(), filetype="pdf")
        )
    except Exception as exc:
        raise RefusalError("damaged PDF") from exc
    if document.needs_pass:
        raise RefusalError("password-protected")
    if document.page_count == 0:
        raise RefusalError("PDF without pages")
    document.largest = _largest(document)
    if isinstance(source, str):  # a stream's id may soon be another stream's
        _last = (key, document)
    return document


def page_count(path: str) -> int:
    """How many pages a PDF has. Raises RefusalError."""
    return int(_document(path).page_count)


def rendered(path: str, pages: Sequence[int]) -> int:
    """The bytes that rendering its largest page at 72 DPI takes."""
    document = _document(path)
    return int(_RENDERED * max(_area(document, page - 1) for page in pages))


def _area(document: Any, index: int) -> float:
    """Of a page, in square points of 1/72 inch; its UserUnit says how many of them its own units are."""
    box = document.page_cropbox(index)
    unit = float(document.xref_get_key(document.page_xref(index), "UserUnit")[1].replace("null", "1"))
    return float(box.width * box.height) * unit**2


def held(path: str) -> int:
    """The bytes that its largest picture takes while a page is drawn with it, at whatever resolution."""
    return int(_document(path).largest)


def _largest(document: Any) -> int:
    found = 0
    for xref in range(1, document.xref_length()):
        if document.xref_is_image(xref):
            told = {name: document.xref_get_key(xref, name)[1] for name in ("Width", "Height", "BitsPerComponent")}
            width, height, bits = (int(each) if each.isdigit() else 8 for each in told.values())
            found = max(found, width * height * bits // 8 * (1 if bits == 1 else 3))
    return found


def render(source: str | io.BytesIO, page: int, dpi: int) -> Image.Image:
    """A page as an RGB picture at `dpi`. Raises RefusalError."""
    import pymupdf

    document = _document(source)
    sheet = document[page - 1]
    pixels = sheet.rect.width * sheet.rect.height * (dpi / 72) ** 2
    if pixels > MAX_PIXELS:
        raise RefusalError(f"{pixels / 1e6:,.0f} megapixels at {dpi} DPI, over the limit of {MAX_PIXELS // 10**6}")
    drawn = sheet.get_pixmap(dpi=dpi, alpha=False, colorspace="rgb")
    if document.largest > _LARGE:
        pymupdf.TOOLS.store_shrink(100)  # else it keeps up to 256 MB of what pages were drawn from
    return Image.frombytes("RGB", (drawn.width, drawn.height), drawn.samples_mv)
