"""The gallery as people meet it: a real Chromium on the installed `picto browse`, by mouse, keys, touch, no script.

`python tests/test_browser.py` makes the README's screenshots anew, in tests/screenshots, after a change that is meant.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from pictures import make_pdf, scene
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright
from program import PICTO, Given, environment, make_world

import pictocli
from pictocli import hub
from pictocli.candidates import IndexOptions, Target
from pictocli.indexing import Indexer
from pictocli.kinds import IMAGE_SUFFIXES
from pictocli.protocols import NoProgress
from pictocli.schema import connect
from pictocli.sqlite import SqliteStore

SAMPLES = Path(__file__).parent.parent / "sample_images"
SCREENSHOTS = Path(__file__).parent / "screenshots"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DEADLINE = 60_000  # ms; for a busy machine: nothing waits so long when all is well
expect.set_options(timeout=DEADLINE)
MANY = 640
OF_EVERY_BROWSER = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".pdf"}  # image/* has these
ODD = ["<b>bold<b>.png", '"><img src=x onerror=alert(1)>.png', "a name that is " + "very " * 30 + "long.png"]
WIDE, TALL = (1800, 60), (40, 900)
DESKTOP: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
TABLET: dict[str, Any] = {"viewport": {"width": 820, "height": 1180}, "has_touch": True}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}

pytestmark = pytest.mark.skipif(
    not CHROMIUM and os.environ.get("CI") != "true", reason="there is no Chromium: apt-get install chromium"
)

# Every shift of what was already seen, as browsers measure it, less those that follow a click or a key at once.
WATCH_SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const each of list.getEntries()) if (!each.hadRecentInput) window.shifts.push([each.value, String(
    each.sources.map((source) => source.node && (source.node.id || source.node.className || source.node.nodeName)))]);
}).observe({type: "layout-shift", buffered: true});
"""


@dataclass
class Gallery:
    """A running `picto browse`, and what its pages did wrong."""

    process: subprocess.Popen[str]
    url: str  # with the token
    wrong: list[str] = field(default_factory=list)

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    def page(self, context: BrowserContext, state: str = "") -> Page:
        """A page of the gallery, which notes each error in its console and each request to another host."""
        page = context.new_page()
        page.set_default_timeout(DEADLINE)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", lambda said: said.type == "error" and self.wrong.append(f"{said.text} {said.location}"))
        page.on("request", lambda sent: urlsplit(sent.url).netloc != self.host and self.wrong.append(sent.url))
        page.goto(f"{self.url}&{state}")
        page.wait_for_load_state("load")
        return page


@contextlib.contextmanager
def browsing(database: Path, *more: str) -> Iterator[Gallery]:
    process = subprocess.Popen(
        [PICTO, "--db", database, "browse", "--no-open", *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment(PYTHONUNBUFFERED="1"), start_new_session=True,
    )  # fmt: skip
    assert process.stdout
    assert process.stderr
    try:
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line)
        assert found, line + process.stderr.read()
        yield Gallery(process, found[0])
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
        assert "Traceback" not in said, said


def index_samples(folder: Path) -> Path:
    """The samples in a library, by the bundled model; their files are copies, of known age."""
    shutil.copytree(SAMPLES, folder / "sample_images", ignore=shutil.ignore_patterns("*.db*", "*.md"))
    for number, path in enumerate(sorted((folder / "sample_images").rglob("*.*"))):
        os.utime(path, (1_700_000_000 - 20 * 86400 * number,) * 2)
    with pictocli.open(folder / "samples.db") as library:
        library.index([folder / "sample_images"], model="mini", device="cpu", workers=0, thumbnails=True)
    return folder / "samples.db"


def index_many(folder: Path) -> Path:
    """640 small pictures, all alike to the model, the odd ones among them, and a document of three pages."""
    (folder / "many").mkdir()
    for number in range(MANY - len(ODD) - 5):
        scene(number, 96 + number * 37 % 90, 64 + number * 13 % 70).save(folder / "many" / f"{number:04}.jpg")
    for name in ODD:
        scene(len(name), 96, 64).save(folder / "many" / name)
    for size in (WIDE, TALL):
        scene(1, *size).save(folder / "many" / f"{size[0]}x{size[1]}.png")
    make_pdf(folder / "many" / "report.pdf", [1, 2, 3])
    files = sorted((folder / "many").iterdir(), key=lambda path: (path.stem.isdigit(), path.name))
    for number, path in enumerate(reversed(files)):  # the odd ones are the newest
        os.utime(path, (1_600_000_000 + 86400 * number,) * 2)
    db = connect(str(folder / "many.db"), create=True)
    store = SqliteStore(db)
    spec = hub.read_spec(hub.resolve("mini"))
    store.require_model(spec)
    tags = [{"objects": {"car": 0.9 - at / 1000}, "scenes": {}, "attributes": {}} for at in range(MANY + 1)]
    pages = ((1 - at / 4000, each) for at, each in enumerate(tags))
    target = Target(store.add_root(str(folder / "many"), "many"), str(folder / "many"))
    Indexer(store, spec, Given(pages, spec.dim), IndexOptions(), NoProgress()).run([target])
    db.close()
    return folder / "many.db"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "there is no Chromium: apt-get install chromium"
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*root, "--force-color-profile=srgb"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def samples_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return index_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module")
def many_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return index_many(tmp_path_factory.mktemp("many"))


@pytest.fixture(scope="module")
def _samples(samples_db: Path) -> Iterator[Gallery]:
    with browsing(samples_db) as gallery:
        yield gallery


@pytest.fixture(scope="module")
def _many(many_db: Path) -> Iterator[Gallery]:
    with browsing(many_db) as gallery:
        yield gallery


def _clean(gallery: Gallery) -> Iterator[Gallery]:
    gallery.wrong.clear()
    yield gallery
    assert gallery.wrong == []


@pytest.fixture
def samples(_samples: Gallery) -> Iterator[Gallery]:
    """The gallery of the samples; at the end no page may have complained, nor asked another host."""
    yield from _clean(_samples)


@pytest.fixture
def many(_many: Gallery) -> Iterator[Gallery]:
    """The gallery of many; as `samples`."""
    yield from _clean(_many)


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page of a gallery in a context of its own: opened(gallery, "q=car", **options of the context)."""
    with contextlib.ExitStack() as stack:

        def open_page(gallery: Gallery, state: str = "", **options: Any) -> Page:
            context = browser.new_context(**{**DESKTOP, "reduced_motion": "reduce", **options})
            stack.callback(context.close)
            if options.get("java_script_enabled", True):
                context.add_init_script(WATCH_SHIFTS)
            return gallery.page(context, state)

        yield open_page


def names(page: Page) -> list[str]:
    return page.locator(".cell > .open > .name").all_text_contents()


def asked(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def assert_still(page: Page) -> None:
    """Nothing has moved that a person would see: up to .1 in all is what Core Web Vitals call good.

    A busy machine may draw a row before its neighbour: seen once.
    """
    shifts = page.evaluate("shifts")
    assert sum(size for size, _ in shifts) < 0.1, shifts


def total(page: Page) -> int:
    found = re.search(r"[\d,]+", page.locator("h1, .reference .said").first.text_content() or "")
    assert found
    return int(found[0].replace(",", ""))


def until(page: Page, condition: str, arg: Any = None) -> None:
    """Wait for what a function of the page says: Playwright's own wait evaluates text, which the CSP forbids."""
    end = time.monotonic() + DEADLINE / 1000
    while time.monotonic() < end:
        with contextlib.suppress(Error):  # a page that is left while it is asked
            if page.evaluate(condition, arg):
                return
        page.wait_for_timeout(20)
    raise AssertionError(condition)


def loaded(page: Page, count: int = 6) -> None:
    """Wait until the first pictures are there."""
    until(
        page,
        """(count) => [...document.querySelectorAll(".cell img")].slice(0, count)
        .every((each) => each.complete && each.naturalWidth)""",
        arg=count,
    )


def top_of(page: Page, selector: str) -> float:
    return float(page.locator(selector).evaluate("each => each.getBoundingClientRect().top"))


def test_words_find_pictures(samples: Gallery, opened: Callable[..., Page]) -> None:
    page = opened(samples)
    page.get_by_role("searchbox").fill("a red car")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"q=a\+red\+car"))
    expect(page.locator(".cell").first.locator("img")).to_have_attribute("alt", re.compile(r"^red-car\.jpg"))
    expect(page.locator(".cell .badge").first).to_have_text(re.compile(r"\d"))
    expect(page.get_by_role("searchbox")).to_have_value("a red car")
    expect(page.locator(".cell")).to_have_count(62)
    loaded(page)


def test_a_dropped_picture_finds_its_like(samples: Gallery, opened: Callable[..., Page]) -> None:
    page = opened(samples)
    content = (SAMPLES / "animals" / "cat-chelsea.jpg").read_bytes()
    transfer = page.evaluate_handle(
        """(bytes) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], "mine.jpg", {type: "image/jpeg"}));
          return transfer;
        }""",
        list(content),
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": transfer})
    expect(page.locator("#drop")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    page.wait_for_url(re.compile("like=d"))
    assert names(page)[0] == "cat-chelsea.jpg"
    expect(page.locator(".reference img")).to_be_visible()
    offered = (page.locator("#file").get_attribute("accept") or "").split(",")
    assert {"image/*", "application/pdf"} | (IMAGE_SUFFIXES - OF_EVERY_BROWSER) == set(offered)
    page.locator("#file").set_input_files(SAMPLES / "vehicles" / "pink-bicycle.jpg")
    expect(page.locator(".cell .name").first).to_have_text("pink-bicycle.jpg")


def test_what_is_no_picture_is_said(samples: Gallery, opened: Callable[..., Page]) -> None:
    page = opened(samples)
    page.locator("#file").set_input_files(SAMPLES / "CREDITS.md")
    expect(page.locator("#banner")).to_be_visible()
    assert len((page.locator("#banner span").text_content() or "").split()) > 2
    page.keyboard.press("Escape")
    expect(page.locator("#banner")).to_be_hidden()
    assert [each for each in samples.wrong if "status of 4" not in each] == []  # the browser's own word on the refusal
    samples.wrong.clear()


def test_facets_narrow_and_widen(samples: Gallery, opened: Callable[..., Page]) -> None:
    page = opened(samples)
    facet = page.locator("details[data-key=scenes] a")
    count = int(facet.first.locator(".count").text_content() or "")
    label = facet.first.locator(".name").text_content() or ""
    facet.first.click()
    page.wait_for_url(re.compile("scenes="))
    assert (len(names(page)), total(page)) == (count, count)
    expect(page.locator(".chip").first).to_contain_text(label)
    other = page.locator("details[data-key=scenes] a:not([aria-current]):not(.more)").first
    other.click()  # OR within a category
    page.wait_for_url(lambda url: url.count("scenes=") == 2)
    either = total(page)
    assert either >= count
    page.locator("details[data-key=attributes] a:not([aria-current])").first.click()  # AND across
    page.wait_for_url(re.compile("attributes="))
    assert 0 < total(page) <= either
    page.locator(".chip.clear").click()
    expect(page.locator("h1")).to_have_text("62 images")
    rest = page.locator("details[data-key=attributes] a.more")
    listed = page.locator("details[data-key=attributes] li").count()
    rest.click()
    expect(page.locator("details[data-key=attributes] li")).not_to_have_count(listed)
    assert page.locator("details[data-key=attributes] li").count() > listed


def test_folders_and_dates_narrow(samples: Gallery, opened: Callable[..., Page]) -> None:
    page = opened(samples)
    page.locator("details[data-key=tree] a", has_text="sample_images").click()
    page.wait_for_url(re.compile("dataset="))
    page.locator("details[data-key=tree] a", has_text="vehicles").click()
    page.wait_for_url(re.compile("folder=vehicles"))
    assert total(page) == len(names(page)) == len(list((SAMPLES / "vehicles").iterdir()))
    page.locator("details[data-key=tree] a", has_text="vehicles").click()
    page.wait_for_url(lambda url: "folder=" not in url)
    first = page.get_by_role("slider", name="From month")
    first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_url(re.compile(r"after=\d{4}-\d\d"))
    assert 0 < total(page) < 62
    expect(page.locator(".chip").filter(has_text=asked(page)["after"][0])).to_be_visible()


def test_more_like_this_and_the_threshold(samples: Gallery, opened: Callable[..., Page]) -> None:
    page = opened(samples, "folder=animals&dataset=sample_images")
    first = page.locator(".cell", has_text="cow-on-pasture.jpg")
    first.hover()
    first.locator(".like").click()
    page.wait_for_url(re.compile("like="))
    expect(page.locator(".reference h1")).to_have_text(re.compile("cow"))
    strict = len(names(page))
    slider = page.get_by_role("slider", name="Similarity at least")
    slider.fill("0.3")
    page.wait_for_url(re.compile("threshold=0.3"))
    assert len(names(page)) > strict
    scores = [float(text) for text in page.locator(".cell .badge:last-child").all_text_contents()]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] >= 0.3
    slider.fill("1")
    page.wait_for_url(re.compile("threshold=1"))
    expect(page.locator(".empty h2")).to_contain_text("nearest", ignore_case=True)
    page.locator(".empty a").first.click()  # to where there is something
    expect(page.locator(".cell").first).to_be_visible()


def test_pages_load_as_one_scrolls_and_back_returns(many: Gallery, opened: Callable[..., Page]) -> None:
    page = opened(many)
    shown = itertools.count()
    while page.locator(".more-pages [rel=next]").count():
        before = page.locator(".cell").count()
        assert next(shown) < 20
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        until(
            page,
            "(n) => document.querySelectorAll('.cell').length > n || !document.querySelector('[rel=next]')",
            arg=before,
        )
    ids = page.locator(".cell").evaluate_all("all => all.map((each) => each.dataset.id)")
    assert len(ids) == len(set(ids)) == total(page) == MANY
    rows = page.locator(".cell").evaluate_all("all => all.map((each) => [each.offsetTop, each.offsetHeight])")
    assert max(high for _, high in rows) < 420  # no row is blown up where pages meet
    nth = page.locator(".cell").nth(499)
    nth.scroll_into_view_if_needed()
    until(page, "(id) => document.querySelector(`#i${id} img`).naturalWidth", arg=ids[499])
    assert_still(page)

    where = top_of(page, f"#i{ids[499]}")
    nth.locator(".open").click()
    expect(page.locator("#view .detail")).to_have_attribute("data-id", ids[499])
    page.go_back()
    expect(page.locator("#view .detail")).to_have_count(0)
    assert top_of(page, f"#i{ids[499]}") == pytest.approx(where, abs=1)

    page.wait_for_url(re.compile("at="))
    top = page.evaluate("history.state.id")
    where = top_of(page, f"#i{top}")
    page.keyboard.press("s")
    page.wait_for_url(re.compile("like="))
    expect(page.locator(".reference")).to_be_visible()
    for again in (page.go_back, page.reload):
        again()
        page.locator(f"#i{top}").wait_for()
        until(
            page,
            "([id, top]) => Math.abs(document.getElementById(`i${id}`).getBoundingClientRect().top - top) < 2",
            arg=[top, where],
        )
    # what came before is there, too
    until(page, "(id) => { scrollTo(0, 0); return document.getElementById(`i${id}`); }", arg=ids[0])


def test_the_500th_like_a_picture(many: Gallery, opened: Callable[..., Page]) -> None:
    page = opened(many, "like=1&threshold=0")
    while page.locator("[rel=next]").count():
        before = page.locator(".cell").count()
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        until(
            page,
            "(n) => document.querySelectorAll('.cell').length > n || !document.querySelector('[rel=next]')",
            arg=before,
        )
    ids = page.locator(".cell").evaluate_all("all => all.map((each) => each.dataset.id)")
    assert len(ids) == len(set(ids)) == 500
    assert_still(page)


def test_names_are_text(many: Gallery, opened: Callable[..., Page]) -> None:
    page = opened(many)
    loaded(page)
    for name in ODD[:2]:
        cell = page.locator(".cell").nth(names(page).index(name))
        cell.locator(".open").click()
        expect(page.locator("#name")).to_have_text(name)
        assert page.locator("#view b, #view [onerror]").count() == 0
        page.keyboard.press("Escape")
        expect(page.locator("#view")).to_be_hidden()
    for shape in (WIDE, TALL):
        box = page.locator(".cell").nth(names(page).index(f"{shape[0]}x{shape[1]}.png")).bounding_box()
        assert box
        assert 44 <= box["width"] <= 1200
        assert 44 <= box["height"] <= 420
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440


def test_by_keyboard_only(samples: Gallery, opened: Callable[..., Page]) -> None:
    page = opened(samples)

    def focused() -> str:
        return str(page.evaluate("document.activeElement.closest('.cell')?.dataset.id || document.activeElement.id"))

    def press(*keys: str) -> str:
        for key in keys:
            page.keyboard.press(key)
        return focused()

    ids = page.locator(".cell").evaluate_all("all => all.map((each) => each.dataset.id)")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")  # the first stop leads over all filters
    assert focused() == "results"
    assert press("ArrowRight") == ids[0]
    assert press("ArrowRight") == ids[1]
    down = press("ArrowDown")
    assert ids.index(down) > 1
    assert press("ArrowUp") in ids[:4]
    assert press("ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft") == ids[0]
    outline = page.evaluate("getComputedStyle(document.activeElement, '::after').boxShadow")
    assert "inset" in outline

    press("x", "Shift+ArrowRight", "Shift+ArrowRight")
    expect(page.locator("#tray .count")).to_have_text("3 selected")
    until(page, "document.querySelectorAll('.cell.chosen').length === 3")
    press("ArrowRight", "x", "x")
    expect(page.locator("#tray .count")).to_have_text("3 selected")

    page.keyboard.press("Enter")
    expect(page.locator("#view .detail")).to_have_attribute("data-id", ids[3])
    page.keyboard.press("ArrowRight")
    expect(page.locator("#view .detail")).to_have_attribute("data-id", ids[4])
    page.keyboard.press("i")
    expect(page.locator("#view .about")).to_be_hidden()
    page.keyboard.press("i")
    expect(page.locator("#view .about")).to_be_visible()
    page.keyboard.press("x")
    expect(page.locator("#tray .count")).to_have_text("4 selected")
    page.keyboard.press("Escape")
    expect(page.locator("#view")).to_be_hidden()
    assert focused() == ids[4]
    expect(page.locator("#tray .count")).to_have_text("4 selected")  # one level, once
    page.keyboard.press("Escape")
    expect(page.locator("#tray")).to_be_hidden()

    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    assert press("/") == "q"
    page.keyboard.type("x/s?")
    expect(page.locator("#q")).to_have_value("x/s?")  # in a field, keys are letters
    expect(page.locator("#tray")).to_be_hidden()
    page.keyboard.press("Escape")
    page.locator(".cell > .open").nth(2).focus()
    page.keyboard.press("Control+s")
    assert "like=" not in page.url
    page.keyboard.press("?")
    page.get_by_label("Use these keys").uncheck()
    page.keyboard.press("Escape")
    page.locator(".cell > .open").nth(2).focus()
    page.keyboard.press("x")
    expect(page.locator("#tray")).to_be_hidden()
    page.get_by_role("button", name="Keys").click()
    page.get_by_label("Use these keys").check()
    page.keyboard.press("Escape")
    page.locator(".cell > .open").nth(2).focus()
    page.keyboard.press("s")
    page.wait_for_url(re.compile("like="))


def test_the_tray_keeps_copies_and_downloads(samples: Gallery, opened: Callable[..., Page]) -> None:
    page = opened(samples)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for at in (0, 2):
        page.locator(".cell").nth(at).hover()
        page.locator(".cell .pick").nth(at).click()
    chosen = [names(page)[at] for at in (0, 2)]
    page.locator("details[data-key=scenes] a").first.click()  # the selection goes along
    page.wait_for_url(re.compile("scenes="))
    expect(page.locator("#tray .count")).to_have_text("2 selected")
    page.get_by_role("button", name="Copy paths").click()
    expect(page.locator("#toast")).to_have_text("Copied 2 paths")
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert [Path(line).name for line in lines] == chosen
    assert all(Path(line).is_file() for line in lines)
    with page.expect_download() as caught:
        page.get_by_role("button", name="Download").click()
    import zipfile

    with zipfile.ZipFile(caught.value.path()) as archive:
        assert sorted(Path(name).name for name in archive.namelist()) == sorted(chosen)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#tray")).to_be_hidden()


def choose(page: Page, *ids: int) -> None:
    for image_id in ids:
        page.locator(f"#i{image_id}").hover()
        page.locator(f"#i{image_id} .pick").click()


def test_a_selection_is_one_librarys_and_copies_what_can_be_pasted(
    many_db: Path, model: str, opened: Callable[..., Page], tmp_path: Path
) -> None:
    world = make_world(tmp_path, model) / "picto.db"
    with browsing(world) as gallery:
        page = opened(gallery)
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        for ids, said in (
            ([11], "Nothing is copied; 1 left out: its name has control characters"),
            ([1], "Copied 1 path; 1 left out: its name has control characters"),
            ([9], "Copied 1 path; 2 left out: their names have control characters or bytes that are not UTF-8"),
        ):
            choose(page, *ids)
            page.get_by_role("button", name="Copy paths").click()
            expect(page.locator("#toast")).to_have_text(said)
        assert page.evaluate("navigator.clipboard.readText()") == str(tmp_path / "holiday" / "beach.jpg")
        assert gallery.wrong == []
        port = gallery.host.partition(":")[2]
    for database, count in ((many_db, None), (world, "3 selected")):
        with browsing(database, "--port", port) as gallery:
            page.goto(gallery.url)
            if count is None:
                expect(page.locator(".cell").first).to_be_visible()
                expect(page.locator("#tray")).to_be_hidden()
            else:
                expect(page.locator("#tray .count")).to_have_text(count)


def test_detail_tells_what_is_known(samples: Gallery, opened: Callable[..., Page]) -> None:
    page = opened(samples, "q=a+red+car")
    page.locator(".cell > .open").first.click()
    detail = page.locator("#view .detail")
    expect(detail.locator("#name")).to_have_text("red-car.jpg")
    expect(detail.locator(".scores")).not_to_have_count(0)
    expect(detail.locator(".why")).to_contain_text("cosine")
    expect(detail.locator(".path")).to_have_text(re.compile(r"/vehicles/red-car\.jpg$"))
    until(page, "document.querySelector('#view figure img').naturalWidth")
    with page.expect_download() as caught:
        detail.locator("a[download]").click()
    assert Path(caught.value.path()).read_bytes() == (SAMPLES / "vehicles" / "red-car.jpg").read_bytes()
    url = page.url
    page.reload()  # the address is a page of its own
    expect(page.locator("main #name")).to_have_text("red-car.jpg")
    assert page.url == url
    page.keyboard.press("ArrowRight")
    expect(page.locator("main #name")).not_to_have_text("red-car.jpg")
    page.keyboard.press("Escape")
    expect(page.locator(".cell").first).to_be_visible()
    assert asked(page)["q"] == ["a red car"]


def test_a_documents_pages_are_neighbours(many: Gallery, opened: Callable[..., Page]) -> None:
    page = opened(many)
    page.locator(".cell", has_text="report.pdf").first.locator(".open").click()
    leaves = page.locator("#view .leaves a")
    expect(leaves).to_have_count(3)
    leaves.nth(2).click()
    expect(leaves.nth(2)).to_have_attribute("aria-current", "page")
    expect(page.locator("#name")).to_contain_text("report.pdf")
    page.keyboard.press("Escape")
    expect(page.locator("#view")).to_be_hidden()


def test_on_a_phone(samples: Gallery, opened: Callable[..., Page]) -> None:
    page = opened(samples, **PHONE)
    loaded(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    small = page.evaluate(
        """() => [...document.querySelectorAll("a, button, input")].filter((each) => {
          const box = each.getBoundingClientRect();
          return each.checkVisibility() && box.width && !each.closest(".unseen, .skip")
            && (box.width < 44 || box.height < 44);
        }).map((each) => each.outerHTML.slice(0, 90))"""
    )
    assert [each for each in small if 'class="brand"' not in each and 'type="file"' not in each] == []
    facets = page.locator("#facets")
    expect(facets).to_be_hidden()
    page.get_by_role("button", name="Filters", exact=True).tap()
    expect(facets).to_be_visible()
    facets.locator("details[data-key=scenes] a").first.tap()
    page.wait_for_url(re.compile("scenes="))
    expect(facets).to_be_hidden()

    cell = page.locator(".cell").nth(1)
    box = cell.bounding_box()
    assert box
    touch = page.context.new_cdp_session(page)
    spot = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [spot]})  # a long press selects
    expect(page.locator("#tray .count")).to_have_text("1 selected")
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.locator(".cell").nth(2).tap()  # and then so does a tap
    expect(page.locator("#tray .count")).to_have_text("2 selected")
    tray = page.locator("#tray").bounding_box()
    assert tray
    assert tray["x"] >= 0
    assert tray["x"] + tray["width"] <= 390
    page.get_by_role("button", name="Clear").tap()
    page.locator(".cell").nth(2).tap()
    expect(page.locator("#view .detail")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#view .close").tap()
    expect(page.locator("#view")).to_be_hidden()


def test_without_javascript(many: Gallery, opened: Callable[..., Page]) -> None:
    page = opened(many, java_script_enabled=False)
    first = names(page)
    page.locator("[rel=next]").click()
    page.wait_for_url(re.compile("at="))
    assert len(names(page)) == 100
    assert not set(names(page)) & set(first)
    page.locator("[rel=prev]").click()
    expect(page.locator(".cell .name")).to_have_text(first)
    page.locator(".cell > .open").nth(3).click()
    expect(page.locator("#name")).to_have_text(first[3])
    page.locator(".step.on").click()
    expect(page.locator("#name")).to_have_text(first[4])
    page.locator(".close").click()
    expect(page.get_by_role("link", name=first[4]).first).to_be_visible()
    page.locator("#q").fill("car")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("q=car"))
    expect(page.locator(".cell").first).to_be_visible()


def test_an_empty_library_says_how_to_fill_it(opened: Callable[..., Page], tmp_path: Path) -> None:
    db = connect(str(tmp_path / "empty.db"), create=True)
    SqliteStore(db).require_model(hub.read_spec(hub.resolve("mini")))
    db.close()
    with browsing(tmp_path / "empty.db") as gallery:
        page = opened(gallery)
        expect(page.locator(".empty pre")).to_contain_text("picto index")
        assert gallery.wrong == []


def test_a_server_that_went_is_said(many_db: Path, opened: Callable[..., Page]) -> None:
    with browsing(many_db) as gallery:
        page = opened(gallery)
        loaded(page)
        gallery.process.send_signal(signal.SIGINT)
        assert gallery.process.wait(timeout=60) == 0
        page.locator(".cell > .open").first.click()
        expect(page.locator("#banner")).to_contain_text("picto browse")
        assert page.locator(".cell").count() >= 100  # what was there stays


STATES: dict[str, tuple[str, dict[str, Any], str]] = {
    "grid": ("dataset=sample_images", {**DESKTOP, "color_scheme": "light"}, ""),
    "search": ("q=a+building", {**DESKTOP, "color_scheme": "dark"}, ""),
    "detail": ("scenes=outdoor", {**DESKTOP, "color_scheme": "light"}, "why"),
    "similar": ("scenes=outdoor", {**DESKTOP, "color_scheme": "light"}, "similar"),
    "phone": ("", {**PHONE, "device_scale_factor": 2, "color_scheme": "light"}, ""),
}


def prepare(page: Page, act: str) -> None:
    """Bring a page to the state that a screenshot shows, with all its pictures loaded."""
    if act == "detail":
        page.locator(".cell > .open").first.click()
        until(page, "document.querySelector('#view figure img')?.naturalWidth")
    elif act in ("similar", "why"):
        page.locator(".cell", has_text="castle-neuschwanstein.jpg").locator(".like").evaluate("each => each.click()")
        page.wait_for_url(re.compile("like="))
        page.get_by_role("slider", name="Similarity at least").fill("0.4")
        page.wait_for_url(re.compile("threshold=0.4"))
    if act == "why":
        page.locator(".cell", has_text="brick-basilica.jpg").locator(".open").click()
        until(page, "document.querySelector('#view figure img')?.naturalWidth")
    elif act == "similar":
        page.locator(".cell > .open").first.focus()
        for key in ("x", "Shift+ArrowRight", "Shift+ArrowRight"):
            page.keyboard.press(key)
        expect(page.locator("#tray .count")).to_have_text("3 selected")
    page.mouse.move(2, 2)  # hovers over nothing
    until(page, "!document.querySelector('#facets[data-late] .wait')")
    until(
        page,
        """() => [...document.images].filter((each) => each.getBoundingClientRect().top < innerHeight
        && each.checkVisibility()).every((each) => each.complete && each.naturalWidth)""",
    )


def shot(page: Page) -> bytes:
    with Image.open(io.BytesIO(page.screenshot())) as image:
        file = io.BytesIO()
        image.convert("RGB").save(file, "WEBP", quality=72, method=6)
        return file.getvalue()


@pytest.mark.parametrize("name", STATES)
def test_each_state_can_be_shown_and_keeps_nobody_out(samples: Gallery, opened: Callable[..., Page], name: str) -> None:
    """As a screenshot; and axe-core finds nothing serious in light or dark: contrast, names, roles, order."""
    state, options, act = STATES[name]
    page = opened(samples, state, **options, bypass_csp=True)  # axe is put into the page
    prepare(page, act)
    made, kept = shot(page), (SCREENSHOTS / f"{name}.webp").read_bytes()
    assert Image.open(io.BytesIO(made)).size == Image.open(io.BytesIO(kept)).size
    assert max(len(made), len(kept)) <= 150_000
    grave: list[tuple[str, str, list[str]]] = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        grave += [
            (scheme, each["id"], [node["html"][:200] for node in each["nodes"][:3]])
            for each in Axe().run(page).response["violations"]
            if each["impact"] in ("serious", "critical")
        ]
    assert grave == []


def main() -> None:
    """Write the README's screenshots."""
    SCREENSHOTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--force-color-profile=srgb"]
        )
        with browsing(index_samples(Path(folder))) as gallery:
            for name, (state, options, act) in STATES.items():
                page = gallery.page(chromium.new_context(**options, reduced_motion="reduce"), state)
                prepare(page, act)
                (SCREENSHOTS / f"{name}.webp").write_bytes(shot(page))
                page.context.close()
        chromium.close()


if __name__ == "__main__":
    sys.exit(main())
