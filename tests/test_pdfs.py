"""Which pages of PDFs are wanted, and the passwords that open them."""

from __future__ import annotations

import io
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymupdf
import pytest
from pictures import make_pdf

import pictocli
from pictocli.decode import Inspected, Recipe, Refused, decode, inspect
from pictocli.errors import UnreadableError, ValidationError
from pictocli.kinds import Limits
from pictocli.pdfs import Opening, Pages, passwords

Index = Callable[..., Any]
Rows = Callable[..., list[tuple[Any, ...]]]
OPENS = "sésame"
LOCKED = {"encryption": pymupdf.PDF_ENCRYPT_AES_256, "owner_pw": "owner", "user_pw": OPENS}
RECIPE = Recipe(size=32, resample="bicubic", dpi=72, thumbnail=False)


@pytest.mark.parametrize(
    ("text", "shown", "of_ten"),
    [
        ("3", "3", [3]),
        ("1-20", "1-20", [*range(1, 11)]),
        ("8-", "8-", [8, 9, 10]),
        ("1-5,9,20-", "1-5,9,20-", [1, 2, 3, 4, 5, 9]),
        (" 9 , 2-3", "2-3,9", [2, 3, 9]),
        ("4-6,1-3,5-8", "1-8", [*range(1, 9)]),
        ("11-", "11-", []),
        ("007", "7", [7]),
    ],
)
def test_pages(text: str, shown: str, of_ten: list[int]) -> None:
    pages = Pages.parse(text)
    assert (str(pages), list(pages.within(10))) == (shown, of_ten)
    assert Pages.parse(str(pages)) == pages


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "'' names no pages"),
        ("0", "'0' names no pages"),
        ("5-3", "'5-3' names no pages"),
        ("-3", "'-3' names no pages"),
        ("1-2-3", "'1-2-3' names no pages"),
        ("1,,2", "'' in '1,,2' names no pages"),
        ("1-5,x,9", "'x' in '1-5,x,9' names no pages"),
        ("1-9999999999", "'1-9999999999' names no pages"),
        ("²", "'²' names no pages"),
    ],
)
def test_what_are_no_pages(text: str, told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Pages.parse(text)
    assert str(caught.value).startswith(told)


def test_pages_join() -> None:
    assert str(Pages.parse("1-3,9") | Pages.parse("4,8")) == "1-4,8-9"
    assert str(Pages.parse("20-") | Pages.parse("1-30")) == "1-"
    assert str(Pages.numbers([5, 1, 2])) == "1-2,5"


# -- --pdf-pages ---------------------------------------------------------------------------------------------------


@pytest.fixture
def album(tmp_path: Path) -> Path:
    (tmp_path / "album").mkdir()
    make_pdf(tmp_path / "album/ten.pdf", range(10))
    return tmp_path / "album"


def pages(rows: Rows) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name, page in rows("SELECT f.name, i.page FROM image i JOIN file f ON f.id = i.file_id ORDER BY 1, 2"):
        found.setdefault(name, []).append(page)
    return found


def checked(tmp_path: Path) -> None:
    with pictocli.open(tmp_path / "library.db") as library:
        assert library.check() == []


STEPS: dict[str, list[tuple[dict[str, Any], int, list[int]]]] = {
    "kept without the option": [({"pdf_pages": "1-3"}, 3, [1, 2, 3]), ({}, 0, [1, 2, 3])],
    "wider": [
        ({"pdf_pages": "1-3"}, 3, [1, 2, 3]),
        ({"pdf_pages": "2-5"}, 2, [1, 2, 3, 4, 5]),
        ({}, 0, [*range(1, 6)]),
    ],
    "narrower": [({"pdf_pages": "1-5"}, 5, [*range(1, 6)]), ({"pdf_pages": "2"}, 0, [*range(1, 6)])],
    "of one that is there": [({}, 10, [*range(1, 11)]), ({"pdf_pages": "2"}, 0, [*range(1, 11)])],
    "to the end": [({"pdf_pages": "3"}, 1, [3]), ({"pdf_pages": "1-"}, 9, [*range(1, 11)]), ({}, 0, [*range(1, 11)])],
    "beyond it": [({"pdf_pages": "9-20"}, 2, [9, 10]), ({"pdf_pages": "9-30"}, 0, [9, 10])],
    "done again": [({"pdf_pages": "2,4"}, 2, [2, 4]), ({"force": True}, 2, [2, 4])],
    "another resolution": [({"pdf_pages": "2,4"}, 2, [2, 4]), ({"pdf_dpi": 100}, 2, [2, 4])],
    "none, then some": [({"pdf_pages": "11-"}, 0, []), ({}, 0, []), ({"pdf_pages": "1"}, 1, [1])],
}


@pytest.mark.parametrize("steps", STEPS)
def test_wanted_pages_are_remembered(steps: str, index: Index, rows: Rows, album: Path, tmp_path: Path) -> None:
    for options, new, held in STEPS[steps]:
        report = index(album, **options)
        assert (report.indexed, pages(rows).get("ten.pdf", [])) == (new, held)
        checked(tmp_path)


def test_pages_that_a_pdf_lacks_are_a_reason(index: Index, album: Path) -> None:
    reason = "it has 10 pages, not --pdf-pages 11-"
    for options in ({"pdf_pages": "11-"}, {"pdf_pages": "11-"}, {}):
        assert [each.reason for each in index(album, **options).skipped] == [reason]


def test_a_changed_pdf_keeps_what_was_wanted(index: Index, rows: Rows, album: Path, tmp_path: Path) -> None:
    index(album, pdf_pages="1-3,9-")
    make_pdf(album / "ten.pdf", [0, 50, 2, *range(3, 9), 60, 61, 62])
    report = index(album)
    assert (report.indexed, report.reused, pages(rows)) == (4, 3, {"ten.pdf": [1, 2, 3, 9, 10, 11, 12]})
    make_pdf(album / "ten.pdf", [0, 50])
    report = index(album)
    assert (report.indexed, report.reused, pages(rows)) == (0, 2, {"ten.pdf": [1, 2]})
    checked(tmp_path)


@pytest.mark.parametrize("asked", [None, "2-4"])
def test_a_moved_pdf_keeps_what_was_wanted(
    asked: str | None, index: Index, rows: Rows, album: Path, tmp_path: Path
) -> None:
    make_pdf(album / "whole.pdf", range(20, 23))
    index(album / "ten.pdf", pdf_pages="1-3")
    index(album / "whole.pdf")
    (album / "below").mkdir()
    shutil.move(album / "ten.pdf", album / "below/moved.pdf")
    shutil.move(album / "whole.pdf", album / "below/also.pdf")
    report = index(album, pdf_pages=asked)
    assert (report.moved, report.indexed) == (2, 1 if asked else 0)
    assert pages(rows) == {"moved.pdf": [1, 2, 3, 4] if asked else [1, 2, 3], "also.pdf": [1, 2, 3]}
    assert index(album).unchanged == 2
    checked(tmp_path)


def test_copies_of_which_other_pages_are_wanted(index: Index, rows: Rows, album: Path, tmp_path: Path) -> None:
    index(album, pdf_pages="1-2")
    for name in ("a.pdf", "b.pdf"):
        make_pdf(album / name, [70, 71])
    index(album, pdf_pages="2")
    for name in ("a.pdf", "b.pdf", "c.pdf"):  # the same bytes on their way three times, twice with the same pages
        shutil.copy(album / "ten.pdf", album / name)
    index(album, pdf_pages="4")
    assert pages(rows) == {"ten.pdf": [1, 2, 4], "a.pdf": [2, 4], "b.pdf": [2, 4], "c.pdf": [4]}
    checked(tmp_path)


def test_of_a_stopped_run_what_is_stored_stays(
    index: Index, rows: Rows, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, taken = pictocli.indexing.Indexer._take, []

    def stopping(self: Any, *page: Any) -> None:
        take(self, *page)
        taken.append(page)
        if len(taken) == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pictocli.indexing.Indexer, "_take", stopping)
        assert index(album).interrupted
    assert pages(rows) == {"ten.pdf": [1, 2, 3, 4]}
    index(album, pdf_pages="2,8")
    assert pages(rows) == {"ten.pdf": [1, 2, 3, 4, 8]}
    assert index(album).unchanged == 1
    checked(tmp_path)


def test_only_wanted_pages_count_for_the_limit(tmp_path: Path) -> None:
    path = str(make_pdf(tmp_path / "a.pdf", range(10)))
    assert inspect(path, Limits(max_pages=5)) == Refused("10 pages, over --max-pages 5", "pdf")
    seen = inspect(path, Limits(max_pages=5), Opening(Pages.parse("4-8")))
    assert isinstance(seen, Inspected)
    assert (seen.pages, seen.count) == ((4, 5, 6, 7, 8), 10)


def test_tiffs_are_not_meant(index: Index, photos: Path, rows: Rows) -> None:
    index(photos / "scans", pdf_pages="2")
    assert pages(rows) == {"deep.png": [0], "one.tif": [0], "report.pdf": [2], "three.tif": [1, 2, 3]}
    assert rows("SELECT f.name, p.pages FROM page_range p JOIN file f ON f.id = p.file_id") == [("report.pdf", "2")]


# -- passwords -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ((), "password-protected"),
        (("wrong",), "wrong password"),
        (("wrong", "sésame"), None),
        (("owner",), None),
    ],
)
def test_a_password_opens(given: tuple[str, ...], reason: str | None, tmp_path: Path) -> None:
    path = str(make_pdf(tmp_path / "a.pdf", [1, 2], **LOCKED))
    seen = inspect(path, opening=Opening(passwords=given))
    recipe = Recipe(32, "bicubic", 72, False, passwords=given)
    page = decode(path, "pdf", 2, recipe)
    if reason is None:
        assert isinstance(seen, Inspected)
        assert not isinstance(page, Refused)
        assert page.pixels.std() > 1
    else:
        assert (seen, page) == (Refused(reason, "pdf"), Refused(reason, "pdf"))
    assert "sésame" not in repr((seen, recipe, Opening(passwords=given)))


def test_a_locked_pdf_is_tried_again_with_a_password(
    index: Index, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "album").mkdir()
    make_pdf(tmp_path / "album/a.pdf", [1, 2], **LOCKED)

    def told(**options: Any) -> Any:
        report = index(tmp_path / "album", **options)
        return report.indexed or report.unchanged or [each.reason for each in report.skipped]

    assert told() == ["password-protected"]
    assert told(pdf_password=["wrong"]) == ["wrong password"]
    assert told() == ["wrong password"]  # remembered
    monkeypatch.setenv("PICTO_PDF_PASSWORD", "sésame")
    assert told(workers=1) == 2
    monkeypatch.delenv("PICTO_PDF_PASSWORD")
    assert told() == 1
    assert told(force=True) == ["password-protected"]
    assert pages(rows) == {"a.pdf": [1, 2]}  # as it was
    assert told(force=True, pdf_password=["wrong", "sésame"]) == 2
    for file in tmp_path.glob("library.db*"):
        assert "sésame".encode() not in file.read_bytes()
    checked(tmp_path)


def test_references_and_reembedding_take_passwords(index: Index, model: str, tmp_path: Path) -> None:
    from checkpoints import save_siglip

    (tmp_path / "album").mkdir()
    make_pdf(tmp_path / "album/a.pdf", [1, 2], **LOCKED)
    other = make_pdf(tmp_path / "b.pdf", [2], **LOCKED)
    index(tmp_path / "album", pdf_password=OPENS)
    with pictocli.open(tmp_path / "library.db") as library:
        with pytest.raises(UnreadableError, match=r"cannot read .*b\.pdf: password-protected"):
            library.similar(str(other), device="cpu")
        found = library.similar(str(other), device="cpu", pdf_password=OPENS, threshold=0, limit=1)
        assert [each.page for each in found.results] == [2]
        (shown,) = library.embed([str(other)], device="cpu", pdf_password=("x", "sésame"))
        assert len(shown.embedding) == 24
        new = str(save_siglip(tmp_path / "other", seed=5))
        with pytest.raises(pictocli.PictoError, match="2 images cannot be embedded again"):
            library.reembed(new, device="cpu", workers=0)
        assert library.reembed(new, device="cpu", workers=0, pdf_password=OPENS).indexed == 2


def test_where_passwords_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # typer's own, of the click it is installed with
        from pictocli.options import secret
    (tmp_path / "words").write_text("one\n\ntwo words\n", "utf-8")
    assert secret(None) is None
    assert secret("plain") == ["plain"]
    assert secret(f"@{tmp_path}/words") == ["one", "two words"]
    with pytest.raises(UnreadableError, match="cannot read the passwords in nowhere: no such file"):
        secret("@nowhere")
    assert passwords() == ()
    monkeypatch.setenv("PICTO_PDF_PASSWORD", "@not a file")
    assert passwords() == ("@not a file",)
    assert passwords("given") == ("given",)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("sésame\nbeach.jpg\n".encode())))
    assert secret("-") == ["sésame"]
    assert sys.stdin.readline() == "beach.jpg\n"  # left for --stdin
