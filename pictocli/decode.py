"""One decode of a file or page → upright RGB at model size, thumbnail, pixel measures, content hash.

Runs in worker processes: imports numpy, Pillow and PyMuPDF, never torch. Nothing here raises for a bad file: a bad file
is a value, `Refused`.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pillow_heif
from PIL import Image

from pictocli import documents, jxl, raws
from pictocli.exif import Capture, capture_of
from pictocli.fingerprints import fingerprint
from pictocli.kinds import IMAGE_SUFFIXES, Limits, RefusalError, not_image, sniff
from pictocli.pdfs import OPEN, Opening
from pictocli.pixels import measure
from pictocli.preprocess import digest, resize
from pictocli.rgb import as_rgb
from pictocli.silence import silence
from pictocli.sizes import THUMBNAIL_WIDTH, thumbnail_size
from pictocli.steady import Stamp, steady
from pictocli.workers import alive

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DRAFT", "Decoded", "Inspected", "Recipe", "Refused", "decode", "decode_bytes", "inspect"]

DRAFT = 1024  # JPEGs are decoded at the smallest eighth that keeps this many px: under 1/255 mean difference at 224 px
_BLOCK = 2**22  # bytes
_HELD = {"webp": 14, "avif": 6, "heic": 4, "tiff": 6}  # bytes a pixel that decoders hold beside Pillow's, as measured
_LIMITS = Limits()
_TURNS = {
    number: Image.Transpose[name]
    for number, name in enumerate(
        ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"), 2
    )
}  # of EXIF's orientations
THUMBNAIL_QUALITY = 85  # the second reference system's

pillow_heif.register_heif_opener()
Image.MAX_IMAGE_PIXELS = None  # refused by our own check, which names the limit


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a file or page gives no image. reason None: it is no picture and does not claim to be one."""

    reason: str | None
    kind: str = "other"


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a file is. digest: SHA-256 of its bytes. pages: () for a file that is one image, else those that are wanted.

    stamp: the file's when it was read, by which `decode` knows whether it is still the same.
    peak: bytes that decoding its largest page takes at most, roughly; rendered: those that come to it for a PDF page at
    72 DPI, see `peak_at`. count: of all its pages.
    """

    digest: bytes
    kind: str
    pages: tuple[int, ...]
    peak: int
    rendered: int
    stamp: Stamp
    count: int = 1

    def peak_at(self, dpi: int) -> int:
        """The bytes that decoding its largest page takes at most, of a PDF when it is rendered at `dpi`."""
        return self.peak + int(self.rendered * (dpi / 72) ** 2)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to make of a page. size, resample: the model input. dpi: of a rendered page. thumbnail_width: px at most."""

    size: int
    resample: str
    dpi: int
    thumbnail: bool
    limits: Limits = _LIMITS
    passwords: tuple[str, ...] = field(default=(), repr=False)
    thumbnail_width: int = THUMBNAIL_WIDTH


@dataclass(frozen=True, slots=True)
class Decoded:
    """One upright page. pixels: uint8 [size, size, 3]. width, height: of the upright original. ms: wall time spent.

    digest: of pixels and measures, from which embedding and tags are made. fingerprint: as `fingerprints` makes it.
    capture: what its camera wrote into it.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    measures: Mapping[str, float]
    thumbnail: bytes | None
    ms: float
    digest: bytes
    fingerprint: bytes
    capture: Capture | None = None


def inspect(path: str, limits: Limits = _LIMITS, opening: Opening = OPEN) -> Inspected | Refused:
    """Tell what the file at `path` is: its hash, kind and pages. Reads it once; decodes nothing."""
    kind = "other"
    try:
        with steady(path) as (file, stamp), silence():
            head = file.read(1024)
            kind = _kind(head, file)
            suffix = os.path.splitext(path)[1].lower()
            if not head:
                return Refused("empty file" if suffix in IMAGE_SUFFIXES else None)
            if kind == "other":
                return Refused(not_image(head) if suffix in IMAGE_SUFFIXES else None)
            limits.check_file_size(stamp.size)
            file.seek(0)
            found = _digest(file)
            pages, count = _pages(path, file, kind, limits, opening)
            return Inspected(found, kind, pages, *_peaks(path, file, kind, pages, opening), stamp, count)
    except RefusalError as exc:
        return Refused(str(exc), kind)
    except OSError as exc:
        return Refused((exc.strerror or str(exc)).lower(), "unreadable")
    except Exception:  # as in `decode`
        return Refused(f"damaged {kind.upper()}", kind)


def _kind(head: bytes, file: BinaryIO) -> str:
    kind = sniff(head)
    return "raw" if kind == "tiff" and raws.is_raw(file) else kind


def _digest(file: BinaryIO) -> bytes:
    """The SHA-256 of all of a file."""
    found = hashlib.sha256()
    while block := file.read(_BLOCK):
        found.update(block)
        if len(block) == _BLOCK:  # a slow disk may take long over a large file: it is stuck when nothing comes
            alive()
    return found.digest()


def decode(
    source: str | io.BytesIO, kind: str, page: int, recipe: Recipe, stamp: Stamp | None = None
) -> Decoded | Refused:
    """Decode one page of a file, at a path or in memory; page 0 is a file that is one image.

    stamp: the file's as it was inspected; one that has changed since is refused.
    """
    started = time.perf_counter()
    try:
        with silence():
            with steady(source, stamp) if isinstance(source, str) else nullcontext((source, stamp)) as (file, _):
                image, size, tables, capture = _open(source, file, kind, page, recipe)
            image = as_rgb(image)
            pixels = resize(image, recipe.size, recipe.resample)
            measures = measure(image, stored_size=size, jpeg_quantization=tables)
            thumbnail = _thumbnail(image, recipe.thumbnail_width) if recipe.thumbnail else None
            mark = fingerprint(pixels)
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
    seen, ms = digest(pixels, measures), (time.perf_counter() - started) * 1000
    return Decoded(pixels, *size, measures, thumbnail, ms, seen, mark, capture)


def decode_bytes(data: bytes, recipe: Recipe) -> Decoded | Refused:
    """Decode an image, or the first page of a PDF, held in memory."""
    kind = _kind(data[:1024], io.BytesIO(data))
    if not data or kind == "other":
        return Refused(not_image(data[:1024]) if data else "empty file")
    return decode(io.BytesIO(data), kind, 1 if kind == "pdf" else 0, recipe)


_Opened = tuple[Image.Image, tuple[int, int], "Mapping[int, list[int]] | None", Capture | None]


def _open(source: str | io.BytesIO, file: BinaryIO, kind: str, page: int, recipe: Recipe) -> _Opened:
    """An upright image, its full upright size, its JPEG quantisation tables, and what its camera wrote into it.

    Pillow gets the open file: of a path it would map some pictures into memory, and one that shrinks is a SIGBUS.
    """
    if kind == "pdf":
        drawn = documents.render(source, page, recipe.dpi, recipe.limits, recipe.passwords)
        return drawn, drawn.size, None, None
    if kind == "raw":
        photo, size, turn = raws.photo(file, recipe.limits)
        with photo:
            capture = capture_of(photo)
            return _upright(photo, turn), size, None, capture  # the preview's compression is not the photo's
    if kind == "jxl":
        jxl.prepare(file, recipe.limits)
    with Image.open(file) as image:
        if page:
            image.seek(page - 1)
        recipe.limits.check_pixels(image.width, image.height)
        turned, capture = _orientation(image) >= 5, capture_of(image)
        tags = getattr(image, "tag_v2", None)  # a TIFF's size as stored: Pillow has turned that of `image` already
        width, height = (tags[256], tags[257]) if tags and image.format == "TIFF" else image.size
        size = (height, width) if turned else (width, height)
        tables = getattr(image, "quantization", None) if image.format in ("JPEG", "MPO") else None
        least = max(DRAFT, recipe.thumbnail_width if recipe.thumbnail else 0)
        return _upright(image, least=least), size, tables, capture


def _upright(image: Image.Image, orientation: int | None = None, least: int = DRAFT) -> Image.Image:
    """An opened image of `least` px or more, loaded and turned: by its own EXIF orientation, or by the one given."""
    image.draft(image.mode, (least, least))
    image.load()  # of a TIFF, Pillow turns the picture then, and drops its orientation
    turn = _TURNS.get(orientation or _orientation(image))
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """How the camera was held, 1 to 8, as far as its EXIF can be read."""
    if image.format == "JXL" and not getattr(image, "jpeg", False):  # its decoder turns all but what it gives as JPEG
        return 1
    try:
        told = image.getexif().get(0x0112, 1)
    except Exception:
        return 1
    return told if isinstance(told, int) else 1


def _thumbnail(image: Image.Image, width: int) -> bytes:
    """A JPEG at most `width` px wide, and as high as a JPEG may be."""
    size = thumbnail_size(*image.size, width)
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=THUMBNAIL_QUALITY)
    return out.getvalue()


def _pages(path: str, file: BinaryIO, kind: str, limits: Limits, opening: Opening) -> tuple[tuple[int, ...], int]:
    """The page numbers of a file that are wanted, () when it is one image; and how many there are."""
    if kind == "tiff":
        frames = documents.frames(file, limits)
        return (tuple(range(1, frames + 1)) if frames > 1 else ()), frames
    if kind == "pdf":
        count = documents.page_count(path, opening.passwords)
        wanted = opening.pages.within(count) if opening.pages else range(1, count + 1)
        if not wanted:
            raise RefusalError(f"it has {count:,} page{'s'[: count != 1]}, not --pdf-pages {opening.pages}")
        limits.check_pages(len(wanted))
        return tuple(wanted), count
    return (), 1


def _peaks(path: str, file: BinaryIO, kind: str, pages: Sequence[int], opening: Opening) -> tuple[int, int]:
    """Inspected.peak and .rendered, from headers alone; 0 where they cannot be read: decoding says what is wrong."""
    try:
        if kind == "pdf":
            return documents.held(path, opening.passwords), documents.rendered(path, pages, opening.passwords)
        if kind == "raw":
            return raws.taken(file.seek(0, os.SEEK_END)), 0
        if kind == "jxl":
            return jxl.taken(file), 0
        with Image.open(file) as image:
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
