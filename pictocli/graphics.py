"""Pictures as what terminals draw them from: kitty's and iTerm2's protocols, sixels, blocks of colour."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from functools import lru_cache

from PIL import Image

__all__ = ["blocks", "fitted", "iterm", "kitty", "sixel"]

Colour = tuple[int, ...]  # red, green and blue, 0..255; none of them for the terminal's own

_NOTHING: Colour = ()
_CHUNK = 4096  # characters of base64 in one escape code, at most; by kitty's protocol
_RUN = re.compile(r"(.)\1{3,}")  # from four on, "!4?" is no longer than what it stands for
_STEPS = (0, 95, 135, 175, 215, 255)  # of a channel in xterm's cube of 6×6×6 colours, which begins at 16
_GREYS = range(8, 248, 10)  # xterm's greys, from 232
_EIGHT = (
    (0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0), (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229),
)  # fmt: skip
"""The eight colours of ECMA-48 as xterm draws them."""


def fitted(size: tuple[int, int], cells: tuple[int, int], ratio: float) -> tuple[float, float]:
    """How many cells wide and high a picture of `size` px is when it fills what is free of `cells`, its aspect kept.

    ratio: how many times higher than wide a cell is.
    """
    high_for_wide = size[1] / size[0] / ratio
    wide = min(cells[0], cells[1] / high_for_wide)
    return wide, wide * high_for_wide


def kitty(image: Image.Image, *, columns: int = 0, rows: int = 0) -> str:
    """A picture at the cursor, which stays, so many cells wide or high, its aspect kept; the terminal answers nothing.

    https://sw.kovidgoyal.net/kitty/graphics-protocol/
    """
    out = io.BytesIO()
    image.save(out, "PNG")
    text = base64.b64encode(out.getvalue()).decode()
    chunks = [text[at : at + _CHUNK] for at in range(0, len(text), _CHUNK)]
    told = [f"a=T,f=100,q=2,C=1,{f'c={columns}' if columns else f'r={rows}'},", *[""] * (len(chunks) - 1)]
    more = [1] * (len(chunks) - 1) + [0]
    return "".join(f"\x1b_G{first}m={m};{chunk}\x1b\\" for first, m, chunk in zip(told, more, chunks, strict=True))


def iterm(image: Image.Image, columns: int, rows: int) -> str:
    """A picture at the cursor, as large as fits into so many cells. https://iterm2.com/documentation-images.html"""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90, subsampling=0)
    asked = f"inline=1;size={out.tell()};width={columns};height={rows};preserveAspectRatio=1"
    return f"\x1b]1337;File={asked}:{base64.b64encode(out.getvalue()).decode()}\x07"


def sixel(image: Image.Image) -> str:
    """A picture at the cursor, a pixel a pixel, in 256 colours of its own: bands of six rows, one colour after another.

    https://vt100.net/docs/vt3xx-gp/chapter14.html
    """
    import numpy as np  # 60 ms, for sixels only

    indexed = image.quantize(256, Image.Quantize.FASTOCTREE)  # 2 ms for 480×360, median cut 300
    pixels, palette = np.asarray(indexed), indexed.getpalette() or []
    high, wide = pixels.shape
    out = [f'\x1bP0;1q"1;1;{wide};{high}']
    for colour in np.unique(pixels).tolist():
        red, green, blue = (round(value / 2.55) for value in palette[3 * colour : 3 * colour + 3])  # in percent
        out.append(f"#{colour};2;{red};{green};{blue}")
    bands = []
    for top in range(0, high, 6):
        band = pixels[top : top + 6]
        held, which = np.unique(band, return_inverse=True)
        places = which.reshape(band.shape) * wide + np.arange(wide)  # a line a colour
        bits = np.repeat(1 << np.arange(len(band)), wide)
        sums = np.bincount(places.ravel(), bits, len(held) * wide).astype(np.uint8) + np.uint8(63)
        text = sums.tobytes().decode("ascii")
        lines = [text[at : at + wide].rstrip("?") for at in range(0, len(text), wide)]
        bands.append("$".join(f"#{c}{_RUN.sub(_counted, line)}" for c, line in zip(held.tolist(), lines, strict=True)))
    return "".join([*out, "-".join(bands), "\x1b\\"])


def _counted(run: re.Match[str]) -> str:
    return f"!{len(run[0])}{run[1]}"


def blocks(image: Image.Image, colours: int, *, unicode: bool = True) -> list[str]:
    """Lines of a picture of which a cell shows two pixels, one above the other, or without Unicode one.

    colours: how many the terminal has: 2**24, 256 (xterm's) or 8; each pixel gets the nearest. Dithering would be noise
    in pictures so coarse.
    """
    wide, high = image.size
    raw = image.tobytes()
    pixels = [tuple(raw[at : at + 3]) for at in range(0, len(raw), 3)]
    rows = [pixels[at : at + wide] for at in range(0, len(pixels), wide)]
    if not unicode:
        return [_line([_NOTHING] * wide, row, " ", colours) for row in rows]
    rows += [[_NOTHING] * wide] * (high % 2)
    return [_line(rows[at], rows[at + 1], "▀", colours) for at in range(0, len(rows), 2)]


def _line(fore: Sequence[Colour], back: Sequence[Colour], char: str, colours: int) -> str:
    """Cells with this character in these colours, of which only the changes are told."""
    text, last = "", ("", "")
    for one, other in zip(fore, back, strict=True):
        now = _paint(one, colours, 30), _paint(other, colours, 40)
        codes = ";".join(code for code, before in zip(now, last, strict=True) if code != before)
        text += (f"\x1b[{codes}m" if codes else "") + char
        last = now
    return text + "\x1b[0m"


@lru_cache(maxsize=4096)
def _paint(colour: Colour, colours: int, ground: int) -> str:
    """The SGR codes of a colour; ground: 30 for characters, 40 for what is behind them."""
    if colour == _NOTHING:
        return ""
    if colours > 256:
        return f"{ground + 8};2;{colour[0]};{colour[1]};{colour[2]}"
    if colours == 256:
        return f"{ground + 8};5;{_nearest(colour)}"
    return str(ground + min(range(8), key=lambda at: _apart(colour, _EIGHT[at])))


def _nearest(colour: Colour) -> int:
    """The nearest of xterm's 240 fixed colours, by distance in RGB; the first 16 are the user's."""
    at = [min(range(6), key=lambda step: abs(_STEPS[step] - value)) for value in colour]
    grey = min(range(24), key=lambda each: abs(_GREYS[each] * 3 - sum(colour)))
    of_cube, of_greys = tuple(_STEPS[each] for each in at), (_GREYS[grey],) * 3
    cube = 16 + 36 * at[0] + 6 * at[1] + at[2]
    return cube if _apart(colour, of_cube) <= _apart(colour, of_greys) else 232 + grey


def _apart(one: Colour, other: Colour) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))
