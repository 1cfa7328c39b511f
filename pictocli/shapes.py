"""What a figure is drawn of, whatever it is written as: boxes, lines, discs, words and pictures, px from the top left.

Colours are names, so that a figure can be shown on a light and on a dark ground.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

__all__ = ["DARK", "LIGHT", "SIX", "Box", "Disc", "Figure", "Line", "Picture", "Shape", "Words"]

SIX = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#6E6E76")
"""Okabe and Ito's colours, which people with any colour vision tell apart, and a grey for all others."""

LIGHT = {
    "ground": "#FFFFFF",
    "text": "#1B1B1A",
    "muted": "#5C5C58",
    "line": "#D8D8D4",
    "bar": "#0072B2",
    "mark": "#B3261E",
}
DARK = {
    "ground": "#121214",
    "text": "#ECECEE",
    "muted": "#A9A9B0",
    "line": "#3A3A40",
    "bar": "#56B4E9",
    "mark": "#FF8A80",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A filled rectangle, its corners rounded. fill: a name of LIGHT, or a colour. opacity: 0..1."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    round: float = 0
    opacity: float = 1
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A straight line of so many px; dashed, of 6 px each."""

    x: float
    y: float
    x2: float
    y2: float
    stroke: str
    width: float = 1
    dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Disc:
    """A filled circle."""

    x: float
    y: float
    radius: float
    fill: str
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One line of text; x, y is where its base line begins, or ends, or its middle: anchor "start", "end", "middle"."""

    x: float
    y: float
    text: str
    size: float
    fill: str
    anchor: str = "start"
    bold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A JPEG, drawn in a square of so many px, with a frame of a colour around it. title: what a pointer shows."""

    x: float
    y: float
    size: float
    jpeg: bytes
    frame: str
    title: str


Shape: TypeAlias = Box | Line | Disc | Words | Picture


@dataclass(slots=True)
class Figure:
    """Shapes on a ground, the first at the bottom. title: what it is, in words. dark: on a dark ground always."""

    width: int
    height: int
    title: str
    dark: bool = False
    shapes: list[Shape] = field(default_factory=list)

    def add(self, shapes: Iterable[Shape]) -> None:
        """Draw these on top."""
        self.shapes.extend(shapes)
