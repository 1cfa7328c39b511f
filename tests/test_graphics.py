"""Pictures as codes for terminals: each is decoded again, by the protocol's own rules, and compared."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from pictures import quarters, scene
from PIL import Image
from terminals import cells, unsixelled

from pictocli import graphics
from pictocli.graphics import blocks, fitted, iterm, kitty, sixel

FULL = 2**24


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (60, 42), (61, 43), (200, 6)], ids=str)
def test_sixels_hold_every_pixel(size: tuple[int, int]) -> None:
    image = quarters(*size) if min(size) > 1 else Image.new("RGB", size, (220, 20, 20))
    found = unsixelled(sixel(image))
    assert found.shape == (size[1], size[0], 4)
    assert (found[..., 3] == 255).all()
    assert np.abs(found[..., :3].astype(int) - np.asarray(image)).max() <= 2  # colours are told in percent


def test_sixels_of_a_photo_are_near_it() -> None:
    image = scene(3, 120, 90)
    found = unsixelled(sixel(image))
    assert (found[..., 3] == 255).all()
    assert (
        np.sqrt(np.mean((found[..., :3].astype(float) - np.asarray(image)) ** 2)) < 12
    )  # a scene has all colours there are


def test_sixels_of_one_colour_are_runs() -> None:
    assert sixel(Image.new("RGB", (100, 12), (255, 0, 0))).endswith(";2;100;0;0#0!100~-#0!100~\x1b\\")


@pytest.mark.parametrize(("size", "chunks"), [((8, 8), 1), ((160, 120), 2)], ids=["one chunk", "several"])
@pytest.mark.parametrize("given", [{"columns": 12}, {"rows": 5}], ids=["columns", "rows"])
def test_kittys_chunks_are_the_png(size: tuple[int, int], chunks: int, given: dict[str, int]) -> None:
    image = scene(4, *size)
    image.putpixel((0, 0), (1, 2, 3))
    found = re.findall(r"\x1b_G([^;]*);([A-Za-z0-9+/=]*)\x1b\\", text := kitty(image, **given))
    assert "".join(f"\x1b_G{keys};{chunk}\x1b\\" for keys, chunk in found) == text
    assert len(found) >= chunks
    told = f"c={given['columns']}" if "columns" in given else f"r={given['rows']}"
    keys = [keys for keys, _ in found]
    assert keys[0] == f"a=T,f=100,q=2,C=1,{told},m={int(len(found) > 1)}"
    assert keys[1:] == (["m=1"] * (len(found) - 2) + ["m=0"] if len(found) > 1 else [])
    assert all(len(chunk) <= 4096 and len(chunk) % 4 == 0 for _, chunk in found)
    with Image.open(io.BytesIO(base64.b64decode("".join(chunk for _, chunk in found)))) as png:
        assert png.format == "PNG"
        assert np.array_equal(np.asarray(png), np.asarray(image))


def test_iterm_gets_a_jpeg() -> None:
    image = quarters(64, 48)
    found = re.fullmatch(
        r"\x1b\]1337;File=inline=1;size=([0-9]+);width=12;height=5;preserveAspectRatio=1:([^\x07]*)\x07",
        iterm(image, 12, 5),
    )
    assert found
    jpeg = base64.b64decode(found[2], validate=True)
    assert len(jpeg) == int(found[1])
    with Image.open(io.BytesIO(jpeg)) as opened:
        assert (opened.format, opened.size) == ("JPEG", (64, 48))
        assert np.abs(np.asarray(opened).astype(int) - np.asarray(image)).max() < 30


def decoded(lines: list[str], *, unicode: bool = True) -> list[list[tuple[int, ...] | None]]:
    """The pixels of lines of blocks."""
    rows: list[list[tuple[int, ...] | None]] = []
    for line in cells("\n".join(lines)):
        assert {cell.char for cell in line} == {"▀" if unicode else " "}
        rows += [[cell.fore for cell in line]] * unicode + [[cell.back for cell in line]]
    return rows


@pytest.mark.parametrize("high", [1, 8, 9])
def test_blocks_hold_every_pixel(high: int) -> None:
    image = scene(5, 12, high)
    rows = decoded(blocks(image, FULL))
    assert rows[:high] == [[image.getpixel((x, y)) for x in range(12)] for y in range(high)]
    assert rows[high:] == [[None] * 12] * (high % 2)


def test_without_unicode_a_blank_is_a_pixel() -> None:
    image = scene(6, 12, 5)
    lines = blocks(image, FULL, unicode=False)
    assert "".join(lines).isascii()
    assert decoded(lines, unicode=False) == [[image.getpixel((x, y)) for x in range(12)] for y in range(5)]


def test_only_what_changes_is_said() -> None:
    image = Image.new("RGB", (4, 2), (1, 2, 3))
    image.putpixel((3, 1), (9, 9, 9))
    assert blocks(image, FULL) == ["\x1b[38;2;1;2;3;48;2;1;2;3m▀▀▀\x1b[48;2;9;9;9m▀\x1b[0m"]


STEPS = (0, 95, 135, 175, 215, 255)
XTERM = [(r, g, b) for r in STEPS for g in STEPS for b in STEPS] + [(8 + 10 * at,) * 3 for at in range(24)]


@pytest.mark.parametrize(
    ("colours", "palette"), [(256, XTERM), (8, graphics._EIGHT)], ids=["256 colours", "eight colours"]
)
def test_fewer_colours_are_the_nearest(colours: int, palette: list[tuple[int, int, int]]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    pixels[:4] = pixels[:4, :, :1]  # greys, too
    rows = decoded(blocks(Image.fromarray(pixels), colours))
    far = ((pixels[:, :, None, :].astype(int) - np.asarray(palette)) ** 2).sum(-1)
    mine = ((pixels.astype(int) - np.asarray(rows)) ** 2).sum(-1)
    assert np.array_equal(mine, far.min(-1))


@pytest.mark.parametrize(
    ("size", "box", "wanted"),
    [
        ((640, 480), (12, 5), (12, 4.5)),
        ((480, 640), (12, 5), (7.5, 5)),
        ((100, 100), (10, 5), (10, 5)),
        ((1000, 10), (60, 20), (60, 0.3)),
        ((10, 1000), (60, 20), (0.4, 20)),
    ],
    ids=str,
)
def test_a_picture_fills_one_side_and_keeps_its_aspect(
    size: tuple[int, int], box: tuple[int, int], wanted: tuple[float, float]
) -> None:
    assert fitted(size, box, 2) == pytest.approx(wanted)
