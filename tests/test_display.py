from __future__ import annotations

import random
from pathlib import Path

import pytest
from rich.cells import cell_len

from pictocli.display import (
    bar,
    closer,
    counted,
    crop,
    fraction,
    pad,
    percent,
    printable,
    shorten,
    shown_path,
    size_of,
    time_of,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("beach.jpg", "beach.jpg", id="plain"),
        pytest.param("海辺😀é.png", "海辺😀é.png", id="wide"),
        pytest.param("[red]x", "[red]x", id="markup"),
        pytest.param("a\x1b[31mb", "a\\x1b[31mb", id="escape"),
        pytest.param("a\nb\tc\x00", "a\\x0ab\\x09c\\x00", id="newline-tab-nul"),
        pytest.param("caf\udce9", "caf\\xe9", id="no-utf8"),
        pytest.param("a\u202egpj.exe", "a\\u202egpj.exe", id="right-to-left-override"),
        pytest.param("a\u2028b", "a\\u2028b", id="line-separator"),
        pytest.param("a\x9b31m", "a\\x9b31m", id="eight-bit-control"),
        pytest.param("no\u00a0break", "no\u00a0break", id="no-break-space"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


LONG = "albums/summer/crete/postcards-from-grandmother-and-aunt-ida.pdf#page=3"


@pytest.mark.parametrize(
    ("path", "width", "short"),
    [
        pytest.param(LONG, 80, LONG, id="fits"),
        pytest.param(LONG, 69, "albums/summer/…/postcards-from-grandmother-and-aunt-ida.pdf#page=3", id="a-folder"),
        pytest.param(LONG, 60, "albums/…/postcards-from-grandmother-and-aunt-ida.pdf#page=3", id="two-folders"),
        pytest.param(LONG, 58, "…/postcards-from-grandmother-and-aunt-ida.pdf#page=3", id="all-folders"),
        pytest.param(LONG, 40, "postcards-from-grandmother-a….pdf#page=3", id="name"),
        pytest.param("/usr/share/photos/summer/x.jpg", 20, "/usr/share/…/x.jpg", id="absolute"),
        pytest.param("海辺の写真の名前.png", 13, "海辺の写….png", id="wide-by-cells"),
        pytest.param("海辺の写真の名前.png", 12, "海辺の….png", id="wide-never-halved"),
        pytest.param("a-name-without-a-suffix#page=12", 20, "a-name-with…#page=12", id="no-suffix"),
        pytest.param("v1.a very long tail behind a dot", 20, "v1.a very long tail…"[:19] + "…", id="no-real-suffix"),
    ],
)
def test_shorten(path: str, width: int, short: str) -> None:
    assert shorten(path, width) == short
    assert cell_len(short) <= width


def test_no_path_is_wider_than_its_room_and_pages_stay() -> None:
    choose = random.Random(5)  # noqa: S311 - repeatable, not secret
    for _ in range(3000):
        letters = "ab/.é海😀- "
        path = "".join(choose.choice(letters) for _ in range(choose.randint(1, 80)))
        page = f"#page={choose.randint(1, 9999)}" if choose.random() < 0.5 else ""
        width = choose.randint(20, 60)
        for mark in "…~":
            short = shorten(path + page, width, mark)
            assert cell_len(short) <= width
            assert short.endswith(page)


@pytest.mark.parametrize(
    ("value", "unicode", "ascii_bar"),
    [
        pytest.param(0.0, "        ", "........", id="none"),
        pytest.param(1.0, "████████", "########", id="whole"),
        pytest.param(0.941, "███████▌", "########", id="eighths"),
        pytest.param(0.5, "████    ", "####....", id="half"),
        pytest.param(-0.3, "        ", "........", id="below"),
        pytest.param(1.7, "████████", "########", id="above"),
    ],
)
def test_bar(value: float, unicode: str, ascii_bar: str) -> None:
    assert (bar(value), bar(value, unicode=False)) == (unicode, ascii_bar)


@pytest.mark.parametrize(
    ("value", "text"), [(0.98, ".98"), (1.0, "1.0"), (0.999, "1.0"), (0.0, ".00"), (0.505, ".51"), (0.5, ".50")]
)
def test_fraction(value: float, text: str) -> None:
    assert fraction(value) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1400, "1.4 kB"), (590_000, "590 kB"),
        (3.1e6, "3.1 MB"), (184e6, "184 MB"), (2e12, "2.0 TB"),
    ],
)  # fmt: skip
def test_size_of(count: float, text: str) -> None:
    assert size_of(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0004, "0 ms"), (0.031, "31 ms"), (4.319, "4.3 s"), (59.97, "1:00"), (339, "5:39"), (3661, "61:01")],
)
def test_time_of(seconds: float, text: str) -> None:
    assert time_of(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 images"), (1, "1 image"), (4201, "4,201 images")])
def test_counted(count: int, text: str) -> None:
    assert counted(count, "image") == text


@pytest.mark.parametrize(
    ("text", "right", "padded"),
    [
        ("ab", False, "ab   |"), ("ab", True, "   ab|"), ("海", False, "海   |"),
        ("海", True, "   海|"), ("abcde", True, "abcde|"),
    ],
)  # fmt: skip
def test_pad(text: str, right: bool, padded: str) -> None:
    assert pad(text, 5, right=right) + "|" == padded


@pytest.mark.parametrize(
    ("text", "cropped"), [("abcde", "abcde"), ("abcdef", "abcd…"), ("海辺の", "海辺…"), ("ab c def", "ab c…")]
)
def test_crop(text: str, cropped: str) -> None:
    assert crop(text, 5) == cropped


def test_paths_are_shown_from_here_and_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", f"{tmp_path}/home")
    monkeypatch.chdir(str(tmp_path))
    assert shown_path(f"{tmp_path}/a/b.jpg") == "a/b.jpg"
    assert shown_path(f"{tmp_path}/home/c.jpg") == "home/c.jpg"
    assert shown_path("/else/c.jpg") == "/else/c.jpg"
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(f"{tmp_path}/deep")
    assert shown_path(f"{tmp_path}/home/c\x1b.jpg") == "~/c\\x1b.jpg"
    assert shown_path(f"{tmp_path}/homely/c.jpg") == f"{tmp_path}/homely/c.jpg"


@pytest.mark.parametrize(
    ("shares", "shown"),
    [
        ([0.0, 0.5, 0.981], ["0.0%", "50.0%", "98.1%"]),
        ([0.9899, 0.99894, 0.29], ["98.9%", "99.8%", "29.0%"]),
        ([0.981, 0.99972], ["98.10%", "99.97%"]),
        ([0.999999, 0.5], ["99.99%", "50.00%"]),
        ([1 - 1 / 1891], ["99.94%"]),
        ([], []),
    ],
    ids=str,
)
def test_percent_is_one_decimal_or_two_and_never_all(shares: list[float], shown: list[str]) -> None:
    assert percent(shares) == shown


def test_closer() -> None:
    assert closer(0.98123) == "closer than 98.1% of pairs"
    assert closer(0.9997) == "closer than 99.97% of pairs"
