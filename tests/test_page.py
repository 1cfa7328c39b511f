"""The text of a page: whole, escaped whatever it is made of, and saying what was asked."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pictocli.cells import local
from pictocli.display import printable
from pictocli.grouped import Copy
from pictocli.page import CSP, Markup, Picture, Section, called, card, fill, page, reference
from pictocli.records import SimilarImage, TaggedImage

FIELDS: dict[str, Any] = {
    "image_id": 1,
    "path": "/srv/photos/crete/beach.jpg",
    "filename": "beach.jpg",
    "dataset": "holiday",
    "folder": "crete",
    "page": None,
    "tags": {"objects": ["person"], "scenes": ["beach", "outdoor"], "attributes": ["sunny"]},
    "scores": {"objects": {"person": 0.66}, "scenes": {"beach": 0.9, "outdoor": 0.74}, "attributes": {"sunny": 1.0}},
    "width": 4032,
    "height": 3024,
    "processing_time_ms": 1.25,
    "modified": "2019-07-14T18:22:00Z",
    "taken_at": "2019-07-13T10:01:59",
}
PICTURE = Picture("data:image/webp;base64,UklGRg==", 320, 240)
ELEMENTS = {
    "b", "body", "dd", "div", "dl", "dt", "figcaption", "figure", "footer", "h1", "h2", "h3", "head", "header", "html",
    "i", "img", "li", "link", "main", "meta", "p", "section", "small", "span", "style", "title", "ul", "wbr",
}  # fmt: skip
ATTRIBUTES = {
    "alt", "aria-label", "charset", "class", "content", "decoding", "height", "href", "http-equiv", "lang", "name",
    "rel", "src", "style", "width",
}  # fmt: skip
EMPTY = {"img", "link", "meta", "wbr"}


class Parsed(HTMLParser):
    """What a browser would make of a page; a tag that is not closed, or closes what is not open, fails the test."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.images: list[dict[str, str | None]] = []
        self.metas: list[dict[str, str | None]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "img":
            self.images.append(dict(attrs))
        if tag == "meta":
            self.metas.append(dict(attrs))
        if tag not in EMPTY:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def checked(text: str) -> Parsed:
    """A page, when it holds nothing but what picto writes, and asks for nothing."""
    parsed = Parsed(text)
    assert parsed.elements <= ELEMENTS
    assert parsed.attributes <= ATTRIBUTES
    assert {str(each["src"])[:22] for each in parsed.images} <= {"data:image/webp;base64"}
    assert all(each["alt"] for each in parsed.images)
    assert [each["content"] for each in parsed.metas if each.get("http-equiv")] == [CSP]
    assert "url(" not in text
    assert "@import" not in text
    assert re.findall(r'(?:href|src)="(?!data:)', text) == []
    return parsed


def similar(**more: Any) -> SimilarImage:
    return SimilarImage(**FIELDS | {"similarity": 0.94121234} | more)


def whole(*cards: Markup, title: str = "1 image", references: tuple[Markup, ...] = ()) -> str:
    return page(title, "Among 12 images.", references, [Section("Results", cards)], "1 May 2026")


EXPECTED = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="generator" content="picto">
<link rel="icon" href="data:,">
<title>1 image like a &amp; b.jpg, at 0.60 or above</title>
<style>
CSS</style>
</head>
<body>
<header>
<h1>1 image like a &amp; b.jpg, at 0.60 or above</h1>
<p class="lede">Among 12 images.</p>
<div class="references">
<figure class="reference">
<div class="frame"><img src="data:image/webp;base64,UklGRg==" alt="a &amp; b.jpg" width="320" height="240" \
decoding="async"></div>
<figcaption>
<p class="eyebrow">Asked for</p>
<h2 class="name">a &amp; b.jpg</h2>
</figcaption>
</figure>
</div>
</header>
<main>
<section aria-label="Results">
<ul class="grid">
<li class="card"><figure>
<div class="frame"><img class="fills" src="data:image/webp;base64,UklGRg==" alt="beach.jpg: person, beach, outdoor" \
width="320" height="240" decoding="async"></div>
<figcaption>
<p class="score"><b>0.941</b><span class="bar"><i style="width:94%"></i></span>\
<span class="muted">similarity, closer than 99.3% of pairs</span></p>
<h2 class="name">beach.jpg</h2>
<p class="path">/<wbr>srv/<wbr>photos/<wbr>crete/<wbr></p>
<ul class="tags">
<li>person <small>.66</small></li>
<li>beach <small>.90</small></li>
<li>outdoor <small>.74</small></li>
<li>sunny</li>
</ul>
<p class="facts"><span>4032×3024 px</span> · <span>3.1 MB</span> · <span>taken 2019-07-13</span></p>
<dl class="fields">
<dt>owner</dt><dd>ana</dd>
</dl>
</figcaption>
</figure></li>
</ul>
</section>
</main>
<footer>
<p>Made with picto on 1 May 2026. Everything is in this one file; nothing is fetched.</p>
</footer>
</body>
</html>
"""


def test_a_whole_page() -> None:
    shown = card(similar(closer_than=0.993, metadata={"owner": "ana"}), PICTURE, 3_100_000)
    text = whole(shown, title="1 image like a & b.jpg, at 0.60 or above", references=(reference("a & b.jpg", PICTURE),))
    assert re.sub("(?<=<style>\n).*(?=</style>)", "CSS", text, flags=re.DOTALL) == EXPECTED
    checked(text)


HOSTILE = {
    "script": "<script>alert(1)</script>.jpg",
    "attribute": '" onerror="alert(1)" x="',
    "apostrophe": "' onload='alert(1)",
    "element": '"><img src=http://evil.example/x.png>',
    "style": "</style><script>alert(1)</script>",
    "title": "</title></h1></p></li></figure>",
    "comment": "<!-- a",
    "entity": "&lt;b&gt; &amp; &#60;i&#62;",
    "template": "$css ${title} $$ $nothing",
    "link": "javascript:alert(1)",
    "escape": "a\x1b[31m\n\t\0b",
    "no utf-8": "caf\udce9.png",
    "half a pair": "\ud800",
    "overriding": "gpj.\u202eexe",
    "long": "x" * 5000,
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names_stay_text(name: str) -> None:
    told: dict[str, Any] = {
        "filename": name,
        "path": f"/{name}/{name}",
        "dataset": name,
        "tags": {"objects": [name], "scenes": [], "attributes": []},
        "scores": {"objects": {name: 0.5}, "scenes": {}, "attributes": {}},
        "metadata": {name: name, "number": 3, "list": [name], "none": None},
        "camera": name,
        "taken_at": name,
    }
    cards = [
        card(similar(**told), PICTURE, 5),
        card(similar(**told, score=1.0, parts={name: 0.1}), Picture("", why=name), 5),
        card(TaggedImage(**FIELDS | told, matched={name: 0.5}), PICTURE, None),
        card(Copy(**FIELDS | told, kind=name, similarity=1.0, kept=False, size=5), PICTURE, 5, level=3),
    ]
    text = whole(*cards, title=name, references=(reference(name, PICTURE, similar(**told), 5),))
    text.encode("utf-8")
    parsed = checked(text)
    spelled = printable(name)
    assert parsed.texts["title"] == parsed.texts["h1"] == [spelled]
    assert [each["alt"] for each in parsed.images] == [f"{spelled}: {spelled}"] * 4
    assert parsed.texts["h2"] == [spelled] * 4
    assert parsed.texts["h3"] == [spelled]
    assert parsed.texts["p"].count(f"/{spelled}/") == 5
    assert len(parsed.texts["li"]) == 4 + 5  # cards, and a tag of each and of the reference
    cut = spelled if len(name) < 160 else "x" * 160 + "…"
    assert parsed.texts["dt"].count(cut) == 4
    assert parsed.texts["dd"].count(cut) == 4


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (similar(), "0.941similarity"),
        (similar(closer_than=0.9997), "0.941similarity, closer than 99.97% of pairs"),
        (similar(similarity=-0.2), "-0.200similarity"),
        (similar(similarity=0.131, probability=0.25), "0.250probability, cosine +0.131"),
        (similar(score=2.345, parts={"red": 0.1, "/a/b.jpg": -0.2}), "+2.35score: red +0.100 · b.jpg -0.200"),
        (Copy(**FIELDS, kind="first", similarity=1.0, kept=True, size=1), "kept"),
        (Copy(**FIELDS, kind="first", similarity=1.0, kept=None, size=1), "first"),
        (Copy(**FIELDS, kind="exact", similarity=1.0, kept=False, size=1), "exact"),
        (Copy(**FIELDS, kind="near", similarity=0.9871, kept=None, size=1), "0.987 alike"),
    ],
    ids=["cosine", "unusual", "below 0", "words", "several parts", "kept", "first", "exact", "near"],
)
def test_how_near_it_came(image: SimilarImage | Copy, told: str) -> None:
    text = card(image, PICTURE, 1)
    assert Parsed(text).texts["p"][0] == told
    assert ('class="bar"' in text) == (isinstance(image, SimilarImage) and image.parts is None)
    assert ('class="card kept"' in text) == (isinstance(image, Copy) and bool(image.kept))


def test_labels_that_were_asked_for_come_first_and_all() -> None:
    scores = {"objects": {f"o{at}": 0.9 for at in range(9)}, "scenes": {"s": 0.8}, "attributes": {"red": 1.0}}
    matched = {"s": 0.8, **{f"o{at}": 0.9 for at in range(6)}}
    parsed = Parsed(card(TaggedImage(**FIELDS | {"scores": scores, "matched": matched}), PICTURE, None))
    asked = ["s .80", *[f"o{at} .90" for at in range(6)]]
    assert [each.splitlines()[0] for each in parsed.texts["li"][1:]] == [*asked, "and 4 more"]
    others = [each.splitlines()[0] for each in Parsed(card(similar(scores=scores), PICTURE, None)).texts["li"][1:]]
    assert others == ["o0 .90", "o1 .90", "o2 .90", "o3 .90", "o4 .90", "and 6 more"]


@pytest.mark.parametrize(
    ("path", "filename", "page_number", "folder", "name"),
    [
        ("/srv/a/b.jpg", "b.jpg", None, "/srv/a/", "b.jpg"),
        ("{home}/a/b.jpg", "b.jpg", None, "~/a/", "b.jpg"),
        ("{home}side/b.jpg", "b.jpg", None, "{home}side/", "b.jpg"),
        ("/b.jpg", "b.jpg", None, "/", "b.jpg"),
        ("/srv/report.pdf#page=3", "report.pdf", 3, "/srv/", "report.pdf, page 3"),
        ("/srv/b.jpg/b.jpg", "b.jpg", None, "/srv/b.jpg/", "b.jpg"),
        ("https://example.org/a/b.jpg?v=2", "b.jpg", None, "https://example.org/a/b.jpg?v=2", "b.jpg"),
    ],
    ids=["elsewhere", "home", "beside home", "root", "page", "folder of that name", "web"],
)
def test_where_it_lies(path: str, filename: str, page_number: int | None, folder: str, name: str) -> None:
    home = str(Path.home())
    image = similar(path=path.format(home=home), filename=filename, page=page_number)
    parsed = Parsed(card(image, PICTURE, None))
    assert parsed.texts["p"][1] == folder.format(home=home)
    assert parsed.texts["h2"] == [name] == [called(image)]


def test_what_is_not_known_is_not_said() -> None:
    nothing: dict[str, Any] = {"objects": {}, "scenes": {}, "attributes": {}}
    bare = similar(taken_at=None, tags={name: [] for name in nothing}, scores=nothing)
    parsed = Parsed(card(bare, Picture("", why="No picture: it is gone"), None))
    assert parsed.texts["p"][2] == f"4032×3024 px · changed {local(FIELDS['modified'])[:10]}"
    assert parsed.texts["div"] == ["No picture: it is gone"]
    assert parsed.images == []
    assert "ul" not in parsed.elements
    assert Parsed(card(bare, PICTURE, None)).images[0]["alt"] == "beach.jpg"


def test_fields_are_few_and_short() -> None:
    parsed = Parsed(card(similar(metadata={f"f{at}": "y" * 400 for at in range(8)}), PICTURE, None))
    assert parsed.texts["dt"] == [*[f"f{at}" for at in range(6)], "more"]
    assert parsed.texts["dd"] == ["y" * 160 + "…"] * 6 + ["2 fields"]


def test_a_template_escapes_all_but_markup() -> None:
    assert (
        fill('<p title="$a">$b</p>', a="\"<&'", b=Markup("<b>x</b>")) == '<p title="&quot;&lt;&amp;&#x27;"><b>x</b></p>'
    )
    assert fill("$a $b", a=3, b="$a") == "3 $a"
    with pytest.raises(KeyError):
        fill("$a")
