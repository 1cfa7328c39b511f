"""Tells what a file is by its first kilobyte, whatever it is called, and how large it may be."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

__all__ = ["IMAGE_SUFFIXES", "RAW_SUFFIXES", "Limits", "RefusalError", "not_image", "sniff"]

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif",
     ".pdf")
)  # fmt: skip
# TIFF inside, but not a TIFF picture
RAW_SUFFIXES = frozenset((".cr2", ".nef", ".arw", ".dng", ".orf", ".rw2", ".pef", ".srw"))


_OVER = re.compile(r"over --(max-[a-z-]+) ([0-9]+)$")


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
        """Whether a file that was refused for `reason` may pass now: it was a limit, and that has been raised."""
        over = _OVER.search(reason)
        return over is not None and getattr(self, over[1].replace("-", "_"), 0) > int(over[2])


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
