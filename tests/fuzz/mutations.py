"""What fuzzing feeds picto: real files cut and spliced where their formats have joints, and hostile words."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pymupdf
from hypothesis import strategies as st
from pictures import scene, turned_exif
from PIL import Image, ImageCms

__all__ = ["ODD_WORDS", "mutated", "odd_bytes", "odd_text", "pdfs", "pictures"]

# Values at which lengths, offsets and counts go wrong.
EXTREMES = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
ODD_WORDS = (
    "", " ", "-", "--", "-0", "a", "car", "cars", "r", "f00", "/", "//", "..", "../..", "~", "/r/f00", "*", "%",
    "_", "'",
    '"', "';--", "\\", "[red]x", "\x1b[31mred\x1b[0m", "\x1b]8;;x\x1b\\", "a\nb", "a\tb", "a\rb", "\u202eabc", "\u2028",
    "é", "e\u0301", "\udcff", "\udce9a", "\ufeff", "😀", "👨‍👩‍👧", "海" * 40, "=1+1", "nan", "inf", "-1", "1e999",
    "id:", "id:1",
    "id:0", "id:-1", "id:²", "id:99999999999999999999", "x#page=1", "#page=", "#page=0", "a.pdf#page=2#page=3", "{}",
    "file:///etc/passwd", "https://example.org/a.jpg", "s3://b/a", "a" * 255, "a" * 256, "a/" * 2100,
    "9" * 4400, ",", "|",
    "a|b", "outdoor", "landscape-orientation", "\x7f", "\x85", "\x00", "\ue000", "\U000e0001", "²", "İ", "ß", "<bos>",
)  # fmt: skip
_SURROGATES = st.sampled_from([chr(code) for code in range(0xDC80, 0xDD00)])  # bytes that are no UTF-8


def odd_text(most: int = 20) -> st.SearchStrategy[str]:
    """Words of ODD_WORDS, any text, and text that is no UTF-8, as the system spells it."""
    any_text = st.text(st.characters(codec="utf-8"), max_size=most)
    return st.one_of(
        st.sampled_from(ODD_WORDS), any_text, st.text(_SURROGATES | st.characters(codec="utf-8"), max_size=most)
    )


def odd_bytes(most: int = 20) -> st.SearchStrategy[bytes]:
    """What may be a file's name: any bytes but NUL and the slash."""
    pieces = st.sampled_from(
        [b"\t", b"\n", b"\r", b"\\", b'"', b",", b"=", b"\x1b[31m", b"\xff", "é".encode(), b"#page=3"]
    )
    plain = st.binary(min_size=1, max_size=most).map(lambda raw: raw.translate(None, b"\0/"))
    names = st.lists(st.one_of(pieces, plain), min_size=1, max_size=4).map(b"".join)
    return names.filter(lambda name: name not in (b"", b".", b".."))


# -- files ------------------------------------------------------------------------------------------------------------


def pictures() -> dict[str, list[bytes]]:
    """Kind → small files of that kind, of every sort."""
    a, b = scene(1, 32, 24), scene(2, 32, 24)
    deep = Image.fromarray(np.asarray(a.convert("L"), np.uint16) * 257)
    real = Image.fromarray(np.asarray(a.convert("L"), np.float32) / 255)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    several: dict[str, Any] = {"save_all": True, "append_images": [b, b]}
    tiffs: list[tuple[Image.Image, dict[str, Any]]] = [
        (a, {}), (a, {"compression": "tiff_lzw"}), (a, {"compression": "tiff_deflate"}),
        (a, {"compression": "packbits"}),
        (a, {"compression": "jpeg"}), (a.convert("1"), {"compression": "group4"}), (deep, {}), (real, {}),
        (a.convert("CMYK"), {}), (a.quantize(16), {}), (a, several), (a, {"exif": turned_exif(8)}),
        (a, {"big_tiff": True}),
    ]  # fmt: skip
    made: dict[str, list[tuple[Image.Image, dict[str, Any]]]] = {
        "jpeg": [
            (a, {}), (a, {"progressive": True}), (a.convert("CMYK"), {}), (a.convert("L"), {"icc_profile": profile}),
            (a, {"exif": turned_exif(6), "comment": b"hello", "restart_marker_rows": 1}),
        ],
        "mpo": [(a, several)],
        "png": [
            (a, {}), (a.quantize(16), {"transparency": 3}), (a.convert("LA"), {}), (deep, {}), (a.convert("1"), {}),
            (a, several), (a, {"exif": turned_exif(3), "icc_profile": profile}), (a.convert("L"), {"transparency": 9}),
        ],
        "gif": [(a, {}), (a, several | {"transparency": 0, "loop": 0}), (a, {"interlace": True, "comment": b"x"})],
        "webp": [(a, {}), (a, {"lossless": True}), (a.convert("RGBA"), several), (a, {"exif": turned_exif(6)})],
        "bmp": [(a, {}), (a.quantize(16), {}), (a.convert("1"), {}), (a.convert("RGBA"), {})],
        "tiff": tiffs,
        "avif": [(a, {"quality": 50}), (a, several)],
        "heif": [(a, {}), (a.convert("RGBA"), {}), (a, {"exif": turned_exif(6)})],
    }  # fmt: skip
    return {kind: [_saved(image, kind, options) for image, options in rows] for kind, rows in made.items()}


def _saved(image: Image.Image, kind: str, options: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    copies = {"append_images": [each.copy() for each in options["append_images"]]} if "append_images" in options else {}
    image.copy().save(out, kind.upper(), **options | copies)  # what a JPEG was saved by stays with the image
    return out.getvalue()


def pdfs() -> list[bytes]:
    """Small PDFs: a picture, text and drawings, notes and fields, pages in a tree, compressed objects."""
    found = []
    for saving in ({}, {"deflate": True, "use_objstms": 1}, {"encryption": 5, "user_pw": "", "owner_pw": "x"}):
        with pymupdf.open() as document:
            for number in range(3):
                page = document.new_page(width=60, height=40)
                page.insert_image(page.rect, stream=_saved(scene(number, 8, 6), "png", {}))
                page.insert_text((5, 20), f"page {number}")
                page.draw_circle((30, 20), 9)
            document[1].add_text_annot((9, 9), "note")
            document[2].set_rotation(90)
            document.set_toc([[1, "one", 1], [2, "two", 2]])
            found.append(document.tobytes(**saving))
    return found


def _joints(data: bytes) -> list[int]:
    """Where the parts of a file begin: chunks, segments, boxes, directory entries, objects."""
    found = [0, 4, 8, 12]
    if data.startswith(b"\x89PNG"):
        found += [at - 4 for at in _all(rb"IHDR|PLTE|IDAT|IEND|tRNS|iCCP|eXIf|acTL|fcTL|fdAT", data)]
    elif data.startswith(b"\xff\xd8"):
        found += _all(rb"\xff[\xc0-\xfe]", data)
    elif data[:4] in (b"II*\0", b"II+\0") and len(data) >= 16:
        at = struct.unpack_from("<I", data, 4)[0] if data[2:3] == b"*" else struct.unpack_from("<Q", data, 8)[0]
        found += [at, *range(at + 2, min(at + 400, len(data)), 12 if data[2:3] == b"*" else 20)]
    elif data[4:8] == b"ftyp":
        found += [
            at - 4 for at in _all(rb"ftyp|meta|hdlr|pitm|iloc|iinf|infe|iprp|ipco|ispe|ipma|hvcC|av1C|mdat|irot", data)
        ]
    elif data[:4] == b"RIFF":
        found += _all(rb"VP8[ LX]|ANIM|ANMF|EXIF|ALPH", data)
    elif b"%PDF" in data[:9]:
        found += _all(rb"\d+ \d+ (?:obj|R)|stream|xref|trailer|/[A-Za-z]+|\b\d+\b|<<|\[", data)
    else:
        found += list(range(0, min(len(data), 64), 2))
    return sorted({at for at in found if 0 <= at < len(data)})


def _all(pattern: bytes, data: bytes) -> list[int]:
    return [match.start() for match in re.finditer(pattern, data)]


@st.composite
def mutated(draw: st.DrawFn, originals: Mapping[str, Sequence[bytes]]) -> bytes:
    """One of these files, wrong in one to five places."""
    files = originals[draw(st.sampled_from(sorted(originals)))]
    data = draw(st.sampled_from(files))
    for _ in range(draw(st.integers(1, 5))):
        joints = _joints(data) or [0]
        joint = draw(st.sampled_from(joints))
        at = min(len(data), joint + draw(st.integers(0, 24))) if draw(st.booleans()) else joint
        end = draw(st.sampled_from(joints))
        change = draw(st.sampled_from(_CHANGES))
        data = change(draw, data, at, max(at, end), draw(st.sampled_from(files)))[:200_000]
    return _checked(data) if draw(st.integers(0, 3)) else data


def _flip(draw: st.DrawFn, data: bytes, at: int, _: int, __: bytes) -> bytes:
    return data[:at] + draw(st.binary(min_size=1, max_size=1)) + data[at + 1 :]


def _extreme(draw: st.DrawFn, data: bytes, at: int, _: int, __: bytes) -> bytes:
    width, value = draw(st.sampled_from((1, 2, 4, 8))), draw(st.sampled_from(EXTREMES))
    number = (value % (1 << 8 * width)).to_bytes(width, "big" if draw(st.booleans()) else "little")
    return data[:at] + number + data[at + width :]


def _number(draw: st.DrawFn, data: bytes, at: int, _: int, __: bytes) -> bytes:
    """Another number, as text, in the place of the next one."""
    found = re.compile(rb"-?\d+(\.\d+)?").search(data, at)
    if found is None:
        return data
    odd = (b"-1", b"1e9", b"99999999999999999999", b"0.00001", b"nan", b"3 0 R", b"null")
    number = draw(st.one_of(st.sampled_from(EXTREMES).map(lambda each: b"%d" % each), st.sampled_from(odd)))
    return data[: found.start()] + number + data[found.end() :]


def _insert(draw: st.DrawFn, data: bytes, at: int, _: int, __: bytes) -> bytes:
    return data[:at] + draw(st.binary(min_size=1, max_size=12)) + data[at:]


def _delete(_: st.DrawFn, data: bytes, at: int, end: int, __: bytes) -> bytes:
    return data[:at] + data[end:]


def _again(draw: st.DrawFn, data: bytes, at: int, end: int, _: bytes) -> bytes:
    return data[:end] + data[at:end] * draw(st.integers(1, 4)) + data[end:]


def _truncate(_: st.DrawFn, data: bytes, at: int, __: int, ___: bytes) -> bytes:
    return data[:at]


def _splice(_: st.DrawFn, data: bytes, at: int, end: int, other: bytes) -> bytes:
    return data[:at] + other[at : max(end, at + 16)] + data[end:]


def _zeros(_: st.DrawFn, data: bytes, at: int, end: int, __: bytes) -> bytes:
    return data[:at] + bytes(end - at) + data[end:]


_Change = Callable[[st.DrawFn, bytes, int, int, bytes], bytes]
_CHANGES: tuple[_Change, ...] = (
    _flip, _extreme, _extreme, _number, _insert, _delete, _again, _truncate, _splice, _zeros
)  # fmt: skip


def _checked(data: bytes) -> bytes:
    """A PNG whose checksums are right again: else a decoder looks at nothing that was changed."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    return data[:8] + b"".join(_chunks(data[8:]))


def _chunks(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0]
        body = data[at + 4 : at + 8 + length]
        yield data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    yield data[at:]
