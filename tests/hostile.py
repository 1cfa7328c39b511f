"""Makes files that try to crash, starve, stall or fool whoever opens them: `python tests/hostile.py FOLDER`.

Every case says what must become of it: a regular expression for "indexed", for the reason of its refusal, or for
"silent", which is a file that is no picture and does not claim to be one. The same bytes on every run.
"""

from __future__ import annotations

import io
import os
import re
import socket
import struct
import sys
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pictures import make_pdf, scene, turned_exif
from PIL import Image, ImageCms
from rawfiles import CAMERAS, dng, preview

__all__ = ["INDEXED", "NAMES", "Case", "cases", "make_corpus", "make_tree", "png", "tiff", "twins"]

INDEXED = "indexed"
SILENT = "silent"
OVER = r"[0-9,]+ megapixels( on a page| at 72 DPI)?, over --max-pixels 200"
SIZE = (96, 72)


@dataclass(frozen=True, slots=True)
class Case:
    """A file `name` of these bytes. wanted: what must become of it; of a document, of its first page that is refused.

    slow: may take longer than a second, up to what workers are given.
    """

    name: str
    data: bytes
    wanted: str
    slow: bool = False


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    """A picture's file."""
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the bad EXIF that is meant to be there
        image.save(out, form, **options)
    return out.getvalue()


# -- writers of what Pillow does not write -----


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG. rows: its pixels, each row after its filter byte. more: chunks before these."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in chunks)


def tiff(
    tags: dict[int, tuple[int, Sequence[int] | bytes]], pixels: bytes, *, after: int = 0, order: str = "<"
) -> bytes:
    """A TIFF of one directory. tags: number → (type, values); the strip's own are filled in. after: the next IFD's."""
    sizes = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 11: 4, 12: 8, 13: 4}
    every = {**tags, 273: (4, [8]), 279: (4, [len(pixels)])}
    start = 8 + len(pixels) + len(pixels) % 2
    entries, extra = b"", b""
    for number, (kind, values) in sorted(every.items()):
        packed = values if isinstance(values, bytes) else struct.pack(
            f"{order}{len(values)}{ {3: 'H', 4: 'I', 13: 'I'}[kind]}".replace(" ", ""), *values
        )  # fmt: skip
        count = len(packed) // sizes[kind]
        if len(packed) > 4:
            at = start + 6 + 12 * len(every) + len(extra)
            extra += packed + b"\0" * (len(packed) % 2)
            packed = struct.pack(f"{order}I", at)
        entries += struct.pack(f"{order}HHI", number, kind, count) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    body = head + pixels + b"\0" * (len(pixels) % 2)
    return body + struct.pack(f"{order}H", len(every)) + entries + struct.pack(f"{order}I", after) + extra


def flat_tiff(width: int, height: int, bits: Sequence[int], photometric: int, pixels: bytes, **more: Any) -> bytes:
    """A TIFF of one strip. more: "t" and a tag's number → (type, values)."""
    tags: dict[int, Any] = {
        256: (4, [width]), 257: (4, [height]), 258: (3, bits), 259: (3, [1]), 262: (3, [photometric]),
        277: (3, [len(bits)]), 278: (4, [height]),
    }  # fmt: skip
    tags |= {int(name[1:]): value for name, value in more.items() if name[1:].isdigit()}
    return tiff(tags, pixels, **{name: value for name, value in more.items() if not name[1:].isdigit()})


def pdf(*objects: bytes, size: int | None = None, trailer: bytes = b"") -> bytes:
    """A PDF of these objects, the first of which is its catalogue."""
    parts, places, length = [b"%PDF-1.7\n"], [], 9
    for number, body in enumerate(objects, 1):
        places.append(length)
        parts.append(b"%d 0 obj\n%s\nendobj\n" % (number, body))
        length += len(parts[-1])
    out = b"".join(parts)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1, table, size or len(objects) + 1, trailer, len(out),
    )  # fmt: skip


def stream(data: bytes, entries: bytes = b"", *, deflate: bool = False) -> bytes:
    """A stream object of a PDF."""
    data = zlib.compress(data, 9) if deflate else data
    more = b"/Filter/FlateDecode" if deflate else b""
    return b"<<%s%s/Length %d>>stream\n%s\nendstream" % (entries, more, len(data), data)


def page(
    content: bytes, resources: bytes = b"", *objects: bytes, box: bytes = b"0 0 200 100", entries: bytes = b""
) -> bytes:
    """A PDF of one page. objects: numbers 5, 6, … content: a stream object, or operators."""
    content = content if content.startswith(b"<<") else stream(content)
    leaf = b"<</Type/Page/Parent 2 0 R/MediaBox[%s]/Contents 4 0 R/Resources<<%s>>%s>>" % (box, resources, entries)
    return pdf(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>", leaf, content, *objects)


# -- where files may be cut -----


def jpeg_cuts(data: bytes) -> Iterator[int]:
    """Before every segment, and in the scans."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xD9:
        yield at
        yield at + 3
        length = struct.unpack(">H", data[at + 2 : at + 4])[0]
        scan = data[at + 1] == 0xDA
        at += 2 + length
        if scan:
            end = at
            while not (data[end] == 0xFF and data[end + 1] not in (0, *range(0xD0, 0xD8))):
                end += 1
            yield from (at, at + (end - at) // 4, at + (end - at) // 2, end - 1)
            at = end


def png_cuts(data: bytes) -> Iterator[int]:
    """Before every chunk, after its length, its name, half of it, and all but its sum."""
    at = 8
    while at < len(data):
        length = struct.unpack(">I", data[at : at + 4])[0]
        yield from dict.fromkeys((at, at + 4, at + 8, at + 8 + length // 2, at + 8 + length))
        at += 12 + length


def webp_cuts(data: bytes) -> Iterator[int]:
    """Before every chunk, after its head and half of it."""
    yield from (4, 8)
    at = 12
    while at < len(data):
        length = struct.unpack("<I", data[at + 4 : at + 8])[0]
        yield from (at, at + 8, at + 8 + length // 2)
        at += 8 + length + length % 2


def gif_cuts(data: bytes) -> Iterator[int]:
    """After the header, the palette, and before every block."""
    yield from (6, 10, 13)
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 128 else 0)
    while data[at] != 0x3B:
        yield at
        at += 2 if data[at] == 0x21 else 10 + (3 << (data[at + 9] & 7) + 1 if data[at + 9] & 128 else 0) + 1
        yield at
        while data[at]:
            at += 1 + data[at]
            yield at
        at += 1
    yield at


def box_cuts(data: bytes, at: int = 0, end: int | None = None) -> Iterator[int]:
    """Before every box of a HEIC or AVIF, within it, and before those within `meta` and `iprp`."""
    end = len(data) if end is None else end
    while at + 8 <= end:
        length, name = struct.unpack(">I4s", data[at : at + 8])
        length = length or end - at
        yield from (at, at + 8, at + 8 + (length - 8) // 2)
        if name in (b"meta", b"iprp", b"iinf", b"ipco"):
            yield from box_cuts(data, at + {b"meta": 12, b"iinf": 14}.get(name, 8), at + length)
        at += length


def even_cuts(*places: int) -> Callable[[bytes], Iterator[int]]:
    """At these places and at each eighth."""
    return lambda data: iter(sorted({*places, *(len(data) * eighth // 8 for eighth in range(1, 8))}))


def pdf_cuts(data: bytes) -> Iterator[int]:
    """Before every object, its end, its stream, and before each part of the table at the end."""
    for found in re.finditer(rb"\d+ 0 obj|endobj|\bstream|endstream|xref|trailer|startxref|%%EOF", data):
        yield found.start()


def whole_files() -> dict[str, tuple[bytes, Callable[[bytes], Iterator[int]]]]:
    """A good file of every format, and where to cut it."""
    image, more = scene(1, *SIZE), [scene(2, *SIZE), scene(3, *SIZE)]
    exif = turned_exif(6).tobytes()
    pages = [each.convert("L") for each in (image, *more)]
    return {
        "jpeg.jpg": (saved(image, "JPEG", quality=90, exif=exif), jpeg_cuts),
        "progressive.jpg": (saved(image, "JPEG", progressive=True), jpeg_cuts),
        "png.png": (saved(image, "PNG", exif=exif), png_cuts),
        "palette.png": (saved(image.quantize(16), "PNG", transparency=3), png_cuts),
        "webp.webp": (saved(image, "WEBP", exif=exif), webp_cuts),
        "animated.webp": (saved(image, "WEBP", save_all=True, append_images=more, lossless=True), webp_cuts),
        "animated.gif": (saved(image.quantize(64), "GIF", save_all=True, append_images=more), gif_cuts),
        "lzw.tif": (saved(image, "TIFF", compression="tiff_lzw"), even_cuts(8, 9, 10, 14)),
        "pages.tif": (saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]), even_cuts(8, 12)),
        "bmp.bmp": (saved(image, "BMP"), even_cuts(14, 18, 26, 30, 53, 54, 55)),
        "heic.heic": (saved(image, "HEIF", exif=exif), box_cuts),
        "avif.avif": (saved(image, "AVIF", speed=10), box_cuts),
    }


def cut_and_flipped(folder: Path) -> Iterator[Case]:
    """Every format cut at each of its boundaries, and one byte flipped in the middle of each region between them."""
    made = whole_files()
    made["pdf.pdf"] = (make_pdf(folder / "made.pdf", [1, 2]).read_bytes(), pdf_cuts)
    (folder / "made.pdf").unlink()
    for name, (data, cuts) in made.items():
        stem, suffix = name.split(".")
        kind = {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper())
        broken = rf"indexed|truncated|damaged {kind}|not an image|text, not an image|PDF without pages|{OVER}"
        places = sorted({at for at in cuts(data) if 0 < at < len(data)})
        for at in places:
            yield Case(f"cut/{stem}-{at}.{suffix}", data[:at], broken)
        for low, high in zip([0, *places], [*places, len(data)], strict=True):
            at = (low + high) // 2
            flipped = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
            yield Case(f"flipped/{stem}-{at}.{suffix}", flipped, broken)


# -- odd but good pictures, and their plain twins -----


def twins() -> dict[str, bytes]:
    """Deep, CMYK, palette, float and 1-bit pictures, which must look to a model as what `twin` makes of them."""
    image = scene(5, 160, 120)
    grey, array = image.convert("L"), np.asarray(image)
    wide = array.astype(np.uint16) * 257
    alpha = np.dstack([wide, np.full(array.shape[:2], 65535, np.uint16)])
    deep = np.asarray(grey, np.uint16) * 257
    size = image.size

    def rows(values: Any) -> bytes:
        return b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    black = Image.merge("CMYK", (*[Image.fromarray(255 - array[..., at]) for at in range(3)], Image.new("L", size, 0)))
    palette = image.quantize(256, dither=Image.Dither.NONE)
    return {
        "rgb/deep-rgb.png": png(*size, 16, 2, rows(wide)),
        "rgb/deep-rgba.png": png(*size, 16, 6, rows(alpha)),
        "grey/deep-grey.png": png(*size, 16, 0, rows(deep)),
        "grey/deep-grey-alpha.png": png(*size, 16, 4, rows(np.dstack([deep, np.full_like(deep, 65535)]))),
        "rgb/deep-rgb.tif": flat_tiff(*size, [16] * 3, 2, wide.astype("<u2").tobytes()),
        "rgb/deep-rgba.tif": flat_tiff(*size, [16] * 4, 2, alpha.astype("<u2").tobytes(), t338=(3, [2])),
        "grey/deep-grey.tif": flat_tiff(*size, [16], 1, deep.astype("<u2").tobytes()),
        "grey/deep-grey-big-end.tif": flat_tiff(*size, [16], 1, deep.astype(">u2").tobytes(), order=">"),
        "grey/float.tif": saved(Image.fromarray(np.asarray(grey, np.float32) / 255), "TIFF"),
        "grey/float-bytes.tif": saved(Image.fromarray(np.asarray(grey, np.float32)), "TIFF"),
        "grey/int32.tif": saved(Image.fromarray(np.asarray(grey, np.int32) * 257), "TIFF"),
        "rgb/cmyk.jpg": saved(black, "JPEG", quality=95),
        "rgb/cmyk.tif": saved(black, "TIFF"),
        "rgb/ycbcr.tif": saved(image.convert("YCbCr"), "TIFF"),
        "rgb/lab.tif": saved(ImageCms.applyTransform(image, lab_of_rgb()), "TIFF", icc_profile=None),
        "palette/few.png": saved(palette, "PNG"),
        "palette/few.gif": saved(palette, "GIF"),
        "palette/few.tif": saved(palette, "TIFF"),
        "palette/opaque.png": saved(palette, "PNG", transparency=b"\xff" * 256),
        "bits/one-bit.png": saved(grey.convert("1"), "PNG"),
        "bits/one-bit.tif": saved(grey.convert("1"), "TIFF", compression="group4"),
        "bits/one-bit.bmp": saved(grey.convert("1"), "BMP"),
    }


def twin(family: str) -> Image.Image:
    """The 8-bit RGB picture that a family of `twins` shows."""
    image = scene(5, 160, 120)
    if family == "rgb":
        return image
    if family == "palette":
        return image.quantize(256, dither=Image.Dither.NONE).convert("RGB")
    return image.convert("L" if family == "grey" else "1").convert("RGB")


def lab_of_rgb() -> Any:
    """A transform from sRGB to L*a*b*."""
    return ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")


def odd_pictures() -> Iterator[Case]:
    """Pictures that are good, if unusual."""
    image, more = scene(6, *SIZE), [scene(7, *SIZE), scene(8, *SIZE)]
    for name, data in twins().items():
        yield Case(f"twins/{name.replace('/', '-')}", data, INDEXED)
    for form, suffix in (("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp"), ("BMP", "bmp"), ("GIF", "gif"),
                         ("TIFF", "tif")):  # fmt: skip
        yield Case(f"odd/one-pixel.{suffix}", saved(Image.new("RGB", (1, 1), (9, 8, 7)), form), INDEXED)
        size = 16_000 if form in ("JPEG", "WEBP") else 60_000 if form == "GIF" else 100_000
        for shape in ((1, size), (size, 1)):
            thin = saved(Image.new("RGB", shape, (9, 8, 7)), form)
            yield Case(f"odd/{shape[0]}x{shape[1]}.{suffix}", thin, INDEXED)
    yield Case("odd/tall.avif", saved(Image.new("RGB", (16, 3000), "red"), "AVIF", speed=10), INDEXED)
    yield Case("odd/tall.heic", saved(Image.new("RGB", (64, 3000), "red"), "HEIF"), INDEXED)
    for form, suffix in (("GIF", "gif"), ("WEBP", "webp"), ("PNG", "png"), ("AVIF", "avif"), ("HEIF", "heic")):
        yield Case(f"odd/sequence.{suffix}", saved(image, form, save_all=True, append_images=more), INDEXED)
    yield Case("odd/two-eyes.jpg", saved(image, "MPO", save_all=True, append_images=more), INDEXED)
    yield Case("odd/interlaced.gif", saved(image.quantize(32), "GIF", interlace=1), INDEXED)
    yield Case("odd/interlaced.png", adam7(image), INDEXED)
    yield Case("odd/progressive.jpg", saved(image, "JPEG", progressive=True), INDEXED)
    plain = saved(image, "JPEG", quality=90)
    yield Case("odd/arithmetic.jpg", plain.replace(b"\xff\xc0", b"\xff\xc9", 1), INDEXED)
    ycck = saved(image.convert("CMYK"), "JPEG")
    at = ycck.index(b"Adobe") + 11
    yield Case("odd/ycck.jpg", ycck[:at] + b"\2" + ycck[at + 1 :], INDEXED)
    yield Case("odd/grey-alpha.png", saved(image.convert("LA"), "PNG"), INDEXED)
    yield Case("odd/palette-alpha.png", saved(image.quantize(16), "PNG", transparency=bytes(range(16))), INDEXED)
    yield Case("odd/palette-clear.gif", saved(image.quantize(16), "GIF", transparency=2), INDEXED)
    for bits in (1, 2, 4):
        row = b"\0" + b"\xa5" * (-(-96 * bits // 8))
        yield Case(f"odd/grey-{bits}-bit.png", png(96, 72, bits, 0, row * 72), INDEXED)
    for name, values in {
        "nan": np.full((40, 40), np.nan, "f4"), "infinite": np.full((40, 40), np.inf, "f4"),
        "negative": np.full((40, 40), -5, "f4"), "int32": np.full((40, 40), -(2**31), "i4"),
    }.items():  # fmt: skip
        yield Case(f"odd/{name}.tif", saved(Image.fromarray(values), "TIFF"), INDEXED)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "lzma"):
        yield Case(f"odd/{compression}.tif", saved(image, "TIFF", compression=compression), INDEXED)
    yield Case("odd/big.tif", saved(image, "TIFF", big_tiff=True), INDEXED)
    yield Case("odd/doubles.tif", flat_tiff(9, 9, [64], 1, bytes(648), t339=(3, [3])), "indexed|damaged TIFF")
    yield Case("odd/five-samples.tif", flat_tiff(9, 9, [8] * 5, 2, bytes(405)), "indexed|damaged TIFF")
    yield Case("odd/rle.bmp", rle_bmp(96, 72, b"\x60\x07\0\0" * 72 + b"\0\1"), INDEXED)
    yield Case("odd/upside-down.bmp", upside_down(saved(image, "BMP")), INDEXED)


def adam7(image: Image.Image) -> bytes:
    """An interlaced PNG."""
    array, rows = np.asarray(image), b""
    for x, y, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
                         (0, 1, 1, 2)):  # fmt: skip
        rows += b"".join(b"\0" + row.tobytes() for row in array[y::dy, x::dx])
    header = struct.pack(">IIBBBBB", *image.size, 8, 2, 0, 0, 1)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in chunks)


def rle_bmp(width: int, height: int, pixels: bytes) -> bytes:
    """A run-length coded bitmap of 256 greys."""
    palette = b"".join(bytes([grey, grey, grey, 0]) for grey in range(256))
    start = 54 + len(palette)
    return (
        b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(pixels), 0, 0, 256, 0) + palette + pixels
    )  # fmt: skip


def upside_down(bitmap: bytes) -> bytes:
    """A bitmap whose height is negative: its first row is the top one."""
    (height,) = struct.unpack("<i", bitmap[22:26])
    return bitmap[:22] + struct.pack("<i", -height) + bitmap[26:]


# -- profiles and EXIF -----


def exif_bytes(*directories: Sequence[tuple[int, int, int, bytes]]) -> bytes:
    """EXIF of directories, one after another; an entry is (tag, type, count, four bytes)."""
    out = b"II*\0\x08\0\0\0"
    for entries in directories:
        out += struct.pack("<H", len(entries))
        out += (
            b"".join(struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in entries) + b"\0" * 4
        )
    return out


def nested_exif(levels: int) -> bytes:
    """Directories, each the Exif directory of the one before; the last one that of the first."""
    places = [8 + 18 * level for level in range(1, levels)] + [8]
    return exif_bytes(*([(0x8769, 4, 1, struct.pack("<I", place))] for place in places))


def odd_metadata() -> Iterator[Case]:
    """Good pictures with bad profiles and EXIF: it is the picture that counts."""
    image = scene(9, *SIZE)
    exifs = {
        "garbage": b"\x01\x02\x03" * 40,
        "empty": b"",
        "header": b"II*\0",
        "far": b"II*\0\xff\xff\xff\x7f",
        "nested": nested_exif(40),
        "loop": exif_bytes([(0x8769, 4, 1, b"\x08\0\0\0")]),
        "many": b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" * 1000,
        "huge-count": exif_bytes([(0x0112, 3, 2**32 - 1, b"\x06\0\0\0")]),
        "text-orientation": exif_bytes([(0x0112, 2, 4, b"six\0")]),
        "two-orientations": exif_bytes([(0x0112, 3, 2, b"\x06\0\x03\0")]),
        "orientation-99": exif_bytes([(0x0112, 3, 1, b"\x63\0\0\0")]),
        "unknown-type": exif_bytes([(0x0112, 99, 1, b"\x06\0\0\0")]),
        "rational-zero": exif_bytes([(0x011A, 5, 1, b"\x08\0\0\0"), (0x0112, 3, 1, b"\x06\0\0\0")]),
        "turned-garbage": exif_bytes([(0x0112, 3, 1, b"\x06\0\0\0"), (0x9000, 7, 2**31, b"\xff" * 4)]),
    }
    for name, data in exifs.items():
        for form, suffix in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tif"), ("AVIF", "avif")):
            try:
                made = saved(image, form, exif=(b"Exif\0\0" if form == "JPEG" else b"") + data)
            except (
                OSError,
                TypeError,
                ValueError,
                struct.error,
                SyntaxError,
            ):  # the writer knows better than to put it there
                continue
            yield Case(f"exif/{name}.{suffix}", made, INDEXED)
    for name, profile in {"garbage": b"not a profile", "empty-ish": b"\0", "large": b"\0" * 200_000}.items():
        for form, suffix in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tif"), ("AVIF", "avif")):
            yield Case(f"icc/{name}.{suffix}", saved(image, form, icc_profile=profile), INDEXED)
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + b"<a>" * 9000
    yield Case("exif/deep-xmp.jpg", saved(image, "JPEG", xmp=xmp), INDEXED)
    lol = b"<!DOCTYPE x [<!ENTITY a 'ha'>" + b"".join(
        b"<!ENTITY %c '%s'>" % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9)
    )
    yield Case("exif/laughs-xmp.png", saved(image, "PNG", pnginfo=None) and with_xmp(image, lol), INDEXED)


def with_xmp(image: Image.Image, xmp: bytes) -> bytes:
    """A PNG with this XMP packet."""
    data = saved(image, "PNG")
    at = data.index(b"IDAT") - 4
    return data[:at] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp) + data[at:]


# -- bombs -----


def resized(data: bytes, marker: bytes, at: int, form: str, width: int, height: int) -> bytes:
    """A file whose header claims another size: `form` is struct's, `at` counts from the marker."""
    place = data.index(marker) + at
    packed = struct.pack(form, width, height)
    return data[:place] + packed + data[place + len(packed) :]


def bombs() -> Iterator[Case]:
    """Small files that claim to be, or become, enormous ones."""
    image = scene(10, *SIZE)
    jpeg = saved(image, "JPEG", progressive=False)
    yield Case("bombs/wide.jpg", resized(jpeg, b"\xff\xc0", 5, ">HH", 65_500, 65_500), OVER)
    progressive = saved(image, "JPEG", progressive=True)
    yield Case("bombs/progressive.jpg", resized(progressive, b"\xff\xc2", 5, ">HH", 65_500, 65_500), OVER)
    yield Case("bombs/legal.jpg", resized(jpeg, b"\xff\xc0", 5, ">HH", 10_000, 10_000), INDEXED)
    yield Case("bombs/wide.png", png(100_000, 100_000, 8, 2, bytes(9999)), OVER)
    yield Case("bombs/widest.png", png(2**31 - 1, 2**31 - 1, 8, 2, bytes(9999)), OVER)
    yield Case("bombs/legal.png", png(14_000, 14_000, 8, 0, bytes(9999)), "truncated")
    yield Case("bombs/deflated.png", png(9, 9, 8, 2, bytes(10**8)), INDEXED)
    for kind, text in (
        (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8), 9)),
        (b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8), 9)),
        (b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(10**8), 9)),
    ):
        yield Case(f"bombs/{kind.decode()}.png", png(9, 9, 8, 0, bytes(90), (kind, text)), "indexed|damaged PNG")
    many = [(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**6 - 9), 9))] * 200
    yield Case("bombs/texts.png", png(9, 9, 8, 0, bytes(90), *many), "indexed|damaged PNG")
    yield Case("bombs/chunks.png", png(9, 9, 8, 0, bytes(90), *[(b"teSt", b"")] * 100_000), INDEXED)
    gif = saved(image.quantize(16), "GIF")
    yield Case("bombs/wide.gif", resized(gif, b"GIF8", 6, "<HH", 65_500, 65_500), OVER)
    at = gif.index(b",\0\0\0\0")
    far = gif[:at] + b"," + struct.pack("<HHHH", 60_000, 60_000, 9, 9) + gif[at + 9 :]
    yield Case("bombs/far.gif", far, f"indexed|truncated|damaged GIF|{OVER}")
    frames = gif[: -1 - 0][: gif.rindex(b";")] + gif[at : gif.rindex(b";")] * 20_000 + b";"
    yield Case("bombs/frames.gif", frames, INDEXED)
    webp = saved(image, "WEBP", lossless=True)
    place = webp.index(b"VP8L") + 9
    yield Case("bombs/wide.webp", webp[:place] + b"\xff\xff\xff\x0f" + webp[place + 4 :], f"{OVER}|damaged WEBP")
    bmp = saved(image, "BMP")
    yield Case("bombs/wide.bmp", resized(bmp, b"BM", 18, "<ii", 100_000, 100_000), OVER)
    yield Case("bombs/widest.bmp", resized(bmp, b"BM", 18, "<ii", 2**31 - 1, 2**31 - 1), f"{OVER}|damaged BMP")
    yield Case("bombs/rle.bmp", rle_bmp(100_000, 100_000, b"\xff\0" * 999), OVER)
    yield Case("bombs/legal-rle.bmp", rle_bmp(9000, 9000, b"\xff\7" * 999), "truncated|damaged BMP|indexed")
    yield from tiff_bombs()
    for form, suffix in (("HEIF", "heic"), ("AVIF", "avif")):
        data = saved(image, form, **({"speed": 10} if form == "AVIF" else {}))
        wide = resized(data, b"ispe", 8, ">II", 100_000, 100_000)
        yield Case(f"bombs/wide.{suffix}", wide, rf"{OVER}|damaged {suffix.upper()}")
        boxes = data[: data.index(b"meta") - 4] + b"\0\0\0\x08moov" * 50_000
        yield Case(f"bombs/boxes.{suffix}", boxes, rf"damaged {suffix.upper()}")
        nested = b""
        for _ in range(5000):
            nested = struct.pack(">I4s", len(nested) + 8, b"iprp") + nested
        head = data[: data.index(b"meta") - 4]
        deep = head + struct.pack(">I4sI", len(nested) + 12, b"meta", 0) + nested
        yield Case(f"bombs/nested.{suffix}", deep, rf"damaged {suffix.upper()}")


def tiff_bombs() -> Iterator[Case]:
    """TIFFs that claim too much, and directories that lead in circles."""
    bad = f"indexed|truncated|damaged TIFF|{OVER}"
    yield Case("bombs/wide.tif", flat_tiff(100_000, 100_000, [8] * 3, 2, bytes(99)), OVER)
    yield Case("bombs/widest.tif", flat_tiff(2**32 - 1, 2**32 - 1, [8] * 3, 2, bytes(99)), f"{OVER}|damaged TIFF")
    for name, code in (("deflate", 8), ("lzw", 5), ("packbits", 32773), ("fax", 4), ("zstd", 50000)):
        data = zlib.compress(bytes(10**7), 9) if code == 8 else bytes(9999)
        yield Case(f"bombs/legal-{name}.tif", flat_tiff(9000, 9000, [8], 1, data, t259=(3, [code])), bad)
        yield Case(f"bombs/{name}.tif", flat_tiff(60_000, 60_000, [8] * 3, 2, data, t259=(3, [code])), OVER)
    yield Case("bombs/deflated.tif", flat_tiff(9, 9, [8], 1, zlib.compress(bytes(10**8), 9), t259=(3, [8])), bad)
    yield Case("bombs/samples.tif", flat_tiff(99, 99, [8] * 9999, 2, bytes(99)), bad)
    yield Case("bombs/strips.tif", flat_tiff(9, 9, [8], 1, bytes(99), t278=(4, [0])), bad)
    huge = tiff({256: (4, [9]), 257: (4, [9]), 270: (2, b"x")}, bytes(99))
    at = huge.index(struct.pack("<HHI", 270, 2, 1))
    yield Case("bombs/huge-count.tif", huge[: at + 4] + b"\xff" * 4 + huge[at + 8 :], bad)
    for name, pixels in (("loop", 32), ("self", 0)):
        data = flat_tiff(9, 9, [8], 1, bytes(81))
        start = struct.unpack("<I", data[4:8])[0]
        yield Case(
            f"bombs/{name}.tif", flat_tiff(9, 9, [8], 1, bytes(81), after=start if name == "self" else pixels), bad
        )
    yield Case("bombs/sub-directories.tif", flat_tiff(9, 9, [8], 1, bytes(81), t330=(4, [8] * 50_000)), bad)
    yield Case("bombs/directories.tif", directories(100_000), r"100,000 pages, over --max-pages 2000")
    yield Case("bombs/directories-2000.tif", directories(2001), r"2,001 pages, over --max-pages 2000")


def directories(count: int) -> bytes:
    """A TIFF of so many pages of 2 × 2, each with a directory."""
    entries = [(256, 3, 2), (257, 3, 2), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 3, 2), (279, 4, 4)]
    packed = b"".join(struct.pack("<HHIHH", tag, kind, 1, value, 0) for tag, kind, value in entries)
    size = 2 + len(packed) + 4
    out = [b"II*\0\x0c\0\0\0\1\2\3\4"]
    for number in range(1, count + 1):
        after = 12 + size * number if number < count else 0
        out.append(struct.pack("<H", len(entries)) + packed + struct.pack("<I", after))
    return b"".join(out)


# -- PDFs -----


def pdfs() -> Iterator[Case]:
    """Documents that lead in circles, claim too much, or hold what decoders choke on."""
    bad = f"indexed|damaged PDF|PDF without pages|{OVER}"
    cut_off = rf"{bad}|crashed its decoder"  # or cut off after what workers are given for a page
    catalogue = b"<</Type/Catalog/Pages 2 0 R>>"
    yield Case("pdf/gigantic-page.pdf", page(b"0 0 9 9 re f", box=b"0 0 999999 999999"), OVER)
    yield Case("pdf/user-unit.pdf", page(b"0 0 9 9 re f", entries=b"/UserUnit 1e9"), bad)
    yield Case("pdf/user-unit-zero.pdf", page(b"0 0 9 9 re f", entries=b"/UserUnit 0"), bad)
    yield Case("pdf/user-unit-negative.pdf", page(b"0 0 9 9 re f", entries=b"/UserUnit -9"), bad)
    yield Case("pdf/user-unit-name.pdf", page(b"0 0 9 9 re f", entries=b"/UserUnit/Much"), bad)
    for name, box in {
        "empty": b"0 0 0 0", "thin": b"0 0 0.001 99", "backwards": b"200 100 0 0", "text": b"(a) (b)",
        "long": b"0 0 1 199000000", "infinite": b"0 0 1e38 1e38", "negative": b"-1e9 -1e9 9 9",
    }.items():  # fmt: skip
        yield Case(f"pdf/box-{name}.pdf", page(b"0 0 9 9 re f", box=box), bad)
    draw = b"q 200 0 0 100 0 0 cm /I Do Q"
    for name, filters, data in (
        ("jbig2", b"/JBIG2Decode", bytes(range(256)) * 9),
        ("jpx", b"/JPXDecode", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(999)),
        ("dct", b"/DCTDecode", b"\xff\xd8\xff\xe0garbage"), ("fax", b"/CCITTFaxDecode", bytes(range(256)) * 9),
        ("flate", b"/FlateDecode", b"garbage"), ("lzw", b"/LZWDecode", b"garbage" * 99),
        ("run", b"/RunLengthDecode", b"\x81" * 999),
        ("ascii", b"/ASCII85Decode", b"zzzz~~>>" * 99), ("unknown", b"/Rot13", b"abc"), ("crypt", b"/Crypt", b"abc"),
    ):  # fmt: skip
        entries = (
            b"/Type/XObject/Subtype/Image/Width 99/Height 99/BitsPerComponent 8/ColorSpace/DeviceGray/Filter" + filters
        )
        yield Case(f"pdf/{name}-garbage.pdf", page(draw, b"/XObject<</I 5 0 R>>", stream(data, entries)), INDEXED)
    form = b"/Type/XObject/Subtype/Image/ColorSpace/DeviceGray/BitsPerComponent 8"
    for width, data in ((100_000, bytes(9999)), (60_000, bytes(10**7)), (2**31 - 1, b"")):
        entries = form + b"/Width %d/Height %d" % (width, width)
        picture = stream(data, entries, deflate=True)
        yield Case(f"pdf/picture-{width}.pdf", page(draw, b"/XObject<</I 5 0 R>>", picture), OVER)
    wide_jpeg = resized(saved(scene(11, *SIZE), "JPEG"), b"\xff\xc0", 5, ">HH", 65_500, 65_500)
    lying = stream(wide_jpeg, form + b"/Width 9/Height 9/Filter/DCTDecode")
    yield Case("pdf/lying-jpeg.pdf", page(draw, b"/XObject<</I 5 0 R>>", lying), bad)
    jpx = saved(scene(11, *SIZE), "JPEG2000")
    wide_jpx = resized(jpx, b"\xffQ", 6, ">II", 2**31 - 1, 2**31 - 1)
    lying = stream(wide_jpx, b"/Type/XObject/Subtype/Image/Filter/JPXDecode")
    yield Case("pdf/lying-jpx.pdf", page(draw, b"/XObject<</I 5 0 R>>", lying), bad)
    jbig2 = bytes.fromhex("000000003000010000001300ffff000000ffff00000000000000000000")
    lying = stream(jbig2, form + b"/Width 9/Height 9/Filter/JBIG2Decode")
    yield Case("pdf/lying-jbig2.pdf", page(draw, b"/XObject<</I 5 0 R>>", lying), bad)
    inline = (
        b"q 200 0 0 100 0 0 cm BI /W 60000 /H 60000 /BPC 8 /CS /G /F /Fl ID " + zlib.compress(bytes(10**6)) + b" EI Q"
    )
    yield Case("pdf/inline.pdf", page(inline), bad)
    mask = stream(b"", form + b"/Width 60000/Height 60000", deflate=True)
    masked = stream(bytes(81), form + b"/Width 9/Height 9/SMask 6 0 R", deflate=True)
    yield Case("pdf/soft-mask.pdf", page(draw, b"/XObject<</I 5 0 R>>", masked, mask), bad)
    itself = stream(bytes(81), form + b"/Width 9/Height 9/SMask 5 0 R", deflate=True)
    yield Case("pdf/mask-of-itself.pdf", page(draw, b"/XObject<</I 5 0 R>>", itself), bad)
    own = stream(b"/F Do", b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</F 5 0 R>>>>")
    yield Case("pdf/form-of-itself.pdf", page(b"/F Do", b"/XObject<</F 5 0 R>>", own), bad)
    shape = b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</F %d 0 R>>>>"
    pairs = [stream(b"/F Do /F Do", shape % (6 + n)) for n in range(30)]
    yield Case(
        "pdf/forms-doubling.pdf", page(b"/F Do", b"/XObject<</F 5 0 R>>", *pairs, stream(b"")), cut_off, slow=True
    )
    tiling = b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1"
    tile = stream(
        b"/Pattern cs /P scn 0 0 9 9 re f", tiling + b"/BBox[0 0 9 9]/XStep 9/YStep 9/Resources<</Pattern<</P 5 0 R>>>>"
    )
    yield Case(
        "pdf/pattern-of-itself.pdf", page(b"/Pattern cs /P scn 0 0 99 99 re f", b"/Pattern<</P 5 0 R>>", tile), bad
    )
    small = stream(b"0 0 1 1 re f", b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 1 1]/XStep 0.0001"
                   b"/YStep 0.0001/Resources<<>>")  # fmt: skip
    yield Case(
        "pdf/tiny-tiles.pdf",
        page(b"/Pattern cs /P scn 0 0 200 100 re f", b"/Pattern<</P 5 0 R>>", small),
        cut_off,
        slow=True,
    )
    glyph = stream(b"9 0 d0 BT /T 9 Tf (a) Tj ET")
    font = (
        b"<</Type/Font/Subtype/Type3/FontBBox[0 0 9 9]/FontMatrix[1 0 0 1 0 0]/CharProcs<</a 6 0 R>>/FirstChar 97"
        b"/LastChar 97/Widths[9]/Encoding<</Differences[97/a]>>/Resources<</Font<</T 5 0 R>>>>>>"
    )
    yield Case("pdf/glyph-of-itself.pdf", page(b"BT /T 9 Tf (a) Tj ET", b"/Font<</T 5 0 R>>", font, glyph), bad)
    yield Case("pdf/flate-bomb.pdf", page(stream(b" " * 10**8, deflate=True)), INDEXED)
    yield Case("pdf/saves.pdf", page(stream(b"q " * 10**6, deflate=True)), bad)
    yield Case("pdf/brackets.pdf", page(stream(b"[" * 10**6, deflate=True)), bad)
    yield Case("pdf/nested-arrays.pdf", pdf(catalogue, b"[" * 10**6), bad)
    yield Case("pdf/nested-dictionaries.pdf", pdf(catalogue, b"<</A" * 10**5), bad)
    yield Case("pdf/dashes.pdf", page(b"[0.000001 0.000001] 0 d 9 w 0 0 m 200 100 l S"), bad)
    yield Case("pdf/clipped.pdf", page(stream(b"0 0 200 100 re W n " * 10**5, deflate=True)), cut_off, slow=True)
    yield Case("pdf/kids-loop.pdf", pdf(catalogue, b"<</Type/Pages/Kids[2 0 R]/Count 1>>"), bad)
    yield Case("pdf/kids-loop-3.pdf", pdf(catalogue, b"<</Type/Pages/Kids[3 0 R]/Count 3>>",
               b"<</Type/Pages/Parent 2 0 R/Kids[2 0 R 3 0 R]/Count 3>>"), bad)  # fmt: skip
    yield Case("pdf/parent-loop.pdf", pdf(catalogue, b"<</Type/Pages/Parent 2 0 R/Kids[3 0 R]/Count 1>>",
               b"<</Type/Page/Parent 2 0 R>>"), bad)  # fmt: skip
    over = r"[0-9,]+ pages, over --max-pages 2000"
    for count in (2001, 2**31 - 1):
        lying = pdf(
            catalogue, b"<</Type/Pages/Kids[3 0 R]/Count %d>>" % count, b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>"
        )
        yield Case(f"pdf/count-{count}.pdf", lying, f"{over}|{bad}")
    for count in (-5, 0, 40):
        lying = pdf(
            catalogue, b"<</Type/Pages/Kids[3 0 R]/Count %d>>" % count, b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>"
        )
        yield Case(f"pdf/count-{count}.pdf", lying, bad)
    yield Case("pdf/pages-100000.pdf", pages_pdf(100_000), r"100,000 pages, over --max-pages 2000")
    same = pdf(
        catalogue, b"<</Type/Pages/Kids[%s]/Count 100000>>" % (b"3 0 R " * 100_000), b"<</Type/Page/Parent 2 0 R>>"
    )
    yield Case("pdf/one-page-100000.pdf", same, f"damaged PDF|{over}")
    leaf = (b"<</Type/Pages/Kids[3 0 R]/Count 1>>", b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>")
    yield Case("pdf/size.pdf", pdf(catalogue, *leaf, size=8_388_606), bad)
    yield Case("pdf/size-huge.pdf", pdf(catalogue, *leaf, size=2**31 - 1), bad)
    good = pdf(catalogue, *leaf)
    table = good.rindex(b"\nxref\n") + 1
    yield Case("pdf/prev-loop.pdf", pdf(catalogue, *leaf, trailer=b"/Prev %d" % table), bad)
    yield Case("pdf/objects.pdf", pdf(catalogue, *leaf, *[b"<<>>"] * 100_000), bad)
    sparse = good.replace(b"0000000000 65535 f \n", b"0000000000 65535 f \n", 1)
    yield Case("pdf/sections.pdf", sparse.replace(b"trailer", b"8388000 1\n0000000009 00000 n \ntrailer", 1), bad)
    own_length = b"<</Length 4 0 R>>stream\n0 0 9 9 re f\nendstream"
    yield Case("pdf/length-of-itself.pdf", page(own_length), bad)
    yield Case(
        "pdf/contents-loop.pdf", pdf(catalogue, leaf[0], leaf[1].replace(b">>", b"/Contents[3 0 R 2 0 R]>>")), bad
    )
    script = pdf(b"<</Type/Catalog/Pages 2 0 R/OpenAction<</S/JavaScript/JS(app.alert(1))>>>>", *leaf)
    yield Case("pdf/script.pdf", script, INDEXED)
    yield Case(
        "pdf/launch.pdf", script.replace(b"/S/JavaScript/JS(app.alert(1))", b"/S/Launch/F(/bin/true)/NewWindow  "), bad
    )
    secret = pdf(catalogue, *leaf, trailer=b"/Encrypt<</Filter/Standard/V 9/R 9/O(x)/U(y)/P -1>>/ID[(a)(b)]")
    yield Case("pdf/encrypted-badly.pdf", secret, "password-protected|damaged PDF|indexed")
    yield Case("pdf/no-objects.pdf", b"%PDF-1.7\n%%EOF\n", bad)
    yield Case("pdf/zeros.pdf", b"%PDF-1.7\n" + bytes(10**6), bad)
    yield Case("pdf/words.pdf", b"%PDF-1.7\n" + b"1 0 obj " * 10**5, bad)


def pages_pdf(count: int) -> bytes:
    """A document of so many pages, by a tree of hundreds."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b""]
    knots = []
    for _ in range(0, count, 1000):
        knot = len(objects) + 1
        knots.append(knot)
        first = knot + 1
        kids = b" ".join(b"%d 0 R" % number for number in range(first, first + 1000))
        objects.append(b"<</Type/Pages/Parent 2 0 R/Kids[%s]/Count 1000>>" % kids)
        objects += [b"<</Type/Page/Parent %d 0 R/MediaBox[0 0 9 9]>>" % knot] * 1000
    objects[1] = b"<</Type/Pages/Kids[%s]/Count %d>>" % (b" ".join(b"%d 0 R" % knot for knot in knots), count)
    return pdf(*objects)


# -- what is not what it says -----


RAW = r"indexed|damaged (RAW|TIFF)|truncated|raw photo of an unknown camera|not an image|crashed its decoder"


def raw_photos() -> Iterator[Case]:
    """Raw photos that are cut, that lie about sizes and places, and whose directories run in circles."""
    image = scene(5, 300, 200)
    jpeg = preview(image)
    for suffix, make in CAMERAS.items():
        data = make(image, jpeg)
        yield Case(f"raw/whole.{suffix}", data, INDEXED)
        for length in range(16, len(data), len(data) // 9):
            yield Case(f"raw/cut-{length}.{suffix}", data[:length], RAW)
        for at in range(4, len(data), len(data) // 9):
            yield Case(f"raw/flipped-{at}.{suffix}", data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :], RAW)
    wide = dng(image, jpeg).replace(struct.pack("<HHII", 256, 4, 1, 300), struct.pack("<HHII", 256, 4, 1, 60_000))
    yield Case("raw/wide.dng", wide, RAW)
    tall = wide.replace(struct.pack("<HHII", 257, 4, 1, 200), struct.pack("<HHII", 257, 4, 1, 60_000))
    yield Case("raw/tall.dng", tall, f"{RAW}|{OVER}")
    circle = dng(image, jpeg)
    (first,) = struct.unpack_from("<I", circle, 4)
    at = circle.index(struct.pack("<HHI", 330, 4, 1), first) + 8
    yield Case("raw/below-itself.dng", circle[:at] + struct.pack("<I", first) + circle[at + 4 :], RAW)
    yield Case("raw/below-nothing.dng", circle[:at] + struct.pack("<I", 2**32 - 1) + circle[at + 4 :], RAW)
    for name, magic in {
        "orf": b"IIRO",
        "rw2": b"IIU\0",
        "raf": b"FUJIFILMCCD-RAW ",
        "cr3": b"\0\0\0\x18ftypcrx ",
    }.items():
        yield Case(f"raw/noise.{name}", magic + bytes(range(256)) * 9, RAW)


def jpeg_xls() -> Iterator[Case]:
    """JPEG XLs whose header promises too much, and whose boxes lead nowhere."""
    end = b"\xff" * 40
    box = b"\0\0\0\x0cJXL \r\n\x87\n"
    huge = b"\xff\x0a" + (0b11 << 1 | (2**30 - 1) << 3).to_bytes(5, "little") + end
    for name, data in {
        "huge": huge, "huge-box": box + struct.pack(">I", 8 + len(huge)) + b"jxlc" + huge,
        "huge-part": box + struct.pack(">I", 12 + len(huge)) + b"jxlp\0\0\0\0" + huge,
    }.items():  # fmt: skip
        yield Case(f"jxl/{name}.jxl", data, OVER)
    for name, data in {
        "noise": b"\xff\x0a\x01" + bytes(range(256)), "only-magic": b"\xff\x0a", "only-box": box,
        "endless-box": box + b"\0\0\0\0free" + bytes(99), "boxes": box + b"\0\0\0\x08free" * 5000,
        "box-of-64-bits": box + b"\0\0\0\1free" + b"\xff" * 8,
    }.items():  # fmt: skip
        yield Case(f"jxl/{name}.jxl", data, "damaged JXL")


def impostors(folder: Path) -> Iterator[Case]:
    """Wrong magic, wrong suffixes, nothing at all, and files that are two things."""
    image = scene(12, *SIZE)
    whole = {name: data for name, (data, _) in whole_files().items()}
    document = make_pdf(folder / "made.pdf", [3]).read_bytes()
    (folder / "made.pdf").unlink()
    whole["pdf.pdf"] = document
    suffixes = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "heic", "heif", "avif", "pdf")
    for suffix in suffixes:
        yield Case(f"not/empty.{suffix}", b"", "empty file")
        yield Case(f"not/zeros.{suffix}", bytes(4096), "not an image")
        yield Case(f"not/text.{suffix}", b"dear diary\n" * 99, "text, not an image")
        yield Case(f"not/html.{suffix}", b"<!DOCTYPE html><html>", "HTML, not an image")
        yield Case(f"not/zip.{suffix}", b"PK\3\4" + bytes(range(256)) * 9, "not an image")
    for at, (name, data) in enumerate(whole.items()):
        other = suffixes[(at * 5 + 3) % len(suffixes)]
        yield Case(f"not/{name}.{other}", data, INDEXED)
        yield Case(f"not/{name}.txt", data[:-1] + data[-1:], INDEXED)
        yield Case(f"not/no-magic-{name}", b"\0\0\0\0" + data[4:] if name != "pdf.pdf" else b"%QDF" + data[4:],
                   r"not an image|text, not an image|indexed")  # fmt: skip
        yield Case(f"not/only-magic-{name}", data[:16], r"truncated|damaged [A-Z]+|not an image|text, not an image")
    yield Case("not/empty.txt", b"", SILENT)
    yield Case("not/song.mp3", b"ID3\4" + bytes(999), SILENT)
    yield Case("not/raw.dng", b"II*\0\x08\0\0\0" + bytes(99), "damaged TIFF")
    for suffix, header in (("png", png(0, 0, 8, 2, b"")), ("tif", flat_tiff(0, 0, [8], 1, b"")), (
        "bmp", resized(saved(image, "BMP"), b"BM", 18, "<ii", 0, 0)), (
        "gif", resized(saved(image.quantize(4), "GIF"), b"GIF8", 6, "<HH", 0, 0)), (
        "jpg", resized(saved(image, "JPEG"), b"\xff\xc0", 5, ">HH", 0, 0))):  # fmt: skip
        yield Case(f"not/0x0.{suffix}", header, r"truncated|damaged [A-Z]+|indexed")
    jpeg, gif = saved(image, "JPEG"), saved(image.quantize(16), "GIF")
    comment = b"\xff\xfe" + struct.pack(">H", len(document[:60000]) + 2) + document[:60000]
    yield Case("two/jpeg-and-pdf.jpg", jpeg[:2] + comment + jpeg[2:], INDEXED)
    yield Case("two/pdf-and-jpeg.pdf", b"%PDF-1.7\n" + jpeg + document, "indexed|damaged PDF")
    yield Case("two/gif-and-html.gif", gif + b"<script>alert(1)</script>", INDEXED)
    yield Case("two/gif-and-script.gif", gif[:-1] + b"!\xfe\x08*/=1;//x\0;", INDEXED)
    for name, data in {"jpg": jpeg, "gif": gif, "png": saved(image, "PNG"), "pdf": document}.items():
        yield Case(f"two/{name}-and-zip.{name}", data + b"PK\3\4" + b"PK\5\6" + bytes(18), INDEXED)
    yield Case("two/jpegs.jpg", jpeg * 3, INDEXED)
    yield Case("two/zip-and-pdf.pdf", b"PK\3\4" + bytes(200) + document, "indexed|damaged PDF")


def cases(folder: Path) -> Iterator[Case]:
    """Every hostile file; `folder` is for what is made on the way."""
    for more in (cut_and_flipped(folder), odd_pictures(), odd_metadata(), bombs(), pdfs(), raw_photos(), jpeg_xls(),
                 impostors(folder)):  # fmt: skip
        yield from more


# -- names, and what is no file -----

LONG = "l" * 251 + ".png"
NAMES = [
    b"-dash.png", b"--db=x.png", b"new\nline.png", b"return\r.png", b"tab\t.png", b"quote'\".png", b"[red]x.png",
    b"{a,b}*?.png", b"back\\slash.png", b"esc\x1b[31mred.png", b"title\x1b]0;owned\x07.png", b"c1\xc2\x9b31m.png",
    b"bell\x07.png", b"del\x7f.png", b"null-ish%00.png", b"caf\xe9.png", b"\xff\xfe.png", b"\xed\xa0\x80.png",
    "é-nfc.png".encode(), "e\u0301-nfc.png".encode(), "\u202egnp.exe.png".encode(), "zero\u200bwidth.png".encode(),
    "\u2028line.png".encode(), "bom\ufeff.png".encode(), "😀.png".encode(), b" blank .png", b"$(touch x).png",
    b"a.png#page=3.png", b"id:3.png", b"%s%n.png", LONG.encode(), b"~.png", b"CON.png",
]  # fmt: skip
"""File names that a terminal, a shell or a parser could trip over."""


def make_tree(folder: Path) -> None:
    """Pictures with odd names, and what only looks like a file: links, loops, pipes, sockets, devices."""
    names = folder / "names"
    names.mkdir(parents=True)
    for at, name in enumerate(NAMES):
        with open(os.fsencode(names) + b"/" + name, "wb") as file:
            file.write(saved(scene(100 + at, 32, 24), "PNG"))
    for at, name in enumerate((b"esc\x1b[2J", b"new\nfolder", b"caf\xe9")):
        inner = os.fsencode(names) + b"/" + name
        os.mkdir(inner)
        with open(inner + b"/bad\x1b[31m.jpg", "wb") as file:
            file.write(b"\xff\xd8\xff\xe0 a broken one %d" % at)
    odd = folder / "odd files"
    odd.mkdir()
    (odd / "original.png").write_bytes(saved(scene(200, 32, 24), "PNG"))
    os.link(odd / "original.png", odd / "hard-link.png")
    (odd / "link.png").symlink_to("original.png")
    (odd / "dangling.png").symlink_to("nothing")
    (odd / "itself.png").symlink_to("itself.png")
    (odd / "up").symlink_to("..")
    (odd / "a").symlink_to("b")
    (odd / "b").symlink_to("a")
    (odd / "folder.png").mkdir()
    os.mkfifo(odd / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(odd)  # a socket's path has at most 108 bytes
        server.bind("socket.png")
        os.chdir(here)
    if os.geteuid() == 0:
        with suppress(OSError):  # a container may not
            os.mknod(odd / "device.png", 0o20600, os.makedev(1, 5))  # /dev/zero
    with (odd / "sparse.jpg").open("wb") as file:
        file.write(b"\xff\xd8\xff\xe0")
        file.truncate(2 * 10**9)


def make_corpus(folder: Path) -> list[Case]:
    """Write every case below `folder`, and `make_tree`. Returns the cases."""
    folder.mkdir(parents=True, exist_ok=True)
    made = list(cases(folder))
    for each in made:
        path = folder / each.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(each.data)
    make_tree(folder)
    return made


def main(arguments: Iterable[str]) -> None:
    """Write the corpus to a folder."""
    (folder,) = arguments
    sys.stdout.write(f"{len(make_corpus(Path(folder)))} hostile files, and {len(NAMES)} odd names in {folder}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
