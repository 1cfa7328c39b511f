"""One decode of a file or page → upright RGB at model size, thumbnail, pixel measures, content hash.

Runs in worker processes: imports numpy, Pillow and PyMuPDF, never torch. Nothing here raises for a bad file: a bad file
is a value, `Refused`.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pillow_heif
from PIL import Image, ImageOps

from pictocli.pixels import measure
from pictocli.preprocess import resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Decoded", "Inspected", "Recipe", "Refused", "decode", "decode_bytes", "inspect", "sniff"]

MAX_PIXELS = 200_000_000  # decodes to 600 MB; beyond it lie bombs and stitched scans that would starve the machine
DRAFT = 1024  # JPEGs are decoded at the smallest eighth that keeps this many px: under 1/255 mean difference at 224 px
THUMBNAIL_WIDTH, THUMBNAIL_QUALITY = 640, 85  # the second reference system's
IMAGE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".heic",
        ".heif",
        ".avif",
        ".pdf",
    ]
)
RAW_SUFFIXES = frozenset(
    [".cr2", ".nef", ".arw", ".dng", ".orf", ".rw2", ".pef", ".srw"]
)  # TIFF inside, but not a TIFF picture

pillow_heif.register_heif_opener()
Image.MAX_IMAGE_PIXELS = None  # refused by our own check, which names the limit


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a file or page gives no image. reason None: it is no picture and does not claim to be one."""

    reason: str | None
    kind: str = "other"


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a file is. digest: SHA-256 of its bytes. pages: () for a file that is one image, else 1, 2, …"""

    digest: bytes
    kind: str
    pages: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to make of a page. size, resample: the model input. dpi: of a rendered page."""

    size: int
    resample: str
    dpi: int
    thumbnail: bool


@dataclass(frozen=True, slots=True)
class Decoded:
    """One upright page. pixels: uint8 [size, size, 3]. width, height: of the upright original. ms: wall time spent."""

    pixels: NDArray[np.uint8]
    width: int
    height: int
    measures: Mapping[str, float]
    thumbnail: bytes | None
    ms: float


def sniff(head: bytes) -> str:
    """The kind of a file by its first kilobyte: jpeg, png, webp, bmp, gif, tiff, heic, avif, pdf or other."""
    for magic, kind in ((b"\xff\xd8\xff", "jpeg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"GIF8", "gif")):
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":  # the reserved words of a bitmap's header
        return "bmp"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") and head[8:10] != b"CR":
        return "tiff"
    if head[4:8] == b"ftyp":
        brands = {head[at : at + 4] for at in range(8, min(len(head), int.from_bytes(head[:4], "big"), 64), 4)}
        if brands & {b"avif", b"avis"}:
            return "avif"
        if brands & {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1"}:
            return "heic"
    return "pdf" if b"%PDF-" in head[:1024] else "other"


def inspect(path: str) -> Inspected | Refused:
    """Tell what the file at `path` is: its hash, kind and pages. Reads it once; decodes nothing."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(1024)
            kind = sniff(head)
            suffix = Path(path).suffix.lower()
            if not head:
                return Refused("empty file" if suffix in IMAGE_SUFFIXES else None)
            if suffix in RAW_SUFFIXES:
                return Refused("raw photo, not supported yet", "raw")
            if kind == "other":
                return Refused(_not_image(head) if suffix in IMAGE_SUFFIXES else None)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").digest()
        return Inspected(digest, kind, _pages(path, kind))
    except _RefusalError as exc:
        return Refused(str(exc), kind)
    except OSError as exc:
        return Refused((exc.strerror or str(exc)).lower(), "unreadable")


def decode(path: str, kind: str, page: int, recipe: Recipe) -> Decoded | Refused:
    """Decode one page of the file at `path`; page 0 is a file that is one image."""
    return _guarded(path, kind, page, recipe)


def decode_bytes(data: bytes, recipe: Recipe) -> Decoded | Refused:
    """Decode an image, or the first page of a PDF, held in memory."""
    kind = sniff(data[:1024])
    if not data or kind == "other":
        return Refused(_not_image(data[:1024]) if data else "empty file")
    return _guarded(io.BytesIO(data), kind, 1 if kind == "pdf" else 0, recipe)


class _RefusalError(Exception):
    """A reason not to decode, on its way to becoming a value."""


def _guarded(source: str | io.BytesIO, kind: str, page: int, recipe: Recipe) -> Decoded | Refused:
    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd EXIF and palettes: the picture is what counts
            opened = _render(source, page, recipe.dpi) if kind == "pdf" else _open(source, page)
            image, size, tables = opened
            pixels = resize(image, recipe.size, recipe.resample)
            measures = measure(image, stored_size=size, jpeg_quantization=tables)
            thumbnail = _thumbnail(image) if recipe.thumbnail else None
    except _RefusalError as exc:
        return Refused(str(exc), kind)
    except MemoryError:
        return Refused("needs more memory than there is", kind)
    except FileNotFoundError:
        return Refused("vanished while indexing", "unreadable")
    except Exception as exc:  # decoders raise anything on hostile bytes; a bad file must not end the run
        if isinstance(exc, OSError) and exc.errno is not None:  # the disk's trouble, not the picture's
            return Refused((exc.strerror or str(exc)).lower(), "unreadable")
        return Refused("truncated" if "truncated" in str(exc).lower() else f"damaged {kind.upper()}", kind)
    return Decoded(pixels, *size, measures, thumbnail, (time.perf_counter() - started) * 1000)


_Opened = tuple[Image.Image, tuple[int, int], "Mapping[int, list[int]] | None"]


def _open(source: str | io.BytesIO, page: int) -> _Opened:
    """An upright RGB image, its full upright size, and its JPEG quantisation tables."""
    with Image.open(source) as image:
        if page:
            image.seek(page - 1)
        if image.width * image.height > MAX_PIXELS:
            raise _RefusalError(
                f"{image.width * image.height / 1e6:,.0f} megapixels, over the limit of {MAX_PIXELS // 10**6}"
            )
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        tags = getattr(image, "tag_v2", None)  # a TIFF's size as stored: Pillow has turned that of `image` already
        width, height = (tags[256], tags[257]) if tags and image.format == "TIFF" else image.size
        size = (height, width) if turned else (width, height)
        tables = getattr(image, "quantization", None) if image.format in ("JPEG", "MPO") else None
        image.draft(image.mode, (DRAFT, DRAFT))
        return _rgb(ImageOps.exif_transpose(image)), size, tables


def _rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB; transparency lies over white, deep images are scaled to 8 bits."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        top = (
            255.0
            if 1.0 < values.max(initial=0) <= 255
            else max(float(values.max(initial=0)), 1.0 if image.mode == "F" else 65535.0)
        )
        image = Image.fromarray(np.clip(values / top * 255, 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _thumbnail(image: Image.Image) -> bytes:
    """A JPEG at most 640 px wide."""
    if image.width > THUMBNAIL_WIDTH:
        height = max(1, round(image.height * THUMBNAIL_WIDTH / image.width))
        image = image.resize((THUMBNAIL_WIDTH, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=THUMBNAIL_QUALITY)
    return out.getvalue()


def _pages(path: str, kind: str) -> tuple[int, ...]:
    """The page numbers of a file; () when it is one image."""
    if kind == "tiff":
        try:
            with warnings.catch_warnings(), Image.open(path) as image:
                warnings.simplefilter("ignore")
                frames = int(getattr(image, "n_frames", 1))
        except Exception as exc:
            raise _RefusalError("damaged TIFF") from exc
        return tuple(range(1, frames + 1)) if frames > 1 else ()
    if kind == "pdf":
        return tuple(range(1, _document(path).page_count + 1))
    return ()


_last: tuple[object, object] | None = None  # the PDF of the page before: its pages come one after another


def _document(source: str | io.BytesIO):  # type: ignore[no-untyped-def]  # pymupdf is untyped
    """An open, readable PDF with at least one page."""
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
        raise _RefusalError("damaged PDF") from exc
    if document.needs_pass:
        raise _RefusalError("password-protected")
    if document.page_count == 0:
        raise _RefusalError("PDF without pages")
    if isinstance(source, str):  # a stream's id may soon be another stream's
        _last = (key, document)
    return document


def _render(source: str | io.BytesIO, page: int, dpi: int) -> _Opened:
    """A PDF page as an RGB image at `dpi`."""
    sheet = _document(source)[page - 1]
    pixels = sheet.rect.width * sheet.rect.height * (dpi / 72) ** 2
    if pixels > MAX_PIXELS:
        raise _RefusalError(f"{pixels / 1e6:,.0f} megapixels at {dpi} DPI, over the limit of {MAX_PIXELS // 10**6}")
    drawn = sheet.get_pixmap(dpi=dpi, alpha=False, colorspace="rgb")
    return Image.frombytes("RGB", (drawn.width, drawn.height), drawn.samples), (drawn.width, drawn.height), None


def _not_image(head: bytes) -> str:
    """A short phrase for what a file named like a picture really is."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:15].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "HTML, not an image"
    try:
        head[:512].decode("utf-8")
    except UnicodeDecodeError as exc:
        if exc.start < len(head[:512]) - 4:
            return "not an image"
    return "not an image" if b"\0" in head else "text, not an image"
