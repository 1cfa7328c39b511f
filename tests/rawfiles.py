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

__all__ = ["CAMERAS", "arw", "box", "cr2", "cr3", "dng", "nef", "preview", "sensor"]

BYTE, ASCII, SHORT, LONG, RATIONAL, SRATIONAL = 1, 2, 3, 4, 5, 10
Tags = Mapping[int, tuple[int, Any]]
_FORMS = {BYTE: "B", ASCII: "s", SHORT: "H", LONG: "I", RATIONAL: "II", SRATIONAL: "ii"}
TAKEN = b"2019:07:14 09:26:53\0"
DETAILS: Tags = {36867: (ASCII, TAKEN), 33434: (RATIONAL, 0.01)}
PLACE: Tags = {1: (ASCII, b"N\0"), 2: (RATIONAL, (48, 12, 30)), 3: (ASCII, b"E\0"), 4: (RATIONAL, (16, 22, 0))}


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
        return self.put(self.entries(tags, after))

    def entries(self, tags: Tags, after: int = 0) -> bytes:
        """A directory; what its entries point to has been put."""
        entries = b""
        for tag, (kind, values) in sorted(tags.items()):
            block = values if kind == ASCII or isinstance(values, bytes) else _packed(kind, values)
            count = len(block) // struct.calcsize("<" + _FORMS[kind])
            place = block.ljust(4, b"\0") if len(block) <= 4 else struct.pack("<I", self.put(block))
            entries += struct.pack("<HHI", tag, kind, count) + place
        return struct.pack("<H", len(tags)) + entries + struct.pack("<I", after)

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
    return {34665: (LONG, laid.directory(DETAILS)), 34853: (LONG, laid.directory(PLACE))}


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


def cr3(image: Image.Image, jpeg: bytes | None, orientation: int = 1) -> bytes:
    """A CR3 as Canon lays it out: boxes (ISO/IEC 14496-12), a track for the preview, one for the sensor's picture.

    Beside the preview are one of half the size and a tiny one; a preview that is no JPEG stands alone. The sensor has
    a border that the camera crops away. Its picture is all grey.
    """
    width, height = image.size
    seen, format_ = _grey(width + 36, height + 24)
    kinds = {
        1: {**_camera(b"Canon", b"Canon EOS R5", orientation), 256: (SHORT, width), 257: (SHORT, height),
            258: (SHORT, (8, 8, 8)), 259: (SHORT, 6)},
        2: DETAILS, 3: {0x9A: (LONG, (0, width, height, 36, 24))}, 4: PLACE,
    }  # fmt: skip
    described = [box(b"CMT%d" % number, _alone(tags)) for number, tags in kinds.items()]
    samples, formats, smaller = [seen], [format_], b""
    if jpeg is not None:
        samples.insert(0, jpeg)
        formats.insert(0, box(b"JPEG", bytes(4)) + box(b"free", bytes(2)))
    if jpeg is not None and jpeg.startswith(b"\xff\xd8"):
        with Image.open(io.BytesIO(jpeg)) as shown:
            half, tiny = shown.reduce(2), shown.resize((160, 120))
        sized = struct.pack(">IHHII", 0, *tiny.size, len(preview(tiny)), 1 << 16)
        described.append(box(b"THMB", sized, preview(tiny)))
        sized = struct.pack(">IHHHHI", 0, 1, *half.size, 1, len(preview(half)))
        smaller = box(b"uuid", _PREVIEW, struct.pack(">II", 0, 1), box(b"PRVW", sized, preview(half)))
    first = box(b"ftyp", b"crx \0\0\0\1crx isom")

    def moov(at: int) -> bytes:
        canon = box(b"uuid", _CANON, box(b"CNCV", b"CanonCR3_001/00.11.00/00.00.00"), *described)
        tracks = []
        for sample, form in zip(samples, formats, strict=True):
            tracks.append(_track(at, len(sample), (width, height), form))
            at += len(sample)
        return box(b"moov", canon, box(b"mvhd", bytes(100)), *tracks)

    at = len(first) + len(moov(0)) + len(smaller) + 8
    return first + moov(at) + smaller + box(b"mdat", *samples)


_CANON = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
_PREVIEW = bytes.fromhex("eaf42b5e1c984b88b9fbb7dc406e4d16")


def box(name: bytes, *parts: bytes) -> bytes:
    """A box of ISO/IEC 14496-12."""
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), name) + content


def _alone(tags: Tags) -> bytes:
    """A TIFF of one directory that lies right behind the head."""
    laid = Laid(b"II*\0\x08\0\0\0" + bytes(2 + 12 * len(tags) + 4))
    entries = laid.entries(tags)
    laid.data[8 : 8 + len(entries)] = entries
    return bytes(laid.data)


def _track(at: int, length: int, size: tuple[int, int], format_: bytes) -> bytes:
    """A track of one sample, which lies at `at` in the file."""
    whole, one = bytes(4), struct.pack(">I", 1)
    kind = box(b"CRAW", bytes(6), struct.pack(">H16xHH", 1, *size), bytes(54), format_)
    table = box(
        b"stbl", box(b"stsd", whole, one, kind), box(b"stts", whole, one, one, one),
        box(b"stsc", whole, one, one, one, one), box(b"stsz", whole, struct.pack(">II", length, 1)),
        box(b"co64", whole, one, struct.pack(">Q", at)),
    )  # fmt: skip
    handler = box(b"hdlr", bytes(8), b"vide", bytes(13))
    media = box(b"mdia", box(b"mdhd", bytes(24)), handler, box(b"minf", box(b"vmhd", bytes(12)), table))
    return box(b"trak", box(b"tkhd", bytes(84)), media)


def _grey(width: int, height: int) -> tuple[bytes, bytes]:
    """A picture in Canon's lossless crx, and the box that describes it: each of its four planes is one long run."""
    run = b"\xff" * (height + 64)
    head = struct.pack(">HHIHH", 0xFF01, 8, 4 * len(run), 0, 0)
    for plane in range(4):
        head += struct.pack(">HHIB3x", 0xFF02, 8, len(run), plane << 4 | 8)
        head += struct.pack(">HHII", 0xFF03, 8, len(run), 0)
    sizes = struct.pack(">4I", width, height, width, height)
    bits_and_planes = struct.pack(">BBBBI", 14, 4 << 4, 0, 0, len(head))
    described = box(b"CMP1", struct.pack(">HHHH", 0xFFFF, 48, 0x100, 0), sizes, bits_and_planes, bytes(20))
    return head + 4 * run, described


CAMERAS = {"dng": dng, "nef": nef, "arw": arw, "cr2": cr2, "cr3": cr3}
"""Suffix → what makes such a file of (picture as the sensor sees it, preview's JPEG, how the camera was held)."""
