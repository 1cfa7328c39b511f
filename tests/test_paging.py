"""Pages of real answers: their pictures, their words, their file, and what a browser makes of them."""

from __future__ import annotations

import base64
import io
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pictures import make_pdf, scene
from PIL import Image
from test_page import Parsed, checked

import pictocli
from pictocli.errors import PictoError, ValidationError
from pictocli.protocols import NoProgress
from pictocli.records import Answer, Scope
from pictocli.urls import is_url

Index = Callable[..., pictocli.records.IndexReport]


def pictures(text: str) -> list[Image.Image]:
    """The pictures in a page, decoded."""
    found = []
    for each in checked(text).images:
        with Image.open(io.BytesIO(base64.b64decode(str(each["src"]).partition(",")[2]))) as image:
            image.load()
            assert image.format == "WEBP"
            assert image.size == (int(str(each["width"])), int(str(each["height"])))
            found.append(image)
    return found


def everything(library: pictocli.Library) -> Answer:
    return library.tagged(after="1990", limit=500)


def test_every_kind_of_file_has_its_picture(library: pictocli.Library) -> None:
    found = everything(library)
    shown = pictures(library.page(found))
    assert len(shown) == len(found.results) == 18
    for image, picture in zip(found.results, shown, strict=True):
        assert max(picture.size) <= 320
        assert picture.width / picture.height == pytest.approx(image.width / image.height, rel=0.1)


def test_a_picture_says_nothing_of_where_it_was_taken(tmp_path: Path, index: Index) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret description"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 30.0), 3: "E", 4: (16.0, 22.0, 12.0)})
    scene(1, 400, 300).save(tmp_path / "there.jpg", exif=exif, xmp=b"<x>a secret description</x>", comment="secret")
    index(tmp_path / "there.jpg", thumbnails=True)
    with pictocli.open(tmp_path / "library.db") as library:
        assert library.show(1).latitude == pytest.approx(48.208, abs=0.001)
        (picture,) = pictures(library.page(everything(library)))
    assert picture.getexif() == {}
    assert set(picture.info) <= {"loop", "background", "timestamp", "duration"}


@pytest.fixture
def given(tmp_path: Path, photos: Path) -> dict[str, Any]:
    """What can be asked for: the image, as `similar` takes it, and what a page calls it."""
    scene(77, 500, 400).save(tmp_path / "other.png")
    make_pdf(tmp_path / "other.pdf", [1, 2])
    shutil.copy(photos / "scans/one.tif", tmp_path / "copy.tif")
    return {
        "id": (3, None),
        "path": (photos / "scans/one.tif", "one.tif"),
        "page": (f"{photos}/scans/report.pdf#page=2", "report.pdf, page 2"),
        "copy": (tmp_path / "copy.tif", "copy.tif"),
        "not indexed": (tmp_path / "other.png", "other.png"),
        "page not indexed": (f"{tmp_path}/other.pdf#page=2", "other.pdf#page=2"),
        "bytes": ((tmp_path / "other.png").read_bytes(), "the picture given"),
    }


@pytest.mark.parametrize("kind", ["id", "path", "page", "copy", "not indexed", "page not indexed", "bytes"])
def test_what_was_asked_for_stands_above(kind: str, given: dict[str, Any], library: pictocli.Library) -> None:
    image, name = given[kind]
    name = name or library.show(3).filename
    found = library.similar(image, threshold=0, limit=3, everywhere=True)
    text = library.page(found, references=[image], about=", at 0.00 or above", limit=3)
    parsed, shown = checked(text), pictures(text)
    assert parsed.texts["title"] == parsed.texts["h1"] == [f"3 images like {name}, at 0.00 or above"]
    assert parsed.texts["h2"][0] == name
    assert len(shown) == 4
    seen = library.show(image) if kind in ("id", "path", "page", "copy") else None
    if seen is not None:
        assert shown[0].width / shown[0].height == pytest.approx(seen.width / seen.height, rel=0.1)


def test_a_reference_that_has_gone_has_a_place(library: pictocli.Library, tmp_path: Path) -> None:
    found = library.similar(3, threshold=0, limit=2, everywhere=True)
    text = library.page(found, references=[tmp_path / "gone.jpg", 999])
    parsed = checked(text)
    assert parsed.texts["title"] == ["2 images like gone.jpg and id:999"]
    boxes = [each.splitlines()[0] for each in parsed.texts["div"] if each.startswith("No picture")]
    assert boxes == ["No picture: it is not there"] * 2
    assert len(parsed.images) == 2


def test_what_has_no_picture_any_more_has_a_place(library: pictocli.Library, tmp_path: Path, index: Index) -> None:
    library.close()
    (tmp_path / "p").mkdir()
    for number, name in enumerate(("gone", "broken", "damaged", "left")):
        scene(number, 400, 300).save(tmp_path / f"p/{name}.jpg")
    index(tmp_path / "p", db=tmp_path / "own.db")
    (tmp_path / "p/gone.jpg").unlink()
    (tmp_path / "p/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    with pictocli.open(tmp_path / "own.db") as own, sqlite3.connect(tmp_path / "own.db") as db:
        damaged = own.show(tmp_path / "p/damaged.jpg").image_id
        wide = "FFD8FFC000110800F0014003012200021101031101"  # says that it is 320 px wide, and ends
        db.execute(f"INSERT INTO thumbnail SELECT content_id, x'{wide}' FROM image WHERE id = ?", (damaged,))
        db.commit()
        report = own.page_to(tmp_path / "page.html", everything(own))
    told = {os.path.basename(each.path): each.reason for each in report.lacking}
    assert told["gone.jpg"] == "no such file or directory"
    assert told["damaged.jpg"] == "the stored thumbnail is damaged"
    assert set(told) == {"gone.jpg", "damaged.jpg", "broken.jpg"}
    parsed = checked((tmp_path / "page.html").read_text("utf-8"))
    assert [each["alt"] for each in parsed.images if str(each["alt"]).startswith("left.jpg")]
    assert sorted(each for each in parsed.texts["div"] if each) == sorted(
        f"No picture: {each}" for each in told.values()
    )


@pytest.mark.parametrize(
    ("scope", "limit", "lede"),
    [
        (Scope(), None, "Among 1,234 images in the whole database."),
        (Scope("holiday", "crete"), 50, "Among 1,234 images in holiday, folder crete."),
        (Scope("holiday", "/"), 2, "Among 1,234 images in holiday; cut after the first 2."),
    ],
    ids=["everywhere", "below the limit", "cut"],
)
def test_the_line_below_the_title(scope: Scope, limit: int | None, lede: str, library: pictocli.Library) -> None:
    results = everything(library).results[:2]
    text = library.page(Answer(results=results, scope=scope, considered=1234), limit=limit, title="Two <b>", about="!")
    parsed = checked(text)
    assert parsed.texts["h1"] == ["Two <b>!"]
    assert parsed.texts["p"][0] == lede


def test_an_empty_answer_is_a_page_too(library: pictocli.Library) -> None:
    parsed = checked(library.page(Answer(results=[], scope=Scope(), considered=7)))
    assert (parsed.texts["h1"], parsed.images) == (["0 images"], [])


@pytest.fixture
def copies(tmp_path: Path, index: Index) -> Iterator[pictocli.Library]:
    """Two groups of duplicates, one with a smaller copy, and a picture without one."""
    folder = tmp_path / "copies"
    (folder / "more").mkdir(parents=True)
    for number in range(3):
        scene(number, 640, 480).save(folder / f"{number}.jpg", quality=95)
    shutil.copy(folder / "0.jpg", folder / "more/same.jpg")
    with Image.open(folder / "1.jpg") as image:
        image.resize((320, 240)).save(folder / "more/small.jpg", quality=70)
    index(folder, db=tmp_path / "copies.db")
    with pictocli.open(tmp_path / "copies.db") as library:
        yield library


def test_duplicates_are_sections(copies: pictocli.Library, tmp_path: Path) -> None:
    found = copies.duplicates(keep="largest")
    parsed = checked(copies.page(found))
    sizes = [(tmp_path / f"copies/{name}.jpg").stat().st_size / 1000 for name in ("more/same", "more/small")]
    assert parsed.texts["h1"] == ["2 groups of duplicates"]
    assert parsed.texts["p"][0] == f"4 of 5 images in the whole database; 2 could go: {sum(sizes):.1f} kB."
    assert parsed.texts["h2"] == ["Group 1", "Group 2"]
    assert parsed.texts["h3"] == ["0.jpg", "same.jpg", "1.jpg", "small.jpg"]
    assert [each for each in parsed.texts["p"] if "could go" in each][1:] == [
        f"2 images, 1 could go: {size:.1f} kB" for size in sizes
    ]
    badges = [each for each in parsed.texts["p"] if each in ("kept", "exact") or each.endswith(" alike")]
    assert badges[:3] == ["kept", "exact", "kept"]
    assert len(badges) == 4
    assert len(parsed.images) == 4


@pytest.mark.parametrize("conditions", [{}, {"after": "1950"}], ids=["all", "some"])
def test_pages_that_are_left_out_are_told(
    conditions: dict[str, str], copies: pictocli.Library, tmp_path: Path, index: Index
) -> None:
    make_pdf(tmp_path / "copies/a.pdf", [1, 2])
    copies.close()
    index(tmp_path / "copies", db=tmp_path / "copies.db")
    without = checked(copies.page(copies.duplicates(**conditions))).texts["p"][0]  # type: ignore[arg-type]
    assert without.startswith("4 of 5 images in the whole database, 2 pages left out; 2 could go: ")
    within = checked(copies.page(copies.duplicates(pages=True, **conditions))).texts["p"][0]  # type: ignore[arg-type]
    assert " of 7 images in the whole database; " in within


class Told(NoProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def doing(self, what: str) -> None:
        self.said.append(what)


def test_it_says_how_far_it_is(library: pictocli.Library, monkeypatch: pytest.MonkeyPatch) -> None:
    found = everything(library)
    monkeypatch.setattr("pictocli.paging._PATIENCE", -1)
    monkeypatch.setattr("pictocli.paging._EVERY", -1)
    library.progress = always = Told()
    library.page(found)
    assert always.said == [*[f"making the page, {at} of 18 pictures" for at in range(18)], ""]


# -- the file ---------------------------------------------------------------------------------------------------------


def test_a_file_is_what_page_gives(library: pictocli.Library, tmp_path: Path) -> None:
    found, target = everything(library), tmp_path / "page.html"
    report = library.page_to(target, found, limit=500)
    assert target.read_text("utf-8") == library.page(found, limit=500)
    assert (report.images, report.lacking, report.path) == (18, [], str(target))
    assert report.size == target.stat().st_size
    out = io.BytesIO()
    assert library.page_to(out, found, limit=500).path is None
    assert out.getvalue() == target.read_bytes()
    library.page_to(target, library.tagged(after="1990", limit=1))
    assert len(checked(target.read_text("utf-8")).images) == 1


def test_a_temporary_file_is_its_users_own(
    library: pictocli.Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    report = library.page_to(None, everything(library))
    assert report.path is not None
    path = Path(report.path)
    assert (path.parent, path.suffix) == (tmp_path, ".html")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(checked(path.read_text("utf-8")).images) == 18
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(PictoError, match=r"^cannot write a page to .*none: No such file or directory$"):
        library.page_to(None, everything(library))


def make_target(kind: str, folder: Path, library: pictocli.Library) -> Path:
    path = folder / "target"
    if kind == "a photo":
        scene(1).save(path, "JPEG")
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "the library":
        path = Path(library.path)
    elif kind == "no folder":
        path = folder / "none/page.html"
    elif kind == "below a file":
        (folder / "file").touch()
        path = folder / "file/page.html"
    elif kind == "a link to a photo":
        scene(1).save(folder / "photo.jpg")
        path.symlink_to(folder / "photo.jpg")
    return path


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("a photo", 2, "is there already, and is no page"),
        ("a link to a photo", 2, "is there already, and is no page"),
        ("a folder", 2, "is a folder"),
        ("a pipe", 2, "is not a regular file"),
        ("the library", 2, "is the library itself"),
        ("no folder", 3, "no such folder"),
        ("below a file", 3, "not a directory"),
    ],
    ids=lambda each: str(each).replace(" ", "-"),
)
def test_what_is_not_written_to(kind: str, code: int, message: str, library: pictocli.Library, tmp_path: Path) -> None:
    path = make_target(kind, tmp_path, library)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(PictoError, match=message) as caught:
        library.page_to(path, everything(library))
    assert caught.value.exit_code == code
    assert caught.value.hint
    assert (path.read_bytes() if path.is_file() else b"") == before
    for nothing in ("", "a\0b"):
        with pytest.raises(ValidationError, match="no file is named"):
            library.page_to(nothing, everything(library))


@pytest.mark.parametrize("old", [b"", b"\xef\xbb\xbf<!DOCTYPE HTML>\n", b"\n<html>"], ids=["empty", "a page", "old"])
def test_another_page_is_written_over(old: bytes, library: pictocli.Library, tmp_path: Path) -> None:
    (tmp_path / "real.html").write_bytes(old)
    (tmp_path / "link.html").symlink_to("real.html")
    library.page_to(tmp_path / "link.html", everything(library))
    assert (tmp_path / "link.html").is_symlink()
    assert len(checked((tmp_path / "real.html").read_text("utf-8")).images) == 18
    assert [each.name for each in tmp_path.iterdir() if ".part" in each.name] == []


FULL = """
import resource, signal, sys
import pictocli
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with pictocli.open(sys.argv[1]) as library:
    found = library.tagged(after="1990")
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        library.page_to(sys.argv[2], found)
    except pictocli.PictoError as exc:
        print(exc)
"""


def test_a_page_is_whole_or_not_there(library: pictocli.Library, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text("<html>old")
    before = sorted(os.listdir(tmp_path))
    done = subprocess.run([sys.executable, "-c", FULL, library.path, target], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"cannot write {target}: File too large\n"
    assert target.read_text() == "<html>old"
    assert sorted(os.listdir(tmp_path)) == before


# -- a browser --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium. CI has one."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None and os.environ.get("CI") != "true":
        pytest.skip("there is no Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"], timeout=180_000)
        yield chromium
        chromium.close()


@pytest.fixture
def looked_at(tmp_path: Path, copies: pictocli.Library, library: pictocli.Library) -> dict[str, Path]:
    """The pages that a browser looks at: one of each kind."""
    csv = tmp_path / "own.csv"
    csv.write_text('filename,price,brand\n0.jpg,12,"<b>Acme & Co</b>"\n')
    made = {
        "similar": library.page(
            library.similar(3, threshold=0, everywhere=True), references=[3], about=", at 0.00 or above", limit=50
        ),
        "tags": library.page(library.tagged(attributes=["landscape-orientation"]), about=" with landscape-orientation"),
        "duplicates": copies.page(copies.duplicates(keep="largest")),
        "search": library.page(library.search("a dog", device="cpu"), title="18 images for “a dog”"),
    }
    (tmp_path / "copies/2.jpg").unlink()
    made["placeholder"] = copies.page(everything(copies))
    for name, text in made.items():
        (tmp_path / f"{name}.html").write_text(text, "utf-8")
    return {name: tmp_path / f"{name}.html" for name in made}


def test_a_browser_shows_it_and_fetches_nothing(browser: Any, looked_at: dict[str, Path]) -> None:
    from axe_playwright_python.sync_playwright import Axe

    faults: list[str] = []
    looks: list[tuple[str, int, dict[str, Any] | None]] = [
        ("light", 1440, {}), ("dark", 390, {"runOnly": ["color-contrast"]}), ("light", 320, None),
    ]  # fmt: skip
    for scheme, width, options in looks:
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
        context.set_default_timeout(180_000)
        for name, path in looked_at.items():
            page, asked, said = context.new_page(), [], []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.on("console", lambda message, said=said: said.append(message.text))
            page.on("pageerror", lambda error, said=said: said.append(str(error)))
            page.goto(path.as_uri())
            shown = page.evaluate("[...document.images].filter(each => each.complete && each.naturalWidth > 0).length")
            assert shown == len(Parsed(path.read_text("utf-8")).images)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
            assert not any(is_url(url) for url in asked)
            assert said == []
            found = [] if options is None else Axe().run(page, options=options).response["violations"]
            faults += [f"{name} {scheme} {width}: {each['id']} {each['nodes'][0]['html'][:200]}" for each in found]
            page.close()
        context.close()
    assert faults == []
