"""What cameras write into pictures: read from every format, and from what hostile files have there."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
from pictures import quarters
from PIL import Image
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

import pictocli
from pictocli.decode import Decoded, Recipe, decode_bytes
from pictocli.exif import Capture, capture_of

pillow_heif.register_heif_opener()
RECIPE = Recipe(32, "bicubic", 72, thumbnail=False)
MAKE, MODEL, CHANGED, DETAILS, GPS, ORIGINAL, DIGITIZED = 0x010F, 0x0110, 0x0132, 0x8769, 0x8825, 0x9003, 0x9004


def degrees(*parts: float | tuple[int, int]) -> tuple[IFDRational, ...]:
    return tuple(IFDRational(*part) if isinstance(part, tuple) else IFDRational(part) for part in parts)


VIENNA = {1: "N", 2: degrees(48, 12, 29), 3: "E", 4: degrees(16, 22, (2628, 100))}


def exif(
    tags: dict[int, Any] | None = None, details: dict[int, Any] | None = None, gps: dict[int, Any] | None = None
) -> Image.Exif:
    made = Image.Exif()
    made.update(tags or {})
    if details:
        made.get_ifd(DETAILS).update(details)
    if gps:
        made.get_ifd(GPS).update(gps)
    return made


def written(form: str, made: Image.Exif) -> bytes:
    out = io.BytesIO()
    if form == "TIFF":  # Pillow writes directories within an Exif into other formats only
        tags = ImageFileDirectory_v2()
        tags.update({**made, DETAILS: dict(made.get_ifd(DETAILS)), GPS: dict(made.get_ifd(GPS))})
        quarters().save(out, form, tiffinfo=tags)
    else:
        quarters().save(out, form, exif=made)
    return out.getvalue()


def found(data: bytes) -> Capture | None:
    decoded = decode_bytes(data, RECIPE)
    assert isinstance(decoded, Decoded)
    return decoded.capture


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "MPO"])
def test_every_format_that_has_exif(form: str) -> None:
    made = exif({MAKE: "Canon", MODEL: "Canon EOS R5"}, {ORIGINAL: "2024:05:01 12:00:00"}, VIENNA)
    assert found(written(form, made)) == Capture(1714564800, "Canon EOS R5", 48.2080556, 16.3739667)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "GIF", "BMP"])
def test_pictures_without(form: str) -> None:
    out = io.BytesIO()
    quarters().save(out, form)
    assert found(out.getvalue()) is None


def moment(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp())  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("details", "taken_at"),
    [
        ({ORIGINAL: "2024:05:01 12:00:00", DIGITIZED: "2025:01:01 00:00:00"}, moment(2024, 5, 1, 12)),
        ({DIGITIZED: "2025:01:01 00:00:00"}, moment(2025, 1, 1)),
        ({ORIGINAL: "    :  :     :  :  ", DIGITIZED: "2025:01:01 00:00:00"}, moment(2025, 1, 1)),
        ({ORIGINAL: "1859:01:01 00:00:00"}, moment(1859, 1, 1)),
        ({ORIGINAL: "2024-05-01T12:00:00+02:00"}, moment(2024, 5, 1, 12)),
        ({ORIGINAL: "2024:05:01 12:00"}, moment(2024, 5, 1, 12)),
        ({ORIGINAL: "2024:05:01 12:00:60"}, moment(2024, 5, 1, 12, 0, 59)),
        ({ORIGINAL: "0000:00:00 00:00:00"}, None),
        ({ORIGINAL: "2024:02:30 12:00:00"}, None),
        ({ORIGINAL: "2024:05:01 24:00:00"}, None),
        ({ORIGINAL: "2024:05:01"}, None),
        ({ORIGINAL: "0001:01:01 00:00:00"}, None),
        ({ORIGINAL: "9999:12:31 00:00:00"}, None),
        ({ORIGINAL: "yesterday"}, None),
        ({ORIGINAL: ""}, None),
    ],
)
def test_the_time_by_the_cameras_clock(details: dict[int, str], taken_at: int | None) -> None:
    capture = found(written("JPEG", exif({CHANGED: "2030:01:01 00:00:00", MAKE: "X"}, details)))
    assert capture == Capture(taken_at, "X")


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("Canon", "Canon EOS R5", "Canon EOS R5"),
        ("NIKON CORPORATION", "NIKON D750", "NIKON D750"),
        ("Apple", "iPhone 12", "Apple iPhone 12"),
        ("apple", "APPLE iPhone", "APPLE iPhone"),
        ("  SONY \0garbage", "ILCE-7M3\0\0", "SONY ILCE-7M3"),
        ("Canon", "", "Canon"),
        ("", "EOS", "EOS"),
        (" ", "\0", None),
        ("a\x1b[31m\nb", "\x07c", "a [31m b c"),
        (b"H\xc3\xa9", b"\xe9", "Hé é"),
        ("m" * 5000, "n" * 5000, "m" * 100),
    ],
)
def test_the_name_of_a_camera(make: str | bytes, model: str | bytes, camera: str | None) -> None:
    capture = found(written("JPEG", exif({MAKE: make, MODEL: model}, {ORIGINAL: "2024:05:01 12:00:00"})))
    assert capture == Capture(1714564800, camera)


@pytest.mark.parametrize(
    ("gps", "place"),
    [
        (VIENNA, (48.2080556, 16.3739667)),
        (VIENNA | {1: "S", 3: "W"}, (-48.2080556, -16.3739667)),
        ({1: "N", 2: degrees((485, 10)), 3: "E", 4: degrees(180, 0)}, (48.5, 180.0)),
        ({1: "S", 2: degrees(90, 0, 0), 3: "W", 4: degrees(0, 30, 0)}, (-90.0, -0.5)),
        ({1: "N", 2: degrees(0, 0, 0), 3: "E", 4: degrees(0, 0, 0)}, None),
        ({1: "N", 2: degrees((0, 0), (0, 0), (0, 0)), 3: "E", 4: degrees((0, 0), (0, 0), (0, 0))}, None),
        (VIENNA | {2: degrees((1, 0), 0, 0)}, None),
        (VIENNA | {2: degrees(91, 0, 0)}, None),
        (VIENNA | {2: degrees(90, 0, 1)}, None),
        (VIENNA | {4: degrees(180, 1, 0)}, None),
        (VIENNA | {4: degrees(16, 61, 0)}, None),
        (VIENNA | {2: degrees(48, 12, 29, 7)}, None),
        (VIENNA | {1: ""}, None),
        (VIENNA | {3: "north"}, None),
        ({2: VIENNA[2], 4: VIENNA[4]}, None),
        ({1: "N", 2: VIENNA[2]}, None),
    ],
)
def test_the_place(gps: dict[int, Any], place: tuple[float, float] | None) -> None:
    capture = found(written("JPEG", exif({MAKE: "X"}, gps=gps)))
    assert capture == Capture(None, "X", *(place or (None, None)))


def entries(*rows: tuple[int, int, int, int]) -> bytes:
    """A little-endian EXIF block of one directory of (tag, type, count, value or offset)."""
    body = b"".join(struct.pack("<HHII", *row) for row in rows)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(rows)) + body + b"\0\0\0\0"


HOSTILE: dict[str, bytes] = {
    "empty": b"Exif\0\0",
    "no header": b"Exif\0\0garbage, and more of it",
    "directory outside": b"Exif\0\0II*\0\xff\xff\xff\x7f",
    "directory in itself": entries((DETAILS, 4, 1, 8), (GPS, 4, 1, 8)),
    "details outside": entries((DETAILS, 4, 1, 2**31)),
    "gps is no offset": entries((GPS, 2, 4, 0x41414141)),
    "a text of 4 GB": entries((MAKE, 2, 2**32 - 1, 8)),
    "many rationals": entries((MAKE, 5, 2**28, 8)),
    "unknown type": entries((MODEL, 77, 1, 8)),
    "make is a number": entries((MAKE, 4, 1, 5)),
    "65535 entries": b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", MAKE, 2, 1, 0) * 5000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_exif_costs_nothing_but_itself(name: str) -> None:
    out = io.BytesIO()
    quarters().save(out, "JPEG")
    block = HOSTILE[name]
    data = out.getvalue()[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + out.getvalue()[2:]
    capture = found(data)
    assert capture is None or capture.camera is not None


def test_what_raises_is_none() -> None:
    class Broken:
        def getexif(self) -> Any:
            raise MemoryError

    assert capture_of(Broken()) is None  # type: ignore[arg-type]


def test_a_library_keeps_it(tmp_path: Path, index: Callable[..., Any], rows: Callable[..., Any]) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    made = exif({MAKE: "Canon", MODEL: "EOS"}, {ORIGINAL: "2024:05:01 12:00:00"}, VIENNA)
    (folder / "a.jpg").write_bytes(written("JPEG", made))
    (folder / "copy.jpg").write_bytes((folder / "a.jpg").read_bytes())
    (folder / "b.jpg").write_bytes(written("JPEG", Image.Exif()))
    index(folder)
    assert rows("SELECT taken_at, camera, latitude, longitude FROM capture") == [
        (1714564800, "Canon EOS", 48.2080556, 16.3739667)
    ]
    with pictocli.open(tmp_path / "library.db") as library:
        for name in ("a.jpg", "copy.jpg"):
            detail = library.show(folder / name)
            assert (detail.taken_at, detail.camera) == ("2024-05-01T12:00:00", "Canon EOS")
            assert (detail.latitude, detail.longitude) == (48.2080556, 16.3739667)
        assert library.show(folder / "b.jpg").taken_at is None
        answer = library.similar(
            folder / "b.jpg", camera="canon", after="2024-05", before="2024-06", near="48.2,16.4,5"
        )
        assert [each.filename for each in answer.results] == ["a.jpg", "copy.jpg"]
        assert [each.camera for each in library.export()] == ["Canon EOS", None, "Canon EOS"]
    db = pictocli.schema.connect(str(tmp_path / "library.db"))
    db.execute("DELETE FROM capture")  # as a library has none that was made before there was this table
    db.close()
    index(folder)
    assert rows("SELECT count(*) FROM capture") == [(0,)]
    index(folder, force=True)
    assert rows("SELECT count(*) FROM capture") == [(1,)]
