"""Raw photos: told by their content, shown by their preview, upright once, with the size and the date of the photo."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import CORNERS, corners, quarters, scene, turned_exif
from PIL import Image
from rawfiles import CAMERAS, box, cr3, dng, preview

import pictocli
from pictocli import kinds, raws
from pictocli.decode import Decoded, Inspected, Recipe, Refused, decode, decode_bytes, inspect
from pictocli.kinds import Limits

RECIPE = Recipe(size=64, resample="bicubic", dpi=72, thumbnail=True)
HELD = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
UPRIGHT = quarters(900, 600)


def as_held(orientation: int, image: Image.Image = UPRIGHT) -> Image.Image:
    """What the sensor sees of an upright picture when the camera is held so."""
    turn = HELD[orientation]
    return image if turn is None else image.transpose(turn)


def near(found: Any, *, by: int = 12) -> bool:
    """Whether every corner has its colour."""
    seen = corners(found)
    return all(np.abs(np.subtract(seen[name], CORNERS[name])).max() <= by for name in CORNERS)


PREVIEWS: dict[str, Callable[[int], bytes]] = {
    "as the sensor sees": lambda held: preview(as_held(held)),
    "with its own orientation": lambda held: preview(as_held(held), exif=turned_exif(held)),
    "smaller": lambda held: preview(as_held(held).resize([side * 2 // 3 for side in as_held(held).size])),
}


@pytest.mark.parametrize("shown", PREVIEWS)
@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("camera", CAMERAS)
def test_a_raw_photo_is_shown_upright(camera: str, held: int, shown: str) -> None:
    data = CAMERAS[camera](as_held(held), PREVIEWS[shown](held), held)
    found = decode_bytes(data, RECIPE)
    assert isinstance(found, Decoded)
    assert near(found.pixels)
    width, height = found.width, found.height
    assert abs(width - 900) <= 1
    assert abs(height - 600) <= 1  # LibRaw leaves a column of some cameras out
    if shown != "smaller":
        assert (width, height) == (900, 600)
    assert found.thumbnail is not None
    assert found.measures["blockiness"] == 1.0  # of the photo, not of its preview


@pytest.mark.parametrize("held", [6, 8])
@pytest.mark.parametrize("camera", CAMERAS)
def test_a_preview_that_is_upright_is_not_turned_again(camera: str, held: int) -> None:
    found = decode_bytes(CAMERAS[camera](as_held(held), preview(UPRIGHT), held), RECIPE)
    assert isinstance(found, Decoded)
    assert near(found.pixels)
    assert (found.width, found.height) == (900, 600)


@pytest.mark.parametrize("jpeg", [None, preview(UPRIGHT.resize((160, 106)))], ids=["none", "tiny"])
@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("camera", ["dng", "nef"])
def test_without_a_fair_preview_the_sensor_is_developed(camera: str, held: int, jpeg: bytes | None) -> None:
    data = CAMERAS[camera](as_held(held), jpeg, held)
    image, size, turn = raws.photo(io.BytesIO(data), Limits())
    assert turn == 1
    assert {abs(2 * mine - theirs) <= 2 for mine, theirs in zip(image.size, size, strict=True)} == {True}
    found = decode_bytes(data, RECIPE)
    assert isinstance(found, Decoded)
    seen = {name: int(np.argmax(colour)) for name, colour in corners(found.pixels).items() if name != "bottom right"}
    assert seen == {"top left": 0, "top right": 1, "bottom left": 2}  # developed: the colours are the camera's
    assert min(corners(found.pixels)["bottom right"][:2]) > 2 * corners(found.pixels)["bottom right"][2]


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_camera_and_the_date_come_with_it(camera: str) -> None:
    """As of a JPEG: by getexif() of what was opened, though the preview says nothing."""
    image, _, _ = raws.photo(io.BytesIO(CAMERAS[camera](UPRIGHT, preview(UPRIGHT))), Limits())
    exif = image.getexif()
    assert exif[272] in ("Box 1", "NIKON D40", "ILCE-7M3", "Canon EOS 40D", "Canon EOS R5")
    assert exif.get_ifd(0x8769)[36867] == "2019:07:14 09:26:53"
    place = exif.get_ifd(0x8825)
    assert (place[1], [float(each) for each in place[2]]) == ("N", [48.0, 12.0, 30.0])


CR3 = cr3(UPRIGHT, preview(UPRIGHT))
LATITUDE = CR3.index(b"CMT4") + 34  # where it is said where that lies: in the second entry of a directory at 12


@pytest.mark.parametrize(
    ("data", "capture"),
    [
        (CR3, (1563096413, "Canon EOS R5", 48.2083333, 16.3666667)),
        (CR3.replace(b"CMT2", b"free"), (None, "Canon EOS R5", 48.2083333, 16.3666667)),
        (CR3.replace(b"CMT4", b"free"), (1563096413, "Canon EOS R5", None, None)),
        (CR3[:LATITUDE] + b"\xff\xff\xff\x7f" + CR3[LATITUDE + 4 :], (1563096413, "Canon EOS R5", None, None)),
    ],
    ids=["whole", "no date", "no place", "damaged place"],
)
def test_what_a_cr3_tells_lies_in_three_boxes(data: bytes, capture: tuple[Any, ...]) -> None:
    found = decode_bytes(data, RECIPE)
    assert isinstance(found, Decoded)
    assert found.capture == capture


INNER = box(b"skip", b"hello") + box(b"CMT1", b"EXIF")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (box(b"ftyp", b"crx ") + box(b"moov", INNER), b"EXIF"),
        (box(b"moov", INNER)[:-2], b"EX"),
        (box(b"moov", box(b"CMT1", b"EXIF")[:-2]) + b"beyond", b"EX"),
        (box(b"moov", box(b"skip", b"")) + INNER, b""),
        (box(b"moov", bytes(8), INNER), b""),
        (box(b"moov", 63 * box(b"skip"), box(b"CMT1", b"EXIF")), b"EXIF"),
        (box(b"moov", 64 * box(b"skip"), box(b"CMT1", b"EXIF")), b""),
        (b"", b""),
    ],
    ids=[
        "there",
        "cut",
        "larger than what it lies in",
        "outside",
        "behind an endless one",
        "the last",
        "too far",
        "none",
    ],
)
def test_a_box_is_found_by_its_path(data: bytes, found: bytes) -> None:
    assert raws._box(io.BytesIO(data), b"moov", b"CMT1") == found


@pytest.mark.parametrize("jpeg", [None, b"\0\0\0\x10CISZ" + bytes(400)], ids=["none", "H.265"])
@pytest.mark.parametrize("held", HELD)
def test_the_sensor_of_a_cr3_is_developed(held: int, jpeg: bytes | None) -> None:
    """Where it has no preview, and where that is of an HDR photo: no JPEG, and nothing that rawpy gives."""
    data = cr3(as_held(held), jpeg, held)
    image, size, turn = raws.photo(io.BytesIO(data), Limits())
    assert (image.size, size, turn) == ((468, 312) if held in (1, 3) else (462, 318), (900, 600), 1)  # with the border
    assert isinstance(decode_bytes(data, RECIPE), Decoded)


def test_a_cr3_without_its_large_preview_is_shown_by_the_one_of_half_the_size() -> None:
    large = quarters(1200, 900)
    data = cr3(large, preview(large)).replace(b"JPEG", b"free")
    image, size, turn = raws.photo(io.BytesIO(data), Limits())
    assert (image.size, size, turn) == ((600, 450), (1200, 900), 1)
    found = decode_bytes(data, RECIPE)
    assert isinstance(found, Decoded)
    assert near(found.pixels)


@pytest.mark.parametrize("name", ["a.tif", "a.dng", "a", "a.jpg"])
def test_raw_photos_are_told_by_content(name: str, tmp_path: Path) -> None:
    for make in CAMERAS.values():
        (tmp_path / name).write_bytes(make(UPRIGHT, preview(UPRIGHT)))
        seen = inspect(str(tmp_path / name))
        assert isinstance(seen, Inspected)
        assert (seen.kind, seen.pages, seen.count) == ("raw", (), 1)
    scene(1).save(tmp_path / name, "TIFF", compression="tiff_lzw")
    seen = inspect(str(tmp_path / name))
    assert isinstance(seen, Inspected)
    assert seen.kind == "tiff"
    assert isinstance(decode(str(tmp_path / name), "tiff", 0, RECIPE), Decoded)


def test_limits_hold_for_the_photo_and_for_its_preview() -> None:
    recipe = Recipe(64, "bicubic", 72, False, Limits(max_pixels=1))
    large = quarters(1200, 900)
    assert decode_bytes(dng(large, preview(UPRIGHT)), recipe) == Refused("2 megapixels, over --max-pixels 1", "raw")
    assert decode_bytes(dng(UPRIGHT, preview(large)), recipe) == Refused("2 megapixels, over --max-pixels 1", "raw")


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_raw_photo_cut_anywhere_is_shown_or_refused(camera: str, capfd: pytest.CaptureFixture[str]) -> None:
    data = CAMERAS[camera](UPRIGHT.resize((300, 200)), preview(UPRIGHT.resize((300, 200))))
    for length in range(9, len(data), len(data) // 23):
        found = decode_bytes(data[:length], RECIPE)
        if isinstance(found, Refused):
            assert found.reason in (
                "damaged RAW", "damaged TIFF", "truncated", "raw photo of an unknown camera", "not an image",
            )  # fmt: skip
    assert capfd.readouterr() == ("", "")  # LibRaw says what it thinks on standard error


def test_without_the_extra_the_reason_says_how_and_with_it_the_next_run_tries(
    index: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / "album/a.dng").write_bytes(dng(UPRIGHT, preview(UPRIGHT)))
    reason = "raw photo: pip install 'pictocli[raw]'"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "rawpy", None)  # as if it were not installed
        kinds._installed.cache_clear()
        for _ in range(2):
            assert [each.reason for each in index(tmp_path / "album").skipped] == [reason]
        assert not Limits().allow(reason)
    kinds._installed.cache_clear()
    assert index(tmp_path / "album").indexed == 1
    assert index(tmp_path / "album").unchanged == 1
    with pictocli.open(tmp_path / "library.db") as library:
        assert library.info().kinds == {"raw": 1}
        assert library.check() == []


def test_what_an_earlier_picto_passed_over_is_looked_at(index: Callable[..., Any], tmp_path: Path) -> None:
    """It knew no CR3 and no JPEG XL, and remembered them as no pictures; and refused the raw photos that it knew."""
    import sqlite3

    (tmp_path / "album").mkdir()
    for name in ("a.cr3", "b.nef", "c.txt"):
        (tmp_path / "album" / name).write_text("by another name")
    index(tmp_path / "album")
    with sqlite3.connect(tmp_path / "library.db") as db:
        db.execute("UPDATE file SET reason = NULL WHERE name = 'a.cr3'")
        db.execute("UPDATE file SET kind = 'raw', reason = 'raw photo, not supported yet' WHERE name = 'b.nef'")
    db.close()
    for _ in range(2):
        found = index(tmp_path / "album")
        assert {Path(each.path).name: each.reason for each in found.skipped} == {
            "a.cr3": "text, not an image", "b.nef": "text, not an image",
        }  # fmt: skip
