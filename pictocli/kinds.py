"""Tells what a file is by its first kilobyte, whatever it is called."""

from __future__ import annotations

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "RAW_SUFFIXES", "RefusalError", "not_image", "sniff"]

MAX_PIXELS = 200_000_000  # decodes to 600 MB; beyond it lie bombs and stitched scans that would starve the machine

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif",
     ".pdf")
)  # fmt: skip
# TIFF inside, but not a TIFF picture
RAW_SUFFIXES = frozenset((".cr2", ".nef", ".arw", ".dng", ".orf", ".rw2", ".pef", ".srw"))


class RefusalError(Exception):
    """A reason not to decode a file, on its way to becoming a value."""


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
