"""Histograms in files and on terminals."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from program import run, screen

import pictocli
from pictocli import charts
from pictocli.errors import StoreError, ValidationError
from pictocli.figures import Bin, Histogram
from pictocli.schema import connect
from pictocli.shapes import Box, Line, Words

SVG = "{http://www.w3.org/2000/svg}"


def histogram(counts: list[int], edges: bool = True, label: str = "a") -> Histogram:
    bins = [
        Bin(histogram="sizes", label=f"{label}{at}", low=at, high=at + 1, count=count)
        for at, count in enumerate(counts)
    ]
    ends = [str(at) for at in range(len(counts) + 1)] if edges else []
    return Histogram(
        name="sizes", title="Sizes", unit="size", counted="files", bins=bins, edges=ends, mark=(0.5, "half")
    )


@pytest.mark.parametrize("counts", [[0], [1], [5, 0, 10, 1], [10**9, 1], [3] * 50], ids=str)
@pytest.mark.parametrize("edges", [True, False], ids=["axis", "labels"])
def test_bars_are_in_proportion_and_inside(counts: list[int], edges: bool) -> None:
    drawn = charts.chart(histogram(counts, edges))
    assert (drawn.width, drawn.height) == (640, 360)
    bars = [shape for shape in drawn.shapes if isinstance(shape, Box)]
    lengths = [bar.height if edges else bar.width for bar in bars]
    told = [count for count in counts if count or not edges]
    assert len(bars) == len(told)
    for one, long in zip(told, lengths, strict=True):
        assert long == pytest.approx(max(lengths) * one / max(1, max(told)), abs=1.01)
    for bar in bars:
        assert bar.x >= 0 <= bar.y
        assert bar.x + bar.width <= 640 >= bar.y + bar.height
    if edges:
        ticks = [
            int(shape.text.replace(",", "")) for shape in drawn.shapes if isinstance(shape, Words) and shape.x == 56
        ]
        assert ticks[0] == 0
        assert ticks[-1] >= max(counts)
        assert 2 <= len(ticks) <= 6
        (mark,) = (shape for shape in drawn.shapes if isinstance(shape, Line) and shape.dashed)
        assert mark.x == pytest.approx(64 + (640 - 64 - 28) / 2)


@pytest.mark.parametrize("width", [20, 40, 80])
@pytest.mark.parametrize("unicode", [True, False])
def test_lines_fit_a_terminal(width: int, unicode: bool) -> None:
    _, *lines = charts.text(
        histogram([5, 0, 1200], edges=False, label="a long label, 海辺の\x1b[31m "), width, unicode=unicode
    )
    from rich.cells import cell_len

    assert len(lines) == 3
    assert len({cell_len(line) for line in lines}) == 1
    assert cell_len(lines[0]) <= max(width, 34)
    assert "\x1b" not in "".join(lines)
    if width == 80:
        assert lines[2].count("█" if unicode else "#") == 40
        assert lines[1].count("█" if unicode else "#") == 0


def test_a_page_of_them_all(library: pictocli.Library, tmp_path: Path) -> None:
    assert library.plot(tmp_path / "p.html") == str(tmp_path / "p.html")
    text = (tmp_path / "p.html").read_text("utf-8")
    found = library.histograms()
    assert text.count("<svg ") == text.count("<table>") == len(found) == 2
    assert "script" not in text
    assert " style=" not in text
    rows = re.findall(r"<tr><td>([^<]*)</td><td>([\d,]*)</td></tr>", text)
    tags = next(each for each in found if each.name == "tags")
    assert rows == [(each.label, f"{each.count:,}") for each in tags.bins]
    for drawn in re.findall(r"<svg .*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(drawn)  # noqa: S314 - ours


def test_an_svg_and_a_png_of_them_all(library: pictocli.Library, tmp_path: Path) -> None:
    library.plot(tmp_path / "p.svg")
    root = ElementTree.parse(tmp_path / "p.svg").getroot()  # noqa: S314 - ours
    assert (root.attrib["width"], root.attrib["height"]) == ("1280", "360")
    assert {"Tags", "Sizes of files"} <= {each.text for each in root.iter(f"{SVG}text")}
    library.plot(tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as image:
        assert (image.format, image.size) == ("PNG", (1280, 360))
        assert (0, 114, 178) in {colour for _, colour in image.getcolors(1 << 20) or []}


def test_what_cannot_be_drawn(library: pictocli.Library, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="not named for a format"):
        library.plot(tmp_path / "p.pdf")
    connect(str(tmp_path / "new.db"), create=True).close()
    with pictocli.open(tmp_path / "new.db") as empty, pytest.raises(StoreError, match="holds no images yet"):
        empty.plot(tmp_path / "p.svg")
    assert not list(tmp_path.glob("*p.*"))


@pytest.mark.parametrize("file", [(), ("p.svg",)], ids=["terminal", "file"])
def test_a_terminal_is_told_why_there_are_no_dates(
    file: tuple[str, ...], library: pictocli.Library, tmp_path: Path
) -> None:
    said = "no dates: no image says when it was taken"
    ran, _ = screen("info", "--plot", *file, "--db", library.path, cwd=tmp_path)
    assert (ran.code, ran.err.replace("\r", "").splitlines()[-1]) == (0, said)
    piped = run("info", "--plot", *file, "--db", library.path, cwd=tmp_path)
    assert (piped.code, said in piped.err) == (0, False)
    db = connect(library.path)
    db.execute("INSERT OR REPLACE INTO capture (content_id, taken_at) SELECT id, 1563128520 FROM content LIMIT 1")
    db.close()
    ran, _ = screen("info", "--plot", *file, "--db", library.path, cwd=tmp_path)
    assert (ran.code, said in ran.err) == (0, False)
