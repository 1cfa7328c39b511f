"""Draws a library's histograms in a file: SVG, PNG, or a page of HTML with a table below each."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Callable, Sequence
from typing import BinaryIO

from pictocli import charts, svg
from pictocli.databases import shown
from pictocli.errors import StoreError
from pictocli.figures import Histogram
from pictocli.places import whole
from pictocli.shapes import DARK, LIGHT
from pictocli.svg import clean
from pictocli.targets import form_of, signature

__all__ = ["plot"]

_STYLE = """
:root { color-scheme: light dark; }
body { margin: 0 auto; padding: 16px; max-width: 1320px; background: %(ground)s; color: %(text)s;
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { font-size: 20px; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%%, 480px), 1fr)); gap: 24px; }
svg { display: block; width: 100%%; height: auto; border-radius: 8px; }
section { min-width: 0; }
summary { padding: 12px 0; cursor: pointer; min-height: 44px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 2px 16px 2px 0; text-align: left; overflow-wrap: anywhere; }
td:last-child, th:last-child { text-align: right; padding-right: 0; }
:focus-visible { outline: 3px solid #1D5BBF; outline-offset: 2px; }
@media (prefers-color-scheme: dark) { body { background: %(dark)s; color: %(light)s; }
  :focus-visible { outline-color: #8AB4F8; } }
"""


def plot(histograms: Callable[[], Sequence[Histogram]], target: str, library: str, indexed: Callable[[], bool]) -> str:
    """Draw histograms in `target`; see `Library.plot`. indexed: whether it is in the library."""
    form = form_of(target, library, "plot", indexed)
    found = histograms()
    if not found:
        raise StoreError(f"{shown(library)} holds no images yet", "picto index FOLDER fills it")
    with whole(target) as out:
        if form == "svg":
            svg.write(charts.page(found), out, maker=signature("plot"))
        elif form == "html":
            _html(found, os.path.basename(shown(library)), out)
        else:
            from pictocli import raster  # Pillow

            raster.write(charts.page(found), out, maker=signature("plot"))
    return os.path.abspath(target)


def _html(histograms: Sequence[Histogram], name: str, out: BinaryIO) -> None:
    style = _STYLE % {"ground": LIGHT["ground"], "text": LIGHT["text"], "dark": DARK["ground"], "light": DARK["text"]}
    style += svg.style() + "\n"
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = clean(f"Histograms of {name}")
    out.write(
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="generator" content="{signature("plot")}">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<main>\n".encode()
    )
    for histogram in histograms:
        drawn = io.BytesIO()
        svg.write(charts.chart(histogram), drawn, alone=False)
        out.write(b"<section>\n" + drawn.getvalue() + _table(histogram).encode() + b"</section>\n")
    out.write(b"</main>\n</body>\n</html>\n")


def _table(histogram: Histogram) -> str:
    """The counts of a histogram, for who would rather read them."""
    heads = ["from", "below", histogram.counted] if histogram.edges else [histogram.unit, histogram.counted]
    rows = []
    for at, each in enumerate(histogram.bins):
        first = list(histogram.edges[at : at + 2]) if histogram.edges else [each.label]
        rows.append("".join(f"<td>{clean(cell)}</td>" for cell in [*first, f"{each.count:,}"]))
    head = "".join(f'<th scope="col">{clean(cell)}</th>' for cell in heads)
    lines = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f"<details>\n<summary>{clean(histogram.title)}: the numbers</summary>\n<table>\n"
        f"<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{lines}\n</tbody>\n</table>\n</details>\n"
    )
