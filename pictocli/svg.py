"""Figures → SVG 1.1, for browsers and drawing programs: no script, no outside address."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from html import escape
from typing import BinaryIO

from pictocli.display import printable
from pictocli.shapes import DARK, LIGHT, Box, Disc, Figure, Line, Picture, Shape, Words

__all__ = ["FONT", "clean", "style", "write"]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2


def clean(text: str) -> str:
    """Any text, such as a hostile file name, as HTML and XML can hold it, in an attribute too."""
    return escape(_NOT_XML.sub("\ufffd", printable(text)), quote=True)


def style() -> str:
    """The rules by which a figure follows the reader's choice of a dark ground."""
    rules = "".join(f".f-{name}{{fill:{colour}}}.s-{name}{{stroke:{colour}}}" for name, colour in DARK.items())
    return f"@media (prefers-color-scheme:dark){{{rules}}}"


def write(figure: Figure, out: BinaryIO, *, alone: bool = True, maker: str = "") -> None:
    """Write a figure. alone: as a file of its own; else as an element of a page, which has `style` in its own.

    maker: what made it, for a comment at its head: words without a hyphen.
    """
    size = f'viewBox="0 0 {figure.width} {figure.height}" width="{figure.width}" height="{figure.height}"'
    name = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    head = '<?xml version="1.0" encoding="UTF-8"?>\n' if alone else ""
    head += f"<!-- {maker} -->\n" if maker else ""
    out.write(f'{head}<svg {name if alone else ""}{size} role="img" font-family="{FONT}">\n'.encode())
    out.write(f"<title>{clean(figure.title)}</title>\n".encode())
    if alone and not figure.dark:
        out.write(f"<style>{style()}</style>\n".encode())
    ground = Box(x=0, y=0, width=figure.width, height=figure.height, fill="ground")
    for shape in [ground, *figure.shapes]:
        for line in _drawn(shape, dark=figure.dark):
            out.write(f"{line}\n".encode())
    out.write(b"</svg>\n")


def _drawn(shape: Shape, *, dark: bool) -> Iterator[str]:
    if isinstance(shape, Box):
        extra = f' rx="{_n(shape.round)}"' if shape.round else ""
        extra += f' opacity="{_n(shape.opacity)}"' if shape.opacity < 1 else ""
        yield _titled(f'rect {_place(shape)} width="{_n(shape.width)}" height="{_n(shape.height)}"'
                      f'{_colour("fill", shape.fill, dark)}{extra}', shape.title, "rect")  # fmt: skip
    elif isinstance(shape, Line):
        extra = ' stroke-dasharray="6 4"' if shape.dashed else ""
        yield (
            f'<line x1="{_n(shape.x)}" y1="{_n(shape.y)}" x2="{_n(shape.x2)}" y2="{_n(shape.y2)}"'
            f'{_colour("stroke", shape.stroke, dark)} stroke-width="{_n(shape.width)}"{extra}/>'
        )
    elif isinstance(shape, Disc):
        place = f'cx="{_n(shape.x)}" cy="{_n(shape.y)}" r="{_n(shape.radius)}"'
        yield _titled(f"circle {place}{_colour('fill', shape.fill, dark)}", shape.title, "circle")
    elif isinstance(shape, Words):
        weight = ' font-weight="600"' if shape.bold else ""
        anchor = "" if shape.anchor == "start" else f' text-anchor="{shape.anchor}"'
        yield (
            f'<text {_place(shape)} font-size="{_n(shape.size)}"{weight}{anchor}'
            f"{_colour('fill', shape.fill, dark)}>{clean(shape.text)}</text>"
        )
    else:
        yield from _pictured(shape)


def _pictured(shape: Picture) -> Iterator[str]:
    """A picture within its frame. xlink:href is what older drawing programs read; browsers read both."""
    size, thick = shape.size, max(1.5, shape.size / 32)
    yield f'<g><title>{clean(shape.title)}</title><rect {_place(shape)} width="{_n(size)}" height="{_n(size)}"'
    inner = f'x="{_n(shape.x + thick)}" y="{_n(shape.y + thick)}"'
    inner += f' width="{_n(size - 2 * thick)}" height="{_n(size - 2 * thick)}"'
    data = base64.b64encode(shape.jpeg).decode()
    yield f' rx="{_n(thick)}" fill="{shape.frame}"/><image {inner} xlink:href="data:image/jpeg;base64,{data}"/></g>'


def _titled(tag: str, title: str, name: str) -> str:
    return f"<{tag}><title>{clean(title)}</title></{name}>" if title else f"<{tag}/>"


def _place(shape: Box | Words | Picture) -> str:
    return f'x="{_n(shape.x)}" y="{_n(shape.y)}"'


def _colour(attribute: str, name: str, dark: bool) -> str:
    """A colour as an attribute, which every program reads; a named one has a class too, which a dark ground changes."""
    if name not in LIGHT:
        return f' {attribute}="{name}"'
    return f' {attribute}="{(DARK if dark else LIGHT)[name]}"' + ("" if dark else f' class="{attribute[0]}-{name}"')


def _n(value: float) -> str:
    """A number of px in one decimal at most."""
    return f"{value:.1f}".removesuffix(".0")
