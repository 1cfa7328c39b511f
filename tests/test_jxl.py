"""JPEG XL: every mode, upright once, refused by its header before it is decoded."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_jxl  # noqa: F401 - has Pillow write what is read here
import pytest
from pictures import CORNERS, corners, quarters, scene, turned_exif
from PIL import Image

from pictocli import jxl, kinds
from pictocli.decode import Decoded, Inspected, Recipe, Refused, decode_bytes, inspect
from pictocli.kinds import Limits, RefusalError

RECIPE = Recipe(size=64, resample="bicubic", dpi=72, thumbnail=True)


def saved(image: Image.Image, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "JXL", effort=1, **options)
    return out.getvalue()


def grey(depth: str) -> Image.Image:
    values = np.asarray(quarters().convert("L"))
    return Image.fromarray(values.astype(np.uint16) * 257 if depth == "I;16" else values.astype(np.float32) / 255)


@pytest.mark.parametrize("container", [False, True], ids=["bare", "container"])
@pytest.mark.parametrize(
    "size", [(1, 1), (8, 8), (160, 120), (256, 256), (257, 3), (3, 700), (1280, 720), (9000, 40)], ids=str
)
def test_the_size_is_read_from_the_header(size: tuple[int, int], container: bool) -> None:
    data = saved(scene(1, *size), use_container=container)
    assert jxl.size(io.BytesIO(data)) == size


@pytest.mark.parametrize("mode", ["RGB", "L", "I;16", "F"])
def test_every_mode_is_read(mode: str) -> None:
    image = grey(mode) if mode in ("I;16", "F") else quarters().convert(mode)
    found = decode_bytes(saved(image, lossless=True), RECIPE)
    assert isinstance(found, Decoded)
    wanted = {name: colour if mode == "RGB" else _grey(colour) for name, colour in CORNERS.items()}
    for name, colour in corners(found.pixels).items():
        assert np.abs(np.subtract(colour, wanted[name])).max() <= 1
    assert (found.width, found.height) == (120, 80)


def _grey(colour: tuple[int, int, int]) -> tuple[int, ...]:
    one = Image.new("RGB", (1, 1), colour).convert("L").convert("RGB")
    return tuple(int(each) for each in np.asarray(one)[0, 0])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_over_white(mode: str) -> None:
    image = quarters().convert(mode)
    image.putalpha(0)
    found = decode_bytes(saved(image, lossless=True), RECIPE)
    assert isinstance(found, Decoded)
    assert found.pixels.min() == 255


def test_a_recompressed_jpeg_is_turned_by_its_exif(tmp_path: Path) -> None:
    quarters().transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.jpg", exif=turned_exif(6), quality=95)
    with Image.open(tmp_path / "a.jpg") as image:
        data = saved(image, lossless_jpeg=True)
    found = decode_bytes(data, RECIPE)
    assert isinstance(found, Decoded)
    assert (found.width, found.height) == (120, 80)
    assert np.abs(np.subtract(corners(found.pixels)["top left"], CORNERS["top left"])).max() < 8


def test_the_exif_of_others_turns_nothing() -> None:
    """A decoder has done all that the picture's own orientation asks for (ISO/IEC 18181-1, 4.3)."""
    found = decode_bytes(saved(quarters(), exif=turned_exif(6).tobytes()), RECIPE)
    assert isinstance(found, Decoded)
    assert (found.width, found.height) == (120, 80)


def test_a_large_picture_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "open", None)  # the plugin decodes when it opens
    data = saved(Image.new("RGB", (1500, 1000)))
    small = Recipe(64, "bicubic", 72, False, Limits(max_pixels=1))
    assert decode_bytes(data, small) == Refused("2 megapixels, over --max-pixels 1", "jxl")


@pytest.mark.parametrize("container", [False, True], ids=["bare", "container"])
def test_a_file_cut_anywhere_is_refused(container: bool) -> None:
    data = saved(scene(3), use_container=container)
    assert isinstance(decode_bytes(data, RECIPE), Decoded)
    for length in [*range(2, 60), *range(60, len(data) - 1, len(data) // 9)]:
        found = decode_bytes(data[:length], RECIPE)
        assert isinstance(found, Refused)
        assert found.reason in ("damaged JXL", "not an image")


@pytest.mark.parametrize(
    "boxes",
    [b"", b"\0\0\0\0free", b"\0\0\0\4free" * 3, b"\0\0\0\1free" + b"\0" * 8, b"\0\0\0\x08free" * 2000],
    ids=["none", "endless", "too short", "long of no length", "many"],
)
def test_boxes_that_lead_nowhere(boxes: bytes) -> None:
    with pytest.raises(RefusalError, match="damaged JXL"):
        jxl.size(io.BytesIO(kinds.JXL_BOX + boxes))


def test_without_the_extra_the_reason_says_how_and_with_it_the_next_run_tries(
    index: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / "album/a.jxl").write_bytes(saved(scene(1)))
    seen = inspect(str(tmp_path / "album/a.jxl"))
    assert isinstance(seen, Inspected)
    assert (seen.kind, seen.peak > 0) == ("jxl", True)
    reason = "JPEG XL: pip install 'pictocli[jxl]'"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pillow_jxl", None)
        kinds._installed.cache_clear()
        for _ in range(2):
            assert [each.reason for each in index(tmp_path / "album").skipped] == [reason]
    kinds._installed.cache_clear()
    assert index(tmp_path / "album").indexed == 1
