"""Limits of pixels, bytes and pages: what is refused, how one raises them, and that a raised one is tried again."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymupdf
import pytest
from pictures import make_pdf, scene
from PIL import Image
from program import run

from pictocli import pipeline
from pictocli.decode import Decoded, Inspected, Recipe, Refused, decode, inspect
from pictocli.errors import ValidationError
from pictocli.kinds import Limits


def large_picture(folder: Path) -> None:
    Image.new("L", (2000, 1500)).save(folder / "a.png")


def large_page(folder: Path) -> None:
    make_pdf(folder / "a.pdf", [1], size=(2000, 1500))


def picture_on_a_page(folder: Path) -> None:
    scan = io.BytesIO()
    Image.new("L", (2000, 1500)).save(scan, "PNG")
    with pymupdf.open() as document:
        document.new_page(width=100, height=75).insert_image((0, 0, 100, 75), stream=scan.getvalue())
        document.save(folder / "a.pdf")


def large_file(folder: Path) -> None:
    Image.frombytes("L", (1500, 1400), os.urandom(1500 * 1400)).save(folder / "a.png")


def long_pdf(folder: Path) -> None:
    make_pdf(folder / "a.pdf", [1, 2, 3])


def long_tiff(folder: Path) -> None:
    scene(1).save(folder / "a.tif", save_all=True, append_images=[scene(2), scene(3)])


# what is made → the option, a value that refuses it, one that does not, and the reason
REFUSED: dict[Callable[[Path], None], tuple[str, int, int, str]] = {
    large_picture: ("max_pixels", 2, 3, "3 megapixels, over --max-pixels 2"),
    large_page: ("max_pixels", 2, 3, "3 megapixels at 72 DPI, over --max-pixels 2"),
    picture_on_a_page: ("max_pixels", 2, 3, "3 megapixels on a page, over --max-pixels 2"),
    large_file: ("max_file_size", 2, 3, "3 MB, over --max-file-size 2"),
    long_pdf: ("max_pages", 2, 3, "3 pages, over --max-pages 2"),
    long_tiff: ("max_pages", 2, 3, "3 pages, over --max-pages 2"),
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_what_is_refused_is_remembered_until_the_limit_is_raised(
    make: Callable[[Path], None], index: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    make(tmp_path / "photos")
    name, low, enough, reason = REFUSED[make]
    other = "max_pixels" if name == "max_pages" else "max_pages"
    opened: list[str] = []
    real = pipeline.inspect
    monkeypatch.setattr(pipeline, "inspect", lambda path, *rest: opened.append(path) or real(path, *rest))
    for options, opens in ((low, 1), (low, 0), (low - 1, 0)):
        report = index(tmp_path / "photos", **{name: options, other: 100 + options})
        assert (report.indexed, [each.reason for each in report.skipped], len(opened)) == (0, [reason], opens)
        opened.clear()
    report = index(tmp_path / "photos", **{name: enough})
    assert (report.indexed > 0, report.skipped, len(opened)) == (True, [], 1)
    report = index(tmp_path / "photos", **{name: low})  # what is indexed stays
    assert (report.unchanged, report.skipped) == (1, [])


def test_a_limit_that_was_raised_too_little_is_what_counts_from_then_on(index: Any, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    make_pdf(tmp_path / "photos/a.pdf", [1, 2, 3, 4])
    for pages, told in ((1, 1), (3, 3), (2, 3)):
        (skipped,) = index(tmp_path / "photos", max_pages=pages).skipped
        assert skipped.reason == f"4 pages, over --max-pages {told}"


@pytest.mark.parametrize(
    ("reason", "allowed"),
    [
        ("3 pages, over --max-pages 2", True),
        ("3 pages, over --max-pages 5", False),
        ("9 megapixels, over --max-pixels 3", False),
        ("9 megapixels, over --max-pixels 2", True),
        ("9 things, over --max-things 1", False),
        ("truncated", False),
    ],
)
def test_which_refusals_raised_limits_overcome(reason: str, allowed: bool) -> None:
    assert Limits(max_pixels=3, max_file_size=4, max_pages=5).allow(reason) == allowed


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as file:
        file.write(b"\xff\xd8\xff\xe0")
        file.truncate(10**12)  # reading it would take ten minutes
    assert inspect(str(tmp_path / "a.jpg")) == Refused("1,000,000 MB, over --max-file-size 1000", "jpeg")


def test_a_large_file_that_is_no_picture_is_passed_over_in_silence(tmp_path: Path) -> None:
    with (tmp_path / "film.mp4").open("wb") as file:
        file.write(b"\0\0\0\x18ftypisom")
        file.truncate(10**12)
    assert inspect(str(tmp_path / "film.mp4")) == Refused(None)


@pytest.mark.parametrize("name", ["max_pixels", "max_file_size", "max_pages"])
@pytest.mark.parametrize("value", [0, -1, 10**7])
def test_limits_have_a_range(name: str, value: int, index: Any, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=rf"^{name.replace('_', ' ')} must lie between 1 and \d+, not {value}$"):
        index(tmp_path, **{name: value})


def test_library_wide_work_takes_what_a_user_has_let_in(index: Any, tmp_path: Path) -> None:
    """A picture above the default limit can be embedded anew without saying so again."""
    from pictocli.reembedding import _ALLOWED

    Image.new("1", (20_001, 10_000)).save(tmp_path / "a.png")
    seen = inspect(str(tmp_path / "a.png"), _ALLOWED)
    assert isinstance(seen, Inspected)
    refused = decode(str(tmp_path / "a.png"), "png", 0, Recipe(64, "bicubic", 72, thumbnail=False), seen.stamp)
    assert refused == Refused("201 megapixels, over --max-pixels 200", "png")
    recipe = Recipe(64, "bicubic", 72, False, _ALLOWED)
    assert isinstance(decode(str(tmp_path / "a.png"), "png", 0, recipe, seen.stamp), Decoded)


def test_large_files_are_mentioned_once_with_their_number(model: str, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        Image.frombytes("L", (4000, 2600), os.urandom(4000 * 2600)).save(tmp_path / "photos" / name)
    scene(1).save(tmp_path / "photos/c.png")
    given = ["index", tmp_path / "photos", "--db", tmp_path / "a.db", "--model", model, "--workers", "0"]
    assert "\nwarning: 2 files above 10 MB\n" in run(*given).err
    assert "above 10 MB" not in run(*given).err


def test_the_flags_reach_the_library(model: str, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    large_picture(tmp_path / "photos")
    make_pdf(tmp_path / "photos/b.pdf", [1, 2, 3])
    large_file(tmp_path / "photos")
    os.rename(tmp_path / "photos/a.png", tmp_path / "photos/c.png")
    large_picture(tmp_path / "photos")
    ran = run("index", tmp_path / "photos", "--db", tmp_path / "a.db", "--model", model, "--workers", "0",
              "--max-pixels", "2", "--max-file-size", "2", "--max-pages", "2")  # fmt: skip
    assert ran.code == 0
    for reason in ("3 megapixels, over --max-pixels 2", "3 pages, over --max-pages 2", "3 MB, over --max-file-size 2"):
        assert reason in ran.err
    assert run("index", tmp_path / "photos", "--db", tmp_path / "a.db", "--max-pages", "0").code == 2
