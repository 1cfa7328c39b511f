"""JPEG XL: how large a picture is, before anything decodes it, and the decoder where one is installed."""

from __future__ import annotations

from typing import BinaryIO

from pictocli.kinds import JXL_BOX, Limits, RefusalError, wanting

__all__ = ["prepare", "size", "taken"]

_BOXES = 1000  # that are passed on the way to the picture
_TAKEN = 14  # bytes a pixel, as measured: 7 of RGB, 13 with transparency; the upright copy is among them
_WIDTHS = (9, 13, 18, 30)  # bits of a large picture's sides
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width : height, from 1 on


def prepare(file: BinaryIO, limits: Limits) -> None:
    """Have Pillow know JPEG XL, and refuse a picture that is too large: Pillow's plugin decodes all when it opens one.

    Raises RefusalError, also where the plugin is not installed.
    """
    limits.check_pixels(*size(file))
    try:
        from pillow_jxl import JpegXLImagePlugin  # 20 ms, and licensed under the GPL: only those who ask for it have it
    except ImportError as exc:
        raise RefusalError(wanting("jxl")) from exc
    JpegXLImagePlugin.DECODE_THREADS = 0  # the cores are the workers'
    file.seek(0)


def taken(file: BinaryIO) -> int:
    """The bytes that decoding takes at most, roughly. Raises RefusalError."""
    width, height = size(file)
    return _TAKEN * width * height


def size(file: BinaryIO) -> tuple[int, int]:
    """Width and height as stored, from the header (ISO/IEC 18181-1, D.2). Raises RefusalError."""
    bits = int.from_bytes(_codestream(file)[2:], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << count) - 1), bits >> count
        return value

    small = take(1)

    def side() -> int:
        return 8 * (1 + take(5)) if small else 1 + take(_WIDTHS[take(2)])

    height = side()
    ratio = take(3)
    if ratio == 0:
        return side(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _codestream(file: BinaryIO) -> bytes:
    """The first bytes of the picture itself, 2 + 10 of them at least. Raises RefusalError.

    In a container they stand in a box, jxlc, or in several, jxlp (ISO/IEC 18181-2, 9).
    """
    file.seek(0)
    found = file.read(16)
    at = 0
    if found.startswith(JXL_BOX):
        for _ in range(_BOXES):
            file.seek(at)
            head = file.read(16)
            length, name = int.from_bytes(head[:4], "big"), head[4:8]
            start = 16 if length == 1 else 8
            if name in (b"jxlc", b"jxlp"):
                file.seek(at + start + 4 * (name == b"jxlp"))
                found = file.read(16)
                break
            length = int.from_bytes(head[8:16], "big") if length == 1 else length
            if length < start:  # 0: to the end of the file
                break
            at += length
    if found[:2] != b"\xff\x0a" or len(found) < 12:
        raise RefusalError("damaged JXL")
    return found
