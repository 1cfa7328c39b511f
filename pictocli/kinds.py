"""Tells what a file is by its first kilobyte, whatever it is called, and how large it may be."""

from __future__ import annotations

import functools
import importlib.util
import math
import re
from dataclasses import dataclass

__all__ = ["IMAGE_SUFFIXES", "JXL_BOX", "LATE_SUFFIXES", "Limits", "RefusalError", "not_image", "sniff", "wanting"]

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif",
     ".pdf", ".jxl", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".pef", ".srw", ".raf")
)  # fmt: skip
LATE_SUFFIXES = frozenset((".jxl", ".cr3", ".raf"))
"""Of these, what picto 0.1 did not know: it passed over such files as no pictures, and remembered that."""
JXL_BOX = b"\0\0\0\x0cJXL \r\n\x87\n"  # the first of a JPEG XL that is a container
_RAW = (b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"FUJIFILMCCD-RAW")  # Panasonic, Olympus, Fujifilm
_EXTRAS = {"raw": ("raw photo", "rawpy"), "jxl": ("JPEG XL", "pillow_jxl")}  # what they read, what they install

_OVER = re.compile(r"over --(max-[a-z-]+) ([0-9]+)$")
_WANTING = re.compile(r"pip install 'pictocli\[([a-z]+)\]'$")


class RefusalError(Exception):
    """A reason not to decode a file, on its way to becoming a value."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused above: bombs, and what would starve the machine. A reason names the option that raises a limit.

    max_pixels: megapixels of a picture, of a rendered page, of a picture on a page; 200 decode to 600 MB.
    max_file_size: megabytes of a file. max_pages: of a PDF or TIFF. max_seconds: of decoding one picture or page; what
    takes longer is tried again by each run, as that may be a disk that has stalled.
    """

    max_pixels: int = 200
    max_file_size: int = 1000
    max_pages: int = 2000
    max_seconds: int = 30

    def check_pixels(self, width: float, height: float, at: str = "") -> None:
        """Raise RefusalError for a picture of too many pixels. at: what is said of them, " at 72 DPI"."""
        self._check("max_pixels", width * height / 1e6, f"megapixels{at}")

    def check_file_size(self, size: int) -> None:
        """Raise RefusalError for a file of too many bytes."""
        self._check("max_file_size", size / 1e6, "MB")

    def check_pages(self, count: int) -> None:
        """Raise RefusalError for a document of too many pages."""
        self._check("max_pages", count, "pages")

    def _check(self, name: str, value: float, unit: str) -> None:
        limit = getattr(self, name)
        if value > limit:
            told = f"{math.ceil(value):,}" if math.isfinite(value) else "endless"
            raise RefusalError(f"{told} {unit}, over --{name.replace('_', '-')} {limit}")

    def allow(self, reason: str) -> bool:
        """Whether a file that was refused for `reason` may pass now.

        It was a limit, and that has been raised; or it lacked a package, and that has been installed.
        """
        if reason == "raw photo, not supported yet":  # of picto 0.1
            return _installed("raw")
        if wanted := _WANTING.search(reason):
            return _installed(wanted[1])
        over = _OVER.search(reason)
        return over is not None and getattr(self, over[1].replace("-", "_"), 0) > int(over[2])


def wanting(extra: str) -> str:
    """Why a file is refused whose decoder is not installed: the reason names the extra that brings it."""
    return f"{_EXTRAS[extra][0]}: pip install 'pictocli[{extra}]'"


@functools.cache
def _installed(extra: str) -> bool:
    return extra in _EXTRAS and importlib.util.find_spec(_EXTRAS[extra][1]) is not None


def sniff(head: bytes) -> str:
    """The kind of a file by its first kilobyte: jpeg, png, webp, bmp, gif, tiff, heic, avif, jxl, raw, pdf or other.

    A raw photo that is a TIFF by its first bytes is "tiff": `raws.is_raw` tells.
    """
    for magic, kind in ((b"\xff\xd8\xff", "jpeg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"GIF8", "gif")):
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":  # the reserved words of a bitmap's header
        return "bmp"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "raw" if head[8:10] == b"CR" else "tiff"  # Canon's CR2
    if head.startswith(_RAW):
        return "raw"
    if head.startswith((b"\xff\x0a", JXL_BOX)):
        return "jxl"
    if head[4:8] == b"ftyp":
        if head[8:12] == b"crx ":  # Canon's CR3
            return "raw"
        brands = {head[at : at + 4] for at in range(8, min(len(head), int.from_bytes(head[:4], "big"), 64), 4)}
        if brands & {b"avif", b"avis"}:
            return "avif"
        if brands & {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1"}:
            return "heic"
    return "pdf" if b"%PDF-" in head[:1024] else "other"


def not_image(head: bytes) -> str:
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
