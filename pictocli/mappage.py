"""A map of a library as one page of HTML, with zoom: nothing is fetched, and no script runs but its own."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from pictocli import mosaic
from pictocli.atlas import LABELLED, Atlas
from pictocli.display import counted, printable
from pictocli.figures import Pinned
from pictocli.shapes import SIX
from pictocli.svg import clean
from pictocli.targets import signature

__all__ = ["budget", "write"]

_TAGS = 4  # of an image, by which the page stays small
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="{maker}">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1 class="unseen">{title}</h1>
<canvas id="map" tabindex="0" role="application" aria-label="{title}. Arrows move, plus and minus zoom, 0 shows all, \
Enter selects the picture nearest to the middle. The list beside it names every picture."></canvas>
<div id="tip" hidden></div>
<div id="zoom" role="group" aria-label="Zoom"><button type="button" id="in" aria-label="Zoom in">+</button>\
<button type="button" id="out" aria-label="Zoom out">−</button>\
<button type="button" id="all" aria-label="Show all">⤢</button>\
<button type="button" id="toggle" aria-label="List of pictures" aria-expanded="true" \
aria-controls="list">☰</button></div>
</main>
<aside id="list" aria-label="Pictures">
<p class="count">{told}</p>
<section id="picked" aria-live="polite" aria-label="Selected picture" hidden></section>
<div id="clusters"></div>
</aside>
<noscript><p>This map moves by a script, which your browser does not run. <code>picto map FILE.svg</code> draws one \
without.</p></noscript>
<script type="application/json" id="atlas">{atlas}</script>
<script>{script}</script>
</body>
</html>
"""


def budget(count: int) -> tuple[int, int]:
    """(px a side, how many) of the thumbnails in a page of so many images: about 5 MB at most."""
    for side, most in ((128, 1600), (96, 2600)):
        if count <= most:
            return side, count
    return 64, min(count, 4500)


def write(atlas: Atlas, picture: Callable[[Pinned, int, int], Image.Image | None], out: BinaryIO) -> None:
    """Write the page. picture: gives an image's middle, so many px square, or None; and is told how many are asked for.

    Thumbnails go to the images that have a cell of their own at the earliest zoom; others are dots until they are.
    """
    side, shown = budget(len(atlas.images))
    sheets, blank = mosaic.sheets(shown, side, lambda at: picture(atlas.images[at], side, shown))
    style, script = _beside("map.css"), _beside("map.js")
    policy = (
        f"default-src 'none'; img-src data:; script-src '{_digest(script)}'; style-src '{_digest(style)}';"
        " base-uri 'none'; form-action 'none'"
    )
    images = counted(len(atlas.images), "image")
    data = _data(atlas) | {
        "side": side, "shown": shown, "blank": list(blank),
        "sheets": [f"data:image/webp;base64,{base64.b64encode(sheet).decode()}" for sheet in sheets],
    }  # fmt: skip
    page = _PAGE.format(
        policy=policy, maker=signature("map"), title=clean(f"Map of {images}"),
        told=clean(f"{images}, laid out by {atlas.layout.upper()}"), style=style, script=script, atlas=_json(data),
    )  # fmt: skip
    out.write(page.encode())


def _data(atlas: Atlas) -> dict[str, Any]:
    """What the script draws: a column a kind of thing, an entry an image; places in 1/65535 of the longer side."""
    places, labels = _Numbered(), _Numbered()
    images = atlas.images
    spots = np.array([[each.x, each.y] for each in images]).clip(0, 1) * 65535
    columns = {
        "x": _packed(spots[:, 0].round(), "<u2"),
        "y": _packed(spots[:, 1].round(), "<u2"),
        "level": _packed([each.level for each in images], "u1"),
        "region": _packed([min(each.region, 65535) for each in images], "<u2"),
        "id": _packed([each.image_id for each in images], "<f8"),  # JavaScript's own numbers
        "name": [printable(each.name) for each in images],
        "place": [places[printable(each.place)] for each in images],
        "tags": [[labels[printable(tag)] for tag in each.tags[:_TAGS]] for each in images],
    }
    regions = [
        {"label": printable(each.label), "images": each.images, "x": each.x, "y": each.y, "colour": SIX[each.colour]}
        for each in atlas.regions
    ]
    return columns | {
        "places": places.names, "labels": labels.names, "regions": regions, "labelled": LABELLED,
        "width": atlas.width, "height": atlas.height, "cells": atlas.cells, "depth": mosaic.DEPTH,
    }  # fmt: skip


class _Numbered:
    """Texts that come again and again, each by its number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __getitem__(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    @property
    def names(self) -> list[str]:
        """All of them, in the order of their numbers."""
        return list(self._numbers)


def _packed(values: Any, kind: str) -> str:
    return base64.b64encode(np.asarray(values).astype(kind).tobytes()).decode()


def _json(value: Any) -> str:
    """JSON that can stand in an element of a page: nothing in it ends the element, or opens a comment."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")


def _digest(text: str) -> str:
    """How a content security policy names an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
