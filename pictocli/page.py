"""Results as one page of HTML that needs nothing else: no script, no other file, no network. Pure text.

Every value that is put into the page is escaped, and its control characters are spelled out, unless it is `Markup`,
which only this module makes.
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from pictocli.cells import how, local
from pictocli.display import closer, counted, fraction, printable, size_of
from pictocli.grouped import Copy
from pictocli.records import CATEGORIES, Image, SimilarImage, TaggedImage
from pictocli.urls import is_url

__all__ = ["CSP", "Markup", "Picture", "Section", "called", "card", "fill", "page", "reference"]

CSP = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_TAGS, _FIELDS, _LONGEST = 5, 6, 160  # that a card has room for; the latter in characters of a field
_FILLING = (1.2, 1.6)  # width by height of what loses an eighth at most when it fills a frame of 4:3

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$csp">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="generator" content="picto">
<link rel="icon" href="data:,">
<title>$title</title>
<style>
$css</style>
</head>
<body>
<header>
<h1>$title</h1>
<p class="lede">$lede</p>
$references</header>
<main>
$sections</main>
<footer>
<p>Made with picto on $date. Everything is in this one file; nothing is fetched.</p>
</footer>
</body>
</html>
"""
_SECTION = """<section aria-label="$label">
$head<ul class="grid">
$cards</ul>
</section>
"""
_CARD = """<li class="card$kept"><figure>
$frame
<figcaption>
$score<h$level class="name">$name</h$level>
<p class="path">$folder</p>
$tags$facts$fields</figcaption>
</figure></li>
"""
_REFERENCE = """<figure class="reference">
$frame
<figcaption>
<p class="eyebrow">Asked for</p>
<h2 class="name">$name</h2>
$folder$tags$facts</figcaption>
</figure>
"""


class Markup(str):
    """HTML as it is, not to be escaped again."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """What a page shows of an image. src: a data: URL, "" where there is none, which `why` then says; sizes in px."""

    src: str
    width: int = 0
    height: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Cards below one heading, which may be left out; note: the line below it. label: what a screen reader calls it."""

    label: str
    cards: Sequence[Markup]
    heading: str = ""
    note: str = ""


def fill(template: str, **values: object) -> Markup:
    """A template of `string.Template` with each value escaped, for the text and for a quoted attribute alike."""
    return Markup(Template(template).substitute({name: _safe(value) for name, value in values.items()}))


def _safe(value: object) -> str:
    return value if isinstance(value, Markup) else html.escape(printable(str(value)))


def _joined(parts: Iterable[Markup]) -> Markup:
    return Markup("".join(parts))


@cache
def _css() -> Markup:
    return Markup(Path(__file__).with_name("page.css").read_text("utf-8"))


def page(title: str, lede: str, references: Sequence[Markup], sections: Sequence[Section], date: str) -> str:
    """The whole page. references: of `reference`; date: the day it was made, in words."""
    shown = Markup(f'<div class="references">\n{_joined(references)}</div>\n') if references else Markup("")
    return fill(
        _PAGE, csp=Markup(CSP), title=title, css=_css(), lede=lede, references=shown, date=date,
        sections=_joined(map(_section, sections)),
    )  # fmt: skip


def _section(section: Section) -> Markup:
    head = [fill("<h2>$text</h2>\n", text=section.heading)] if section.heading else []
    head += [fill("<p>$text</p>\n", text=section.note)] if section.note else []
    return fill(_SECTION, label=section.label, head=_joined(head), cards=_joined(section.cards))


def card(image: Image, picture: Picture, size: int | None, *, level: int = 2) -> Markup:
    """One result. size: its file's, in bytes. level: of its heading."""
    kept = isinstance(image, Copy) and bool(image.kept)
    return fill(
        _CARD, kept=" kept" * kept, frame=_frame(image, picture), score=_score(image), level=level,
        name=called(image), folder=_folder(image), tags=_tags(image), facts=_facts(image, size),
        fields=_fields(image.metadata),
    )  # fmt: skip


def reference(name: str, picture: Picture, image: Image | None = None, size: int | None = None) -> Markup:
    """What was asked for. image: what is known of it, where it is in the library."""
    if image is None:
        frame, rest = _framed(name, picture), [Markup("")] * 3
    else:
        folder = fill('<p class="path">$folder</p>\n', folder=_folder(image))
        frame, rest = _frame(image, picture), [folder, _tags(image), _facts(image, size)]
    return fill(_REFERENCE, frame=frame, name=name, folder=rest[0], tags=rest[1], facts=rest[2])


def called(image: Image) -> str:
    """report.pdf, page 3."""
    return image.filename + (f", page {image.page}" if image.page else "")


def _folder(image: Image) -> Markup:
    """Where it lies, from ~ below the user's home: the working folder means nothing to others. URLs stay whole."""
    home, path = str(Path.home()), image.path
    if not is_url(path):
        path = path[: path.rfind("/", 0, path.rfind(image.filename) + 1) + 1]
        path = "~" + path[len(home) :] if home != "/" and path.startswith(home + "/") else path
    return Markup(_safe(path).replace("/", "/<wbr>"))


def _frame(image: Image, picture: Picture) -> Markup:
    """The picture; copies are shown as a whole, as what one of them lacks may be what it is about."""
    fills = not isinstance(image, Copy) and _FILLING[0] <= picture.width / max(1, picture.height) <= _FILLING[1]
    top = [name for category in CATEGORIES for name in image.tags.get(category, ())][:3]
    return _framed(f"{called(image)}: {', '.join(top)}" if top else called(image), picture, fills=fills)


def _framed(alt: str, picture: Picture, *, fills: bool = False) -> Markup:
    if not picture.src:
        return fill('<div class="frame none"><span>$why</span></div>', why=picture.why)
    return fill(
        '<div class="frame"><img$fills src="$src" alt="$alt" width="$width" height="$height" decoding="async"></div>',
        fills=Markup(' class="fills"' * fills), src=picture.src, alt=alt, width=picture.width, height=picture.height,
    )  # fmt: skip


# -- what is said of an image -----------------------------------------------------------------------------------------


def _score(image: Image) -> Markup:
    """How near it came, by what the question was: a number, a bar where it is a share, and what puts it in place."""
    if isinstance(image, Copy):
        keep = " keep" if image.kept else ""
        told = f"{how(image)} alike" if image.kind == "near" else how(image)
        return fill('<p class="score"><span class="badge$keep">$told</span></p>\n', keep=keep, told=told)
    if not isinstance(image, SimilarImage):
        return Markup("")
    if image.parts is not None:
        parts = " · ".join(f"{os.path.basename(name) or name} {cosine:+.3f}" for name, cosine in image.parts.items())
        return _scored(f"{image.score or 0:+.2f}", None, f"score: {parts}")
    if image.probability is not None:
        cosine = f"probability, cosine {image.similarity:+.3f}"
        return _scored(f"{image.probability:.3f}", image.probability, cosine)
    unusual = "" if image.closer_than is None else f", {closer(image.closer_than)}"
    return _scored(f"{image.similarity:.3f}", image.similarity, f"similarity{unusual}")


def _scored(number: str, share: float | None, words: str) -> Markup:
    width = 0 if share is None else round(100 * max(0.0, min(1.0, share)))
    bar = Markup("") if share is None else fill('<span class="bar"><i style="width:$width%"></i></span>', width=width)
    template = '<p class="score"><b>$number</b>$bar<span class="muted">$words</span></p>\n'
    return fill(template, number=number, bar=bar, words=words)


def _tags(image: Image) -> Markup:
    """Labels with their scores, those that were asked for first; what is certain, as measures are, has no number."""
    matched = dict(image.matched) if isinstance(image, TaggedImage) else {}
    others = {name: score for category in CATEGORIES for name, score in image.scores.get(category, {}).items()}
    told = matched | {name: score for name, score in others.items() if name not in matched}
    if not told:
        return Markup("")
    shown = list(told.items())[: max(_TAGS, len(matched))]
    items = [_tag(name, score, asked=name in matched) for name, score in shown]
    more = fill("<li>and $count more</li>\n", count=len(told) - len(shown)) if len(told) > len(shown) else Markup("")
    return Markup(f'<ul class="tags">\n{_joined(items)}{more}</ul>\n')


def _tag(name: str, score: float, *, asked: bool) -> Markup:
    number = fill(" <small>$score</small>", score=fraction(score)) if score < 1 else Markup("")
    return fill("<li$asked>$name$score</li>\n", asked=Markup(' class="asked"' * asked), name=name, score=number)


def _facts(image: Image, size: int | None) -> Markup:
    """4032×3024 px · 3.1 MB · taken 2019-07-14."""
    date = f"taken {image.taken_at[:10]}" if image.taken_at else f"changed {local(image.modified)[:10]}"
    parts = [f"{image.width}×{image.height} px", *([size_of(size)] if size is not None else []), date]
    spans = " · ".join(fill("<span>$part</span>", part=part) for part in parts)
    return fill('<p class="facts">$facts</p>\n', facts=Markup(spans))


def _fields(metadata: Mapping[str, Any] | None) -> Markup:
    if not metadata:
        return Markup("")
    rows = [
        fill("<dt>$name</dt><dd>$value</dd>\n", name=_cut(name), value=_cut(value))
        for name, value in list(metadata.items())[:_FIELDS]
    ]
    if len(metadata) > _FIELDS:
        rows.append(fill("<dt>more</dt><dd>$more</dd>\n", more=counted(len(metadata) - _FIELDS, "field")))
    return Markup(f'<dl class="fields">\n{_joined(rows)}</dl>\n')


def _cut(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
