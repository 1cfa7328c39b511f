"""Figures → PNG, drawn with Pillow."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import BinaryIO

from PIL import Image, ImageColor, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from pictocli.display import printable
from pictocli.shapes import DARK, LIGHT, Box, Disc, Figure, Line, Picture, Shape, Words

__all__ = ["png", "write"]

_FINER = 2  # times: shapes are drawn so much larger, and made smaller, which smooths their edges
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def png(figure: Figure) -> Image.Image:
    """A figure as an RGB picture of its size."""
    palette = DARK if figure.dark else LIGHT
    image = Image.new("RGB", (figure.width, figure.height), palette["ground"])
    for shape in figure.shapes:
        if isinstance(shape, Picture):
            _picture(image, shape)
        elif isinstance(shape, Words):
            _words(image, shape, palette)
        else:
            _smooth(image, shape, palette)
    return image


def write(figure: Figure, out: BinaryIO, *, maker: str = "") -> None:
    """Write a figure as PNG. maker: what made it, for its text field Software."""
    said = PngInfo()
    if maker:
        said.add_text("Software", maker)
    png(figure).save(out, "PNG", optimize=False, pnginfo=said)


def _picture(image: Image.Image, shape: Picture) -> None:
    thick = max(1.5, shape.size / 32)
    _smooth(image, Box(x=shape.x, y=shape.y, width=shape.size, height=shape.size, fill=shape.frame, round=thick), {})
    with Image.open(io.BytesIO(shape.jpeg)) as photo:
        left, top = round(shape.x + thick), round(shape.y + thick)
        side = (round(shape.x + shape.size - thick) - left, round(shape.y + shape.size - thick) - top)
        image.paste(photo.convert("RGB").resize(side, Image.Resampling.LANCZOS), (left, top))


def _words(image: Image.Image, shape: Words, palette: dict[str, str]) -> None:
    draw, text = ImageDraw.Draw(image), printable(shape.text)
    colour = palette.get(shape.fill, shape.fill)
    draw.text((shape.x, shape.y), text, colour, _font(shape.size), _ANCHORS[shape.anchor])


@lru_cache(maxsize=16)
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _smooth(image: Image.Image, shape: Shape, palette: dict[str, str]) -> None:
    """Draw a shape on a mask of its own, _FINER times as large, and colour the picture through it."""
    low_x, low_y, high_x, high_y = _extent(shape)
    size = (high_x - low_x, high_y - low_y)
    mask = Image.new("L", (size[0] * _FINER, size[1] * _FINER), 0)
    draw = ImageDraw.Draw(mask)

    def at(x: float, y: float) -> tuple[float, float]:
        return (x - low_x) * _FINER, (y - low_y) * _FINER

    full, fill = 255, shape.stroke if isinstance(shape, Line) else shape.fill  # type: ignore[union-attr]
    if isinstance(shape, Box):
        end = tuple(max(0, each - 1) for each in at(shape.x + shape.width, shape.y + shape.height))
        start = at(shape.x, shape.y)
        if end[0] >= start[0] and end[1] >= start[1]:
            draw.rounded_rectangle([*start, *end], shape.round * _FINER, round(full * shape.opacity))
    elif isinstance(shape, Disc):
        start, end = (
            at(shape.x - shape.radius, shape.y - shape.radius),
            at(shape.x + shape.radius, shape.y + shape.radius),
        )
        draw.ellipse([*start, *end], full)
    elif isinstance(shape, Line):
        for x, y, x2, y2 in _dashes(shape):
            draw.line([*at(x, y), *at(x2, y2)], full, max(1, round(shape.width * _FINER)))
    colour = ImageColor.getrgb(palette.get(fill, fill))
    image.paste(colour, (low_x, low_y), mask.resize(size, Image.Resampling.BOX))


def _extent(shape: Shape) -> tuple[int, int, int, int]:
    """Whole px around a shape."""
    if isinstance(shape, Box):
        box = (shape.x, shape.y, shape.x + shape.width, shape.y + shape.height)
    elif isinstance(shape, Disc):
        reach = shape.radius
        box = (shape.x - reach, shape.y - reach, shape.x + reach, shape.y + reach)
    else:
        assert isinstance(shape, Line)
        box = (min(shape.x, shape.x2), min(shape.y, shape.y2), max(shape.x, shape.x2), max(shape.y, shape.y2))
        box = (box[0] - shape.width, box[1] - shape.width, box[2] + shape.width, box[3] + shape.width)
    return int(box[0] // 1), int(box[1] // 1), int(-(-box[2] // 1)) + 1, int(-(-box[3] // 1)) + 1


def _dashes(line: Line) -> list[tuple[float, float, float, float]]:
    """The pieces of a line: itself, or dashes of 6 px, 4 px apart."""
    if not line.dashed:
        return [(line.x, line.y, line.x2, line.y2)]
    dx, dy = line.x2 - line.x, line.y2 - line.y
    length = max(1e-9, (dx * dx + dy * dy) ** 0.5)
    pieces = []
    at = 0.0
    while at < length:
        end = min(length, at + 6)
        pieces.append(
            (
                line.x + dx * at / length,
                line.y + dy * at / length,
                line.x + dx * end / length,
                line.y + dy * end / length,
            )
        )
        at += 10
    return pieces
