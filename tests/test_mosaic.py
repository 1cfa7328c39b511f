"""Cells of a map, and thumbnails in sheets."""

from __future__ import annotations

import io

import numpy as np
import pytest
from pictures import scene
from PIL import Image

from pictocli import mosaic
from pictocli.errors import UnreadableError


def jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95)
    return out.getvalue()


def test_at_every_zoom_each_cell_has_one_and_keeps_it() -> None:
    places = np.random.default_rng(5).random((3000, 2)).astype("f4") ** 2
    level = mosaic.levels(places, 10)
    for zoom in range(mosaic.DEPTH):
        cells = (places * (10 << zoom)).astype(int)
        held = {tuple(cell) for cell in cells.tolist()}
        shown = [tuple(cell) for cell in cells[level <= zoom].tolist()]
        assert len(shown) == len(set(shown))
        assert set(shown) == held


def test_a_cell_is_stood_for_by_what_is_nearest_to_its_middle() -> None:
    places = np.array([[0.1, 0.1], [0.24, 0.26], [0.9, 0.9], [0.9, 0.9], [1.0, 1.0]], "f4")
    assert mosaic.levels(places, 2).tolist() == [1, 0, 0, mosaic.DEPTH, 3]


@pytest.mark.parametrize(
    ("places", "expected", "size"),
    [
        ([[0, 0], [10, 5]], [[0, 0], [1, 0.5]], (1, 0.5)),
        ([[-1, 3], [-1, 7], [-1, 5]], [[0.2, 0], [0.2, 1], [0.2, 0.5]], (0.4, 1)),
        ([[4, 4], [4, 4]], [[0.5, 0.5], [0.5, 0.5]], (1, 1)),
    ],
    ids=["wide", "a line", "one place"],
)
def test_places_are_scaled_alike(
    places: list[list[float]], expected: list[list[float]], size: tuple[float, float]
) -> None:
    found, width, height = mosaic.fitted(np.array(places, "f4"))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (width, height) == pytest.approx(size)


@pytest.mark.parametrize("count", [3, 62, 1000, 10**6])
def test_cells_are_no_smaller_than_48_px_of_2000(count: int) -> None:
    assert 8 <= mosaic.across(count) <= 41


def test_a_tile_is_the_middle() -> None:
    wide = Image.new("RGB", (300, 100), (255, 0, 0))
    wide.paste((0, 0, 255), (100, 0, 200, 100))
    found = mosaic.tile(jpeg(wide), 50)
    assert found.size == (50, 50)
    assert found.getpixel((25, 25))[2] > 200 > 60 > found.getpixel((25, 25))[0]  # type: ignore[index]
    with pytest.raises(UnreadableError):
        mosaic.tile(b"no picture", 50)


def test_sheets_hold_all_in_order_and_say_what_is_blank() -> None:
    along = 2048 // 64
    count = along * along + 3
    found, blank = mosaic.sheets(
        count, 64, lambda at: None if at == 1 else Image.new("RGB", (64, 64), (at % 250, 9, 9))
    )
    first, second = (Image.open(io.BytesIO(sheet)).convert("RGB") for sheet in found)
    assert (first.size, second.size, list(blank)) == ((2048, 2048), (2048, 64), [1])
    for at in (0, 2, along, 5 * along + 7):
        seen = first.getpixel((at % along * 64 + 32, at // along * 64 + 32))
        assert abs(seen[0] - at % 250) < 12, at  # type: ignore[index]
    assert abs(second.getpixel((64 * 2 + 32, 32))[0] - (along * along + 2) % 250) < 12  # type: ignore[index]


def test_tiles_are_of_real_pictures() -> None:
    small = np.asarray(mosaic.tile(jpeg(scene(3, 640, 480)), 64), float)
    whole = np.asarray(scene(3, 640, 480).crop((80, 0, 560, 480)).resize((64, 64)), float)
    assert np.abs(small - whole).mean() < 6
