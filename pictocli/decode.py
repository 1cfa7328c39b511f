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
from PIL import Image

from pictocli import documents, jxl, raws
from pictocli.exif import Capture
from pictocli.fingerprints import fingerprint
from pictocli.kinds import IMAGE_SUFFIXES, Limits, RefusalError, not_image, sniff
from pictocli.pdfs import OPEN, Opening
from pictocli.pixels import measure
from pictocli.preprocess import digest, resize
from pictocli.rgb import as_rgb
from pictocli.silence import silence
from pictocli.sizes import THUMBNAIL_WIDTH
from pictocli.steady import Stamp, steady
from pictocli.upright import DRAFT, jpeg, opened
from pictocli.workers import alive

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DRAFT", "Decoded", "Inspected", "Recipe", "Refused", "decode", "decode_bytes", "inspect"]

_BLOCK = 2**22  # bytes
_HELD = {"webp": 14, "avif": 6, "heic": 4, "tiff": 6}  # bytes a pixel that decoders hold beside Pillow's, as measured
_LIMITS = Limits()


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
                seen = opened(
                    source, file, kind, page, least=max(DRAFT, recipe.thumbnail_width if recipe.thumbnail else 0),
                    dpi=recipe.dpi, limits=recipe.limits, passwords=recipe.passwords,
                )  # fmt: skip
            image = as_rgb(seen.image)
            pixels = resize(image, recipe.size, recipe.resample)
            measures = measure(image, stored_size=seen.size, jpeg_quantization=seen.tables)
            thumbnail = jpeg(image, recipe.thumbnail_width) if recipe.thumbnail else None
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
    made, ms = digest(pixels, measures), (time.perf_counter() - started) * 1000
    return Decoded(pixels, *seen.size, measures, thumbnail, ms, made, mark, seen.capture)


def decode_bytes(data: bytes, recipe: Recipe) -> Decoded | Refused:
    """Decode an image, or the first page of a PDF, held in memory."""
    kind = _kind(data[:1024], io.BytesIO(data))
    if not data or kind == "other":
        return Refused(not_image(data[:1024]) if data else "empty file")
    return decode(io.BytesIO(data), kind, 1 if kind == "pdf" else 0, recipe)


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
