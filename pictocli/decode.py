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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pillow_heif
from PIL import Image, ImageOps

from pictocli import documents
from pictocli.kinds import IMAGE_SUFFIXES, MAX_PIXELS, RAW_SUFFIXES, RefusalError, not_image, sniff
from pictocli.pixels import measure
from pictocli.preprocess import resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Decoded", "Inspected", "Recipe", "Refused", "decode", "decode_bytes", "inspect"]

DRAFT = 1024  # JPEGs are decoded at the smallest eighth that keeps this many px: under 1/255 mean difference at 224 px
_BAND = 2**20  # px
_HELD = {"webp": 14, "avif": 6, "heic": 4, "tiff": 6}  # bytes a pixel that decoders hold beside Pillow's, as measured
THUMBNAIL_WIDTH, THUMBNAIL_QUALITY = 640, 85  # the second reference system's

pillow_heif.register_heif_opener()
Image.MAX_IMAGE_PIXELS = None  # refused by our own check, which names the limit


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a file or page gives no image. reason None: it is no picture and does not claim to be one."""

    reason: str | None
    kind: str = "other"


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a file is. digest: SHA-256 of its bytes. pages: () for a file that is one image, else 1, 2, …

    peak: bytes that decoding its largest page takes at most, roughly; rendered: those that come to it for a PDF page at
    72 DPI, see `peak_at`.
    """

    digest: bytes
    kind: str
    pages: tuple[int, ...]
    peak: int
    rendered: int = 0

    def peak_at(self, dpi: int) -> int:
        """The bytes that decoding its largest page takes at most, of a PDF when it is rendered at `dpi`."""
        return self.peak + int(self.rendered * (dpi / 72) ** 2)


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


def inspect(path: str) -> Inspected | Refused:
    """Tell what the file at `path` is: its hash, kind and pages. Reads it once; decodes nothing."""
    try:
        with open(path, "rb") as file:
            head = file.read(1024)
            kind = sniff(head)
            suffix = os.path.splitext(path)[1].lower()
            if not head:
                return Refused("empty file" if suffix in IMAGE_SUFFIXES else None)
            if suffix in RAW_SUFFIXES:
                return Refused("raw photo, not supported yet", "raw")
            if kind == "other":
                return Refused(not_image(head) if suffix in IMAGE_SUFFIXES else None)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").digest()
        pages = _pages(path, kind)
        return Inspected(digest, kind, pages, *_peaks(path, kind, pages))
    except RefusalError as exc:
        return Refused(str(exc), kind)
    except OSError as exc:
        return Refused((exc.strerror or str(exc)).lower(), "unreadable")


def decode(source: str | io.BytesIO, kind: str, page: int, recipe: Recipe) -> Decoded | Refused:
    """Decode one page of a file, at a path or in memory; page 0 is a file that is one image."""
    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd EXIF and palettes: the picture is what counts
            image, size, tables = _open(source, kind, page, recipe.dpi)
            pixels = resize(image, recipe.size, recipe.resample)
            measures = measure(image, stored_size=size, jpeg_quantization=tables)
            thumbnail = _thumbnail(image) if recipe.thumbnail else None
    except RefusalError as exc:
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


def decode_bytes(data: bytes, recipe: Recipe) -> Decoded | Refused:
    """Decode an image, or the first page of a PDF, held in memory."""
    kind = sniff(data[:1024])
    if not data or kind == "other":
        return Refused(not_image(data[:1024]) if data else "empty file")
    return decode(io.BytesIO(data), kind, 1 if kind == "pdf" else 0, recipe)


_Opened = tuple[Image.Image, tuple[int, int], "Mapping[int, list[int]] | None"]


def _open(source: str | io.BytesIO, kind: str, page: int, dpi: int) -> _Opened:
    """An upright RGB image, its full upright size, and its JPEG quantisation tables."""
    if kind == "pdf":
        drawn = documents.render(source, page, dpi)
        return drawn, drawn.size, None
    with Image.open(source) as image:
        if page:
            image.seek(page - 1)
        if image.width * image.height > MAX_PIXELS:
            raise RefusalError(
                f"{image.width * image.height / 1e6:,.0f} megapixels, over the limit of {MAX_PIXELS // 10**6}"
            )
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        tags = getattr(image, "tag_v2", None)  # a TIFF's size as stored: Pillow has turned that of `image` already
        width, height = (tags[256], tags[257]) if tags and image.format == "TIFF" else image.size
        size = (height, width) if turned else (width, height)
        tables = getattr(image, "quantization", None) if image.format in ("JPEG", "MPO") else None
        image.draft(image.mode, (DRAFT, DRAFT))
        ImageOps.exif_transpose(image, in_place=True)  # else it copies what need not be turned, too
        return _rgb(image), size, tables


def _rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB; transparency lies over white, deep images are scaled to 8 bits."""
    deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
    if not deep and image.mode not in ("RGBA", "LA", "PA", "La", "RGBa") and "transparency" not in image.info:
        return image if image.mode == "RGB" else image.convert("RGB")
    flat = Image.new("RGB", image.size)
    white = _white(image) if image.mode in ("I", "F") else 0.0
    for top, band in _bands(image):
        flat.paste(_shallow(band, white) if deep else _over_white(band), (0, top))
    return flat


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """A picture from the top down, a megapixel at a time: what is made of it on the way to RGB is never whole."""
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _over_white(band: Image.Image) -> Image.Image:
    over = band.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")


def _white(image: Image.Image) -> float:
    """The value that is white in a picture of mode I or F: 255 or its largest, and of integers at least 65535."""
    most = max(float(np.nan_to_num(np.asarray(band, np.float64)).max()) for _, band in _bands(image))
    return 255.0 if 1.0 < most <= 255 else max(most, 1.0 if image.mode == "F" else 65535.0)


def _shallow(band: Image.Image, white: float) -> Image.Image:
    if band.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(band) >> 8).astype(np.uint8))
    values = np.nan_to_num(np.asarray(band, np.float64))
    return Image.fromarray(np.clip(values / white * 255, 0, 255).astype(np.uint8))


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
            raise RefusalError("damaged TIFF") from exc
        return tuple(range(1, frames + 1)) if frames > 1 else ()
    if kind == "pdf":
        return tuple(range(1, documents.page_count(path) + 1))
    return ()


def _peaks(path: str, kind: str, pages: Sequence[int]) -> tuple[int, int]:
    """Inspected.peak and .rendered, from headers alone; 0 where they cannot be read: decoding says what is wrong."""
    try:
        if kind == "pdf":
            return documents.held(path), documents.rendered(path, pages)
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            peaks = []
            for page in pages or (0,):
                if page:
                    image.seek(page - 1)
                peaks.append(_taken(image, kind))
            return max(peaks), 0
    except Exception:
        return 0, 0


def _taken(image: Image.Image, kind: str) -> int:
    """The bytes that decoding an opened image takes: Pillow's pixels, their upright or flat copy, and `_HELD`."""
    # A progressive JPEG's coefficients are held whole, whatever the scale it is decoded at.
    coefficients = 2 * len(image.getbands()) * image.width * image.height if "progressive" in image.info else 0
    image.draft(image.mode, (DRAFT, DRAFT))
    stored = 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4
    turned = "exif" in image.info and kind != "heic"  # perhaps: reading it would decode a PNG; HEIC comes upright
    copied = 4 if turned or image.mode != "RGB" or "transparency" in image.info else 0
    return coefficients + image.width * image.height * (stored + copied + _HELD.get(kind, 0))
