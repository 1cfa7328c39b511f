"""Makes raw photos as cameras lay them out: a sensor's picture, previews and EXIF, a few kilobytes each.

No camera wrote these: they hold what LibRaw and picto look at, and nothing else.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["CAMERAS", "arw", "cr2", "dng", "nef", "preview", "sensor"]

BYTE, ASCII, SHORT, LONG, RATIONAL, SRATIONAL = 1, 2, 3, 4, 5, 10
Tags = Mapping[int, tuple[int, Any]]
_FORMS = {BYTE: "B", ASCII: "s", SHORT: "H", LONG: "I", RATIONAL: "II", SRATIONAL: "ii"}
TAKEN = b"2019:07:14 09:26:53\0"


class Laid:
    """A little-endian TIFF that grows: directories are written before what points to them."""

    def __init__(self, head: bytes = b"II*\0\0\0\0\0") -> None:
        self.data = bytearray(head)

    def put(self, block: bytes) -> int:
        """Where a block has come to lie."""
        self.data += b"\0" * (len(self.data) % 2)
        at = len(self.data)
        self.data += block
        return at

    def directory(self, tags: Tags, after: int = 0) -> int:
        """Where a directory has come to lie; `after` is the next one of its chain."""
        entries = b""
        for tag, (kind, values) in sorted(tags.items()):
            block = values if kind == ASCII or isinstance(values, bytes) else _packed(kind, values)
            count = len(block) // struct.calcsize("<" + _FORMS[kind])
            place = block.ljust(4, b"\0") if len(block) <= 4 else struct.pack("<I", self.put(block))
            entries += struct.pack("<HHI", tag, kind, count) + place
        return self.put(struct.pack("<H", len(tags)) + entries + struct.pack("<I", after))

    def whole(self, first: int) -> bytes:
        struct.pack_into("<I", self.data, 4, first)
        return bytes(self.data)


def _packed(kind: int, values: Any) -> bytes:
    values = list(values) if isinstance(values, Sequence) else [values]
    form = _FORMS[kind]
    if len(form) == 2:
        return b"".join(struct.pack("<" + form, round(value * 10_000), 10_000) for value in values)
    return struct.pack(f"<{len(values)}{form}", *values)


def preview(image: Image.Image, **options: Any) -> bytes:
    """A JPEG as cameras put it into raw photos."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=92, **options)
    return out.getvalue()


def sensor(image: Image.Image) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """What a sensor behind red, green and blue squares (RGGB) sees of a picture: uint16 [h, w], linear."""
    linear = (np.asarray(image.convert("RGB"), np.float64) / 255) ** 2.2 * 60_000
    seen = linear[..., 1].copy()
    seen[0::2, 0::2] = linear[0::2, 0::2, 0]
    seen[1::2, 1::2] = linear[1::2, 1::2, 2]
    return seen.astype("<u2")


def _camera(make: bytes, model: bytes, orientation: int) -> dict[int, tuple[int, Any]]:
    return {271: (ASCII, make + b"\0"), 272: (ASCII, model + b"\0"), 274: (SHORT, orientation), 306: (ASCII, TAKEN)}


def _exif(laid: Laid) -> dict[int, tuple[int, Any]]:
    taken = laid.directory({36867: (ASCII, TAKEN), 33434: (RATIONAL, 0.01)})
    place = laid.directory({
        1: (ASCII, b"N\0"), 2: (RATIONAL, (48, 12, 30)), 3: (ASCII, b"E\0"), 4: (RATIONAL, (16, 22, 0)),
    })  # fmt: skip
    return {34665: (LONG, taken), 34853: (LONG, place)}


def _seen(laid: Laid, pixels: np.ndarray[Any, Any], **more: Any) -> dict[int, tuple[int, Any]]:
    """The directory of a sensor's picture, uncompressed."""
    height, width = pixels.shape
    return {
        254: (LONG, 0), 256: (LONG, width), 257: (LONG, height), 258: (SHORT, 16), 259: (SHORT, 1),
        262: (SHORT, 32803), 273: (LONG, laid.put(pixels.tobytes())), 277: (SHORT, 1), 278: (LONG, height),
        279: (LONG, pixels.nbytes), 284: (SHORT, 1), 33421: (SHORT, (2, 2)), 33422: (BYTE, (0, 1, 1, 2)),
    }  # fmt: skip


def dng(image: Image.Image, jpeg: bytes | None, orientation: int = 1) -> bytes:
    """A DNG of what a camera held by `orientation` saw: its first directory is the preview, the sensor's is below."""
    laid = Laid()
    below = laid.directory({**_seen(laid, sensor(image)), 50717: (LONG, 65_535)})
    tags = {
        **_camera(b"Picto", b"Box 1", orientation), **_exif(laid), 254: (LONG, 1), 330: (LONG, below),
        50706: (BYTE, (1, 4, 0, 0)), 50708: (ASCII, b"Picto Box 1\0"), 50728: (RATIONAL, (1, 1, 1)),
        50721: (SRATIONAL, (3.24, -1.54, -0.5, -0.97, 1.88, 0.04, 0.06, -0.2, 1.06)),
    }  # fmt: skip
    if jpeg is not None:
        with Image.open(io.BytesIO(jpeg)) as shown:
            width, height = shown.size
        tags |= {
            256: (LONG, width), 257: (LONG, height), 258: (SHORT, (8, 8, 8)), 259: (SHORT, 7), 262: (SHORT, 6),
            273: (LONG, laid.put(jpeg)), 277: (SHORT, 3), 278: (LONG, height), 279: (LONG, len(jpeg)),
        }  # fmt: skip
    return laid.whole(laid.directory(tags))


def nef(image: Image.Image, jpeg: bytes | None, orientation: int = 1) -> bytes:
    """A NEF as Nikon lays it out: a tiny bitmap first, below it the preview and the sensor's picture."""
    laid = Laid()
    below = [laid.directory(_seen(laid, sensor(image)))]
    if jpeg is not None:
        preview_at = {254: (LONG, 1), 259: (SHORT, 6), 513: (LONG, laid.put(jpeg)), 514: (LONG, len(jpeg))}
        below.insert(0, laid.directory(preview_at))
    tiny = np.asarray(image.resize((160, 120)).convert("RGB")).tobytes()
    tags = {
        **_camera(b"NIKON CORPORATION", b"NIKON D40", orientation), **_exif(laid), 254: (LONG, 1), 256: (LONG, 160),
        257: (LONG, 120), 258: (SHORT, (8, 8, 8)), 259: (SHORT, 1), 262: (SHORT, 2), 273: (LONG, laid.put(tiny)),
        277: (SHORT, 3), 278: (LONG, 120), 279: (LONG, len(tiny)), 330: (LONG, below),
    }  # fmt: skip
    return laid.whole(laid.directory(tags))


def arw(image: Image.Image, jpeg: bytes | None, orientation: int = 1) -> bytes:
    """An ARW as Sony lays it out: the preview is of the first directory, the sensor's picture below."""
    laid = Laid()
    below = laid.directory(_seen(laid, sensor(image)))
    tags = {**_camera(b"SONY", b"ILCE-7M3", orientation), **_exif(laid), 254: (LONG, 1), 330: (LONG, below)}
    if jpeg is not None:
        tags |= {259: (SHORT, 6), 513: (LONG, laid.put(jpeg)), 514: (LONG, len(jpeg))}
    return laid.whole(laid.directory(tags))


def cr2(image: Image.Image, jpeg: bytes | None, orientation: int = 1) -> bytes:
    """A CR2 as Canon lays it out: the preview is of the first directory, a lossless JPEG of the fourth."""
    laid = Laid(b"II*\0\x10\0\0\0CR\2\0\0\0\0\0")
    seen = _lossless(*image.size)
    fourth = laid.directory({
        259: (SHORT, 6), 273: (LONG, laid.put(seen)), 279: (LONG, len(seen)), 50752: (SHORT, (0, 0, image.width)),
    })  # fmt: skip
    tags = {**_camera(b"Canon", b"Canon EOS 40D", orientation), **_exif(laid), 256: (SHORT, 0), 257: (SHORT, 0)}
    if jpeg is not None:
        with Image.open(io.BytesIO(jpeg)) as shown:
            tags |= {256: (SHORT, shown.width), 257: (SHORT, shown.height)}
        tags |= {258: (SHORT, (8, 8, 8)), 259: (SHORT, 6), 273: (LONG, laid.put(jpeg)), 279: (LONG, len(jpeg))}
    third = laid.directory({259: (SHORT, 6)}, fourth)
    second = laid.directory({259: (SHORT, 6)}, third)
    return laid.whole(laid.directory(tags, second))


def _lossless(width: int, height: int) -> bytes:
    """A lossless JPEG (ITU-T T.81, annex H) of two components, as Canon writes them: all grey, a bit a sample."""
    table = b"\xff\xc4\x00\x14\x00" + bytes([1]) + bytes(15) + b"\0"  # one code: the sample is as it was foreseen
    frame = b"\xff\xc3" + struct.pack(">HBHHB", 14, 14, height, width // 2, 2) + bytes([1, 0x11, 0, 2, 0x11, 0])
    scan = b"\xff\xda\x00\x0a\x02\x01\x00\x02\x00\x01\x00\x00"
    return b"\xff\xd8" + table + frame + scan + bytes(width * height // 8 + 8) + b"\xff\xd9"


CAMERAS = {"dng": dng, "nef": nef, "arw": arw, "cr2": cr2}
"""Suffix → what makes such a file of (picture as the sensor sees it, preview's JPEG, how the camera was held)."""
