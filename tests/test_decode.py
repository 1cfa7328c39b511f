"""Decoding: what kind a file is, which way is up, and why some files give no picture."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pymupdf
import pytest
from hostile import directories
from hostile import pdf as pdf_of
from pictures import CORNERS, PHOTOS, corners, make_pdf, quarters, scene, turned_exif
from PIL import Image

from pictocli import documents, rgb
from pictocli.decode import Decoded, Inspected, Recipe, Refused, decode, decode_bytes, inspect
from pictocli.kinds import sniff

RECIPE = Recipe(size=64, resample="bicubic", dpi=72, thumbnail=False)


def saved(path: Path, image: Image.Image, **options: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return str(path)


def decoded(path: str | Path, page: int = 0, **recipe: Any) -> Decoded:
    seen = inspect(str(path))
    assert isinstance(seen, Inspected), seen
    result = decode(
        str(path),
        seen.kind,
        page,
        Recipe(**{"size": 64, "resample": "bicubic", "dpi": 72, "thumbnail": False} | recipe),
    )
    assert isinstance(result, Decoded), result
    return result


def near(found: Any, wanted: Any, within: int = 30) -> bool:
    return bool(np.abs(np.asarray(found, int) - np.asarray(wanted, int)).max() <= within)


# -- kinds -----


@pytest.mark.parametrize("name", PHOTOS)
def test_every_kind_is_told_by_its_bytes_whatever_its_name(name: str, photos: Path, tmp_path: Path) -> None:
    kind = {".tif": "tiff", ".jpg": "jpeg"}.get(Path(name).suffix, Path(name).suffix[1:])
    (tmp_path / "misnamed.dat").write_bytes((photos / name).read_bytes())
    seen = inspect(str(tmp_path / "misnamed.dat"))
    assert isinstance(seen, Inspected)
    assert seen.kind == kind
    assert seen.pages == (() if PHOTOS[name] == 1 else (1, 2, 3))


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"GIF87a", "gif"),
        (b"GIF89a", "gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "webp"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "other"),
        (b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0", "bmp"),
        (b"BMW is a make of cars", "other"),
        (b"II*\0\x08\0\0\0\0\0", "tiff"),
        (b"MM\0*\0\0\0\x08\0\0", "tiff"),
        (b"II*\0\x10\0\0\0CR\x02\0", "raw"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "raw"),
        (b"IIU\0\x18\0\0\0", "raw"),
        (b"IIRO\x08\0\0\0", "raw"),
        (b"FUJIFILMCCD-RAW 0201", "raw"),
        (b"\xff\x0a\xfa\x7f", "jxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ", "jxl"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "avif"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "avif"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "heic"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "other"),
        (b"%PDF-1.7\n", "pdf"),
        (b"\n" * 900 + b"%PDF-1.4", "pdf"),
        (b"", "other"),
        (b"BM", "other"),
        (b"hello", "other"),
    ],
    ids=lambda value: repr(value)[:24],
)  # fmt: skip
def test_sniff(head: bytes, kind: str) -> None:
    assert sniff(head) == kind


def test_the_digest_is_that_of_the_bytes(photos: Path) -> None:
    seen = inspect(str(photos / "old.bmp"))
    assert isinstance(seen, Inspected)
    assert seen.digest == hashlib.sha256((photos / "old.bmp").read_bytes()).digest()


# -- upright -----

TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # how a camera held so lays down an upright picture


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])
def test_upright_whichever_way_the_camera_was_held(suffix: str, orientation: int, tmp_path: Path) -> None:
    stored, turn = quarters(), TURNS[orientation]
    if turn is not None:
        stored = stored.transpose(turn)
    options: dict[str, Any] = {} if suffix in ("png", "tif") else {"quality": 95}
    found = decoded(saved(tmp_path / f"a.{suffix}", stored, exif=turned_exif(orientation), **options))
    assert (found.width, found.height) == (120, 80)
    for corner, colour in corners(found.pixels).items():
        assert near(colour, CORNERS[corner]), (corner, colour)


@pytest.mark.parametrize("orientation", TURNS)
def test_heic_is_turned_once_and_not_twice(orientation: int, tmp_path: Path) -> None:
    stored, turn = quarters(), TURNS[orientation]
    if turn is not None:
        stored = stored.transpose(turn)
    found = decoded(saved(tmp_path / "a.heic", stored, exif=turned_exif(orientation).tobytes(), quality=95))
    assert (found.width, found.height) == (120, 80)
    for corner, colour in corners(found.pixels).items():
        assert near(colour, CORNERS[corner]), (corner, colour)


def test_thumbnails_are_upright_too(photos: Path) -> None:
    thumbnail = decoded(photos / "beach/turned.jpg", thumbnail=True).thumbnail
    assert thumbnail is not None
    with Image.open(io.BytesIO(thumbnail)) as image:
        assert image.size == (120, 80)
        assert not image.getexif().get(0x0112)
        for corner, colour in corners(image).items():
            assert near(colour, CORNERS[corner]), (corner, colour)


# -- colours -----


def half_clear(mode: str) -> Image.Image:
    """Left half opaque dark red (or dark grey), right half wholly transparent black."""
    image = Image.new("RGBA", (64, 32), (0, 0, 0, 0))
    image.paste((100, 0, 0, 255), (0, 0, 32, 32))
    return image.convert(mode)


def clear_palette() -> tuple[Image.Image, dict[str, Any]]:
    image = Image.new("P", (64, 32), 1)
    image.putpalette([100, 0, 0, 0, 0, 0])
    image.paste(0, (0, 0, 32, 32))
    return image, {"transparency": 1}


def clear_colour() -> tuple[Image.Image, dict[str, Any]]:
    image = Image.new("RGB", (64, 32), (1, 2, 3))
    image.paste((100, 0, 0), (0, 0, 32, 32))
    return image, {"transparency": (1, 2, 3)}


@pytest.mark.parametrize(
    ("suffix", "make", "left"),
    [
        ("png", lambda: (half_clear("RGBA"), {}), (100, 0, 0)),
        ("png", lambda: (half_clear("LA"), {}), (30, 30, 30)),
        ("webp", lambda: (half_clear("RGBA"), {"lossless": True}), (100, 0, 0)),
        ("tif", lambda: (half_clear("RGBA"), {}), (100, 0, 0)),
        ("png", clear_palette, (100, 0, 0)),
        ("gif", clear_palette, (100, 0, 0)),
        ("png", clear_colour, (100, 0, 0)),
    ],
    ids=["RGBA png", "LA png", "RGBA webp", "RGBA tiff", "P png", "P gif", "RGB png with one clear colour"],
)
def test_transparency_lies_over_white(
    suffix: str, make: Callable[[], tuple[Image.Image, dict[str, Any]]], left: tuple[int, ...], tmp_path: Path
) -> None:
    image, options = make()
    pixels = decoded(saved(tmp_path / f"a.{suffix}", image, **options)).pixels
    assert near(pixels[32, 4], left, 3)
    assert near(pixels[32, 60], (255, 255, 255), 1)


@pytest.mark.parametrize(
    ("name", "values", "wanted"),
    [
        ("deep.png", np.full((20, 30), 32768, np.uint16), 128),
        ("deep.tif", np.full((20, 30), 32768, np.uint16), 128),
        ("float.tif", np.array([[0.5] * 30] * 19 + [[1.0] * 30], np.float32), 127),
    ],
    ids=["16-bit png", "16-bit tiff", "float tiff"],
)
def test_deep_pictures_are_scaled_and_not_clipped(name: str, values: Any, wanted: int, tmp_path: Path) -> None:
    pixels = decoded(saved(tmp_path / name, Image.fromarray(values))).pixels
    assert near(pixels[4, 4], (wanted,) * 3, 2)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "RGBX"])
def test_modes(mode: str, tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 40), "white").convert(mode)
    assert near(decoded(saved(tmp_path / "a.tif", image)).pixels[30, 30], (255, 255, 255), 3)


def test_cmyk_jpeg_keeps_its_colours(tmp_path: Path) -> None:
    found = decoded(saved(tmp_path / "a.jpg", quarters().convert("CMYK"), quality=95))
    for corner, colour in corners(found.pixels).items():
        assert near(colour, CORNERS[corner]), (corner, colour)


def test_one_pixel(tmp_path: Path) -> None:
    found = decoded(saved(tmp_path / "a.png", Image.new("RGB", (1, 1), (9, 8, 7))), thumbnail=True)
    assert (found.width, found.height) == (1, 1)
    assert (found.pixels == np.array([9, 8, 7])).all()


def clear(mode: str) -> Image.Image:
    """Random colours of random transparency."""
    return Image.fromarray(np.random.default_rng(5).integers(0, 256, (90, 70, 4), dtype=np.uint8)).convert(mode)


def deep(dtype: str, most: float, odd: float = 0) -> Image.Image:
    """Random values from 0 to `most`, and one odd one."""
    values = np.random.default_rng(6).random((90, 70)) * most
    values[80, 60] = odd
    return Image.fromarray(values.astype(dtype))


def flattened_whole(image: Image.Image) -> Image.Image:
    """What flattening in bands must equal: the same at one go."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        values = np.nan_to_num(np.asarray(image, np.float64))
        top = values.max()
        white = 255.0 if 1 < top <= 255 else max(top, 1.0 if image.mode == "F" else 65535.0)
        return Image.fromarray(np.clip(values / white * 255, 0, 255).astype(np.uint8)).convert("RGB")
    over = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")


@pytest.mark.parametrize("band", [1, 1000, 2**20], ids=["a row", "fourteen rows", "all rows"])
@pytest.mark.parametrize(
    ("name", "make", "options"),
    [
        ("a.png", lambda: clear("RGBA"), {}),
        ("a.tif", lambda: clear("RGBA"), {}),
        ("a.webp", lambda: clear("RGBA"), {"lossless": True}),
        ("a.png", lambda: clear("LA"), {}),
        ("a.png", lambda: clear("RGB").quantize(9), {"transparency": 4}),
        ("a.png", lambda: clear("RGB").quantize(9), {"transparency": bytes(range(0, 252, 28))}),
        ("a.gif", lambda: clear("RGB").quantize(9), {"transparency": 4}),
        ("a.png", lambda: clear("L").point(lambda v: v // 64 * 64), {"transparency": 128}),
        ("a.png", lambda: clear("RGB").point(lambda v: v // 128 * 128), {"transparency": (128, 0, 128)}),
        ("a.png", lambda: deep("u2", 65535), {}),
        ("a.tif", lambda: Image.frombytes("I;16B", (70, 90), deep("u2", 65535).tobytes()), {}),
        ("a.tif", lambda: deep("i4", 70_000, -9), {}),
        ("a.tif", lambda: deep("i4", 200), {}),
        ("a.tif", lambda: deep("f4", 1), {}),
        ("a.tif", lambda: deep("f4", 200, float("nan")), {}),
        ("a.tif", lambda: deep("f4", 1e6, float("inf")), {}),
    ],
    ids=["RGBA png", "RGBA tiff", "RGBA webp", "LA png", "P png, one clear", "P png, many clear", "P gif",
         "L png, one clear", "RGB png, one clear", "16-bit png", "16-bit tiff, big end first", "32-bit tiff",
         "32-bit tiff of bytes", "float tiff", "float tiff of bytes, NaN", "float tiff, infinity"],
)  # fmt: skip
def test_flattening_in_bands_changes_nothing(
    name: str, make: Callable[[], Image.Image], options: dict[str, Any], band: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = saved(tmp_path / name, make(), **options)
    with Image.open(path) as image:
        wanted = flattened_whole(image).resize((64, 64), Image.Resampling.BICUBIC)
    monkeypatch.setattr(rgb, "_BAND", band)
    assert (decoded(path).pixels == np.asarray(wanted)).all()


# -- memory -----


def peak(path: str, page: int = 0) -> int:
    """Bytes by which this process grows at most while it decodes the file."""
    kind = inspect(path).kind
    status = Path("/proc/self/status")

    def kilobytes(name: str) -> int:
        return int(next(line for line in status.read_text().splitlines() if line.startswith(name)).split()[1])

    decode(path, kind, page, RECIPE)  # loads what it needs
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
    before = kilobytes("VmRSS")
    decode(path, kind, page, RECIPE)
    return (kilobytes("VmHWM") - before) * 1024


BIG = (3000, 2100)  # halved by a JPEG's draft
MIB = 2**20


@pytest.mark.parametrize(
    ("name", "mode", "options", "a_pixel"),
    [
        ("a.png", "RGB", {}, 4),
        ("a.png", "RGB", {"exif": turned_exif(6)}, 8),
        ("a.png", "RGBA", {}, 8),
        ("a.png", "LA", {}, 8),
        ("a.png", "L", {}, 5),
        ("a.png", "P", {"transparency": 3}, 5),
        ("a.png", "I;16", {}, 6),
        ("a.bmp", "RGB", {}, 4),
        ("a.gif", "P", {}, 5),
        ("a.tif", "RGB", {}, 10),
        ("a.tif", "RGB", {"compression": "tiff_lzw"}, 10),
        ("a.webp", "RGB", {"method": 0}, 18),
        ("a.avif", "RGB", {"speed": 10}, 10),
        ("a.heic", "RGB", {}, 8),
        ("a.jpg", "RGB", {}, 4 / 4),
        ("a.jpg", "RGB", {"exif": turned_exif(6)}, 8 / 4),
        ("a.jpg", "L", {}, 5 / 4),
        ("a.jpg", "RGB", {"progressive": True}, 4 / 4 + 6),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else str(value)[:24],
)  # fmt: skip
def test_what_decoding_takes_is_told_beforehand(
    name: str, mode: str, options: dict[str, Any], a_pixel: float, tmp_path: Path
) -> None:
    image = scene(1, *BIG)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    path = saved(tmp_path / name, image.convert(mode) if mode != "I;16" else image, **options)
    seen = inspect(path)
    assert isinstance(seen, Inspected)
    assert seen.peak == int(a_pixel * BIG[0] * BIG[1])
    if sys.platform == "linux":
        assert peak(path) < seen.peak + 16 * MIB


def test_of_several_pages_the_largest_counts(tmp_path: Path) -> None:
    pages = [scene(1, 30, 20), scene(2, 300, 200), scene(3, 40, 30)]
    path = saved(tmp_path / "a.tif", pages[0], save_all=True, append_images=pages[1:])
    seen = inspect(path)
    assert isinstance(seen, Inspected)
    assert seen.peak_at(0) == 300 * 200 * 10
    with pymupdf.open(make_pdf(tmp_path / "a.pdf", [1, 2], size=(200, 100))) as document:
        document.new_page(width=720, height=360)
        document.save(tmp_path / "b.pdf")
    seen = inspect(str(tmp_path / "b.pdf"))
    assert isinstance(seen, Inspected)
    pictures = 160 * 120 * 3
    wanted = [pictures + 720 * 360 * 7 // 4, pictures + 720 * 360 * 7, pictures + 720 * 360 * 28]
    assert [seen.peak_at(dpi) for dpi in (36, 72, 144)] == wanted


@pytest.mark.parametrize("unit", [1, 3])
def test_a_page_that_holds_a_large_picture_says_so(unit: int, tmp_path: Path) -> None:
    """A scan is decoded whole, however small its page is drawn; and a page may be larger than its numbers say."""
    scan = io.BytesIO()
    scene(1, *BIG).save(scan, "PNG")
    with pymupdf.open() as document:
        page = document.new_page(width=150, height=105)
        page.insert_image(page.rect, stream=scan.getvalue())
        document.xref_set_key(page.xref, "UserUnit", str(unit))
        document.save(tmp_path / "a.pdf")
    seen = inspect(str(tmp_path / "a.pdf"))
    assert isinstance(seen, Inspected)
    assert seen.peak_at(72) == 3 * BIG[0] * BIG[1] + 7 * 150 * 105 * unit**2
    if sys.platform == "linux":
        assert peak(str(tmp_path / "a.pdf"), 1) < seen.peak_at(72) + 16 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_page_was_drawn_from_is_not_kept(tmp_path: Path) -> None:
    """MuPDF would keep 150 MB of these scans."""
    with pymupdf.open() as document:
        for seed in range(8):
            scan = io.BytesIO()
            scene(seed, *BIG).save(scan, "PNG")
            page = document.new_page(width=150, height=105)
            page.insert_image(page.rect, stream=scan.getvalue())
        document.save(tmp_path / "a.pdf")

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    decode(str(tmp_path / "a.pdf"), "pdf", 1, RECIPE)
    before = resident()
    for number in range(1, 9):
        assert isinstance(decode(str(tmp_path / "a.pdf"), "pdf", number, RECIPE), Decoded)
    assert resident() - before < 40 * MIB


def test_a_broken_header_takes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"x" * 50)
    seen = inspect(str(tmp_path / "a.jpg"))
    assert isinstance(seen, Inspected)
    assert seen.peak == 0


# -- pages -----


def test_the_first_frame_of_an_animation(photos: Path) -> None:
    seen = inspect(str(photos / "animals/dog.gif"))
    assert isinstance(seen, Inspected)
    assert seen.pages == ()
    first = np.asarray(scene(4).resize((64, 64)), int)
    assert np.abs(decoded(photos / "animals/dog.gif").pixels - first).mean() < 20
    assert np.abs(np.asarray(scene(5).resize((64, 64)), int) - first).mean() > 40


@pytest.mark.parametrize(("name", "seeds"), [("three.tif", (17, 18, 19)), ("report.pdf", (14, 15, 16))])
def test_pages(name: str, seeds: tuple[int, ...], photos: Path) -> None:
    for page, seed in enumerate(seeds, 1):
        wanted = np.asarray(scene(seed).resize((64, 64), Image.Resampling.BICUBIC), int)
        assert np.abs(decoded(photos / "scans" / name, page).pixels - wanted).mean() < 5, page


@pytest.mark.parametrize(("dpi", "size"), [(72, (200, 100)), (144, (400, 200)), (36, (100, 50))])
def test_pdf_pages_are_rendered_at_their_dpi(dpi: int, size: tuple[int, int], photos: Path) -> None:
    found = decoded(photos / "scans/report.pdf", 2, dpi=dpi)
    assert (found.width, found.height) == size


def test_a_turned_pdf_page_is_rendered_as_readers_show_it(tmp_path: Path) -> None:
    with pymupdf.open(make_pdf(tmp_path / "a.pdf", [1])) as document:
        document[0].set_rotation(90)
        document.save(tmp_path / "b.pdf")
    found = decoded(tmp_path / "b.pdf", 1)
    assert (found.width, found.height) == (100, 200)


def test_bytes_of_one_pdf_are_never_taken_for_those_of_another(tmp_path: Path) -> None:
    """An open document is kept for its next page: by path, never by an address that another one may get."""
    files = [make_pdf(tmp_path / "a.pdf", [seed]).read_bytes() for seed in range(6)]
    for seed, data in enumerate(files):
        result = decode_bytes(data, RECIPE)
        assert isinstance(result, Decoded)
        assert np.abs(result.pixels - np.asarray(scene(seed).resize((64, 64)), int)).mean() < 8, seed


def test_a_pdf_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    make_pdf(tmp_path / "a.pdf", [1])
    before = decoded(tmp_path / "a.pdf", 1).pixels
    make_pdf(tmp_path / "b.pdf", [2])
    os.utime(tmp_path / "b.pdf", ns=(10**18, 10**18))
    (tmp_path / "b.pdf").replace(tmp_path / "a.pdf")
    assert (decoded(tmp_path / "a.pdf", 1).pixels != before).any()


# -- sizes -----


@pytest.mark.parametrize(
    ("size", "thumbnail"),
    [((1280, 800), (640, 400)), ((641, 10), (640, 10)), ((640, 480), (640, 480)), ((300, 900), (300, 900)),
     ((5000, 3), (640, 1))],
    ids=str,
)  # fmt: skip
def test_thumbnails_are_640_wide_and_never_enlarged(
    size: tuple[int, int], thumbnail: tuple[int, int], tmp_path: Path
) -> None:
    made = decoded(saved(tmp_path / "a.png", scene(1, *size)), thumbnail=True).thumbnail
    assert made is not None
    with Image.open(io.BytesIO(made)) as image:
        assert (image.format, image.size) == ("JPEG", thumbnail)
        out = io.BytesIO()
        Image.new("RGB", (8, 8)).save(out, "JPEG", quality=85)
        with Image.open(out) as reference:
            assert image.quantization == reference.quantization  # type: ignore[attr-defined]


def test_no_thumbnail_unless_asked_for(photos: Path) -> None:
    assert decoded(photos / "old.bmp").thumbnail is None


def test_the_size_is_that_of_the_original_when_a_jpeg_is_decoded_smaller(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", scene(1, 4200, 2800).transpose(Image.Transpose.ROTATE_90), exif=turned_exif(6))
    found = decoded(path)
    assert (found.width, found.height) == (4200, 2800)
    assert found.measures["megapixels"] == pytest.approx(11.76, rel=1e-3)


def test_a_jpeg_decoded_smaller_looks_as_one_decoded_in_full(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(-30, 30, (2200, 3300, 3))
    image = Image.fromarray((np.asarray(scene(2, 3300, 2200), int) + noise).clip(0, 255).astype(np.uint8))
    path = saved(tmp_path / "a.jpg", image, quality=90)
    with Image.open(path) as full:
        wanted = np.asarray(full.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC), int)
    difference = np.abs(decoded(path, size=224).pixels - wanted)
    assert difference.mean() < 1
    assert difference.max() > 0  # it was decoded smaller, or this compares nothing


# -- bad input -----


def cut(name: str, share: float) -> Callable[[Path, Path], bytes]:
    def make(photos: Path, folder: Path) -> bytes:
        data = (photos / name).read_bytes()
        return data[: int(len(data) * share)]

    return make


def huge_png(photos: Path, folder: Path) -> bytes:
    """A header that says 20,000 × 20,000, and nothing drawn."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def pdf(**saving: Any) -> Callable[[Path, Path], bytes]:
    return lambda _photos, folder: make_pdf(folder / "made.pdf", [1], **saving).read_bytes()


def empty_pdf(photos: Path, folder: Path) -> bytes:
    return (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
        b"xref\n0 3\n0000000000 65535 f \n0000000009 00000 n \n0000000052 00000 n \n"
        b"trailer<</Size 3/Root 1 0 R>>\nstartxref\n95\n%%EOF\n"
    )


def plain(data: bytes) -> Callable[[Path, Path], bytes]:
    return lambda _photos, _folder: data


LOCKED = {"encryption": pymupdf.PDF_ENCRYPT_AES_256, "owner_pw": "o", "user_pw": "u"}
BAD: dict[str, tuple[str, Callable[[Path, Path], bytes], str | None]] = {
    "truncated jpeg": ("a.jpg", cut("beach/sunny.jpg", 0.5), "truncated"),
    "truncated png": ("a.png", cut("animals/cat.png", 0.5), "truncated"),
    "cut webp": ("a.webp", cut("animals/bird.webp", 0.5), "damaged WEBP"),
    "cut heic": ("a.heic", cut("phone/shot.heic", 0.5), "damaged HEIC"),
    "cut avif": ("a.avif", cut("phone/shot.avif", 0.5), "damaged AVIF"),
    "cut tiff": ("a.tif", cut("scans/three.tif", 0.1), "damaged TIFF"),
    "only a jpeg's magic": ("a.jpg", plain(b"\xff\xd8\xff\xe0" + b"x" * 50), "truncated"),
    "text": ("a.jpg", plain(b"dear diary\n" * 9), "text, not an image"),
    "text in UTF-8": ("a.jpg", plain("cafe\u0301 é\n".encode() * 99), "text, not an image"),
    "html": ("a.png", plain(b"\n<!DOCTYPE html><html><title>404</title>"), "HTML, not an image"),
    "html after a byte order mark": ("a.png", plain(b"\xef\xbb\xbf<HTML>"), "HTML, not an image"),
    "noise": ("a.jpg", plain(bytes(range(128, 256)) * 9), "not an image"),
    "zeros": ("a.jpg", plain(bytes(2000)), "not an image"),
    "empty": ("a.jpg", plain(b""), "empty file"),
    "an empty file of another name": ("notes", plain(b""), None),
    "text of another name": ("notes.txt", plain(b"hello"), None),
    "a raw photo that is cut": ("a.dng", plain(b"II*\0\x08\0\0\0\0\0"), "damaged TIFF"),
    "text that is called a raw photo": ("a.cr3", plain(b"hello"), "text, not an image"),
    "huge": ("a.png", huge_png, "400 megapixels, over --max-pixels 200"),
    "a zero-page pdf": ("a.pdf", empty_pdf, "PDF without pages"),
    "an encrypted pdf": ("a.pdf", pdf(**LOCKED), "password-protected"),
    "half a pdf": ("a.pdf", plain(b"%PDF-1.7\n" + b"x" * 100), "damaged PDF"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_with_a_reason(case: str, photos: Path, tmp_path: Path) -> None:
    name, make, reason = BAD[case]
    data = make(photos, tmp_path)
    (tmp_path / name).write_bytes(data)
    seen = inspect(str(tmp_path / name))
    if isinstance(seen, Inspected):
        page = (seen.pages or (0,))[0]
        found = decode(str(tmp_path / name), seen.kind, page, RECIPE)
    else:
        found = seen
    assert isinstance(found, Refused)
    assert found.reason == reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "empty file"), (b"dear diary", "text, not an image"), (b"\xff\xd8\xff\xe0", "damaged JPEG")],
    ids=["empty", "text", "jpeg"],
)
def test_bad_bytes_are_refused_with_a_reason(data: bytes, reason: str) -> None:
    found = decode_bytes(data, RECIPE)
    assert isinstance(found, Refused)
    assert found.reason == reason


def test_a_tiff_cut_in_its_directory_is_refused_without_a_warning(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.tif")
    whole = (tmp_path / "a.tif").read_bytes()
    for length in range(8, len(whole)):
        (tmp_path / "a.tif").write_bytes(whole[:length])
        inspect(str(tmp_path / "a.tif"))  # Pillow's warnings are errors in the tests


def test_a_huge_pdf_page_is_refused(tmp_path: Path) -> None:
    make_pdf(tmp_path / "a.pdf", [1], size=(14_000, 14_000))
    found = decode(str(tmp_path / "a.pdf"), "pdf", 1, Recipe(64, "bicubic", 144, thumbnail=False))
    assert isinstance(found, Refused)
    assert found.reason == "784 megapixels at 144 DPI, over --max-pixels 200"


def _pdf_with(old: bytes, new: bytes, path: Path) -> Path:
    """A PDF of one page and one picture, in which a text is replaced."""
    make_pdf(path, [1])
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("count", "reason"),
    [(b"127", "damaged PDF"), (b"-127", "damaged PDF"), (b"0", "PDF without pages")],
    ids=["more than there are", "below nothing", "none"],
)
def test_a_pdf_that_lies_about_its_pages_is_refused(count: bytes, reason: str, tmp_path: Path) -> None:
    path = _pdf_with(b"/Count 1", b"/Count " + count, tmp_path / "a.pdf")
    assert inspect(str(path)) == Refused(reason, "pdf")
    assert decode_bytes(path.read_bytes(), RECIPE) == Refused(reason, "pdf")


@pytest.mark.parametrize("page", [0, 2])
def test_a_page_that_a_pdf_does_not_have_is_refused_and_not_looked_for_for_ever(page: int, tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "a.pdf", [1])
    assert decode(str(path), "pdf", page, RECIPE) == Refused("no such page", "pdf")


def test_a_pdf_that_loses_its_pages_by_being_mended_is_refused() -> None:
    """A page's object begins within another's: pymupdf counts three pages, until it has read them all."""
    path = Path(__file__).parent / "fuzz/seeds/pdf/mended-away"
    assert inspect(str(path)) == Refused("PDF without pages", "pdf")


def test_an_object_that_cannot_be_read_does_not_keep_a_pdf_from_being_drawn(tmp_path: Path) -> None:
    path = _pdf_with(b"[/ICCBased 6 0 R]", b"[/ICCBased 6 0 R ", tmp_path / "a.pdf")
    seen = inspect(str(path))
    assert isinstance(seen, Inspected)
    assert decoded(path, 1).width == 200


def test_an_owner_password_alone_locks_nobody_out(tmp_path: Path) -> None:
    make_pdf(tmp_path / "a.pdf", [1], encryption=pymupdf.PDF_ENCRYPT_AES_256, owner_pw="o", user_pw="")
    assert decoded(tmp_path / "a.pdf", 1).width == 200


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own are for one user only."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_file_without_permission_is_unreadable_and_a_vanished_one_too(open_folder: Path) -> None:
    (open_folder / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (open_folder / "a.jpg").chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        found = inspect(str(open_folder / "a.jpg"))
    finally:
        if root:
            os.seteuid(0)
    assert found == Refused("permission denied", "unreadable")
    assert inspect(str(open_folder / "gone.jpg")) == Refused("no such file or directory", "unreadable")
    gone = decode(str(open_folder / "gone.jpg"), "jpeg", 0, RECIPE)
    assert isinstance(gone, Refused)
    assert gone.kind == "unreadable"  # or the file would never be looked at again when its disk is back


def test_time_is_measured(photos: Path) -> None:
    assert 0 < decoded(photos / "beach/sunny.jpg").ms < 60_000


# -- what hostile files have found; see hostile.py -----


BAD_EXIF = {
    "garbage": b"\x01\x02\x03" * 40,
    "a header alone": b"II*\0",
    "a turn and a count too large": b"II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\x90\x07\0\0\0\0\x80"
    b"\xff\xff\xff\xff\0\0\0\0",
}


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
@pytest.mark.parametrize("case", BAD_EXIF)
def test_a_good_picture_with_bad_exif_is_a_good_picture(case: str, suffix: str, tmp_path: Path) -> None:
    """PNGs and WebPs were refused as damaged."""
    data = (b"Exif\0\0" if suffix == "jpg" else b"") + BAD_EXIF[case]
    found = decoded(saved(tmp_path / f"a.{suffix}", quarters(), exif=data))
    assert found.width * found.height == 120 * 80


@pytest.mark.parametrize("size", [(1, 100_000), (3, 70_000), (100_000, 1), (70_000, 700)], ids=str)
def test_a_thumbnail_is_no_higher_than_a_jpeg_may_be(size: tuple[int, int], tmp_path: Path) -> None:
    """Pictures more than 65,500 px high were refused as damaged."""
    thumbnail = decoded(saved(tmp_path / "a.png", Image.new("L", size)), thumbnail=True).thumbnail
    assert thumbnail is not None
    with Image.open(io.BytesIO(thumbnail)) as image:
        assert 1 <= image.width <= 640
        assert 1 <= image.height <= 65_500


def test_a_pdf_that_lies_about_its_pages_is_refused_and_raises_nothing(tmp_path: Path) -> None:
    """MuPDF raises when it is asked how many there are, which ended the run."""
    data = pdf_of(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 40>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>",
    )
    (tmp_path / "a.pdf").write_bytes(data)
    assert inspect(str(tmp_path / "a.pdf")) == Refused("damaged PDF", "pdf")
    assert decode_bytes(data, RECIPE) == Refused("damaged PDF", "pdf")


def test_a_pdf_of_many_objects_is_inspected_in_a_moment(tmp_path: Path) -> None:
    """Each was looked at for pictures: 18 µs, and a file may claim eight million."""
    leaf = (b"<</Type/Pages/Kids[3 0 R]/Count 1>>", b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>")
    (tmp_path / "a.pdf").write_bytes(pdf_of(b"<</Type/Catalog/Pages 2 0 R>>", *leaf, *[b"<<>>"] * 200_000))
    started = time.process_time()
    assert isinstance(inspect(str(tmp_path / "a.pdf")), Inspected)
    assert time.process_time() - started < 2


def test_a_tiff_of_many_directories_is_refused_in_a_moment(tmp_path: Path) -> None:
    """Pillow takes a minute to count a hundred thousand."""
    (tmp_path / "a.tif").write_bytes(directories(100_000))
    started = time.process_time()
    assert inspect(str(tmp_path / "a.tif")) == Refused("100,000 pages, over --max-pages 2000", "tiff")
    assert time.process_time() - started < 1


@pytest.mark.parametrize("big", [False, True], ids=["TIFF", "BigTIFF"])
@pytest.mark.parametrize("count", [1, 3])
def test_directories_of_a_tiff_are_counted_as_pillow_does(count: int, big: bool, tmp_path: Path) -> None:
    pages = [scene(seed, 9, 9) for seed in range(count)]
    path = saved(tmp_path / "a.tif", pages[0], save_all=True, append_images=pages[1:], big_tiff=big)
    with open(path, "rb") as file:
        assert documents.directories(file) == count


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_nothing_of_a_decoders_own_reaches_standard_error(
    compression: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """libtiff writes its complaints there, from every worker into the midst of the progress bar."""
    path = saved(tmp_path / "a.tif", scene(1), compression=compression)
    whole = bytearray(Path(path).read_bytes())
    whole[8:60] = bytes(range(200, 252))
    Path(path).write_bytes(whole)
    assert isinstance(decode(path, "tiff", 0, RECIPE), Refused | Decoded)
    assert capfd.readouterr() == ("", "")
    sys.stderr.write("back\n")
    assert capfd.readouterr().err == "back\n"


@pytest.mark.parametrize("name", ["a.bmp", "a.tif"])
def test_pictures_are_not_mapped_into_memory(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapped file that shrinks is a SIGBUS: Pillow maps those it is given a path of."""
    path = saved(tmp_path / name, scene(1).convert("L"))
    monkeypatch.setattr("mmap.mmap", lambda *_, **__: pytest.fail("mapped"))
    assert decoded(path).width == 160


def test_threads_that_decode_leave_standard_error_as_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path / "a.tif", scene(1))
    threads = [threading.Thread(target=lambda: [decoded(path) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"back\n")
    assert capfd.readouterr().err == "back\n"
